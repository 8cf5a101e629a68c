//! The database file: creating it for its owner alone, and refusing files that are not ours.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::fault::Fault;
use crate::schema::{self, Contents};

/// How long a statement waits for another process before it fails as busy.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a database was not opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("cannot create the folder {}; check the path and the permissions of the folder above it", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot open {} for writing; check that it is a file and that this user may write it", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("there is no database at {}; the gateway creates it when it starts with this path", path.display())]
    Missing { path: PathBuf },
    #[error("{} is damaged or is no SQLite database; restore a backup, or move it away to start anew (nothing was changed)", path.display())]
    Damaged { path: PathBuf, source: sqlx::Error },
    #[error("{} is the database of another program; choose another path (nothing was changed)", path.display())]
    Foreign { path: PathBuf },
    #[error("{} has schema version {found}, and this program knows versions up to {known}; run the newer program, or choose another path (nothing was changed)", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} has schema version {found}, and this program reads version {known}; start the gateway of this version once, it upgrades the file", path.display())]
    Older { path: PathBuf, found: i64, known: i64 },
    #[error("cannot bring {} to the present schema version", path.display())]
    Migrate { path: PathBuf, source: MigrateError },
    #[error("cannot use {}: {advice}", path.display())]
    Database {
        path: PathBuf,
        advice: &'static str,
        source: sqlx::Error,
    },
}

impl OpenError {
    pub(crate) fn database(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_path_buf();
        match Fault::of(&source) {
            Fault::Damaged => Self::Damaged { path, source },
            fault => Self::Database {
                path,
                advice: fault.advice(),
                source,
            },
        }
    }

    pub(crate) fn migrate(path: &Path, source: MigrateError) -> Self {
        match source {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => Self::database(path, source),
            source => Self::Migrate {
                path: path.to_path_buf(),
                source,
            },
        }
    }
}

/// Creates the file and the folders above it where they are missing, for this user alone.
///
/// SQLite gives its `-wal` and `-shm` files the mode of the file itself.
pub(crate) fn create_private(path: &Path) -> Result<(), OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| OpenError::Folder {
                path: folder.to_path_buf(),
                source,
            })?;
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
    let failed = |source| OpenError::database(path, source);
    let mut conn = options(path).read_only(true).connect().await.map_err(failed)?;
    let contents = schema::inspect(&mut conn).await;
    conn.close().await.map_err(failed)?;
    let known = schema::known_version();
    match contents.map_err(failed)? {
        Contents::Foreign => Err(OpenError::Foreign {
            path: path.to_path_buf(),
        }),
        Contents::Ours { version } if version > known => Err(OpenError::Newer {
            path: path.to_path_buf(),
            found: version,
            known,
        }),
        contents => Ok(contents),
    }
}

/// What every connection to the file has in common.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}
