//! The database file: creating it for its owner alone, and refusing files that are not ours.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::location::Location;
use crate::opening::OpenError;
use crate::schema::{self, Contents};

/// How long a statement waits for another process before it fails as busy.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Creates a folder and those above it where they are missing, for this user alone.
pub fn private_folder(folder: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| OpenError::Folder {
            path: folder.to_path_buf(),
            source,
        })
}

/// Creates the file and the folders above it where they are missing, for this user alone.
///
/// SQLite gives its `-wal` and `-shm` files the mode of the file itself.
pub(crate) fn create_private(path: &Path) -> Result<(), OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_folder(folder)?;
    }
    let unusable = |source| OpenError::File {
        path: path.to_path_buf(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unusable)?;
    let mode = file.metadata().map_err(unusable)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{:03o}", mode & 0o777),
            "other users may read the usage database; consider chmod 600"
        );
    }
    Ok(())
}

/// Looks into an existing file through a read-only connection of its own.
pub(crate) async fn inspect(path: &Path) -> Result<Contents, OpenError> {
    if !fs::exists(path).map_err(|source| OpenError::File {
        path: path.to_path_buf(),
        source,
    })? {
        return Err(OpenError::Missing {
            path: path.to_path_buf(),
        });
    }
    let location = Location::from(path);
    let failed = |source| OpenError::database(&location, source);
    let mut conn = options(path).read_only(true).connect().await.map_err(failed)?;
    let contents = schema::inspect_file(&mut conn).await;
    conn.close().await.map_err(failed)?;
    contents.map_err(failed)?.check(&location)
}

/// What every connection to the file has in common.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}
