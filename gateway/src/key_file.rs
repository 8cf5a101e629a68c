//! Files that hold a private key: read only where nobody else may, and written once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::tls;

/// A key has far fewer bytes.
const MAX_FILE: u64 = 16 * 1024;

/// Why a key is not read, in order of precedence.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    /// Every user of the machine may read or change it.
    Exposed,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The text of a file that those who are neither its owner nor of its group have no rights to.
pub(crate) fn read(path: &Path) -> Result<String, ReadError> {
    let file = File::open(path)?;
    // Of the file that is open, not of whatever has its name by now.
    if is_exposed(&file.metadata()?) {
        return Err(ReadError::Exposed);
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a key where there is none. The file is there whole or not at all, whatever ends us meanwhile; one that
/// another process put there first stays.
pub(crate) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let mark: [u8; 8] = tls::random().ok_or(io::ErrorKind::Unsupported)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{name}.{:016x}", u64::from_be_bytes(mark)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    only_ours(&mut options);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
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
