//! Rates of keys across nodes, and the rates between currencies that were in force.
//!
//! Each node may use its share of a key's rate. The sum over nodes of what is the greatest, the share, what was used in
//! the window or what the node may still use by its last answer, is at most the limit.
//! A share is what was used and a quarter of the limit beside it, so that a node which begins to use a key finds room.
//! Where a node is short, the shares of the others shrink to their parts at their next renewal, never below what they
//! used; what they gave up is free at the renewal after that, when they have told that they know.

use billing::{Currency, Nano};

use super::sql::{self, Batch, Record, Type, counted, rows, run, values};
use super::{LedgerFault, LedgerStore, change, faults, question};
use crate::keys::By;
use crate::pool::{Db, Either};
use crate::reader::MAX_ROWS;

/// How long a node counts as using a key after it last did, and how long what it used counts: a minute, and what a
/// renewal may take.
const WINDOW_MS: i64 = 62_000;

/// How long a node that was short counts as being so.
const HUNGER_MS: i64 = 5000;

/// What nodes hold while they share rates, so that they do so one after another: "MULBRATE".
const LOCK: i64 = 0x4d55_4c42_5241_5445;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateKind {
    /// A minute.
    Requests,
    /// A minute.
    Tokens,
    /// At a time.
    Concurrency,
}

impl RateKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }
}

/// What a node used of a key's rate, and whether it would use more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateUse {
    /// Whatever names it on all nodes.
    pub key: String,
    pub kind: RateKind,
    /// Of all nodes together.
    pub limit: u64,
    /// By this node, in the minute that ends now, or at this time.
    pub used: u64,
    /// By this node at most until it hears of this renewal: its share now.
    pub held: u64,
    /// What a request lacked room for, beyond what was used; 0 where none did.
    pub wanted: u64,
    /// Somebody used the key since the last renewal.
    pub is_active: bool,
}

/// What a node may use of a key's rate until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateShare {
    pub key: String,
    pub kind: RateKind,
    pub share: u64,
}

/// A rate between currencies from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRate {
    pub base: Currency,
    pub quote: Currency,
    /// What one unit of `base` is in `quote`.
    pub rate: Nano,
    pub at_ms: i64,
}

/// Why a rate was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    #[error("a rate is between two currencies, and more than nothing")]
    Pair,
    #[error("the rate was not recorded")]
    Fault(#[from] LedgerFault),
}

faults!(RateError);

impl LedgerStore {
    /// Records which rates are in force from now on. One that is so already is not written again.
    pub async fn record_rates(&self, rates: &[(Currency, Currency, Nano)], by: By<'_>) -> Result<(), RateError> {
        if rates.iter().any(|(base, quote, rate)| base == quote || rate.is_zero()) {
            return Err(RateError::Pair);
        }
        change!(self.pool, db => record(db, rates, by).await.map_err(RateError::from))
    }

    /// The rates that were in force, the newest first.
    pub async fn exchange_rates(&self, limit: u32) -> Result<Vec<ExchangeRate>, LedgerFault> {
        question!(self.reader, db => {
            let sql = "SELECT base, quote, rate, at_ms FROM exchange_rates ORDER BY id DESC LIMIT $1";
            let found = rows(db, sql, values![i64::from(limit.min(MAX_ROWS))]).await;
            found.and_then(|found| found.iter().map(exchange_rate).collect::<Result<Vec<_>, _>>())
        })
    }
}

fn exchange_rate(row: &Record) -> Result<ExchangeRate, LedgerFault> {
    Ok(ExchangeRate {
        base: row.word("base")?,
        quote: row.word("quote")?,
        rate: row.nano("rate")?,
        at_ms: row.int("at_ms")?,
    })
}

async fn record(db: &mut Db<'_>, rates: &[(Currency, Currency, Nano)], by: By<'_>) -> Result<(), LedgerFault> {
    for (base, quote, rate) in rates {
        let sql = "INSERT INTO exchange_rates (at_ms, base, quote, rate, actor) SELECT $1, $2, $3, $4, $5 \
                   WHERE $4 <> coalesce((SELECT rate FROM exchange_rates WHERE base = $2 AND quote = $3 \
                   ORDER BY id DESC LIMIT 1), 0)";
        let sql = sql::by_kind(
            db,
            sql,
            "INSERT INTO exchange_rates (at_ms, base, quote, rate, actor) SELECT $1, $2, $3, $4::bigint, $5 \
             WHERE $4::bigint <> coalesce((SELECT rate FROM exchange_rates WHERE base = $2 AND quote = $3 \
             ORDER BY id DESC LIMIT 1), 0)",
        );
        run(
            db,
            sql,
            values![by.at_ms, base.as_str(), quote.as_str(), *rate, by.actor],
        )
        .await?;
    }
    Ok(())
}

/// Shares of the rates that a node named, in the order in which it named them.
pub(super) async fn share(
    db: &mut Db<'_>,
    node: &str,
    now: i64,
    until: i64,
    uses: &[RateUse],
) -> Result<Vec<RateShare>, LedgerFault> {
    // A sole owner shares with nobody.
    if matches!(db, Either::Sqlite(_)) || uses.is_empty() {
        return Ok(uses.iter().map(|one| shared(one, one.limit)).collect());
    }
    run(db, "SELECT pg_advisory_xact_lock($1)", values![LOCK]).await?;
    let mut named = Batch::new(&[("key", Type::Text), ("rate", Type::Text)]);
    for one in uses {
        named.push([one.key.as_str().into(), one.kind.as_str().into()]);
    }
    let found = sql::each(
        db,
        &named,
        "SELECT r.* FROM v JOIN rate_shares r ON r.key = v.key AND r.rate = v.rate ORDER BY r.node",
    )
    .await?;
    let rows = found.iter().map(Row::of).collect::<Result<Vec<_>, _>>()?;
    let mut shares = Vec::with_capacity(uses.len());
    let mut saved = Batch::new(&[
        ("key", Type::Text),
        ("rate", Type::Text),
        ("node", Type::Text),
        ("share", Type::Int),
        ("used", Type::Int),
        ("wanted_at_ms", Type::Int),
        ("renewed_at_ms", Type::Int),
        ("until_ms", Type::Int),
    ]);
    for one in uses {
        let of_key = rows
            .iter()
            .filter(|row| row.key == one.key && row.rate == one.kind.as_str());
        let (mine, others): (Vec<_>, Vec<_>) = of_key.partition(|row| row.node == node);
        let wanted_at = match mine.first() {
            _ if one.wanted > 0 => now,
            Some(row) => row.wanted_at_ms,
            None => 0,
        };
        let share = portion(node, one, &others, now);
        saved.push([
            one.key.as_str().into(),
            one.kind.as_str().into(),
            node.into(),
            counted(share).into(),
            // A smaller share is free when the node knows of it.
            counted(one.used.max(one.held)).into(),
            wanted_at.into(),
            now.into(),
            until.into(),
        ]);
        shares.push(shared(one, share));
    }
    sql::each(
        db,
        &saved,
        "INSERT INTO rate_shares (key, rate, node, share, used, wanted_at_ms, renewed_at_ms, until_ms) \
         SELECT * FROM v WHERE true ORDER BY key, rate ON CONFLICT (key, rate, node) DO UPDATE \
         SET share = excluded.share, used = excluded.used, wanted_at_ms = excluded.wanted_at_ms, \
         renewed_at_ms = excluded.renewed_at_ms, until_ms = excluded.until_ms",
    )
    .await?;
    let sql = "DELETE FROM rate_shares WHERE until_ms < $1";
    run(db, sql, values![now.saturating_sub(WINDOW_MS)]).await?;
    Ok(shares)
}

fn shared(one: &RateUse, share: u64) -> RateShare {
    RateShare {
        key: one.key.clone(),
        kind: one.kind,
        share,
    }
}

#[derive(Debug)]
struct Row {
    key: String,
    rate: String,
    node: String,
    share: u64,
    used: u64,
    wanted_at_ms: i64,
    until_ms: i64,
}

impl Row {
    fn of(row: &Record) -> Result<Self, LedgerFault> {
        Ok(Self {
            key: row.text("key")?,
            rate: row.text("rate")?,
            node: row.text("node")?,
            share: row.narrow("share")?,
            used: row.narrow("used")?,
            wanted_at_ms: row.int("wanted_at_ms")?,
            until_ms: row.int("until_ms")?,
        })
    }

    /// What it takes of the limit: until its lease ends it may use its whole share, and what it used counts for a
    /// minute more.
    fn taken(&self, now: i64) -> u64 {
        if self.until_ms.saturating_add(WINDOW_MS) > now {
            self.share.max(self.used)
        } else {
            0
        }
    }
}

/// What a node gets: what it needs of what the others leave, and where others are short no more than its part.
fn portion(node: &str, one: &RateUse, others: &[&Row], now: i64) -> u64 {
    let taken = others.iter().fold(0_u64, |sum, row| sum.saturating_add(row.taken(now)));
    let available = one.limit.saturating_sub(taken);
    let is_short = |row: &&&Row| row.until_ms > now && row.wanted_at_ms.saturating_add(HUNGER_MS) > now;
    let short: Vec<_> = others.iter().filter(is_short).collect();
    let spare = match (one.wanted, one.is_active) {
        (0, false) if one.used == 0 || !short.is_empty() => 0,
        (wanted, _) => wanted.max((one.limit / 4).max(1)),
    };
    let need = one.used.saturating_add(spare);
    let nodes = u64::try_from(short.len()).unwrap_or(u64::MAX).saturating_add(1);
    // What does not divide goes to the first by name.
    let place = short.iter().filter(|row| row.node.as_str() < node).count();
    let is_among_first = u64::try_from(place).is_ok_and(|place| place < one.limit % nodes);
    let part = (one.limit / nodes).saturating_add(u64::from(is_among_first));
    // A request that is greater than any part would never run: the first by name takes what it needs.
    let target = if place == 0 && one.wanted > part {
        need
    } else {
        need.min(part)
    };
    target.min(available).max(one.used.min(one.limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(limit: u64, used: u64, wanted: u64) -> RateUse {
        RateUse {
            key: "k".into(),
            kind: RateKind::Requests,
            limit,
            used,
            held: 0,
            wanted,
            is_active: wanted > 0,
        }
    }

    fn row(node: &str, share: u64, used: u64, until_ms: i64, is_short: bool) -> Row {
        Row {
            key: "k".into(),
            rate: "requests".into(),
            node: node.into(),
            share,
            used,
            wanted_at_ms: if is_short { 1000 } else { -HUNGER_MS },
            until_ms,
        }
    }

    fn check(one: &RateUse, others: &[Row], expect: u64) {
        let others: Vec<_> = others.iter().collect();
        assert_eq!(portion("b", one, &others, 1000), expect, "{one:?} beside {others:?}");
    }

    #[test]
    fn a_share_is_what_is_needed_and_a_quarter() {
        check(&used(100, 0, 1), &[], 25);
        check(&used(100, 20, 1), &[], 45);
        check(&used(100, 90, 1), &[], 100);
        check(&used(100, 0, 60), &[], 60);
        check(&used(1, 0, 1), &[], 1);
        // One that rests keeps its quarter while its window lasts, unless another is short.
        check(&used(100, 20, 0), &[], 45);
        check(&used(100, 20, 0), &[row("a", 50, 0, 5000, true)], 20);
        check(&used(100, 0, 0), &[], 0);
    }

    #[test]
    fn portions_never_exceed_what_others_leave() {
        // Another has all of it yet, then half of it.
        check(&used(10, 0, 1), &[row("a", 10, 0, 5000, false)], 0);
        check(&used(10, 0, 8), &[row("a", 5, 0, 5000, false)], 5);
        check(&used(10, 0, 8), &[row("a", 5, 8, 5000, false)], 2);
        // One whose lease ended counts for a minute more.
        check(&used(10, 0, 8), &[row("a", 10, 3, 900, false)], 0);
        check(&used(10, 0, 8), &[row("a", 10, 3, -70_000, false)], 8);
    }

    #[test]
    fn beside_one_that_is_short_a_share_is_a_part() {
        // Of an odd number the first by name has more.
        check(&used(3, 0, 1), &[row("a", 2, 0, 5000, true)], 1);
        check(&used(9, 4, 3), &[row("c", 1, 0, 5000, true)], 5);
        // It shrinks, and not below what it used.
        check(&used(10, 7, 1), &[row("a", 0, 0, 5000, true)], 7);
        check(&used(10, 4, 3), &[row("a", 0, 0, 5000, true)], 5);
        check(&used(10, 4, 3), &[row("a", 0, 0, 900, true)], 7);
        // What is greater than a part is for the first by name.
        check(&used(10, 0, 8), &[row("c", 0, 0, 5000, true)], 8);
        check(&used(10, 0, 8), &[row("a", 0, 0, 5000, true)], 5);
    }
}
