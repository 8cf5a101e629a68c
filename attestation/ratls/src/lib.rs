//! TLS between nodes that prove what they are: certificates with evidence, verifiers for both directions, channel binding.

pub mod collateral;
