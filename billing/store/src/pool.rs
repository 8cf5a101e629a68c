//! One pool for two databases. A query is written once, with `$1`, `$2`, …, and compiled for both by [`both!`].

use sqlx::{PgPool, SqlitePool};

/// The database that a store stands on.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Compiles an expression for each database, with the pool bound to a name: `both!(self.pool, pool => query(SQL).execute(pool).await)`.
///
/// The branches must agree in type, which they do when rows become plain values inside.
macro_rules! both {
    ($of:expr, $pool:ident => $body:expr) => {
        match &$of {
            $crate::pool::Pool::Sqlite($pool) => $body,
            $crate::pool::Pool::Postgres($pool) => $body,
        }
    };
}

pub(crate) use both;
