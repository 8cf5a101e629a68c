//! The private key that signs takes: a file of the operator's, or one made at the first start.
//!
//! It is the 32-byte seed of an Ed25519 pair, as 64 hexadecimal digits. Channels are opened to it: without it what they
//! hold cannot be taken, so that it is to be backed up.

use std::{io, path::Path};

use billing::{
    channel::Signer,
    receipt::{from_hex, to_hex},
};

use crate::{
    key_file::{self, ReadError},
    tls,
};

/// The file in the data directory.
const FILE: &str = "payee.key";

/// Why there is no key to sign with, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("there is nowhere to keep the key that signs takes; set data_dir, or payments.key_file")]
    Nowhere,
    #[error("the key that signs takes cannot be read from '{path}'")]
    Read { path: String, source: io::Error },
    #[error("every user of this machine may read or change '{path}', the key that signs takes; run: chmod 600 {path}")]
    Exposed { path: String },
    #[error("'{path}' holds no Ed25519 seed; expected 64 hexadecimal digits")]
    Malformed { path: String },
    #[error("no secure random bytes can be had from this system")]
    Random,
    #[error("the key that signs takes cannot be kept in '{path}'; check the permissions of the folder")]
    Write { path: String, source: io::Error },
}

/// The key of the operator's file, or else the one in the data directory, made if there is none.
pub(super) fn signer(file: Option<&Path>, folder: Option<&Path>) -> Result<Signer, KeyError> {
    match (file, folder) {
        (Some(file), _) => read(file),
        (None, Some(folder)) => read_or_make(&folder.join(FILE)),
        (None, None) => Err(KeyError::Nowhere),
    }
}

/// Whether there is a key, of the operator's or of an earlier start.
pub(super) fn is_there(file: Option<&Path>, folder: Option<&Path>) -> bool {
    file.is_some() || folder.is_some_and(|folder| folder.join(FILE).exists())
}

fn read(path: &Path) -> Result<Signer, KeyError> {
    let shown = || path.display().to_string();
    let text = key_file::read(path).map_err(|error| match error {
        ReadError::Io(source) => KeyError::Read { path: shown(), source },
        ReadError::Exposed => KeyError::Exposed { path: shown() },
    })?;
    let seed = from_hex(&text.trim().to_ascii_lowercase()).ok_or_else(|| KeyError::Malformed { path: shown() })?;
    Signer::from_seed(&seed).map_err(|_| KeyError::Malformed { path: shown() })
}

/// The key of this file; made if there is none.
pub(crate) fn read_or_make(path: &Path) -> Result<Signer, KeyError> {
    match read(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let seed: [u8; 32] = tls::random().ok_or(KeyError::Random)?;
            key_file::keep(path, &format!("{}\n", to_hex(&seed))).map_err(|source| KeyError::Write {
                path: path.display().to_string(),
                source,
            })?;
            // Perhaps that of a process that started beside us.
            let signer = read(path)?;
            tracing::info!(file = %path.display(), key = %to_hex(&signer.public()), "a key that signs takes was made and kept in a file; back it up");
            Ok(signer)
        }
        read => read,
    }
}
