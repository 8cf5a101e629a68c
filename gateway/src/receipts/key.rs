//! The private key that signs receipts: a file of the operator's, or one made at the first start.
//!
//! It is the 32-byte seed of an Ed25519 pair, as 64 hexadecimal digits or in PEM (PKCS #8).
//! A file that every user of the machine may read or write is refused: who has the key can sign what they like.

use std::{io, path::Path};

use billing::receipt::{SigningKey, from_hex, to_hex};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::{
    key_file::{self, ReadError},
    tls,
};

/// The file in the data directory.
const FILE: &str = "receipt.key";

/// Why there is no key to sign with, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key that signs receipts cannot be read from '{path}'")]
    Read { path: String, source: io::Error },
    #[error(
        "every user of this machine may read or change '{path}', the key that signs receipts; run: chmod 600 {path}"
    )]
    Exposed { path: String },
    #[error(
        "'{path}' holds no Ed25519 key; expected 64 hexadecimal digits or a private key in PEM, as `openssl genpkey -algorithm ed25519` makes"
    )]
    Malformed { path: String },
    #[error("no secure random bytes can be had from this system")]
    Random,
    #[error(
        "the key that signs receipts cannot be kept in '{path}'; check the permissions of the folder, or set ledger.receipt_key"
    )]
    Write { path: String, source: io::Error },
}

/// The key of the operator's file.
pub(crate) fn read(path: &Path) -> Result<SigningKey, KeyError> {
    let shown = || path.display().to_string();
    let text = key_file::read(path).map_err(|error| match error {
        ReadError::Io(source) => KeyError::Read { path: shown(), source },
        ReadError::Exposed => KeyError::Exposed { path: shown() },
    })?;
    parse(&text).ok_or_else(|| KeyError::Malformed { path: shown() })
}

/// The key in the data directory; made if there is none.
pub(crate) fn read_or_make_in(folder: &Path) -> Result<SigningKey, KeyError> {
    read_or_make(&folder.join(FILE))
}

/// The key of this file; made if there is none.
pub(crate) fn read_or_make(path: &Path) -> Result<SigningKey, KeyError> {
    match read(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            // Perhaps that of a process that started beside us.
            let key = read(path)?;
            tracing::info!(file = %path.display(), key = %key.public().id(), "a key that signs receipts was made and kept in a file");
            Ok(key)
        }
        read => read,
    }
}

/// A key that is kept nowhere.
pub(crate) fn fresh() -> Result<SigningKey, KeyError> {
    let seed: [u8; 32] = tls::random().ok_or(KeyError::Random)?;
    SigningKey::from_seed(&seed).map_err(|_| KeyError::Random)
}

fn parse(text: &str) -> Option<SigningKey> {
    let text = text.trim();
    if let Some(seed) = from_hex(&text.to_ascii_lowercase()) {
        return SigningKey::from_seed(&seed).ok();
    }
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
    SigningKey::from_pkcs8(der.secret_pkcs8_der()).ok()
}

fn make(path: &Path) -> Result<(), KeyError> {
    let seed: [u8; 32] = tls::random().ok_or(KeyError::Random)?;
    key_file::keep(path, &format!("{}\n", to_hex(&seed))).map_err(|source| KeyError::Write {
        path: path.display().to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("mulberry-receipt-key-{:016x}", fastrand::u64(..)));
            fs::create_dir(&path).expect("a temporary folder can be made");
            Self(path)
        }

        fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).expect("it can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// RFC 8032, 7.1, test 1, as digits and as OpenSSL writes it.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn a_key_is_read_in_either_form() {
        let folder = Folder::new();
        for (name, text) in [("a", SEED), ("b", PEM)] {
            let key = read(&folder.file(name, text, 0o600)).expect("a key");
            assert_eq!(key.public().to_string(), PUBLIC);
        }
        assert!(read(&folder.file("c", SEED, 0o640)).is_ok(), "a group may be trusted");
    }

    #[test]
    fn what_is_no_key_or_no_secret_is_refused() {
        let folder = Folder::new();
        for mode in [0o644, 0o602, 0o601] {
            let refused = read(&folder.file("exposed", SEED, mode));
            assert!(matches!(refused, Err(KeyError::Exposed { .. })), "{mode:o}");
        }
        for text in [
            "",
            "0",
            &SEED[2..],
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let refused = read(&folder.file("wrong", text, 0o600));
            assert!(matches!(refused, Err(KeyError::Malformed { .. })), "{text}");
        }
        assert!(matches!(read(&folder.0.join("none")), Err(KeyError::Read { .. })));
    }

    #[test]
    fn of_many_that_start_at_once_all_have_the_same_key() {
        let folder = Folder::new();
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                read_or_make_in(&folder.0).expect("the folder can be written").public()
            };
            let starting: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            starting
                .into_iter()
                .map(|one| one.join().expect("it does not panic"))
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let kept = fs::metadata(folder.0.join(FILE)).expect("it is there");
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&folder.0).expect("it is there").count(),
            1,
            "nothing lies beside it"
        );
    }
}
