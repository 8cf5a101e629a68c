//! Questions to the database, through connections that cannot write.

use std::path::Path;

use billing::RequestRecord;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use crate::audit::{self, AuditEntry};
use crate::fault::Fault;
use crate::file::{self, OpenError};
use crate::keys::{self, KeySnapshot, StoredKey};
use crate::rows;
use crate::schema::{self, Contents};
use crate::usage::{self, UsageQuery, UsageRow};

/// Rows that one answer holds at most, whatever limit was asked for.
pub(crate) const MAX_ROWS: u32 = 10_000;

/// Queries in progress at once; more wait.
const CONNECTIONS: u32 = 4;

/// The database, open for reading only.
///
/// Another process may write meanwhile; an answer shows one moment.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: SqlitePool,
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
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let known = schema::known_version();
        let found = match file::inspect(path).await? {
            Contents::Ours { version } => version,
            Contents::Empty | Contents::Foreign => 0,
        };
        if found < known {
            return Err(OpenError::Older {
                path: path.to_path_buf(),
                found,
                known,
            });
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(file::options(path).read_only(true))
            .await
            .map_err(|source| OpenError::database(path, source))?;
        Ok(Self { pool })
    }

    pub(crate) fn of_pool(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Sums over the requests that started in a span of time, one row a group.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ReadError> {
        sqlx::query(usage::sql(query.group_by))
            .bind(query.since_ms)
            .bind(query.until_ms)
            .bind(query.limit.min(MAX_ROWS))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(usage::row)
            .collect()
    }

    /// The requests that started last, newest first.
    pub async fn recent(&self, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
        sqlx::query("SELECT * FROM requests ORDER BY started_at_ms DESC, id DESC LIMIT ?")
            .bind(limit.min(MAX_ROWS))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(rows::record)
            .collect()
    }

    /// The newest record of a request id; clients may use an id twice.
    pub async fn record(&self, request_id: &str) -> Result<Option<RequestRecord>, ReadError> {
        sqlx::query("SELECT * FROM requests WHERE request_id = ? ORDER BY id DESC LIMIT 1")
            .bind(rows::bounded(request_id))
            .fetch_optional(&self.pool)
            .await?
            .map(|row| rows::record(&row))
            .transpose()
    }

    /// Every API key, revoked ones included, at one moment.
    pub async fn keys(&self) -> Result<KeySnapshot, ReadError> {
        let mut transaction = self.pool.begin().await?;
        keys::all(&mut transaction).await
    }

    /// An API key by its name.
    pub async fn key(&self, name: &str) -> Result<Option<StoredKey>, ReadError> {
        let mut transaction = self.pool.begin().await?;
        keys::find(&mut transaction, name).await
    }

    /// A number that differs after any change to the keys, by whatever process. Costs next to nothing.
    pub async fn key_generation(&self) -> Result<i64, ReadError> {
        let mut conn = self.pool.acquire().await?;
        keys::generation(&mut conn).await
    }

    /// The audit log, newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, ReadError> {
        sqlx::query("SELECT * FROM audit ORDER BY id DESC LIMIT ?")
            .bind(limit.min(MAX_ROWS))
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(audit::entry)
            .collect()
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}
