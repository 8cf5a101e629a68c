//! A chain of TON in this process: the real contracts in a real TVM, blocks on demand, time that can be moved.

pub mod config;
pub mod machine;

pub use config::{BadConfig, Prices, SLIM_HASH, slim};
pub use machine::{At, Compute, GetError, Got, Machine, NotAccepted, Outcome, Value, nonexistent};
