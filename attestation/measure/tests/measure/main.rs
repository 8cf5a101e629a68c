//! Predictions against what real guests measured, against other people's tools, and against files made by hand.

#![expect(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, and says where"
)]

mod broken;
mod firmware;
mod logs;
mod predictions;
mod samples;
