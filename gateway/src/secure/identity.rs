//! Identity: the key pair by which a gateway or a worker is known, and the certificate that shows it.
//!
//! The pair is Ed25519, kept in a file (PKCS #8 in PEM) that only its owner may read, and made when it is first needed.
//! The certificate is signed by its own key and made anew at each start; nobody compares anything of it but the key.

use std::{fmt, io, path::Path};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::key_digest;
use crate::{
    config::KeyDigest,
    key_file::{self, ReadError},
};

/// Why there is no identity, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the private key cannot be read from '{path}'")]
    Read { path: String, source: io::Error },
    #[error("other users of this machine may read or change '{path}', which is a private key; run: chmod 600 {path}")]
    Exposed { path: String },
    #[error("'{path}' holds no private key in PEM; remove it to have a new one made, which peers must then be told")]
    Malformed { path: String },
    #[error("the private key cannot be kept in '{path}'; check the permissions of the folder")]
    Write { path: String, source: io::Error },
    #[error("no key could be made")]
    Make(#[source] rcgen::Error),
    #[error("no certificate of the key can be read")]
    Unreadable,
}

/// A key pair and its certificate.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    pkcs8: Vec<u8>,
    key: KeyDigest,
}

impl Identity {
    /// That of a file; made if there is none.
    pub(crate) fn read_or_make(path: &Path) -> Result<Self, IdentityError> {
        match read(path) {
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(IdentityError::Make)?;
                key_file::keep(path, &pair.serialize_pem()).map_err(|source| IdentityError::Write {
                    path: path.display().to_string(),
                    source,
                })?;
                // Perhaps that of a process that started beside us.
                Self::of(&read(path)?)
            }
            read => Self::of(&read?),
        }
    }

    /// One that is kept nowhere.
    #[cfg(test)]
    pub(crate) fn make() -> Result<Self, IdentityError> {
        Self::of(&KeyPair::generate_for(&PKCS_ED25519).map_err(IdentityError::Make)?)
    }

    fn of(pair: &KeyPair) -> Result<Self, IdentityError> {
        let params = CertificateParams::new(vec!["mulberry".to_owned()]).map_err(IdentityError::Make)?;
        let certificate = params.self_signed(pair).map_err(IdentityError::Make)?;
        let certificate = certificate.der().clone();
        Ok(Self {
            key: key_digest(&certificate).ok_or(IdentityError::Unreadable)?,
            certificate,
            pkcs8: pair.serialize_der(),
        })
    }

    /// By which peers know it.
    pub(crate) fn key(&self) -> KeyDigest {
        self.key
    }

    /// The private key.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.clone()).into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.key)
    }
}

fn read(path: &Path) -> Result<KeyPair, IdentityError> {
    let shown = || path.display().to_string();
    let text = key_file::read(path).map_err(|error| match error {
        ReadError::Io(source) => IdentityError::Read { path: shown(), source },
        ReadError::Exposed => IdentityError::Exposed { path: shown() },
    })?;
    KeyPair::from_pem(&text).map_err(|_| IdentityError::Malformed { path: shown() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let mark: [u8; 8] = tls::random().expect("random bytes");
        let path = std::env::temp_dir().join(format!("mulberry-identity-{:016x}", u64::from_be_bytes(mark)));
        let made = Identity::read_or_make(&path).expect("made");
        let again = Identity::read_or_make(&path).expect("read");
        assert_eq!(made.key(), again.key());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("ours");
            assert!(matches!(
                Identity::read_or_make(&path),
                Err(IdentityError::Exposed { .. })
            ));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        }
        fs::write(&path, "no key").expect("ours");
        assert!(matches!(
            Identity::read_or_make(&path),
            Err(IdentityError::Malformed { .. })
        ));
        fs::remove_file(&path).expect("ours");
    }
}
