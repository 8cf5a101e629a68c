//! Certificates and revocation lists (RFC 5280), as plain data that a key signs. What the data say is written, sensible
//! or not.

use crate::{der, key::Key, pem};

const ECDSA_WITH_SHA256: [u64; 7] = [1, 2, 840, 10045, 4, 3, 2];
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const CRL_NUMBER: [u64; 4] = [2, 5, 29, 20];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// In each name, so that nobody who looks at such a certificate takes it for Intel's.
const NOBODY: &str = "Software TDX: no hardware vouches for this";

/// Bits of KeyUsage (RFC 5280 §4.2.1.3), from the left.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const SIGN_CERTIFICATES: u8 = 0x04;
pub(crate) const SIGN_LISTS: u8 = 0x02;

#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) serial: Vec<u8>,
    /// Common names.
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) spki: Vec<u8>,
    pub(crate) is_authority: bool,
    pub(crate) usage: u8,
    /// The identifier, and what its OCTET STRING holds.
    pub(crate) extensions: Vec<(Vec<u64>, Vec<u8>)>,
}

impl Certificate {
    /// DER.
    pub(crate) fn sign(&self, issuer: &Key) -> Vec<u8> {
        let constraints = if self.is_authority {
            der::boolean(true)
        } else {
            Vec::new()
        };
        let mut extensions = vec![
            extension(
                &KEY_USAGE,
                true,
                &der::bits(self.usage.trailing_zeros() as u8, &[self.usage]),
            ),
            extension(&BASIC_CONSTRAINTS, true, &der::sequence(&[&constraints])),
        ];
        for (id, value) in &self.extensions {
            extensions.push(extension(id, false, value));
        }
        let tbs = der::sequence(&[
            // Version 3.
            &der::explicit(0, &der::number(2)),
            &der::integer(&self.serial),
            &algorithm(),
            &name(&self.issuer),
            &der::sequence(&[&der::time(self.not_before), &der::time(self.not_after)]),
            &name(&self.subject),
            &self.spki,
            &der::explicit(3, &der::sequence(&[&extensions.concat()])),
        ]);
        signed(&tbs, issuer)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RevocationList {
    pub(crate) issuer: String,
    pub(crate) this_update: u64,
    pub(crate) next_update: Option<u64>,
    pub(crate) number: Option<u64>,
    /// Serial numbers.
    pub(crate) revoked: Vec<Vec<u8>>,
}

impl RevocationList {
    /// DER.
    pub(crate) fn sign(&self, issuer: &Key) -> Vec<u8> {
        let revoked: Vec<u8> = self
            .revoked
            .iter()
            .flat_map(|serial| der::sequence(&[&der::integer(serial), &der::time(self.this_update)]))
            .collect();
        // Present only if there is something in it (§5.1.2.6).
        let revoked = if revoked.is_empty() {
            Vec::new()
        } else {
            der::sequence(&[&revoked])
        };
        let extensions = match self.number {
            Some(number) => der::explicit(
                0,
                &der::sequence(&[&extension(&CRL_NUMBER, false, &der::number(number))]),
            ),
            None => Vec::new(),
        };
        let tbs = der::sequence(&[
            // Version 2.
            &der::number(1),
            &algorithm(),
            &name(&self.issuer),
            &der::time(self.this_update),
            &self.next_update.map(der::time).unwrap_or_default(),
            &revoked,
            &extensions,
        ]);
        signed(&tbs, issuer)
    }
}

/// PEM, one after another.
pub(crate) fn chain(certificates: &[&[u8]]) -> String {
    certificates.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
}

fn signed(tbs: &[u8], issuer: &Key) -> Vec<u8> {
    der::sequence(&[tbs, &algorithm(), &der::bits(0, &issuer.sign_der(tbs))])
}

fn algorithm() -> Vec<u8> {
    der::sequence(&[&der::oid(&ECDSA_WITH_SHA256)])
}

fn name(common_name: &str) -> Vec<u8> {
    let part = |id: &[u64], value| {
        let pair = der::sequence(&[&der::oid(id), &der::utf8(value)]);
        der::element(der::SET, &[&pair])
    };
    der::sequence(&[&part(&COMMON_NAME, common_name), &part(&ORGANIZATION, NOBODY)])
}

fn extension(id: &[u64], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { der::boolean(true) } else { Vec::new() };
    der::sequence(&[&der::oid(id), &critical, &der::octets(value)])
}
