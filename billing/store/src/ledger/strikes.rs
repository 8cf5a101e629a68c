//! Strikes: which upstreams claimed more tokens than there were, and how often. They outlive the process that counted.

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
    pub last_at_ms: i64,
}

impl LedgerStore {
    /// Notes one claim that was so many tokens too high.
    pub async fn strike(&self, upstream: &str, tokens: u64, at_ms: i64) -> Result<(), LedgerFault> {
        change!(self.pool, db => strike(db, upstream, tokens, at_ms).await)
    }

    /// Of every upstream that has any, by name.
    pub async fn strikes(&self) -> Result<Vec<Strikes>, LedgerFault> {
        question!(self.reader, db => {
            let found = rows(db, "SELECT * FROM strikes ORDER BY upstream", &[]).await;
            found.and_then(|found| found.iter().map(of).collect::<Result<Vec<_>, _>>())
        })
    }
}

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

fn of(row: &Record) -> Result<Strikes, LedgerFault> {
    Ok(Strikes {
        upstream: row.text("upstream")?,
        overclaims: row.narrow("overclaims")?,
        tokens: row.narrow("tokens")?,
        last_at_ms: row.int("last_at_ms")?,
    })
}
