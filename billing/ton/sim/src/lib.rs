//! A chain of TON in this process: the real contracts in a real TVM, blocks on demand, time that can be moved.
//!
//! [`Machine`] executes one message on one account. [`Simulated`] is a chain of such executions, in memory or in a folder,
//! and a [`billing_ton::Chain`].
//!
//! For development and tests: it belongs into no production build.

mod bytes;
mod clock;
pub mod config;
mod disk;
mod faulty;
#[cfg(test)]
mod forwarder;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "lite-server")]
pub mod lite;
pub mod machine;
mod simulated;
mod world;

pub use clock::Clock;
pub use config::{BadConfig, Prices, SLIM_HASH, slim};
pub use disk::OpenError;
pub use faulty::{Fault, Faulty, Odds, Order, Sending};
pub use machine::{At, Compute, GetError, Got, Machine, NotAccepted, Outcome, Value, nonexistent};
pub use simulated::{BlockMade, Blocks, DEVELOPMENT, Settings, Simulated, TickError};
pub use world::Refused;
