//! The fuzz target of this package over its seeds. `attestation/fuzz/run` goes on from here.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::{fs, path::Path};

#[path = "../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../fuzz/targets_measure.rs"]
mod targets;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");

#[test]
fn no_seed_and_no_near_miss_is_too_much() {
    corpus::run(Path::new(SEEDS), &targets::ALL);
}

/// Each is a log, and not only bytes that are refused.
#[test]
fn seeds_are_valid() {
    for name in ["two", "two_digests"] {
        let seed = fs::read(Path::new(SEEDS).join("boot_log").join(name)).expect("the seed is there");
        let log = attestation_measure::log::Log::parse(&seed).expect("a log");
        assert_eq!(log.entries.len(), 2, "{name}");
    }
}
