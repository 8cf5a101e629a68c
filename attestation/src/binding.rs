//! What a quote is asked to say: report data that name one use, one key, one connection.
//!
//! Each begins with a tag of its own, so that a quote made for one use says nothing in another.

use crate::{
    Role,
    digest::{sha256, sha512},
};

/// The label of the TLS exporter (RFC 8446 §7.5) that a channel is bound by; its context is the nonce.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-mulberry-attest-v1";

const CERTIFICATE: &[u8] = b"mulberry-ratls-v1\0";
const CHANNEL: &[u8] = b"mulberry-chan-v1\0";
const USER: &[u8] = b"mulberry-user-v1\0";
const GPU: &[u8] = b"mulberry-gpu-v1\0";
/// No signature of TLS is ever one of ours: those are over 64 spaces and a text (RFC 8446 §4.4.3).
const KEYED: &[u8] = b"mulberry-keyed-v1\0";

/// Of the quote in a certificate: which role, which TLS key (SHA-256 of its SubjectPublicKeyInfo), which claims.
///
/// `None` for claims of 4 GiB or more, which nothing accepts.
pub fn certificate_report_data(role: Role, spki_sha256: &[u8; 32], claims: &[u8]) -> Option<[u8; 64]> {
    let len = u32::try_from(claims.len()).ok()?;
    let parts = [CERTIFICATE, &[role.code()], spki_sha256, &len.to_be_bytes(), claims];
    Some(sha512(&parts).0)
}

/// One TLS connection, seen by the side that attests.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// Of the side that attests.
    pub role: Role,
    /// From the side that verifies, used once.
    pub nonce: &'a [u8; 32],
    /// The TLS exporter under [`EXPORTER_LABEL`] and this nonce.
    pub exporter: &'a [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub attester_spki: &'a [u8; 32],
    /// The same of the other side; zeros where it showed no certificate.
    pub verifier_spki: &'a [u8; 32],
}

impl Channel<'_> {
    /// Of the quote that is asked for after the handshake. Relayed to another connection the exporter differs; sent
    /// back to its sender role and keys do.
    pub fn report_data(&self) -> [u8; 64] {
        sha512(&[
            CHANNEL,
            &[self.role.code()],
            self.nonce,
            self.exporter,
            self.attester_spki,
            self.verifier_spki,
        ])
        .0
    }
}

/// Of a quote that a user asked for with a nonce of their own.
pub fn user_report_data(role: Role, nonce: &[u8; 32], spki_sha256: &[u8; 32]) -> [u8; 64] {
    sha512(&[USER, &[role.code()], nonce, spki_sha256]).0
}

/// Of the quote in a certificate of Cocoon's: its Ed25519 key, whatever the use.
pub fn cocoon_report_data(key: &[u8; 32]) -> [u8; 64] {
    sha512(&[key]).0
}

/// The nonce that a GPU's report must hold: no other guest's, and not older than the certificate.
pub fn gpu_nonce(spki_sha256: &[u8; 32], not_before: u64) -> [u8; 32] {
    sha256(&[GPU, spki_sha256, &not_before.to_be_bytes()]).0
}

/// What a key without a quote signs, where a guest would have a quote with these report data.
pub fn keyed_statement(report_data: &[u8; 64]) -> Vec<u8> {
    [KEYED, report_data].concat()
}
