//! The payer's side of payment channels, as who runs commands has it: channels in a folder, and messages to the chain.

pub(crate) mod shelf;
#[cfg_attr(not(test), expect(dead_code, reason = "the payer of `connect` is built on it next"))]
pub(crate) mod teller;
pub(crate) mod terms;
pub(crate) mod till;
