//! The tamper matrix: whatever is changed or left out of evidence and of what it is judged by, once each, is refused
//! with exactly the code that `tamper.txt` says, and nothing is forgotten there.
//!
//! Each section starts from a software platform whose evidence is accepted.
//! Bytes are changed as an attacker without keys can; under `signed` whoever has the keys signs something wrong.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod claims;
mod collateral;
mod der;
mod matrix;
mod policy;
mod quote;
mod signed;
mod world;
