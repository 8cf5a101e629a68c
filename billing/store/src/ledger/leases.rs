//! Renewals: what a node gives back of the pots, and what it is granted.
//!
//! The sum of what was posted to a pot and of what nodes may still draw of it never exceeds its cap, and grows no more
//! while a cap that was cut is exceeded.

use std::collections::BTreeMap;
use std::time::Duration;

use billing::ledger::{NodeState, RenewRefusal};
use billing::{AccountId, Ask, Grant, Nano, Pot, Renewal, Return, Sharing, Window, Windows};

use super::accounts::{StoredAccount, account, cap, generation};
use super::nodes::{locked, millis, state};
use super::rates::{RateShare, RateUse, share};
use super::sql::{self, Batch, Record, Type, row, run, values};
use super::{LedgerFault, LedgerStore, change, faults};
use crate::pool::{Db, Either};

/// What a renewal was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// One for each pot of the renewal, in the order in which they first appear, returns before asks.
    pub grants: Vec<Grant>,
    /// Those whose lease has not ended, this one among them.
    pub live_nodes: u32,
    /// Of the accounts; see [`LedgerStore::generation`].
    pub generation: i64,
    /// One for each of the rates that were named, in that order.
    pub shares: Vec<RateShare>,
}

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    #[error(transparent)]
    Refused(RenewRefusal),
    #[error("the lease was not renewed")]
    Fault(#[from] LedgerFault),
}

faults!(RenewError);

impl LedgerStore {
    /// Takes what a node returns, then grants what it asks for, and lets its lease end later.
    ///
    /// An earlier renewal, or the same one again, is refused as stale: its node learns from the next answer what it was
    /// granted in all.
    pub async fn renew(
        &self,
        name: &str,
        epoch: u64,
        ttl: Duration,
        renewal: &Renewal,
        rates: &[RateUse],
    ) -> Result<Renewed, RenewError> {
        change!(self.pool, db => renew(db, name, epoch, ttl, renewal, rates).await)
    }
}

/// A window as a row names it.
pub(super) fn place(window: Window) -> (&'static str, i64) {
    match window {
        Window::Total => ("total", 0),
        Window::Day(day) => ("day", day.into()),
        Window::Month(month) => ("month", month.into()),
    }
}

pub(super) fn window(row: &Record) -> Result<Window, LedgerFault> {
    match row.text("span")?.as_str() {
        "total" => Ok(Window::Total),
        "day" => Ok(Window::Day(row.narrow("number")?)),
        "month" => Ok(Window::Month(row.narrow("number")?)),
        _ => Err(LedgerFault::Row { column: "span" }),
    }
}

pub(super) fn pot(row: &Record) -> Result<Pot, LedgerFault> {
    Ok(Pot {
        account: row.word("account")?,
        window: window(row)?,
    })
}

/// A pot of a renewal while it is worked on.
#[derive(Debug, Default)]
struct Working {
    /// What the node was granted and drew in this epoch.
    granted: Nano,
    drawn: Nano,
    /// What the other nodes may still draw.
    elsewhere: Nano,
    used: Nano,
    cap: Option<Nano>,
    /// Nothing is granted: there is no such account, or it or one above it is disabled.
    is_closed: bool,
    is_changed: bool,
}

impl Working {
    /// What the node may still draw. Nothing where its charges took more than it was granted: of what it is granted
    /// then, only what is above that counts as leased.
    fn left(&self) -> Nano {
        self.granted.saturating_sub(self.drawn)
    }

    fn unleased(&self) -> Nano {
        let Some(cap) = self.cap else { return Nano::MOST };
        cap.saturating_sub(self.used)
            .saturating_sub(self.elsewhere.saturating_add(self.left()))
    }
}

async fn renew(
    db: &mut Db<'_>,
    name: &str,
    epoch: u64,
    ttl: Duration,
    renewal: &Renewal,
    rates: &[RateUse],
) -> Result<Renewed, RenewError> {
    let Some(node) = locked(db, name).await? else {
        return Err(RenewError::Refused(RenewRefusal::UnknownNode));
    };
    if node.narrow::<u64>("epoch")? != epoch || state(&node)? != NodeState::Open {
        return Err(RenewError::Refused(RenewRefusal::Closed));
    }
    let taken: u64 = node.narrow("round")?;
    if renewal.round <= taken {
        return Err(RenewError::Refused(RenewRefusal::Stale { taken }));
    }
    let now = sql::now_ms(db).await?;
    let until = now.saturating_add(millis(ttl));
    run(
        db,
        "UPDATE nodes SET round = $2, renewed_at_ms = $3, lease_until_ms = $4 WHERE name = $1",
        values![name, sql::counted(renewal.round), now, until],
    )
    .await?;
    let sql = "SELECT count(*) AS live FROM nodes WHERE state = 'open' AND lease_until_ms > $1 AND name <> $2";
    let others: u32 = match row(db, sql, values![now, name]).await? {
        Some(row) => row.narrow("live")?,
        None => 0,
    };
    // As the others see it: a lease of no length is over at once.
    let live_nodes = others.saturating_add(u32::from(until > now));
    let grants = match (renewal.asks.as_slice(), renewal.returns.as_slice()) {
        ([], []) => Vec::new(),
        (asks, returns) => grant(db, name, epoch, asks, returns, live_nodes).await?,
    };
    Ok(Renewed {
        grants,
        live_nodes,
        generation: generation(db).await?,
        shares: share(db, name, now, until, rates).await?,
    })
}

async fn grant(
    db: &mut Db<'_>,
    name: &str,
    epoch: u64,
    asks: &[Ask],
    returns: &[Return],
    live_nodes: u32,
) -> Result<Vec<Grant>, RenewError> {
    let sharing = match db {
        Either::Sqlite(_) => Sharing::Sole,
        Either::Postgres(_) => Sharing::Among(live_nodes),
    };
    let named = returns
        .iter()
        .map(|one| &one.pot)
        .chain(asks.iter().map(|one| &one.pot));
    let mut pots: BTreeMap<&Pot, Working> = named.map(|pot| (pot, Working::default())).collect();
    load(db, name, &mut pots).await?;
    for Return { pot, amount } in returns {
        let working = pots.get_mut(pot).expect("every pot of the renewal is there");
        let left = working.left();
        if *amount > left {
            return Err(RenewError::Refused(RenewRefusal::ReturnAboveSlice {
                pot: pot.clone(),
                returned: *amount,
                left,
            }));
        }
        working.granted = working.granted.saturating_sub(*amount);
        working.is_changed |= !amount.is_zero();
    }
    let mut more: Vec<(&Pot, Nano)> = Vec::with_capacity(asks.len());
    for pot in returns.iter().map(|one| &one.pot) {
        if !more.iter().any(|(known, _)| *known == pot) {
            more.push((pot, Nano::ZERO));
        }
    }
    for Ask { pot, need } in asks {
        let working = pots.get_mut(pot).expect("every pot of the renewal is there");
        let portion = match (working.is_closed, working.cap) {
            (true, _) => Nano::ZERO,
            // Its bound was lifted, and the node has not heard of it.
            (false, None) => *need,
            (false, Some(_)) => sharing.portion(*need, working.unleased()),
        };
        // An unbounded slice may not grow beyond what its row holds.
        let portion = portion.min(Nano::MOST.saturating_sub(working.granted));
        working.granted = working.granted.saturating_add(portion);
        working.is_changed |= !portion.is_zero();
        match more.iter_mut().find(|(known, _)| *known == pot) {
            Some((_, sum)) => *sum = sum.saturating_add(portion),
            None => more.push((pot, portion)),
        }
    }
    save(db, name, epoch, &pots).await?;
    Ok(more
        .into_iter()
        .map(|(pot, more)| {
            let working = &pots[pot];
            Grant {
                pot: pot.clone(),
                more,
                granted: working.granted,
                rest: working.unleased(),
            }
        })
        .collect())
}

const POTS: &[(&str, Type)] = &[("account", Type::Text), ("span", Type::Text), ("number", Type::Int)];

/// Reads what there is of the pots, and keeps others from changing it.
async fn load(db: &mut Db<'_>, name: &str, pots: &mut BTreeMap<&Pot, Working>) -> Result<(), LedgerFault> {
    let mut batch = Batch::new(POTS);
    let mut accounts: Vec<&AccountId> = Vec::new();
    for pot in pots.keys() {
        let (span, number) = place(pot.window);
        batch.push([pot.account.as_str().into(), span.into(), number.into()]);
        if accounts.last() != Some(&&pot.account) {
            accounts.push(&pot.account);
        }
    }
    // Accounts before pots, as everywhere.
    let known = caps(db, &accounts).await?;
    for (pot, working) in pots.iter_mut() {
        match known.get(pot.account.as_str()) {
            Some((account, is_closed)) => {
                working.cap = cap(account, pot.window);
                working.is_closed = *is_closed;
            }
            None => working.is_closed = true,
        }
    }
    let used = sql::each(
        db,
        &batch,
        "INSERT INTO pots (account, span, number, used) SELECT account, span, number, 0 FROM v WHERE true \
         ORDER BY account, span, number ON CONFLICT (account, span, number) DO UPDATE SET used = pots.used \
         RETURNING account, span, number, used",
    )
    .await?;
    for row in &used {
        if let Some(working) = pots.get_mut(&pot(row)?) {
            working.used = row.nano("used")?;
        }
    }
    let leases = sql::each(
        db,
        &batch,
        "SELECT l.account, l.span, l.number, l.node, l.granted, l.drawn FROM v JOIN leases l \
         ON l.account = v.account AND l.span = v.span AND l.number = v.number",
    )
    .await?;
    for row in &leases {
        if let Some(working) = pots.get_mut(&pot(row)?) {
            let (granted, drawn) = (row.nano("granted")?, row.nano("drawn")?);
            if row.text("node")? == name {
                (working.granted, working.drawn) = (granted, drawn);
            } else {
                working.elsewhere = working.elsewhere.saturating_add(granted.saturating_sub(drawn));
            }
        }
    }
    Ok(())
}

const NAMES: &[(&str, Type)] = &[("name", Type::Text)];

/// The accounts with their money, and whether nothing is granted of them.
async fn caps(
    db: &mut Db<'_>,
    accounts: &[&AccountId],
) -> Result<BTreeMap<String, (StoredAccount, bool)>, LedgerFault> {
    let mut batch = Batch::new(NAMES);
    for account in accounts {
        batch.push([account.as_str().into()]);
    }
    // A bound that is being cut is waited for.
    let lock = sql::by_kind(
        db,
        "SELECT 1 FROM v WHERE false",
        "SELECT a.id FROM accounts a WHERE a.id IN (SELECT name FROM v) ORDER BY a.id FOR SHARE",
    );
    sql::each(db, &batch, lock).await?;
    let found = sql::each(
        db,
        &batch,
        "SELECT a.*, coalesce(b.credited, 0) AS deposited, coalesce(b.debited, 0) AS withdrawn, \
         (a.disabled OR coalesce(p.disabled, false) OR coalesce(o.disabled, false)) AS is_closed \
         FROM v JOIN accounts a ON a.id = v.name LEFT JOIN accounts p ON p.id = a.parent \
         LEFT JOIN accounts o ON o.id = a.organisation \
         LEFT JOIN balances b ON b.account = a.id AND b.currency = a.currency AND b.node = ''",
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let account = account(row)?;
            Ok((account.id.as_str().to_owned(), (account, row.flag("is_closed")?)))
        })
        .collect()
}

const SLICES: &[(&str, Type)] = &[
    ("account", Type::Text),
    ("span", Type::Text),
    ("number", Type::Int),
    ("node", Type::Text),
    ("epoch", Type::Int),
    ("granted", Type::Int),
];

async fn save(db: &mut Db<'_>, name: &str, epoch: u64, pots: &BTreeMap<&Pot, Working>) -> Result<(), LedgerFault> {
    let mut batch = Batch::new(SLICES);
    for (pot, working) in pots.iter().filter(|(_, working)| working.is_changed) {
        let (span, number) = place(pot.window);
        batch.push([
            pot.account.as_str().into(),
            span.into(),
            number.into(),
            name.into(),
            sql::counted(epoch).into(),
            working.granted.into(),
        ]);
    }
    sql::each(
        db,
        &batch,
        "INSERT INTO leases (account, span, number, node, epoch, granted, drawn) \
         SELECT account, span, number, node, epoch, granted, 0 FROM v WHERE true \
         ON CONFLICT (account, span, number, node, epoch) DO UPDATE SET granted = excluded.granted",
    )
    .await?;
    forget_windows(db, name, epoch).await
}

/// How many days after its end a slice is forgotten of which nothing is left.
const KEPT_DAYS: u32 = 3;

/// A node that runs for years would have a slice for every day of them.
async fn forget_windows(db: &mut Db<'_>, name: &str, epoch: u64) -> Result<(), LedgerFault> {
    let today = Windows::at(sql::now_ms(db).await?);
    let before = Windows::of_day(today.day.saturating_sub(KEPT_DAYS));
    let sql = "DELETE FROM leases WHERE node = $1 AND epoch = $2 AND granted <= drawn \
               AND ((span = 'day' AND number < $3) OR (span = 'month' AND number < $4))";
    let (day, month) = (i64::from(before.day), i64::from(before.month));
    run(db, sql, values![name, sql::counted(epoch), day, month]).await?;
    Ok(())
}
