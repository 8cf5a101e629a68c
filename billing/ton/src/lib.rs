//! TON: cells and addresses, the channel contract's messages, wallets, and chains to send them to.
//!
//! Whatever a chain says is a claim of somebody else's computer: nothing here panics on it, and nothing asserts it.

pub mod chain;
pub mod contract;

pub use chain::Chain;
