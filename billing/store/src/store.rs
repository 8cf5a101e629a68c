//! The gateway's own handle on the database: one connection that writes, and a [`Reader`].

use std::path::Path;

use billing::RequestRecord;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::fault::Fault;
use crate::file::{self, OpenError};
use crate::keys::KeyStore;
use crate::reader::{ReadError, Reader};
use crate::recorder::{self, Recorder, RecorderTask};
use crate::schema;
use crate::usage::{UsageQuery, UsageRow};

/// Attempts to switch a new file to WAL while another process has it open.
const WAL_ATTEMPTS: u32 = 50;

/// The database, open for reading and writing.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) writer: SqlitePool,
    reader: Reader,
}

impl Store {
    /// Opens the database at `path`; creates it, or brings it to the present schema version, where needed.
    ///
    /// New folders get mode 0700 and a new file 0600.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        file::create_private(path)?;
        file::inspect(path).await?;
        let options = file::options(path)
            .journal_mode(SqliteJournalMode::Wal)
            // A power cut may lose the last batches, never the file; each batch costs no fsync.
            .synchronous(SqliteSynchronous::Normal)
            // A long reader lets the log grow; this shrinks it again after.
            .pragma("journal_size_limit", "67108864");
        let mut conn = connect_wal(&options)
            .await
            .map_err(|source| OpenError::database(path, source))?;
        schema::migrate(&mut conn)
            .await
            .map_err(|source| OpenError::migrate(path, source))?;
        let reader = Reader::open(path).await?;
        conn.close().await.map_err(|source| OpenError::database(path, source))?;
        // One connection: SQLite has one writer at a time, and waiting in our pool is cheaper than in its lock.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(|source| OpenError::database(path, source))?;
        Ok(Self { writer, reader })
    }

    /// A database that ends with the process.
    pub async fn in_memory() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        // The connection is the database, so there is one and it never expires.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true).disable_statement_logging())
            .await
            .map_err(|source| OpenError::database(path, source))?;
        let mut conn = pool
            .acquire()
            .await
            .map_err(|source| OpenError::database(path, source))?;
        schema::migrate(&mut conn)
            .await
            .map_err(|source| OpenError::migrate(path, source))?;
        drop(conn);
        Ok(Self {
            writer: pool.clone(),
            reader: Reader::of_pool(pool),
        })
    }

    /// A handle that takes records, and the task that writes them.
    ///
    /// Nothing is written until the caller spawns [`RecorderTask::run`].
    pub fn recorder(&self) -> (Recorder, RecorderTask) {
        recorder::recorder(self.writer.clone())
    }

    /// A handle that changes API keys.
    pub fn keys(&self) -> KeyStore {
        KeyStore::new(self.writer.clone())
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// See [`Reader::usage`].
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ReadError> {
        self.reader.usage(query).await
    }

    /// See [`Reader::recent`].
    pub async fn recent(&self, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
        self.reader.recent(limit).await
    }

    /// See [`Reader::record`].
    pub async fn record(&self, request_id: &str) -> Result<Option<RequestRecord>, ReadError> {
        self.reader.record(request_id).await
    }

    /// Closes the connections, which moves SQLite's log into the file.
    /// Call it after [`Recorder::close`]; records that come later are lost and counted.
    pub async fn close(self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Connects with WAL on.
///
/// The switch of a new file needs the file alone and does not honour the busy timeout, so it is tried again here.
async fn connect_wal(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut attempt = 1;
    loop {
        match options.connect().await {
            Err(error) if Fault::of(&error) == Fault::Busy && attempt < WAL_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}
