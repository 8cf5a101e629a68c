//! The fuzz targets over their seeds, and over near misses of each: what can be held without a nightly compiler.
//! `attestation/fuzz/run` goes on from here.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::{fs, path::Path};

#[path = "../fuzz/corpus.rs"]
mod corpus;
#[path = "../fuzz/targets.rs"]
mod targets;

#[test]
fn no_seed_and_no_near_miss_is_too_much() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    corpus::run(&seeds, &targets::ALL);
}

/// What the seeds are: each is something that its target reads, and not only refuses.
#[test]
fn seeds_are_valid() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let read = |name: &str| fs::read(seeds.join(name)).expect("the seed is there");
    attestation::Quote::parse(&read("quote/v4")).expect("a quote");
    attestation::Quote::parse(&read("quote/v5-15ex")).expect("a quote");
    attestation::Claims::decode(&read("claims/full")).expect("claims");
    attestation::Evidence::decode(&read("evidence/quoted")).expect("evidence");
    let policy = String::from_utf8(read("policy/gpu")).expect("a policy is text");
    attestation::Policy::from_json(&policy).expect("a policy");
    let gpus = attestation::gpu::GpuEvidence::decode(&read("gpu_evidence/one")).expect("evidence of a GPU");
    assert_eq!(gpus.devices[0].report, read("gpu_report/one"));
    attestation::gpu::NrasKey::from_jwks(&read("gpu_files/jwks")).expect("keys");
}
