//! Who wrote to an account of ours on the chain, and how far its history was read.
//!
//! TON forgets what a deleted account did; an account that lives on remembers who wrote to it. A payee that knows who ever
//! wrote to its own account knows whether a channel's address was used before, whatever the source forgot. Its history
//! grows for ever and anybody can make it grow, so that it is read once: from where we were, by whoever is first of all
//! gateways.
//!
//! In a transaction each: where we are, and who wrote up to there. Nothing is ever taken back.

use billing::channel::{Account, ChannelId};

use super::{ChannelStore, LedgerFault, change, question};
use crate::ledger::sql::{Record, row, run, values};
use crate::pool::Db;

/// A transaction in the history of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its logical time.
    pub lt: u64,
    pub hash: [u8; 32],
}

/// Somebody who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    pub account: Account,
    /// When, by the sender's logical time.
    pub sent_lt: u64,
}

impl ChannelStore {
    /// How far the history of an account of ours was read; `None` before the first time.
    pub async fn reached(&self, of: &ChannelId) -> Result<Option<Reached>, LedgerFault> {
        question!(self.reader, db => reached(db, of).await)
    }

    /// When this account first wrote to ours, as far as that was read.
    pub async fn first_heard(&self, of: &ChannelId, from: &Account) -> Result<Option<u64>, LedgerFault> {
        question!(self.reader, db => first(db, of, from).await)
    }

    /// Goes on from `before` to `now`, with those who wrote in between, oldest first. `false` where another gateway went on
    /// meanwhile: nothing is changed.
    pub async fn hear(
        &self,
        of: &ChannelId,
        before: Option<Reached>,
        now: Reached,
        senders: &[Sender],
    ) -> Result<bool, LedgerFault> {
        change!(self.pool, db => hear(db, of, before, now, senders).await)
    }
}

fn shown(of: &ChannelId) -> String {
    format!("{}/{}", of.network, of.account)
}

fn stored(lt: u64) -> Result<i64, LedgerFault> {
    i64::try_from(lt).map_err(|_| LedgerFault::Row { column: "lt" })
}

async fn reached(db: &mut Db<'_>, of: &ChannelId) -> Result<Option<Reached>, LedgerFault> {
    let sql = "SELECT lt, hash FROM payee_histories WHERE account = $1";
    let found = row(db, sql, values![&shown(of)]).await?;
    found.as_ref().map(read).transpose()
}

fn read(row: &Record) -> Result<Reached, LedgerFault> {
    let hash = row.maybe_bytes("hash")?.and_then(|hash| hash.try_into().ok());
    Ok(Reached {
        lt: row.narrow("lt")?,
        hash: hash.ok_or(LedgerFault::Row { column: "hash" })?,
    })
}

async fn first(db: &mut Db<'_>, of: &ChannelId, from: &Account) -> Result<Option<u64>, LedgerFault> {
    let sql = "SELECT sent_lt FROM payee_senders WHERE account = $1 AND sender = $2";
    let found = row(db, sql, values![&shown(of), &from.to_string()]).await?;
    found.map(|row| row.narrow("sent_lt")).transpose()
}

async fn hear(
    db: &mut Db<'_>,
    of: &ChannelId,
    before: Option<Reached>,
    now: Reached,
    senders: &[Sender],
) -> Result<bool, LedgerFault> {
    let account = shown(of);
    let lt = stored(now.lt)?;
    let changed = match before {
        None => {
            let sql =
                "INSERT INTO payee_histories (account, lt, hash) VALUES ($1, $2, $3) ON CONFLICT (account) DO NOTHING";
            run(db, sql, values![&account, lt, &now.hash[..]]).await?
        }
        Some(before) => {
            let sql = "UPDATE payee_histories SET lt = $2, hash = $3 WHERE account = $1 AND lt = $4 AND hash = $5";
            let (from, hash) = (stored(before.lt)?, &before.hash[..]);
            run(db, sql, values![&account, lt, &now.hash[..], from, hash]).await?
        }
    };
    if changed == 0 {
        return Ok(false);
    }
    for sender in senders {
        let sql = "INSERT INTO payee_senders (account, sender, sent_lt) VALUES ($1, $2, $3) \
            ON CONFLICT (account, sender) DO NOTHING";
        let (from, sent) = (sender.account.to_string(), stored(sender.sent_lt)?);
        run(db, sql, values![&account, &from, sent]).await?;
    }
    Ok(true)
}
