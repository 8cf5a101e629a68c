//! Certificates (RFC 5280) on P-384 with SHA-384, as plain data that a key signs.

use super::key::Key;
use crate::der;

const ECDSA_WITH_SHA256: [u64; 7] = [1, 2, 840, 10045, 4, 3, 2];
const ECDSA_WITH_SHA384: [u64; 7] = [1, 2, 840, 10045, 4, 3, 3];
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// In each name, so that nobody who looks at such a certificate takes it for NVIDIA's.
const NOBODY: &str = "Software GPU: no hardware vouches for this";

/// Bits of KeyUsage (RFC 5280 §4.2.1.3), from the left.
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(super) const SIGN_CERTIFICATES: u8 = 0x04;

#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) serial: Vec<u8>,
    /// Common names.
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) spki: Vec<u8>,
    /// With how many authorities below it at most, where that is said.
    pub(super) authority: Option<Option<u8>>,
    pub(super) usage: u8,
    /// The identifier, whether it is critical, and what its OCTET STRING holds.
    pub(super) extensions: Vec<(Vec<u64>, bool, Vec<u8>)>,
    pub(super) is_sha256: bool,
}

impl Certificate {
    /// DER.
    pub(super) fn sign(&self, issuer: &Key) -> Vec<u8> {
        let algorithm = match self.is_sha256 {
            true => der::sequence(&[&der::oid(&ECDSA_WITH_SHA256)]),
            false => algorithm(),
        };
        let usage = der::bits(self.usage.trailing_zeros() as u8, &[self.usage]);
        let mut extensions = vec![extension(&KEY_USAGE, true, &usage)];
        if let Some(limit) = self.authority {
            let limit = limit.map(|limit| der::number(limit.into())).unwrap_or_default();
            let constraints = der::sequence(&[&der::boolean(true), &limit]);
            extensions.push(extension(&BASIC_CONSTRAINTS, true, &constraints));
        }
        for (id, is_critical, value) in &self.extensions {
            extensions.push(extension(id, *is_critical, value));
        }
        let tbs = der::sequence(&[
            // Version 3.
            &der::explicit(0, &der::number(2)),
            &der::integer(&self.serial),
            &algorithm,
            &name(&self.issuer),
            &der::sequence(&[&der::time(self.not_before), &der::time(self.not_after)]),
            &name(&self.subject),
            &self.spki,
            &der::explicit(3, &der::sequence(&[&extensions.concat()])),
        ]);
        der::sequence(&[&tbs, &algorithm, &der::bits(0, &issuer.sign_der(&tbs))])
    }
}

/// AlgorithmIdentifier.
pub(super) fn algorithm() -> Vec<u8> {
    der::sequence(&[&der::oid(&ECDSA_WITH_SHA384)])
}

pub(super) fn name(common_name: &str) -> Vec<u8> {
    let part = |id: &[u64], value| {
        let pair = der::sequence(&[&der::oid(id), &der::utf8(value)]);
        der::element(der::SET, &[&pair])
    };
    der::sequence(&[&part(&COMMON_NAME, common_name), &part(&ORGANIZATION, NOBODY)])
}

pub(super) fn extension(id: &[u64], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { der::boolean(true) } else { Vec::new() };
    der::sequence(&[&der::oid(id), &critical, &der::octets(value)])
}
