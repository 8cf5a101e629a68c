//! The chain's file: entries one after another, each with its length and its SHA-256, each on the disk before it is told.
//!
//! An entry that a crash cut short can only be the last one, for the next is written after the last is on the disk.
//! So a bad last entry is cut off, and a bad one with more behind it is damage, which is refused.
//! Now and then the file is replaced by one that begins with the state instead of the blocks that led to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bytes::{Malformed, Reader, Writer};

mod entry;

pub(crate) use entry::{Entry, Genesis};

/// Length of a length and a checksum.
const FRAME: usize = 4 + 32;

/// Why a folder's chain cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {error}")]
    Io {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("another process has the chain in {0} open; stop it, or choose another folder")]
    Locked(PathBuf),
    /// Damage, not a torn write: something follows.
    #[error("{path} is damaged at byte {offset}; restore it, or remove the folder to begin a new chain")]
    Damaged { path: PathBuf, offset: u64 },
    #[error("{path} is not a simulated chain, or one of a version that this program does not know")]
    NotAChain { path: PathBuf },
    #[error("the chain in {path} is of network {there}, not of {asked}; choose another folder")]
    OtherNetwork {
        path: PathBuf,
        there: billing::channel::Network,
        asked: billing::channel::Network,
    },
    #[error(transparent)]
    Config(#[from] crate::config::BadConfig),
}

/// SHA-256 of an entry. A block's is its name.
pub(crate) type Hash = [u8; 32];

/// An entry as it is written.
pub(crate) struct Frame {
    pub(crate) hash: Hash,
    bytes: Vec<u8>,
}

/// The open file, and the lock that keeps others out.
pub(crate) struct Disk {
    folder: PathBuf,
    file: File,
    /// Where the next entry goes. What is behind is a write that failed.
    end: u64,
    /// It is not known what is on the disk: nothing more is written.
    broken: bool,
    /// Held while the file is open. The operating system lets go of it when the process dies.
    _lock: File,
}

impl Disk {
    /// Opens the chain in `folder`, or begins one with `genesis`. The entries that are there, in order.
    pub(crate) fn open(folder: &Path, genesis: &Genesis) -> Result<(Self, Vec<(Entry, Hash)>), OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(&lock_path)(error)),
        }
        let path = folder.join("chain");
        if !path.try_exists().map_err(io(&path))? {
            prepare(folder, &[Entry::Genesis(genesis.clone())])
                .and_then(|_| put(folder))
                .map_err(io(&path))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io(&path))?;
        let (entries, end) = entries(&bytes).map_err(|offset| match offset {
            0 => OpenError::NotAChain { path: path.clone() },
            offset => OpenError::Damaged {
                path: path.clone(),
                offset,
            },
        })?;
        let Some((Entry::Genesis(there), _)) = entries.first() else {
            return Err(OpenError::NotAChain { path });
        };
        if there.network != genesis.network {
            return Err(OpenError::OtherNetwork {
                path,
                there: there.network,
                asked: genesis.network,
            });
        }
        if end < length(&bytes) {
            file.set_len(end).and_then(|()| file.sync_all()).map_err(io(&path))?;
        }
        let disk = Self {
            folder: folder.to_owned(),
            file,
            end,
            broken: false,
            _lock: lock,
        };
        Ok((disk, entries))
    }

    /// How long the file is.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// Writes an entry and returns when it is on the disk. After an error it is as if it had not been tried.
    pub(crate) fn append(&mut self, frame: &Frame) -> std::io::Result<()> {
        if self.broken {
            return Err(std::io::Error::other(
                "an earlier write failed in a way that cannot be undone; restart",
            ));
        }
        self.file.seek(SeekFrom::Start(self.end))?;
        let written = self.file.write_all(&frame.bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What stayed behind the end would look like damage once a shorter entry lies over its beginning.
            self.broken = self.file.set_len(self.end).is_err();
            return Err(error);
        }
        self.end += length(&frame.bytes);
        Ok(())
    }

    /// Puts a file of `entries` in place of this one. If the new one cannot be written the old one stays.
    pub(crate) fn replace(&mut self, entries: &[Entry]) {
        let Ok((file, end)) = prepare(&self.folder, entries) else {
            return;
        };
        match put(&self.folder) {
            Ok(()) => (self.file, self.end) = (file, end),
            Err(_) => self.broken = true,
        }
    }
}

/// Writes a new file beside the chain's.
fn prepare(folder: &Path, entries: &[Entry]) -> std::io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(folder.join("chain.new"))?;
    let mut end = 0;
    for entry in entries {
        let frame = Frame::new(entry);
        file.write_all(&frame.bytes)?;
        end += length(&frame.bytes);
    }
    file.sync_all()?;
    Ok((file, end))
}

/// Gives the new file the chain's name.
fn put(folder: &Path) -> std::io::Result<()> {
    std::fs::rename(folder.join("chain.new"), folder.join("chain"))?;
    // The name, too, must be on the disk.
    File::open(folder)?.sync_all()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("64 bits count what is in memory")
}

impl Frame {
    pub(crate) fn new(entry: &Entry) -> Self {
        let payload = entry.write();
        let hash: Hash = Sha256::digest(&payload).into();
        let mut bytes = Writer::default();
        bytes.len(payload.len());
        bytes.array(&hash);
        bytes.array(&payload);
        Self {
            hash,
            bytes: bytes.finish(),
        }
    }
}

/// The whole entries at the beginning of `bytes`, and where they end; or where the damage is.
fn entries(bytes: &[u8]) -> Result<(Vec<(Entry, Hash)>, u64), u64> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (whole, hash) = match split(rest) {
            Ok(whole) => whole,
            // The last write: cut short, or of a length that was on the disk before what it is the length of.
            Err(Broken::Torn) => break,
            Err(Broken::Damaged) if is_blank(rest) => break,
            Err(Broken::Damaged) => return Err(length(bytes.get(..at).unwrap_or_default())),
        };
        let entry = Entry::read(whole).map_err(|Malformed| length(bytes.get(..at).unwrap_or_default()))?;
        entries.push((entry, hash));
        at += FRAME + whole.len();
    }
    Ok((entries, length(bytes.get(..at).unwrap_or_default())))
}

enum Broken {
    /// Nothing is behind it.
    Torn,
    Damaged,
}

fn split(rest: &[u8]) -> Result<(&[u8], Hash), Broken> {
    let mut reader = Reader::new(rest);
    let (Ok(len), Ok(checksum)) = (reader.u32(), reader.array::<32>()) else {
        return Err(Broken::Torn);
    };
    let end = usize::try_from(len).map_or(usize::MAX, |len| FRAME.saturating_add(len));
    let Some(payload) = rest.get(FRAME..end) else {
        return Err(Broken::Torn);
    };
    match (Sha256::digest(payload).as_slice() == checksum, end == rest.len()) {
        (true, _) => Ok((payload, checksum)),
        (false, true) => Err(Broken::Torn),
        (false, false) => Err(Broken::Damaged),
    }
}

/// A file system may lengthen a file before it writes into it.
fn is_blank(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
