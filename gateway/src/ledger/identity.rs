//! The name of this node: the operator's, or one made at the first start and kept.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use crate::{config::is_node_name, tls};

/// The file in the data directory.
const FILE: &str = "node";
/// The file that a gateway holds locked while it is the node.
const LOCK: &str = "node.lock";

/// Why this gateway has no name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(
        "the name of this node cannot be kept in '{path}'; check the permissions of the folder, or set ledger.node"
    )]
    Keep { path: String, source: io::Error },
    #[error("'{path}' holds no name of a node; write up to 64 letters, digits and `-_.` there, or remove it")]
    Malformed { path: String },
    #[error("no secure random bytes can be had from this system")]
    Random,
}

/// The name in the data directory; made if there is none.
pub(super) fn read_or_make(folder: &Path) -> Result<String, IdentityError> {
    let path = folder.join(FILE);
    let failed = |source| IdentityError::Keep {
        path: path.display().to_string(),
        source,
    };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(text) => {
            let name = text.trim();
            if !is_node_name(name) {
                return Err(IdentityError::Malformed {
                    path: path.display().to_string(),
                });
            }
            return Ok(name.to_owned());
        }
    }
    let mark: [u8; 6] = tls::random().ok_or(IdentityError::Random)?;
    let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{}-{mark}", host());
    let beside = path.with_file_name(format!("{FILE}.{mark}"));
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&beside))
        .and_then(|mut file| {
            file.write_all(format!("{name}\n").as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &path))
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(failed)?;
    Ok(name)
}

/// The name of this machine, as far as it can stand in a name.
fn host() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = text
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(32)
        .collect();
    if name.is_empty() { "node".to_owned() } else { name }
}

/// Held while this process is the node of a data directory; a second one waits for it.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is there to be held: the lock ends with the file")] File);

impl Lock {
    /// `None` where another process holds it.
    pub(super) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
