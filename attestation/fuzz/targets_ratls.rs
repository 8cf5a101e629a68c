//! What of `attestation-ratls` is fuzzed: what a peer shows before anybody knows who it is, and what it says after.

use attestation::Evidence;
use attestation_ratls::{Certificate, PublicKey, Shown, channel::Message};
use rustls_pki_types::CertificateDer;

/// 2026-11-22 08:00 UTC.
const NOW: u64 = 1_795_334_400;

type Reader = fn(&[u8]);

/// By the names of their folders in `attestation/fuzz/seeds`.
pub(crate) const ALL: [(&str, Reader); 2] = [("certificate", certificate), ("channel_message", channel_message)];

pub(crate) fn certificate(bytes: &[u8]) {
    let Ok(read) = Certificate::read(&CertificateDer::from(bytes), &[], NOW) else {
        return;
    };
    assert!((read.not_before()..read.not_after()).contains(&NOW));
    assert_eq!(PublicKey::from_spki(&read.key().spki()), Some(*read.key()));
    assert_eq!(read.key().spki_sha256(), *read.spki_sha256());
    if let Shown::Evidence(bytes) = read.shown()
        && let Ok(evidence) = Evidence::decode(bytes)
    {
        assert_eq!(evidence.encode(), *bytes);
    }
}

pub(crate) fn channel_message(bytes: &[u8]) {
    let Ok(message) = Message::from_line(bytes) else {
        return;
    };
    let line = message.to_line();
    let (feed, line) = line.split_last().expect("a line ends");
    assert_eq!(*feed, b'\n');
    assert_eq!(Message::from_line(line), Ok(message));
}
