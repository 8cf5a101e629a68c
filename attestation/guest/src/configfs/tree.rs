//! The few things that are done to the kernel's tree of reports.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Folders that the kernel fills as they are made. A test puts its own kernel here.
pub(crate) trait Tree: Send + Sync {
    /// Makes an entry; the kernel puts its attributes there before this returns.
    fn create(&self, entry: &str) -> io::Result<()>;
    /// At most `limit` bytes, and one more where there are more.
    fn read(&self, entry: &str, attribute: &str, limit: usize) -> io::Result<Vec<u8>>;
    /// In one write: the kernel takes the bytes of one call as the whole.
    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()>;
    fn remove(&self, entry: &str) -> io::Result<()>;
}

/// The kernel's own.
#[derive(Debug)]
pub(crate) struct OnDisk {
    pub(crate) root: PathBuf,
}

impl OnDisk {
    pub(super) fn attribute(&self, entry: &str, attribute: &str) -> PathBuf {
        self.root.join(entry).join(attribute)
    }
}

impl Tree for OnDisk {
    fn create(&self, entry: &str) -> io::Result<()> {
        fs::create_dir(self.root.join(entry))
    }

    fn read(&self, entry: &str, attribute: &str, limit: usize) -> io::Result<Vec<u8>> {
        read_bounded(&self.attribute(entry, attribute), limit)
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::options().write(true).open(self.attribute(entry, attribute))?;
        match file.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        fs::remove_dir(self.root.join(entry))
    }
}

pub(crate) fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
