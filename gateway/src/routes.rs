//! What the gateway answers itself.

pub(crate) mod document;
pub(crate) mod models;
