//! The archive: a file for each bundle, whose name is the digest of what it holds, in a folder of those that begin alike.
//!
//! A file is written beside its place and renamed, so that one that is there is whole; what does not fit its name is
//! reported and never served. Files older than the time for which they are kept are removed, one folder after the other,
//! so that all are looked at once a day.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use attestation::{Bundle, bundle::MAX_BYTES};
use billing_store::private_folder;
use tokio::sync::mpsc;

use super::{EvidenceId, Noted, State};
use crate::{layers::rescue::Chain, wall_clock::since_epoch};

/// In the data directory.
const FOLDER: &str = "evidence";
/// How often one of the 256 folders is looked through for old files.
const LOOK: Duration = Duration::from_secs(5 * 60);

/// Why there is no answer about a bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the bundle cannot be read")]
    Io(#[from] io::Error),
    #[error("the file of the bundle does not hold what its name says")]
    Damaged,
    #[error("the reader of bundles ended by a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

#[derive(Debug, Clone)]
pub(super) struct Archive {
    folder: Arc<Path>,
}

/// Writes what was ordered, and removes what is old.
pub(crate) struct Archivist {
    archive: Archive,
    keep: Duration,
    ordered: mpsc::Receiver<Arc<Noted>>,
}

impl Archive {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join(FOLDER).into(),
        }
    }

    pub(super) async fn read(&self, id: EvidenceId) -> Result<Option<String>, ReadError> {
        let archive = self.clone();
        tokio::task::spawn_blocking(move || archive.read_now(id)).await?
    }

    fn read_now(&self, id: EvidenceId) -> Result<Option<String>, ReadError> {
        let file = match File::open(self.place(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
        match Bundle::id_of(text.as_bytes()) == id {
            true => Ok(Some(text)),
            false => Err(ReadError::Damaged),
        }
    }

    /// When this returns, a loss of power loses nothing.
    fn write(&self, id: EvidenceId, text: &str) -> io::Result<()> {
        let place = self.place(id);
        let folder = place.parent().unwrap_or(&self.folder);
        private_folder(folder).map_err(io::Error::other)?;
        let beside = place.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &place)?;
        File::open(folder)?.sync_all()?;
        // The folder may be new itself.
        File::open(&self.folder)?.sync_all()
    }

    /// How many files of one folder were removed, which nobody changed since.
    fn remove_before(&self, then: SystemTime, beginning: u8) -> io::Result<usize> {
        let entries = match fs::read_dir(self.beginning(beginning)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            let is_ours = Path::new(&entry.file_name())
                .extension()
                .is_some_and(|extension| extension == "json" || extension == "new");
            if is_ours && entry.metadata()?.modified()? < then {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn place(&self, id: EvidenceId) -> PathBuf {
        let [beginning, ..] = id.0;
        self.beginning(beginning).join(format!("{id}.json"))
    }

    /// Where those are that begin with this byte.
    fn beginning(&self, byte: u8) -> PathBuf {
        self.folder.join(format!("{byte:02x}"))
    }
}

impl Archivist {
    pub(super) fn new(archive: Archive, keep: Duration, ordered: mpsc::Receiver<Arc<Noted>>) -> Self {
        Self { archive, keep, ordered }
    }

    /// For as long as anybody can order.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        let mut next = 0_u8;
        loop {
            tokio::select! {
                noted = self.ordered.recv() => match noted {
                    Some(noted) => self.write(noted).await,
                    None => return,
                },
                _ = look.tick() => {
                    self.remove_old(next).await;
                    next = next.wrapping_add(1);
                }
            }
        }
    }

    async fn write(&self, noted: Arc<Noted>) {
        let archive = self.archive.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = archive.write(noted.id, &noted.bundle.text());
            noted.state.send_replace(match &written {
                Ok(()) => State::Durable,
                // The next request under this verdict tries again.
                Err(_) => State::Kept,
            });
            written.map_err(|error| (noted.id, error))
        });
        if let Ok(Err((id, error))) = written.await {
            tracing::error!(evidence = %id, error = %Chain(&error), "evidence that a receipt will name cannot be archived");
        }
    }

    async fn remove_old(&self, beginning: u8) {
        let (archive, keep) = (self.archive.clone(), self.keep);
        let then = SystemTime::UNIX_EPOCH + since_epoch().saturating_sub(keep);
        match tokio::task::spawn_blocking(move || archive.remove_before(then, beginning)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(removed)) => tracing::info!(removed, "old evidence was removed from the archive"),
            Ok(Err(error)) => tracing::warn!(error = %Chain(&error), "old evidence cannot be removed from the archive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use attestation::Hex;

    use super::*;
    use crate::tls;

    fn archive() -> Archive {
        let mark: [u8; 8] = tls::random().expect("random bytes");
        let folder = std::env::temp_dir().join(format!("mulberry-evidence-{:016x}", u64::from_be_bytes(mark)));
        Archive::new(&folder)
    }

    #[tokio::test]
    async fn what_was_written_is_read_by_its_digest_and_nothing_else_is() {
        let archive = archive();
        let (text, id) = ("a bundle", Bundle::id_of(b"a bundle"));
        assert!(matches!(archive.read(id).await, Ok(None)));
        archive.write(id, text).expect("written");
        archive.write(id, text).expect("written again");
        assert_eq!(archive.read(id).await.expect("read").as_deref(), Some(text));
        let other = archive.place(Hex([1; 32]));
        fs::create_dir_all(other.parent().expect("a folder")).expect("ours");
        fs::write(other, text).expect("ours");
        assert!(matches!(archive.read(Hex([1; 32])).await, Err(ReadError::Damaged)));
        fs::remove_dir_all(&archive.folder).expect("ours");
    }

    #[test]
    fn what_is_old_is_removed_and_nothing_that_is_not_ours() {
        let archive = archive();
        let now = SystemTime::UNIX_EPOCH + since_epoch();
        let id = Bundle::id_of(b"a bundle");
        let [beginning, ..] = id.0;
        let remove = |then, beginning| archive.remove_before(then, beginning).expect("it can be looked at");
        assert_eq!(remove(now, beginning), 0, "there is nothing");
        archive.write(id, "a bundle").expect("written");
        let foreign = archive.beginning(beginning).join("readme.txt");
        fs::write(&foreign, "mine").expect("ours");
        let hour = Duration::from_secs(3600);
        assert_eq!(remove(now - hour, beginning), 0, "it is not old");
        assert_eq!(remove(now + hour, beginning.wrapping_add(1)), 0, "it is elsewhere");
        assert_eq!(remove(now + hour, beginning), 1);
        assert!(!archive.place(id).exists() && foreign.exists());
        fs::remove_dir_all(&archive.folder).expect("ours");
    }
}
