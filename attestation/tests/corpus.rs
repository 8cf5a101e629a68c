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

#[path = "../fuzz/targets.rs"]
mod targets;

/// Of each seed.
const NEAR_MISSES: usize = 150;

#[test]
fn no_seed_and_no_near_miss_is_too_much() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, target) in targets::ALL {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut count = 0;
        for entry in fs::read_dir(seeds.join(name)).expect("each target has a folder of seeds") {
            let path = entry.expect("the folder can be read").path();
            let seed = fs::read(path).expect("a seed can be read");
            target(&seed);
            for _ in 0..NEAR_MISSES {
                target(&random.near(&seed));
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
        target(b"");
    }
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

/// xorshift64: the same misses in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn near(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.below(256) as u8),
                3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                4 => {
                    let end = at + self.below(bytes.len() - at.min(bytes.len()));
                    let slice = bytes[at.min(bytes.len())..end].to_vec();
                    bytes.splice(at..at, slice);
                }
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}
