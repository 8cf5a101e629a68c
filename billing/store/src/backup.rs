//! A copy of the database, made while the gateway writes.
//!
//! SQLite's own `VACUUM INTO`: the copy is one moment of the file, whole, without a log beside it, and as small as can be.
//! Readers and the writer go on meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqlitePool;

use crate::fault::Fault;
use crate::pool::Pool;
use crate::reader::Reader;

/// Why there is no copy. Nothing was left in its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    #[error(
        "the database is in PostgreSQL, which has its own tool for that: pg_dump --schema=mulberry --format=custom --file=FILE URL; see docs/operating.md"
    )]
    Server,
    #[error("cannot create {}; name a file that does not exist, in a folder that this user may write", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("the name {} cannot be given to SQLite; choose one of Unicode characters", path.display())]
    Name { path: PathBuf },
    #[error("cannot copy the database to {}: {advice}", path.display())]
    Copy {
        path: PathBuf,
        advice: &'static str,
        source: sqlx::Error,
    },
    #[error("cannot bring {} to the disk", path.display())]
    Sync { path: PathBuf, source: io::Error },
}

impl Reader {
    /// Writes a copy to a file that must not exist, for its owner alone.
    pub async fn copy_to(&self, path: &Path) -> Result<(), BackupError> {
        let create = |source| BackupError::Create {
            path: path.to_path_buf(),
            source,
        };
        let Pool::Sqlite(pool) = self.pool() else {
            return Err(BackupError::Server);
        };
        // Absolute, so that SQLite takes no name for a URI.
        let whole = std::path::absolute(path).map_err(create)?;
        let name = whole.to_str().ok_or_else(|| BackupError::Name {
            path: path.to_path_buf(),
        })?;
        // SQLite fills an empty file, and would make its own for everyone to read.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(create)?;
        let copied = vacuum_into(pool, path, name, &file).await;
        if copied.is_err() {
            // What is there is no copy. That it stays in a rare case is told by the next attempt.
            drop(fs::remove_file(path));
        }
        copied
    }
}

async fn vacuum_into(pool: &SqlitePool, path: &Path, name: &str, file: &File) -> Result<(), BackupError> {
    sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(pool)
        .await
        .map_err(|source| BackupError::Copy {
            path: path.to_path_buf(),
            advice: Fault::of(&source).advice(),
            source,
        })?;
    file.sync_all().map_err(|source| BackupError::Sync {
        path: path.to_path_buf(),
        source,
    })
}
