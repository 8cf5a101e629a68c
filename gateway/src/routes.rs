//! What the gateway answers itself.

pub(crate) mod document;
pub(crate) mod evidence;
pub(crate) mod models;
pub(crate) mod receipts;
