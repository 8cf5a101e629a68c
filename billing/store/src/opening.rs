//! Why a database was not opened.

use std::io;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use crate::fault::Fault;
use crate::location::Location;

/// Why a database was not opened. It is as it was.
///
/// `at` is the path of a file, or a server and a database; never a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("cannot create the folder {}; check the path and the permissions of the folder above it", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot open {} for writing; check that it is a file and that this user may write it", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("there is no database at {}; the gateway creates it when it starts with this path", path.display())]
    Missing { path: PathBuf },
    #[error(
        "{at} is damaged or is no SQLite database; restore a backup, or move it away to start anew (nothing was changed)"
    )]
    Damaged { at: String, source: sqlx::Error },
    #[error("{at} is the database of another program; choose another (nothing was changed)")]
    Foreign { at: String },
    #[error(
        "{at} has schema version {found}, and this program knows versions up to {known}; run the newer program, or choose another database (nothing was changed)"
    )]
    Newer { at: String, found: i64, known: i64 },
    #[error(
        "{at} has schema version {found}, and this program reads version {known}; start the gateway of this version once, it upgrades the database"
    )]
    Older { at: String, found: i64, known: i64 },
    #[error("{at} is of PostgreSQL {found}, and this program needs {needed} or newer")]
    OldServer { at: String, found: i64, needed: i64 },
    #[error("{at} only reads, as a standby does; name the primary server")]
    Standby { at: String },
    #[error("cannot bring {at} to the present schema version")]
    Migrate { at: String, source: MigrateError },
    #[error("cannot use {at}: {advice}")]
    Database {
        at: String,
        advice: &'static str,
        source: sqlx::Error,
    },
}

impl OpenError {
    pub(crate) fn database(location: &Location, source: sqlx::Error) -> Self {
        let at = location.to_string();
        match (location, Fault::of(&source)) {
            (Location::File(_), Fault::Damaged) => Self::Damaged { at, source },
            (Location::Postgres(_), Fault::Standby) => Self::Standby { at },
            (_, fault) => Self::Database {
                at,
                advice: fault.advice(),
                source,
            },
        }
    }

    pub(crate) fn migrate(location: &Location, source: MigrateError) -> Self {
        match source {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::database(location, source)
            }
            source => Self::Migrate {
                at: location.to_string(),
                source,
            },
        }
    }
}
