//! Evidence and a time in, a verdict or a refusal out. No I/O and no clock.

pub mod binding;
pub mod gpu;
mod hex;
mod role;
mod tier;

pub use hex::Hex;
pub use role::Role;
pub use tier::Tier;
