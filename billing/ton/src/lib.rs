//! TON: cells and addresses, the channel contract's messages, wallets, and chains to send them to.
//!
//! Whatever a chain says is a claim of somebody else's computer: nothing here panics on it, and nothing asserts it.

pub mod address;
pub mod chain;
pub mod cocoon;
pub mod contract;
pub mod durable;
pub mod follower;
#[cfg(test)]
mod golden;
mod history;
pub mod inquiry;
pub mod jetton;
pub mod keyfile;
#[cfg(feature = "lite-server")]
pub mod lite;
pub mod mnemonic;
pub mod reconciler;
pub mod registry;
pub mod seed;
pub mod settler;
pub mod sources;
pub mod toncenter;
pub mod transaction;
pub mod wallet;

pub use chain::Chain;
pub use mnemonic::Mnemonic;
pub use seed::Seed;
pub use wallet::Wallet;
