//! What the gateway answers itself.

pub(crate) mod document;
pub(crate) mod evidence;
pub(crate) mod models;
pub(crate) mod notices;
pub(crate) mod pay;
pub(crate) mod receipts;
