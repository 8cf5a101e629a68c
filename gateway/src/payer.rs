//! The payer's side of payment channels, as who runs commands has it: channels in a folder, and messages to the chain.

pub(crate) mod parting;
pub(crate) mod shelf;
pub(crate) mod teller;
pub(crate) mod terms;
pub(crate) mod till;
