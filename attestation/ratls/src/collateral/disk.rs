//! Collateral on disk: one folder for each platform, so that a restart without a network goes on.
//!
//! File names are those of the members of Intel's `sgx_ql_qve_collateral_t`, what they hold is what was served, byte for
//! byte. Nothing on disk is believed: it is read and checked like what comes from outside, and what does not pass is
//! fetched again.
//! A folder is written beside its place and renamed, the old one last of all removed: whatever a crash leaves, one of
//! the two is whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use attestation::{Ca, Collateral, CollateralParts, MAX_COLLATERAL_BYTES, Refusal};

use super::Platform;

const TCB_INFO: &str = "tcb_info.json";
const TCB_INFO_CHAIN: &str = "tcb_info_issuer_chain.pem";
const QE_IDENTITY: &str = "qe_identity.json";
const QE_IDENTITY_CHAIN: &str = "qe_identity_issuer_chain.pem";
const PCK_CRL: &str = "pck_crl.der";
const PCK_CRL_CHAIN: &str = "pck_crl_issuer_chain.pem";
const ROOT_CA_CRL: &str = "root_ca_crl.der";

/// How many folders are looked at.
const MAX_FOLDERS: usize = 1024;

/// A folder of folders.
#[derive(Clone, Debug)]
pub struct Shelf {
    root: PathBuf,
}

/// Why a folder's collateral was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("cannot read '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write '{}'", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("'{}' has more than {MAX_COLLATERAL_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("'{}' is not text", path.display())]
    NotText { path: PathBuf },
    #[error("what is in '{}' is not collateral", path.display())]
    Refused {
        path: PathBuf,
        #[source]
        source: Refusal,
    },
    #[error("'{}' holds the collateral of {found}", path.display())]
    Misplaced { path: PathBuf, found: Platform },
}

impl Shelf {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What every folder holds, in the order of their names. No folder at all is an empty shelf.
    pub fn read_all(&self) -> Result<Vec<Result<Collateral, ShelfError>>, ShelfError> {
        let read = |source| ShelfError::Read {
            path: self.root.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read(error)),
        };
        let mut platforms = std::collections::BTreeSet::new();
        for entry in entries.take(MAX_FOLDERS) {
            let name = entry.map_err(read)?.file_name();
            // Half-written ones and foreign files are none.
            let name = name.to_str().map(|name| name.strip_suffix(OLD).unwrap_or(name));
            platforms.extend(name.and_then(platform));
        }
        Ok(platforms.into_iter().map(|platform| self.read(platform)).collect())
    }

    pub fn read(&self, platform: Platform) -> Result<Collateral, ShelfError> {
        let name = platform.to_string();
        let place = self.root.join(&name);
        let old = self.root.join(format!("{name}{OLD}"));
        // Between two renames a crash leaves the old one alone.
        let path = if !place.is_dir() && old.is_dir() { old } else { place };
        let collateral = read_folder(&path)?;
        match Platform::of(&collateral) {
            found if found == platform => Ok(collateral),
            found => Err(ShelfError::Misplaced { path, found }),
        }
    }

    pub fn write(&self, collateral: &Collateral) -> Result<(), ShelfError> {
        let name = Platform::of(collateral).to_string();
        let place = self.root.join(&name);
        let (new, old) = (
            self.root.join(format!("{name}{NEW}")),
            self.root.join(format!("{name}{OLD}")),
        );
        let write = |path: &Path, source| ShelfError::Write {
            path: path.to_owned(),
            source,
        };
        remove(&new).map_err(|error| write(&new, error))?;
        fs::create_dir_all(&new).map_err(|error| write(&new, error))?;
        let parts = collateral.parts();
        for (name, bytes) in [
            (TCB_INFO, parts.tcb_info.as_slice()),
            (TCB_INFO_CHAIN, parts.tcb_info_chain.as_bytes()),
            (QE_IDENTITY, &parts.qe_identity),
            (QE_IDENTITY_CHAIN, parts.qe_identity_chain.as_bytes()),
            (PCK_CRL, &parts.pck_crl),
            (PCK_CRL_CHAIN, parts.pck_crl_chain.as_bytes()),
            (ROOT_CA_CRL, &parts.root_ca_crl),
        ] {
            let path = new.join(name);
            write_file(&path, bytes).map_err(|error| write(&path, error))?;
        }
        sync(&new).map_err(|error| write(&new, error))?;
        // An old one is the only whole one when the place is empty, and then it must stay until the new one is in place.
        if place.is_dir() {
            remove(&old).map_err(|error| write(&old, error))?;
            fs::rename(&place, &old).map_err(|error| write(&place, error))?;
        }
        fs::rename(&new, &place).map_err(|error| write(&place, error))?;
        sync(&self.root).map_err(|error| write(&self.root, error))?;
        remove(&old).map_err(|error| write(&old, error))
    }
}

const NEW: &str = ".new";
const OLD: &str = ".old";

/// From a folder's name.
fn platform(name: &str) -> Option<Platform> {
    let (fmspc, ca) = name.split_once('-')?;
    let platform = Platform {
        fmspc: fmspc.parse().ok()?,
        ca: [Ca::Platform, Ca::Processor]
            .into_iter()
            .find(|known| known.name() == ca)?,
    };
    // Hex in capitals would be another folder with the same name.
    (platform.to_string() == name).then_some(platform)
}

/// The seven files of one platform.
pub(super) fn read_folder(folder: &Path) -> Result<Collateral, ShelfError> {
    let bytes = |name| read_file(&folder.join(name));
    let text = |name| {
        let bytes = read_file(&folder.join(name))?;
        String::from_utf8(bytes).map_err(|_| ShelfError::NotText {
            path: folder.join(name),
        })
    };
    let parts = CollateralParts {
        tcb_info: bytes(TCB_INFO)?,
        tcb_info_chain: text(TCB_INFO_CHAIN)?,
        qe_identity: bytes(QE_IDENTITY)?,
        qe_identity_chain: text(QE_IDENTITY_CHAIN)?,
        pck_crl: bytes(PCK_CRL)?,
        pck_crl_chain: text(PCK_CRL_CHAIN)?,
        root_ca_crl: bytes(ROOT_CA_CRL)?,
    };
    Collateral::parse(parts).map_err(|source| ShelfError::Refused {
        path: folder.to_owned(),
        source,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, ShelfError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_COLLATERAL_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| ShelfError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() > MAX_COLLATERAL_BYTES {
        return Err(ShelfError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Names in a folder are durable when the folder is. Windows has no such thing.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
