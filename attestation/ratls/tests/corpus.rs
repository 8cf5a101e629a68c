//! The fuzz targets of this package over their seeds. `attestation/fuzz/run` goes on from here.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use attestation_ratls::{Certificate, Shown, channel::Message};
use rustls_pki_types::CertificateDer;

#[path = "../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../fuzz/targets_ratls.rs"]
mod targets;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");

#[test]
fn no_seed_and_no_near_miss_is_too_much() {
    corpus::run(Path::new(SEEDS), &targets::ALL);
}

/// What the seeds are: each is something that its target reads, and not only refuses.
#[test]
fn seeds_are_valid() {
    let read = |name: &str| fs::read(Path::new(SEEDS).join(name)).unwrap();
    let certificate = |name| Certificate::read(&CertificateDer::from(read(name)), &[], 1_795_334_400).unwrap();
    for name in ["certificate/ed25519", "certificate/p256"] {
        assert!(matches!(certificate(name).shown(), Shown::Evidence(_)));
    }
    assert!(matches!(certificate("certificate/cocoon").shown(), Shown::Cocoon(_)));
    for name in ["challenge", "quote", "signature", "accepted", "refused"] {
        Message::from_line(&read(&format!("channel_message/{name}"))).unwrap();
    }
}
