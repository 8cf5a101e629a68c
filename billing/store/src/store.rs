//! The gateway's own handle on the database: connections that write, and a [`Reader`].

use std::path::Path;
use std::time::Duration;

use billing::RequestRecord;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::fault::Fault;
use crate::file;
use crate::keys::KeyStore;
use crate::ledger::{ChannelStore, LedgerStore};
use crate::location::{Location, PgUrl};
use crate::opening::OpenError;
use crate::pool::Pool;
use crate::reader::{ReadError, Reader};
use crate::recorder::{self, Recorder, RecorderTask};
use crate::schema;
use crate::server;
use crate::usage::{UsageQuery, UsageRow};

/// Attempts to switch a new file to WAL while another process has it open.
const WAL_ATTEMPTS: u32 = 250;

/// Connections to a server that write records and keys.
const WRITERS: u32 = 2;

/// Connections to a server that the ledger has for itself, so that money waits for nothing else.
const LEDGER: u32 = 6;

/// How long a connection to a server may take to be had.
const ACQUIRE: Duration = Duration::from_secs(2);

/// The database, open for reading and writing.
#[derive(Clone, Debug)]
pub struct Store {
    /// Of SQLite one connection, and every commit on it is on the disk when it is answered.
    pub(crate) writer: Pool,
    /// The connections of the ledger: those of a server, or SQLite's one.
    pub(crate) ledger: Pool,
    reader: Reader,
}

impl Store {
    /// Opens the database; creates a file, or brings either to the present schema version, where needed.
    ///
    /// New folders get mode 0700 and a new file 0600.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        match location {
            Location::File(path) => Self::open_file(path).await,
            Location::Postgres(url) => Self::open_server(url).await,
        }
    }

    async fn open_file(path: &Path) -> Result<Self, OpenError> {
        let location = Location::from(path);
        let failed = |source| OpenError::database(&location, source);
        file::create_private(path)?;
        file::inspect(path).await?;
        let options = file::options(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What is committed is money and keys, and survives a power cut. Records share the setting: their batches
            // are twenty a second at most.
            .synchronous(SqliteSynchronous::Full)
            // A long reader lets the log grow; this shrinks it again after.
            .pragma("journal_size_limit", "67108864");
        let mut conn = connect_wal(&options).await.map_err(failed)?;
        schema::migrate_file(&mut conn)
            .await
            .map_err(|source| OpenError::migrate(&location, source))?;
        let reader = Reader::open(&location).await?;
        conn.close().await.map_err(failed)?;
        // One connection: SQLite has one writer at a time, and waiting in our pool is cheaper than in its lock.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(failed)?;
        let writer = Pool::Sqlite(writer);
        Ok(Self {
            ledger: writer.clone(),
            writer,
            reader,
        })
    }

    async fn open_server(url: &PgUrl) -> Result<Self, OpenError> {
        server::migrate(url).await?;
        Ok(Self {
            writer: Pool::Postgres(server::pool(url, WRITERS, ACQUIRE)),
            ledger: Pool::Postgres(server::pool(url, LEDGER, ACQUIRE)),
            reader: Reader::of_server(url),
        })
    }

    /// A database that ends with the process.
    pub async fn in_memory() -> Result<Self, OpenError> {
        let location = Location::from(Path::new(":memory:"));
        let failed = |source| OpenError::database(&location, source);
        // The connection is the database, so there is one and it never expires.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true).disable_statement_logging())
            .await
            .map_err(failed)?;
        let mut conn = pool.acquire().await.map_err(failed)?;
        schema::migrate_file(&mut conn)
            .await
            .map_err(|source| OpenError::migrate(&location, source))?;
        drop(conn);
        let pool = Pool::Sqlite(pool);
        Ok(Self {
            writer: pool.clone(),
            ledger: pool.clone(),
            reader: Reader::of_pool(pool),
        })
    }

    /// A handle that takes records, and the task that writes them.
    ///
    /// Nothing is written until the caller spawns [`RecorderTask::run`].
    pub fn recorder(&self) -> (Recorder, RecorderTask) {
        recorder::recorder(self.writer.clone(), None)
    }

    /// The same, with the name of this gateway in each record where several share a server.
    pub fn recorder_of(&self, node: &str) -> (Recorder, RecorderTask) {
        recorder::recorder(self.writer.clone(), Some(node.into()))
    }

    /// A handle that changes API keys.
    pub fn keys(&self) -> KeyStore {
        KeyStore::new(self.writer.clone())
    }

    /// The ledger: accounts, money, leases and charges.
    pub fn ledger(&self) -> LedgerStore {
        LedgerStore::new(self.ledger.clone(), self.reader.pool().clone())
    }

    /// Payment channels, whose money is in the ledger.
    pub fn channels(&self) -> ChannelStore {
        ChannelStore::new(self.ledger.clone(), self.reader.pool().clone())
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
        self.ledger.close().await;
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
