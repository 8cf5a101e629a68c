//! Receipts at work in a gateway: the key that signs them, what they say of bodies, and who is shown which.
//!
//! What a receipt is, and how it is checked, is `billing::receipt`.

pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod witness;

pub(crate) use witness::Witness;
