//! The wallet of who runs a command: its key file, and the wallet that the key has on a network.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
};

use billing::channel::Network;
use billing_ton::{
    Wallet,
    keyfile::{self, CreateError, Hardness, KeyFile, OpenError, Purpose, ReadError, Secret},
};

use crate::{
    config::Environment,
    home,
    passphrase::{Passphrase, PassphraseError, Source},
};

/// Why a wallet cannot be made or used, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalletError {
    #[error(
        "no folder for data is known, since neither XDG_DATA_HOME nor HOME is set; name the key file with --wallet FILE"
    )]
    NoHome,
    #[error(
        "there is no wallet at '{}'; make one with `mulberry wallet create`, or take one over with `mulberry wallet import`",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "there is a file at '{}' already, and it was not touched; use that wallet, or name another file with --wallet",
        .0.display()
    )]
    Exists(PathBuf),
    #[error("the folder '{}' cannot be made", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the wallet '{}' was not made", path.display())]
    Create { path: PathBuf, source: CreateError },
    #[error("the wallet '{}' cannot be used", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error("the wallet '{}' does not open", path.display())]
    Open { path: PathBuf, source: OpenError },
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// A key file, not opened.
pub(crate) struct WalletFile {
    path: PathBuf,
    file: KeyFile,
}

/// Where the wallet is that a command means.
pub(crate) fn place(named: Option<PathBuf>, environment: &dyn Environment) -> Result<PathBuf, WalletError> {
    match named {
        Some(path) => Ok(path),
        None => Ok(home::data(environment).ok_or(WalletError::NoHome)?.join("wallet.json")),
    }
}

/// Refuses a place where something lies, before anybody is asked for anything.
pub(crate) fn vacant(path: &Path) -> Result<(), WalletError> {
    match path.symlink_metadata() {
        Ok(_) => Err(WalletError::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

impl WalletFile {
    /// Seals a key at a place where there is none. It is on the disk when this returns.
    pub(crate) fn create(path: &Path, secret: &Secret, passphrase: &Source<'_>) -> Result<Self, WalletError> {
        vacant(path)?;
        let passphrase = passphrase.new_one("the wallet")?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            private_folder(folder).map_err(|source| WalletError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        keyfile::create(path, Purpose::Wallet, secret, passphrase.bytes(), Hardness::USUAL).map_err(|source| {
            match source {
                CreateError::Exists => WalletError::Exists(path.to_owned()),
                source => WalletError::Create {
                    path: path.to_owned(),
                    source,
                },
            }
        })?;
        Self::read(path.to_owned())
    }

    pub(crate) fn read(path: PathBuf) -> Result<Self, WalletError> {
        match KeyFile::read(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(WalletError::Missing(path)),
            Err(source) => Err(WalletError::Read { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &KeyFile {
        &self.file
    }

    /// The wallet that the key has there.
    pub(crate) fn wallet(&self, network: Network) -> Wallet {
        Wallet::new(network, *self.file.public_key())
    }

    /// The key itself.
    pub(crate) fn open(&self, passphrase: &Source<'_>) -> Result<Secret, WalletError> {
        let passphrase = passphrase.existing(&format!("the wallet {}", self.path.display()))?;
        self.open_with(&passphrase)
    }

    pub(crate) fn open_with(&self, passphrase: &Passphrase) -> Result<Secret, WalletError> {
        self.file
            .open(Purpose::Wallet, passphrase.bytes())
            .map_err(|source| WalletError::Open {
                path: self.path.clone(),
                source,
            })
    }
}

/// A folder that nobody else may look into, with those above it. One that is there keeps its rights.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
