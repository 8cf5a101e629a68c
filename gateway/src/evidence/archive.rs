//! The archive: a file for each bundle, whose name is the digest of what it holds.
//!
//! A file is written beside its place and renamed, so that one that is there is whole; what does not fit its name is
//! reported and never served. Files older than the time for which they are kept are removed, some thousand an hour.

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
/// How often old files are looked for, and how many are looked at: the next look goes on where the folder's order says.
const LOOK: Duration = Duration::from_secs(60 * 60);
const MAX_LOOKED_AT: usize = 10_000;

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
        private_folder(&self.folder).map_err(io::Error::other)?;
        let place = self.place(id);
        let beside = place.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &place)?;
        File::open(&self.folder)?.sync_all()
    }

    /// How many files were removed, which nobody changed since.
    fn remove_before(&self, then: SystemTime) -> io::Result<usize> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        for entry in entries.take(MAX_LOOKED_AT) {
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
        self.folder.join(format!("{id}.json"))
    }
}

impl Archivist {
    pub(super) fn new(archive: Archive, keep: Duration, ordered: mpsc::Receiver<Arc<Noted>>) -> Self {
        Self { archive, keep, ordered }
    }

    /// For as long as anybody can order.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                noted = self.ordered.recv() => match noted {
                    Some(noted) => self.write(noted).await,
                    None => return,
                },
                _ = look.tick() => self.remove_old().await,
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

    async fn remove_old(&self) {
        let (archive, keep) = (self.archive.clone(), self.keep);
        let then = SystemTime::UNIX_EPOCH + since_epoch().saturating_sub(keep);
        match tokio::task::spawn_blocking(move || archive.remove_before(then)).await {
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
        fs::write(archive.place(Hex([1; 32])), text).expect("ours");
        assert!(matches!(archive.read(Hex([1; 32])).await, Err(ReadError::Damaged)));
        fs::remove_dir_all(&archive.folder).expect("ours");
    }

    #[test]
    fn what_is_old_is_removed_and_nothing_that_is_not_ours() {
        let archive = archive();
        let now = SystemTime::UNIX_EPOCH + since_epoch();
        assert_eq!(archive.remove_before(now).expect("there is nothing"), 0);
        let id = Bundle::id_of(b"a bundle");
        archive.write(id, "a bundle").expect("written");
        let foreign = archive.folder.join("readme.txt");
        fs::write(&foreign, "mine").expect("ours");
        let hour = Duration::from_secs(3600);
        assert_eq!(archive.remove_before(now - hour).expect("looked at"), 0);
        assert_eq!(archive.remove_before(now + hour).expect("looked at"), 1);
        assert!(!archive.place(id).exists() && foreign.exists());
        fs::remove_dir_all(&archive.folder).expect("ours");
    }
}
