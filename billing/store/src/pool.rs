//! One of two databases, and a query that is written once for both.
//!
//! A query has `$1`, `$2`, … and no words that only one of the two knows; [`both!`] compiles it for each.
//! Values go in as `i64`, `bool`, `&str`, `&[u8]` and options of them, which both have; rows come out through [`Fields`](crate::fields::Fields).

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool};

/// What there is once for each database.
#[derive(Clone, Debug)]
pub(crate) enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// The connections of a store.
pub(crate) type Pool = Either<SqlitePool, PgPool>;

/// A transaction under way; dropped, it is rolled back.
pub(crate) type Tx<'c> = Either<sqlx::Transaction<'c, Sqlite>, sqlx::Transaction<'c, Postgres>>;

/// A connection on loan, in a transaction or not. What queries take.
pub(crate) type Db<'c> = Either<&'c mut SqliteConnection, &'c mut PgConnection>;

/// Compiles an expression for each database, with what stands on it bound to a name: `both!(self.pool, pool => query(SQL).execute(pool).await)`.
///
/// With `mut` the name is bound to a `&mut`, as a [`Db`] or a [`Tx`] needs: `both!(mut *db, db => query(SQL).execute(&mut **db).await)`.
/// The branches must agree in type, which they do when rows become plain values inside.
macro_rules! both {
    (mut $of:expr, $on:ident => $body:expr) => {
        match &mut $of {
            $crate::pool::Either::Sqlite($on) => $body,
            $crate::pool::Either::Postgres($on) => $body,
        }
    };
    ($of:expr, $on:ident => $body:expr) => {
        match &$of {
            $crate::pool::Either::Sqlite($on) => $body,
            $crate::pool::Either::Postgres($on) => $body,
        }
    };
}

/// Asks one question on a connection of its own: `ask!(pool, limit, db => find(&mut db, name).await)`.
///
/// With `moment` all statements of the question see one moment of the database.
/// A macro, and no function that takes a closure: of such a future the compiler cannot always tell that it is `Send`.
macro_rules! ask {
    ($pool:expr, $limit:expr, moment $db:ident => $work:expr) => {
        $crate::pool::ask!(@ $pool, $limit, conn => {
            let mut tx = conn.snapshot().await?;
            let mut $db = tx.db();
            let answer = $work;
            tx.commit().await?;
            answer
        })
    };
    ($pool:expr, $limit:expr, $db:ident => $work:expr) => {
        $crate::pool::ask!(@ $pool, $limit, conn => {
            let mut $db = conn.db();
            $work
        })
    };
    (@ $pool:expr, $limit:expr, $conn:ident => $work:expr) => {{
        let mut $conn = $pool.acquire().await?;
        let answer = $pool.within($limit, async { $work }).await;
        $conn.release(answer).await
    }};
}

pub(crate) use {ask, both};

impl Pool {
    /// A connection for one piece of work. Give it back with [`Conn::release`].
    pub(crate) async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        let of = match self {
            Self::Sqlite(pool) => Either::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Either::Postgres(pool.acquire().await?),
        };
        Ok(Conn { of, is_sound: false })
    }

    /// Ends work that a server no longer answers; SQLite has its busy timeout.
    ///
    /// Whatever connection the work has must be a [`Conn`]: what is cut off must not be used again.
    pub(crate) async fn within<T, E: From<sqlx::Error>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(_) => work.await,
            Self::Postgres(_) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "PostgreSQL did not answer in time");
                Err(sqlx::Error::Io(late).into())
            }),
        }
    }

    pub(crate) async fn close(&self) {
        both!(*self, pool => pool.close().await);
    }
}

/// A connection that is out of its pool.
///
/// Dropped without [`Conn::release`], because its work was cut off, a connection to a server is closed:
/// the pool would wait for the answer to what was cut off, and have one connection less until it came.
#[derive(Debug)]
pub(crate) struct Conn {
    of: Either<PoolConnection<Sqlite>, PoolConnection<Postgres>>,
    is_sound: bool,
}

impl Conn {
    pub(crate) fn db(&mut self) -> Db<'_> {
        match &mut self.of {
            Either::Sqlite(conn) => Either::Sqlite(conn),
            Either::Postgres(conn) => Either::Postgres(conn),
        }
    }

    /// A transaction that may write. In SQLite it has the only right to at once, so that the busy timeout applies.
    pub(crate) async fn begin(&mut self) -> Result<Tx<'_>, sqlx::Error> {
        Ok(match &mut self.of {
            Either::Sqlite(conn) => Either::Sqlite(conn.begin_with("BEGIN IMMEDIATE").await?),
            Either::Postgres(conn) => Either::Postgres(conn.begin().await?),
        })
    }

    /// A transaction that sees one moment of the database and changes nothing.
    pub(crate) async fn snapshot(&mut self) -> Result<Tx<'_>, sqlx::Error> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(match &mut self.of {
            Either::Sqlite(conn) => Either::Sqlite(conn.begin().await?),
            Either::Postgres(conn) => Either::Postgres(conn.begin_with(BEGIN).await?),
        })
    }

    /// Gives the connection back, or closes it where its work left it in a bad state.
    pub(crate) async fn release<T, E>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        match &mut self.of {
            Either::Sqlite(conn) => {
                // A full disk makes SQLite roll back by itself.
                // sqlx then fails to roll back, believes for ever that a transaction is open and refuses to begin another.
                // The ping waits for its attempt.
                if outcome.is_err() && (conn.ping().await.is_err() || conn.is_in_transaction()) {
                    conn.close_on_drop();
                }
                self.is_sound = true;
            }
            // After a failure a new connection is as cheap as to find out what became of this one.
            Either::Postgres(_) => self.is_sound = outcome.is_ok(),
        }
        outcome
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Either::Postgres(conn) = &mut self.of
            && !self.is_sound
        {
            conn.close_on_drop();
        }
    }
}

impl Tx<'_> {
    pub(crate) fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(tx) => Either::Sqlite(tx),
            Self::Postgres(tx) => Either::Postgres(tx),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    /// Undoes it now, where dropping it would do so later.
    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}
