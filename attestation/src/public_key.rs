//! TLS keys of peers.
//!
//! Two kinds and no others, each in the one encoding that [RFC 8410] and [RFC 5480] give it: a key that could be
//! written in two ways would have two digests, and so be two peers.
//!
//! [RFC 8410]: https://www.rfc-editor.org/rfc/rfc8410
//! [RFC 5480]: https://www.rfc-editor.org/rfc/rfc5480

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};

use crate::{binding::keyed_statement, digest::sha256};

/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING (256 bits) }`, up to the key.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING (uncompressed point) }`, up to the point.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    P256,
}

/// The key of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKey {
    Ed25519([u8; 32]),
    /// The two coordinates.
    P256([u8; 64]),
}

impl PublicKey {
    /// `None` for another kind of key, or for one of ours in another encoding.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        if let Some(key) = der.strip_prefix(&ED25519_PREFIX) {
            return key.try_into().ok().map(Self::Ed25519);
        }
        let point = der.strip_prefix(&P256_PREFIX)?;
        point.try_into().ok().map(Self::P256)
    }

    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::P256(_) => KeyKind::P256,
        }
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => [&ED25519_PREFIX[..], key].concat(),
            Self::P256(point) => [&P256_PREFIX[..], point].concat(),
        }
    }

    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&[&self.spki()]).0
    }

    /// Whether the holder of this key said so in the place of a quote: see [`keyed_statement`].
    pub fn stated(&self, report_data: &[u8; 64], signature: &[u8]) -> bool {
        self.signed(&keyed_statement(report_data), signature)
    }

    /// An ECDSA signature is over SHA-256, in ASN.1.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, &key[..]).verify(message, signature),
            Self::P256(point) => {
                let point = [&[0x04], &point[..]].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}
