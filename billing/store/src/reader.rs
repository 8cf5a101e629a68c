//! Questions to the database, through connections that cannot write.

use std::time::Duration;

use billing::RequestRecord;
use sqlx::sqlite::SqlitePoolOptions;

use crate::audit::{self, AuditEntry};
use crate::fault::Fault;
use crate::file;
use crate::keys::{self, KeySnapshot, StoredKey};
use crate::location::{Location, PgUrl};
use crate::opening::OpenError;
use crate::pool::{Pool, ask};
use crate::rows;
use crate::server;
use crate::usage::{self, UsageQuery, UsageRow};

/// Rows that one answer holds at most, whatever limit was asked for.
pub(crate) const MAX_ROWS: u32 = 10_000;

/// Queries in progress at once; more wait.
const CONNECTIONS: u32 = 4;

/// How long a server may take for a question about keys, connection included.
const SHORT: Duration = Duration::from_secs(2);

/// How long it may take for one about records, of which there may be many millions.
const LONG: Duration = Duration::from_secs(30);

/// The database, open for reading only.
///
/// Another process may write meanwhile; an answer shows one moment.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: Pool,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("cannot read the database: {advice}")]
    Database { advice: &'static str, source: sqlx::Error },
    #[error(
        "a row of the database has a value in `{column}` that this program cannot read; the file was altered or is damaged"
    )]
    Row { column: &'static str },
}

impl From<sqlx::Error> for ReadError {
    fn from(source: sqlx::Error) -> Self {
        Self::Database {
            advice: Fault::of(&source).advice(),
            source,
        }
    }
}

impl Reader {
    /// Opens a database that the gateway created. Creates and changes nothing.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        match location {
            Location::File(path) => {
                file::inspect(path).await?.check_readable(location)?;
                let pool = SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .connect_with(file::options(path).read_only(true))
                    .await
                    .map_err(|source| OpenError::database(location, source))?;
                Ok(Self::of_pool(Pool::Sqlite(pool)))
            }
            Location::Postgres(url) => {
                server::inspect(url).await?.check_readable(location)?;
                Ok(Self::of_server(url))
            }
        }
    }

    pub(crate) fn of_server(url: &PgUrl) -> Self {
        Self::of_pool(Pool::Postgres(server::reading_pool(url, CONNECTIONS, SHORT)))
    }

    pub(crate) fn of_pool(pool: Pool) -> Self {
        Self { pool }
    }

    /// Sums over the requests that started in a span of time, one row a group.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ReadError> {
        ask!(self.pool, LONG, db => usage::sums(&mut db, &query).await)
    }

    /// The requests that started last, newest first.
    pub async fn recent(&self, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
        ask!(self.pool, LONG, db => rows::recent(&mut db, limit.min(MAX_ROWS)).await)
    }

    /// The newest record of a request id; clients may use an id twice.
    pub async fn record(&self, request_id: &str) -> Result<Option<RequestRecord>, ReadError> {
        ask!(self.pool, LONG, db => rows::find(&mut db, request_id).await)
    }

    /// Every API key, revoked ones included, at one moment.
    pub async fn keys(&self) -> Result<KeySnapshot, ReadError> {
        ask!(self.pool, SHORT, moment db => keys::all(&mut db).await)
    }

    /// An API key by its name.
    pub async fn key(&self, name: &str) -> Result<Option<StoredKey>, ReadError> {
        ask!(self.pool, SHORT, moment db => keys::find(&mut db, name).await)
    }

    /// A number that differs after any change to the keys, by whatever process. Costs next to nothing.
    pub async fn key_generation(&self) -> Result<i64, ReadError> {
        ask!(self.pool, SHORT, db => keys::generation(&mut db).await)
    }

    /// The audit log, newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, ReadError> {
        ask!(self.pool, LONG, db => audit::newest(&mut db, limit.min(MAX_ROWS)).await)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}
