//! Sums of usage: what may be asked, and the statements that answer.

use billing::Usage;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::reader::ReadError;
use crate::rows::count;

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
            " AS grouping, count(*) AS requests, \
             count(*) FILTER (WHERE ending = 'failed') AS failures, \
             count(*) FILTER (WHERE usage_source = 'estimated') AS estimated, \
             sum(prompt) AS prompt, sum(cached) AS cached, \
             sum(completion) AS completion, sum(reasoning) AS reasoning \
             FROM requests WHERE started_at_ms >= ?1 AND started_at_ms < ?2 \
             GROUP BY grouping ORDER BY ",
            $order,
            " LIMIT ?3"
        )
    };
}

pub(crate) fn sql(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Model => sums!("model", "requests DESC, grouping"),
        GroupBy::Key => sums!("key", "requests DESC, grouping"),
        GroupBy::Upstream => sums!("upstream", "requests DESC, grouping"),
        GroupBy::Day => sums!(
            "strftime('%Y-%m-%d', started_at_ms / 1000, 'unixepoch')",
            "grouping DESC"
        ),
    }
}

pub(crate) fn row(row: &SqliteRow) -> Result<UsageRow, ReadError> {
    Ok(UsageRow {
        group: row.try_get("grouping")?,
        requests: count(row, "requests")?,
        failures: count(row, "failures")?,
        estimated: count(row, "estimated")?,
        usage: Usage {
            prompt: count(row, "prompt")?,
            cached: count(row, "cached")?,
            completion: count(row, "completion")?,
            reasoning: count(row, "reasoning")?,
        },
    })
}
