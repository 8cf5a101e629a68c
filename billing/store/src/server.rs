//! Connections to a PostgreSQL server: how each of them is set up, and which servers are refused.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::location::{Location, PgUrl};
use crate::opening::OpenError;
use crate::schema::{self, Contents};

/// The oldest release that has all that we use.
const OLDEST: i64 = 13;

/// How long the first connection may take, with what is asked on it.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a migration may take, with the wait for another node's.
const MIGRATE: Duration = Duration::from_secs(300);

/// What each session sets for itself, whatever the server, the database and the user have set.
///
/// - Times: no statement and no lock waits for ever, and a node that was stopped in a transaction holds nobody up.
/// - Keepalives: the server notices in half a minute that a node's machine is gone.
/// - A commit is on the disk when it is answered, also where somebody made that an option.
const SESSION: &str = "
    SET search_path = mulberry;
    SET statement_timeout = '30s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '5s';
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET client_min_messages = warning;
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 4;
    SET jit = off;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// What connections have in common.
fn options(url: &PgUrl) -> PgConnectOptions {
    let options = url.options().clone().disable_statement_logging();
    match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("mulberry"),
    }
}

/// Looks into the database through a connection of its own.
pub(crate) async fn inspect(url: &PgUrl) -> Result<Contents, OpenError> {
    let location = Location::Postgres(url.clone());
    let mut conn = connect(url, &location).await?;
    let contents = within(&location, CONNECT, schema::inspect_server(&mut conn)).await;
    drop(conn.close().await);
    contents?.check(&location)
}

/// Brings the database to the present schema version.
pub(crate) async fn migrate(url: &PgUrl) -> Result<(), OpenError> {
    let location = Location::Postgres(url.clone());
    let mut conn = connect(url, &location).await?;
    let failed = |source| OpenError::database(&location, source);
    if within(&location, CONNECT, is_standby(&mut conn)).await? {
        return Err(OpenError::Standby { at: url.place() });
    }
    within(&location, CONNECT, schema::inspect_server(&mut conn))
        .await?
        .check(&location)?;
    if url.is_open_to_others() {
        tracing::warn!(
            "the connection to PostgreSQL is not verified: others could read and change what is said; end the URL in ?sslmode=verify-full"
        );
    }
    if !within(&location, CONNECT, is_durable(&mut conn)).await? {
        tracing::warn!(
            "PostgreSQL runs with fsync or full_page_writes off: a power cut loses money and may destroy the database"
        );
    }
    sqlx::raw_sql(
        "SET statement_timeout = '300s'; SET lock_timeout = '300s'; SET idle_in_transaction_session_timeout = '60s'",
    )
    .execute(&mut conn)
    .await
    .map_err(failed)?;
    tokio::time::timeout(MIGRATE, schema::migrate_server(&mut conn))
        .await
        .map_err(|_| failed(late()))?
        .map_err(|source| OpenError::migrate(&location, source))?;
    drop(conn.close().await);
    Ok(())
}

/// Connections that are made when they are needed, and again when the server was away.
pub(crate) fn pool(url: &PgUrl, connections: u32, acquire: Duration) -> PgPool {
    pool_options(connections, acquire)
        .after_connect(|conn, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(conn).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options(url))
}

/// Such that cannot write.
pub(crate) fn reading_pool(url: &PgUrl, connections: u32, acquire: Duration) -> PgPool {
    pool_options(connections, acquire)
        .after_connect(|conn, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(&mut *conn).await?;
                sqlx::raw_sql("SET default_transaction_read_only = on")
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options(url))
}

fn pool_options(connections: u32, acquire: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(acquire)
}

/// A connection outside any pool, to a server that is new enough.
///
/// Only here is every failure told as it is; a pool tries again until its time is over, and says that.
async fn connect(url: &PgUrl, location: &Location) -> Result<PgConnection, OpenError> {
    let mut conn = within(location, CONNECT, options(url).connect()).await?;
    // Told by the server when it greets.
    let found = i64::from(conn.server_version_num().unwrap_or(0) / 10_000);
    if found < OLDEST {
        let at = url.place();
        return Err(OpenError::OldServer {
            at,
            found,
            needed: OLDEST,
        });
    }
    within(location, CONNECT, sqlx::raw_sql(SESSION).execute(&mut conn)).await?;
    Ok(conn)
}

async fn within<T>(
    location: &Location,
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, OpenError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(|source| OpenError::database(location, source))
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "PostgreSQL did not answer in time",
    ))
}

async fn is_standby(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(conn).await
}

async fn is_durable(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('fsync')::bool AND current_setting('full_page_writes')::bool")
        .fetch_one(conn)
        .await
}
