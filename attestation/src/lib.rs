//! Evidence and a time in, a verdict or a refusal out. No I/O and no clock.

mod attester;
pub mod binding;
pub mod event;
pub mod gpu;
mod hex;
mod role;
mod tier;

pub use attester::{Attester, NoQuote};
pub use hex::Hex;
pub use role::Role;
pub use tier::Tier;
