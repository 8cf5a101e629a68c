//! Strikes: which upstreams claimed more tokens than there were, or stated what was not so, and how often. They outlive
//! the process that counted.

use super::sql::{Record, counted, rows, run, values};
use super::{LedgerFault, LedgerStore, change, question};
use crate::pool::Db;

/// What is held against one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strikes {
    /// `backend/host:port`.
    pub upstream: String,
    /// How often it claimed too much.
    pub overclaims: u64,
    /// By how many tokens, all together.
    pub tokens: u64,
    /// How often it did not state its answer, or not truly.
    pub misstatements: u64,
    pub last_at_ms: i64,
}

impl LedgerStore {
    /// Notes one claim that was so many tokens too high.
    pub async fn strike(&self, upstream: &str, tokens: u64, at_ms: i64) -> Result<(), LedgerFault> {
        change!(self.pool, db => strike(db, upstream, tokens, at_ms).await)
    }

    /// Notes one answer that a worker did not state, or not truly.
    pub async fn strike_misstatement(&self, upstream: &str, at_ms: i64) -> Result<(), LedgerFault> {
        change!(self.pool, db => misstatement(db, upstream, at_ms).await)
    }

    /// Of every upstream that has any, by name.
    pub async fn strikes(&self) -> Result<Vec<Strikes>, LedgerFault> {
        question!(self.reader, db => {
            let found = rows(db, ALL, &[]).await;
            found.and_then(|found| found.iter().map(of).collect::<Result<Vec<_>, _>>())
        })
    }
}

const ALL: &str = "SELECT upstream, CAST(SUM(overclaims) AS BIGINT) AS overclaims, CAST(SUM(tokens) AS BIGINT) AS tokens, \
    CAST(SUM(misstatements) AS BIGINT) AS misstatements, CAST(MAX(last_at_ms) AS BIGINT) AS last_at_ms \
    FROM (SELECT upstream, overclaims, tokens, 0 AS misstatements, last_at_ms FROM strikes \
    UNION ALL SELECT upstream, 0, 0, times, last_at_ms FROM misstatements) AS held \
    GROUP BY upstream ORDER BY upstream";

async fn strike(db: &mut Db<'_>, upstream: &str, tokens: u64, at_ms: i64) -> Result<(), LedgerFault> {
    /// What an upstream may claim is bounded, and so a sum of many claims stays far below what a column holds.
    const MOST: u64 = 1 << 40;
    run(
        db,
        "INSERT INTO strikes (upstream, overclaims, tokens, last_at_ms) VALUES ($1, 1, $2, $3) \
         ON CONFLICT (upstream) DO UPDATE SET overclaims = strikes.overclaims + 1, \
         tokens = strikes.tokens + excluded.tokens, last_at_ms = excluded.last_at_ms",
        values![upstream, counted(tokens.min(MOST)), at_ms],
    )
    .await
    .map(drop)
}

async fn misstatement(db: &mut Db<'_>, upstream: &str, at_ms: i64) -> Result<(), LedgerFault> {
    run(
        db,
        "INSERT INTO misstatements (upstream, times, last_at_ms) VALUES ($1, 1, $2) \
         ON CONFLICT (upstream) DO UPDATE SET times = misstatements.times + 1, last_at_ms = excluded.last_at_ms",
        values![upstream, at_ms],
    )
    .await
    .map(drop)
}

fn of(row: &Record) -> Result<Strikes, LedgerFault> {
    Ok(Strikes {
        upstream: row.text("upstream")?,
        overclaims: row.narrow("overclaims")?,
        tokens: row.narrow("tokens")?,
        misstatements: row.narrow("misstatements")?,
        last_at_ms: row.int("last_at_ms")?,
    })
}
