//! Sums of usage: what may be asked, and the statements that answer.

use billing::Usage;

use crate::fields::Fields;
use crate::pool::{Db, Either, both};
use crate::reader::{MAX_ROWS, ReadError};

/// Which requests to sum up, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Unix time; requests that started then or later.
    pub since_ms: i64,
    /// Unix time; requests that started before it.
    pub until_ms: i64,
    pub group_by: GroupBy,
    /// Groups in the answer, at most 10,000.
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Most requests first, as for keys and upstreams.
    Model,
    Key,
    /// The day in UTC, newest first.
    Day,
    Upstream,
}

/// The sums of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The model, key name, upstream or day (`2026-11-21`).
    /// None groups the requests that had no key or reached no upstream.
    pub group: Option<String>,
    /// Every request, however it ended.
    pub requests: u64,
    /// Those that ended as `failed`; neither cancelled nor refused ones.
    pub failures: u64,
    /// Those whose usage the gateway estimated.
    pub estimated: u64,
    pub usage: Usage,
}

/// One statement a group, built by the compiler: no SQL is put together at run time.
macro_rules! sums {
    ($group:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $group,
            " AS grouped, count(*) AS requests, \
             count(*) FILTER (WHERE ending = 'failed') AS failures, \
             count(*) FILTER (WHERE usage_source = 'estimated') AS estimated, \
             CAST(sum(prompt) AS bigint) AS prompt, CAST(sum(cached) AS bigint) AS cached, \
             CAST(sum(completion) AS bigint) AS completion, CAST(sum(reasoning) AS bigint) AS reasoning \
             FROM requests WHERE started_at_ms >= $1 AND started_at_ms < $2 \
             GROUP BY grouped ORDER BY ",
            $order,
            " LIMIT $3"
        )
    };
}

/// Only how a day is told differs.
macro_rules! by_day {
    ($day:literal) => {
        sums!($day, "grouped DESC")
    };
}

/// The statement for the database that `db` is.
pub(crate) fn sql(group_by: GroupBy, db: &Db<'_>) -> &'static str {
    match group_by {
        GroupBy::Model => sums!("model", "requests DESC, grouped NULLS FIRST"),
        GroupBy::Key => sums!("key", "requests DESC, grouped NULLS FIRST"),
        GroupBy::Upstream => sums!("upstream", "requests DESC, grouped NULLS FIRST"),
        GroupBy::Day => match db {
            Either::Sqlite(_) => by_day!("strftime('%Y-%m-%d', started_at_ms / 1000, 'unixepoch')"),
            Either::Postgres(_) => {
                by_day!("to_char(to_timestamp(started_at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')")
            }
        },
    }
}

pub(crate) async fn sums(db: &mut Db<'_>, query: &UsageQuery) -> Result<Vec<UsageRow>, ReadError> {
    let sql = sql(query.group_by, db);
    both!(mut *db, db => sqlx::query(sql)
        .bind(query.since_ms)
        .bind(query.until_ms)
        .bind(i64::from(query.limit.min(MAX_ROWS)))
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(row)
        .collect())
}

fn row(row: &impl Fields) -> Result<UsageRow, ReadError> {
    Ok(UsageRow {
        group: row.maybe_text("grouped")?,
        requests: row.narrow("requests")?,
        failures: row.narrow("failures")?,
        estimated: row.narrow("estimated")?,
        usage: Usage {
            prompt: row.narrow("prompt")?,
            cached: row.narrow("cached")?,
            completion: row.narrow("completion")?,
            reasoning: row.narrow("reasoning")?,
        },
    })
}
