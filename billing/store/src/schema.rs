//! The migrations in this program, and what they make of a file.

use std::sync::LazyLock;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, SqlSafeStr, SqliteConnection};

/// "MULB" in the header of our files; migration 1 writes it.
const APPLICATION_ID: i64 = 1_297_435_714;

/// Embedded by hand: `sqlx::migrate!` would bring sqlx's macros and their build time.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "requests", include_str!("../migrations/0001_requests.sql")),
        migration(2, "keys", include_str!("../migrations/0002_keys.sql")),
    ])
});

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

/// The version that this program writes and reads.
pub(crate) fn known_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Looks without changing anything.
pub(crate) async fn inspect(conn: &mut SqliteConnection) -> Result<Contents, sqlx::Error> {
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

/// Brings a file up to [`known_version`], wholly or not at all.
pub(crate) async fn migrate(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    // Taken before looking, so that two processes that start together do not both migrate.
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATOR.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}
