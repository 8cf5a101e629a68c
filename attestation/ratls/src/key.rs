//! TLS keys: ours, and a peer's as its certificate names it.
//!
//! Two kinds and no others, each in the one encoding that [RFC 8410] and [RFC 5480] give it: a key that could be
//! written in two ways would have two digests, and so be two peers.
//!
//! [RFC 8410]: https://www.rfc-editor.org/rfc/rfc8410
//! [RFC 5480]: https://www.rfc-editor.org/rfc/rfc5480

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey},
};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::provider::{SCHEMES, provider};

/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING (256 bits) }`, up to the key.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING (uncompressed point) }`, up to the point.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Before what a key without a quote signs about its channel, so that no signature of TLS is ever one of ours:
/// those are over 64 spaces and a text (RFC 8446 §4.4.3).
const STATEMENT: &[u8] = b"mulberry-keyed-v1\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    P256,
}

/// A key of ours. Cloned, not copied: there is one of it in memory.
#[derive(Clone)]
pub struct Key {
    pair: Arc<KeyPair>,
    signing: Arc<dyn SigningKey>,
    kind: KeyKind,
    spki_sha256: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a private key of Ed25519 or P-256 in PKCS #8")]
pub struct BadKey;

impl Key {
    pub fn generate(kind: KeyKind) -> Result<Self, BadKey> {
        let algorithm = match kind {
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        };
        Self::new(KeyPair::generate_for(algorithm).map_err(|_unavailable| BadKey)?)
    }

    /// One that outlives the process: a worker without a TEE is known by its key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, BadKey> {
        Self::new(KeyPair::try_from(der).map_err(|_malformed| BadKey)?)
    }

    /// For the disk of whoever owns it, and for nowhere else.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }

    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// By which peers know it.
    pub fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    pub fn public(&self) -> PublicKey {
        let spki = self.pair.subject_public_key_info();
        PublicKey::from_spki(&spki).expect("the constructor read it")
    }

    /// What a peer without a quote says of its channel instead.
    pub fn state(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, BadKey> {
        let signer = self.signing.choose_scheme(SCHEMES).ok_or(BadKey)?;
        signer.sign(&statement(report_data)).map_err(|_failed| BadKey)
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(crate) fn signing(&self) -> &Arc<dyn SigningKey> {
        &self.signing
    }

    fn new(pair: KeyPair) -> Result<Self, BadKey> {
        let public = PublicKey::from_spki(&pair.subject_public_key_info()).ok_or(BadKey)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let signing = provider()
            .key_provider
            .load_private_key(der)
            .map_err(|_refused| BadKey)?;
        Ok(Self {
            pair: Arc::new(pair),
            signing,
            kind: public.kind(),
            spki_sha256: public.spki_sha256(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {})", self.kind, attestation::Hex(self.spki_sha256))
    }
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
        let digest = digest::digest(&digest::SHA256, &self.spki());
        digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
    }

    /// Whether the holder of this key said so of a channel: [`Key::state`].
    pub fn stated(&self, report_data: &[u8; 64], signature: &[u8]) -> bool {
        self.signed(&statement(report_data), signature)
    }

    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
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

fn statement(report_data: &[u8; 64]) -> Vec<u8> {
    [STATEMENT, report_data].concat()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::{Key, KeyKind, PublicKey};

    const KINDS: [KeyKind; 2] = [KeyKind::Ed25519, KeyKind::P256];

    #[test]
    fn a_key_survives_its_file() {
        for kind in KINDS {
            let key = Key::generate(kind).unwrap();
            let again = Key::from_pkcs8(&key.to_pkcs8()).unwrap();
            assert_eq!(again.spki_sha256(), key.spki_sha256());
            assert_eq!(again.kind(), kind);
        }
        assert!(Key::from_pkcs8(b"no key").is_err());
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(Key::from_pkcs8(&other.serialize_der()).is_err());
    }

    #[test]
    fn a_public_key_has_one_encoding() {
        for kind in KINDS {
            let public = Key::generate(kind).unwrap().public();
            let spki = public.spki();
            assert_eq!(PublicKey::from_spki(&spki), Some(public));
            for cut in 0..spki.len() {
                assert_eq!(PublicKey::from_spki(&spki[..cut]), None, "{kind:?} cut at {cut}");
            }
            let longer = [&spki[..], &[0]].concat();
            assert_eq!(PublicKey::from_spki(&longer), None, "{kind:?}");
        }
    }

    #[test]
    fn a_statement_is_of_one_key_and_one_channel() {
        for kind in KINDS {
            let key = Key::generate(kind).unwrap();
            let signature = key.state(&[7; 64]).unwrap();
            assert!(key.public().stated(&[7; 64], &signature));
            assert!(!key.public().stated(&[8; 64], &signature));
            assert!(!Key::generate(kind).unwrap().public().stated(&[7; 64], &signature));
            // Neither the bare report data nor anything that TLS signs passes for a statement.
            let bare = key
                .signing()
                .choose_scheme(super::SCHEMES)
                .unwrap()
                .sign(&[7; 64])
                .unwrap();
            assert!(!key.public().stated(&[7; 64], &bare));
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = Key::generate(KeyKind::Ed25519).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("Key(Ed25519, {})", attestation::Hex(*key.spki_sha256())));
    }
}
