//! Statements that are written once for both databases, with their values as data.
//!
//! [`run`] and [`rows`] take a statement with `$1`, `$2`, … and a list of [`Value`]s.
//! [`each`] takes a [`Batch`]: many rows of values that one statement works through, so that what a batch of charges
//! costs is a handful of statements. The statement sees them as the table `v`.

use std::fmt::Write;

use billing::Nano;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

use super::LedgerFault;
use crate::fields::Fields;
use crate::pool::{Db, Either};

/// Rows of a batch that one statement of SQLite holds: these sizes and no others, so that its plans are kept.
const CHUNKS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// What is bound to a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    Flag(bool),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<Nano> for Value<'_> {
    fn from(value: Nano) -> Self {
        Self::Int(Some(stored(value)))
    }
}

impl From<Option<Nano>> for Value<'_> {
    fn from(value: Option<Nano>) -> Self {
        Self::Int(value.map(stored))
    }
}

/// An amount as both databases hold it.
pub(crate) fn stored(amount: Nano) -> i64 {
    i64::try_from(amount.get()).expect("Nano::MOST is the greatest number of 64 bits with a sign")
}

/// A count as both databases hold it; the most there is stands for what is beyond.
pub(crate) fn counted(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A list of values: `values![name, amount, 7]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::ledger::sql::Value::from($value)),*] };
}

pub(crate) use values;

/// A row of either database.
pub(crate) type Record = Either<SqliteRow, PgRow>;

macro_rules! field {
    ($row:expr, $name:ident, $column:expr) => {
        match $row {
            Either::Sqlite(row) => row.$name($column),
            Either::Postgres(row) => row.$name($column),
        }
        .map_err(LedgerFault::from)
    };
}

impl Record {
    pub(crate) fn int(&self, column: &'static str) -> Result<i64, LedgerFault> {
        field!(self, int, column)
    }

    pub(crate) fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, LedgerFault> {
        field!(self, maybe_int, column)
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, LedgerFault> {
        field!(self, text, column)
    }

    pub(crate) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, LedgerFault> {
        field!(self, maybe_text, column)
    }

    pub(crate) fn maybe_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, LedgerFault> {
        field!(self, maybe_bytes, column)
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, LedgerFault> {
        field!(self, flag, column)
    }

    /// An integer of another size.
    pub(crate) fn narrow<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, LedgerFault> {
        T::try_from(self.int(column)?).map_err(|_| LedgerFault::Row { column })
    }

    pub(crate) fn nano(&self, column: &'static str) -> Result<Nano, LedgerFault> {
        let amount = self.maybe_nano(column)?;
        amount.ok_or(LedgerFault::Row { column })
    }

    pub(crate) fn maybe_nano(&self, column: &'static str) -> Result<Option<Nano>, LedgerFault> {
        let bad = LedgerFault::Row { column };
        match self.maybe_int(column)? {
            None => Ok(None),
            Some(amount) => match u64::try_from(amount).ok().and_then(Nano::new) {
                Some(amount) => Ok(Some(amount)),
                None => Err(bad),
            },
        }
    }

    /// A text that is one of some words.
    pub(crate) fn word<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, LedgerFault> {
        self.text(column)?.parse().map_err(|_| LedgerFault::Row { column })
    }

    pub(crate) fn maybe_word<T: std::str::FromStr>(&self, column: &'static str) -> Result<Option<T>, LedgerFault> {
        let text = self.maybe_text(column)?;
        text.map(|text| text.parse().map_err(|_| LedgerFault::Row { column }))
            .transpose()
    }
}

fn bind_sqlite<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value<'_>) -> Query<'q, Sqlite, SqliteArguments> {
    match *value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value.map(str::to_owned)),
        Value::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
        Value::Flag(value) => query.bind(value),
    }
}

fn bind_postgres<'q>(query: Query<'q, Postgres, PgArguments>, value: &Value<'_>) -> Query<'q, Postgres, PgArguments> {
    match *value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value.map(str::to_owned)),
        Value::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
        Value::Flag(value) => query.bind(value),
    }
}

/// Runs a statement; says how many rows it changed.
pub(crate) async fn run(db: &mut Db<'_>, sql: &'static str, values: &[Value<'_>]) -> Result<u64, LedgerFault> {
    Ok(match db {
        Either::Sqlite(conn) => {
            let query = values.iter().fold(sqlx::query(sql), bind_sqlite);
            query.execute(&mut **conn).await?.rows_affected()
        }
        Either::Postgres(conn) => {
            let query = values.iter().fold(sqlx::query(sql), bind_postgres);
            query.execute(&mut **conn).await?.rows_affected()
        }
    })
}

/// The rows that a statement answers.
pub(crate) async fn rows(db: &mut Db<'_>, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Record>, LedgerFault> {
    Ok(match db {
        Either::Sqlite(conn) => {
            let query = values.iter().fold(sqlx::query(sql), bind_sqlite);
            let rows = query.fetch_all(&mut **conn).await?;
            rows.into_iter().map(Either::Sqlite).collect()
        }
        Either::Postgres(conn) => {
            let query = values.iter().fold(sqlx::query(sql), bind_postgres);
            let rows = query.fetch_all(&mut **conn).await?;
            rows.into_iter().map(Either::Postgres).collect()
        }
    })
}

/// The one row that a statement answers, if it does.
pub(crate) async fn row(
    db: &mut Db<'_>,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<Record>, LedgerFault> {
    Ok(rows(db, sql, values).await?.into_iter().next())
}

/// The words that only one of the two databases knows.
pub(crate) fn by_kind(db: &Db<'_>, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match db {
        Either::Sqlite(_) => sqlite,
        Either::Postgres(_) => postgres,
    }
}

/// The time by the clock of the database, in milliseconds since 1970.
pub(crate) async fn now_ms(db: &mut Db<'_>) -> Result<i64, LedgerFault> {
    let sql = by_kind(
        db,
        "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now",
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now",
    );
    match row(db, sql, &[]).await? {
        Some(row) => row.int("now"),
        None => Err(LedgerFault::Row { column: "now" }),
    }
}

/// The type of a column of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Text,
    Bytes,
    Flag,
}

/// Rows of values, row after row.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    columns: &'static [(&'static str, Type)],
    values: Vec<Value<'a>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(columns: &'static [(&'static str, Type)]) -> Self {
        Self {
            columns,
            values: Vec::new(),
        }
    }

    /// Adds a row, a value for each column.
    pub(crate) fn push<const N: usize>(&mut self, row: [Value<'a>; N]) {
        debug_assert_eq!(N, self.columns.len(), "a value for each column");
        self.values.extend(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn rows(&self) -> impl ExactSizeIterator<Item = &[Value<'a>]> {
        self.values.chunks_exact(self.columns.len())
    }

    /// `WITH v(a, b) AS (VALUES ($1, $2), ($3, $4)) `
    fn values_clause(&self, rows: usize) -> String {
        let mut sql = self.header();
        sql.push_str("VALUES ");
        let width = self.columns.len();
        for at in 0..rows * width {
            let open = match (at % width, at) {
                (0, 0) => "(",
                (0, _) => "), (",
                _ => ", ",
            };
            // Writing to a String cannot fail.
            let _written = write!(sql, "{open}${}", at + 1);
        }
        sql.push_str(")) ");
        sql
    }

    /// `WITH v(a, b) AS (SELECT * FROM unnest($1::bigint[], $2::text[])) `
    fn unnest_clause(&self) -> String {
        let mut sql = self.header();
        sql.push_str("SELECT * FROM unnest(");
        for (at, (_, kind)) in self.columns.iter().enumerate() {
            let kind = match kind {
                Type::Int => "bigint",
                Type::Text => "text",
                Type::Bytes => "bytea",
                Type::Flag => "boolean",
            };
            let comma = if at == 0 { "" } else { ", " };
            let _written = write!(sql, "{comma}${}::{kind}[]", at + 1);
        }
        sql.push_str(")) ");
        sql
    }

    fn header(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("WITH v({}) AS (", names.join(", "))
    }

    /// The values of one column.
    fn column(&self, at: usize) -> impl Iterator<Item = Value<'a>> {
        self.rows().map(move |row| row[at])
    }

    fn bind_column<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
        at: usize,
        kind: Type,
    ) -> Query<'q, Postgres, PgArguments> {
        match kind {
            Type::Int => query.bind(
                self.column(at)
                    .map(|value| match value {
                        Value::Int(value) => value,
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            Type::Text => query.bind(
                self.column(at)
                    .map(|value| match value {
                        Value::Text(value) => value.map(str::to_owned),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            Type::Bytes => query.bind(
                self.column(at)
                    .map(|value| match value {
                        Value::Bytes(value) => value.map(<[u8]>::to_vec),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            Type::Flag => query.bind(
                self.column(at)
                    .map(|value| match value {
                        Value::Flag(value) => Some(value),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
        }
    }
}

/// Runs a statement over the rows of a batch, which it knows as `v`; what it returns, if anything, comes back.
///
/// SQLite may take several statements for it, in the order of the rows.
pub(crate) async fn each(
    db: &mut Db<'_>,
    batch: &Batch<'_>,
    statement: &'static str,
) -> Result<Vec<Record>, LedgerFault> {
    let mut found = Vec::new();
    match db {
        Either::Sqlite(conn) => {
            let width = batch.columns.len();
            let mut rest = batch.values.as_slice();
            while !rest.is_empty() {
                let rows = CHUNKS.into_iter().find(|size| size * width <= rest.len()).unwrap_or(1);
                let (values, later) = rest.split_at(rows * width);
                rest = later;
                let sql = batch.values_clause(rows) + statement;
                let query = values.iter().fold(sqlx::query(AssertSqlSafe(sql)), bind_sqlite);
                found.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Either::Sqlite));
            }
        }
        Either::Postgres(conn) if !batch.is_empty() => {
            let sql = batch.unnest_clause() + statement;
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (at, (_, kind)) in batch.columns.iter().enumerate() {
                query = batch.bind_column(query, at, *kind);
            }
            found.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Either::Postgres));
        }
        Either::Postgres(_) => {}
    }
    Ok(found)
}
