//! The migrations in this program, and what they make of a database.

use std::sync::LazyLock;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr, SqliteConnection};

use crate::location::Location;
use crate::opening::OpenError;

/// "MULB" in the header of our files; migration 1 writes it.
const APPLICATION_ID: i64 = 1_297_435_714;

/// The schema in PostgreSQL that everything of ours stands in.
///
/// One of our own: a database may be shared with other programs, whose tables may also be called `keys`; and since
/// PostgreSQL 15 a user who was granted a database may make a schema in it, but nothing in `public`.
pub(crate) const SCHEMA: &str = "mulberry";

/// What nodes that start together hold while they migrate: "MULB" twice, as a number that no other program has.
const MIGRATION_LOCK: i64 = 0x4d55_4c42_4d55_4c42;

/// Embedded by hand: `sqlx::migrate!` would bring sqlx's macros and their build time.
macro_rules! migrator {
    ($($version:literal $name:literal $file:literal),* $(,)?) => {
        LazyLock::new(|| {
            let mut migrator = Migrator::with_migrations(vec![$(Migration::new(
                $version,
                $name.into(),
                MigrationType::Simple,
                include_str!(concat!("../migrations/", $file)).into_sql_str(),
                false,
            )),*]);
            // We have a lock of our own before we begin.
            migrator.set_locking(false);
            migrator
        })
    };
}

static SQLITE: LazyLock<Migrator> = migrator![
    1 "requests" "sqlite/0001_requests.sql",
    2 "keys" "sqlite/0002_keys.sql",
    3 "ledger" "sqlite/0003_ledger.sql",
    4 "strikes" "sqlite/0004_strikes.sql",
    5 "receipt_keys" "sqlite/0005_receipt_keys.sql",
    6 "misstatements" "sqlite/0006_misstatements.sql",
    7 "channels" "sqlite/0007_channels.sql",
    8 "wages" "sqlite/0008_wages.sql",
];

static POSTGRES: LazyLock<Migrator> = migrator![
    1 "requests" "postgres/0001_requests.sql",
    2 "keys" "postgres/0002_keys.sql",
    3 "ledger" "postgres/0003_ledger.sql",
    4 "strikes" "postgres/0004_strikes.sql",
    5 "receipt_keys" "postgres/0005_receipt_keys.sql",
    6 "misstatements" "postgres/0006_misstatements.sql",
    7 "channels" "postgres/0007_channels.sql",
    8 "wages" "postgres/0008_wages.sql",
];

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing yet.
    Empty,
    /// Ours, at this version.
    Ours { version: i64 },
    /// Another program's.
    Foreign,
}

impl Contents {
    /// Refuses what is not ours or newer than we are.
    pub(crate) fn check(self, location: &Location) -> Result<Self, OpenError> {
        let known = known_version(location);
        let at = || location.to_string();
        match self {
            Self::Foreign => Err(OpenError::Foreign { at: at() }),
            Self::Ours { version: found } if found > known => Err(OpenError::Newer { at: at(), found, known }),
            contents => Ok(contents),
        }
    }

    /// Refuses what is older, too: what a reader cannot read.
    pub(crate) fn check_readable(self, location: &Location) -> Result<(), OpenError> {
        let known = known_version(location);
        let found = match self.check(location)? {
            Self::Ours { version } => version,
            Self::Empty | Self::Foreign => 0,
        };
        if found < known {
            let at = location.to_string();
            return Err(OpenError::Older { at, found, known });
        }
        Ok(())
    }
}

/// The version that this program writes and reads.
pub(crate) fn known_version(location: &Location) -> i64 {
    let migrator = match location {
        Location::File(_) => &SQLITE,
        Location::Postgres(_) => &POSTGRES,
    };
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Looks without changing anything.
pub(crate) async fn inspect_file(conn: &mut SqliteConnection) -> Result<Contents, sqlx::Error> {
    // One moment of the file: another process may migrate it between two statements, which looked like a foreign file.
    let mut transaction = conn.begin().await?;
    let contents = look(&mut transaction).await;
    transaction.rollback().await?;
    contents
}

async fn look(conn: &mut SqliteConnection) -> Result<Contents, sqlx::Error> {
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *conn)
        .await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *conn)
        .await?;
    if application_id == 0 && tables == 0 {
        return Ok(Contents::Empty);
    }
    if application_id != APPLICATION_ID {
        return Ok(Contents::Foreign);
    }
    let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut *conn)
        .await?;
    Ok(Contents::Ours {
        version: version.unwrap_or(0),
    })
}

/// Looks without changing anything.
pub(crate) async fn inspect_server(conn: &mut PgConnection) -> Result<Contents, sqlx::Error> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1")
            .bind(SCHEMA)
            .fetch_all(&mut *conn)
            .await?;
    if tables.is_empty() {
        return Ok(Contents::Empty);
    }
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return Ok(Contents::Foreign);
    }
    // Versions are counted by every program that uses sqlx; the first one's name is ours.
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT version, description FROM mulberry._sqlx_migrations ORDER BY version")
            .fetch_all(&mut *conn)
            .await?;
    match rows.first() {
        Some((1, name)) if name == "requests" => {}
        None => {}
        Some(_) => return Ok(Contents::Foreign),
    }
    Ok(Contents::Ours {
        version: rows.last().map_or(0, |(version, _)| *version),
    })
}

/// Brings a file up to [`known_version`], wholly or not at all.
pub(crate) async fn migrate_file(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    migrate_file_to(conn, None).await
}

/// To a version before, as an older program would.
pub(crate) async fn migrate_file_to(conn: &mut SqliteConnection, version: Option<i64>) -> Result<(), MigrateError> {
    // Taken before looking, so that two processes that start together do not both migrate.
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE.run_direct(version, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

/// Brings a database of a server up to [`known_version`], wholly or not at all.
pub(crate) async fn migrate_server(conn: &mut PgConnection) -> Result<(), MigrateError> {
    let mut transaction = conn.begin().await?;
    // Taken before looking, so that of nodes that start together one migrates and the others wait for it.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await?;
    let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)")
        .bind(SCHEMA)
        .fetch_one(&mut *transaction)
        .await?;
    // Even to find it there, CREATE SCHEMA IF NOT EXISTS needs the right to create one.
    if !is_there {
        sqlx::query("CREATE SCHEMA mulberry").execute(&mut *transaction).await?;
    }
    POSTGRES.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}
