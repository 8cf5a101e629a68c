//! Files that are there whole or not at all, whatever ends us meanwhile, that only their owner may read, and that are on
//! the disk when the call returns.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::tls;

/// Writes a file where there is none; one that is there stays, and the error is `AlreadyExists`.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    through_another(path, bytes, |beside| fs::hard_link(beside, path))
}

/// Writes a file in place of the one that is there, if any.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    through_another(path, bytes, |beside| fs::rename(beside, path))
}

fn through_another(path: &Path, bytes: &[u8], name: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mark: [u8; 8] = tls::random().ok_or(io::ErrorKind::Unsupported)?;
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{own}.{:016x}", u64::from_be_bytes(mark)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        name(&beside)
    });
    // It has its name, or is of no use.
    drop(fs::remove_file(&beside));
    written?;
    // The name is not on the disk before its folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
