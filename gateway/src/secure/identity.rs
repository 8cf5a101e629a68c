//! Identity: the key pair by which a gateway or a worker is known, and the certificate that shows it.
//!
//! The pair is Ed25519, kept in a file (PKCS #8 in PEM) that only its owner may read, and made when it is first needed.
//! The certificate is signed by its own key and made anew at each start; nobody compares anything of it but the key.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::key_digest;
use crate::{config::KeyDigest, tls};

/// A key has far fewer bytes.
const MAX_FILE: u64 = 16 * 1024;

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
                keep(path, &pair.serialize_pem()).map_err(|source| IdentityError::Write {
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
    let failed = |source| IdentityError::Read { path: shown(), source };
    let file = fs::File::open(path).map_err(failed)?;
    // Of the file that is open, not of whatever has its name by now.
    if is_exposed(&file.metadata().map_err(failed)?) {
        return Err(IdentityError::Exposed { path: shown() });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    KeyPair::from_pem(&text).map_err(|_| IdentityError::Malformed { path: shown() })
}

/// Writes a key where there is none. The file is there whole or not at all, whatever ends us meanwhile; one that
/// another process put there first stays.
fn keep(path: &Path, pem: &str) -> io::Result<()> {
    let mark: [u8; 8] = tls::random().ok_or(io::ErrorKind::Unsupported)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{name}.{:016x}", u64::from_be_bytes(mark)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    only_ours(&mut options);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A file system without links.
            Err(_) => fs::rename(&beside, path),
            Ok(()) => Ok(()),
        }
    });
    // Its work is done, or it is gone already.
    drop(fs::remove_file(&beside));
    written
}

#[cfg(unix)]
fn only_ours(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(unix)]
fn is_exposed(metadata: &fs::Metadata) -> bool {
    /// Reading, writing or running by those who are neither the owner nor of the group.
    const OTHERS: u32 = 0o007;
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & OTHERS != 0
}

/// Elsewhere a new file has the rights of its folder.
#[cfg(not(unix))]
fn only_ours(_options: &mut OpenOptions) {}

#[cfg(not(unix))]
fn is_exposed(_metadata: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

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
