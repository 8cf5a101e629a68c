//! Our TLS keys, of the two kinds that a [`PublicKey`] has.

use std::{fmt, sync::Arc};

use attestation::binding::keyed_statement;
pub use attestation::{KeyKind, PublicKey};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::provider::{SCHEMES, provider};

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
        signer.sign(&keyed_statement(report_data)).map_err(|_failed| BadKey)
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
