//! Gateways that charge: how one joins, leaves, and is given up.

use std::time::Duration;

use billing::ledger::{LeaveRefusal, NodeState};
use billing::{AccountId, JournalKind};
use serde_json::Map;

use super::accounts::log;
use super::sql::{self, Record, row, rows, run, values};
use super::{LedgerFault, LedgerStore, change, faults, question};
use crate::keys::By;
use crate::pool::Db;

/// A node that has begun an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub epoch: u64,
    /// Of its last charge that is in the ledger; zero where there is none.
    pub last_seq: u64,
    /// Its receipts go on from here.
    pub heads: Vec<ChainHead>,
}

/// The last receipt of an organisation at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    pub organisation: AccountId,
    pub seq: u64,
    pub receipt_hash: [u8; 32],
}

/// A node as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNode {
    pub name: String,
    pub epoch: u64,
    pub state: NodeState,
    pub journal: JournalKind,
    pub joined_at_ms: i64,
    pub renewed_at_ms: i64,
    pub lease_until_ms: i64,
    /// What is left of its lease by the clock of the database; zero where it has ended.
    pub lease_left: Duration,
    pub last_seq: u64,
    /// Pots that it holds something of.
    pub slices: u64,
}

impl StoredNode {
    /// Whether it may grant.
    pub fn is_live(&self) -> bool {
        self.state == NodeState::Open && !self.lease_left.is_zero()
    }
}

/// What became of a node that is not to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// What it held is free. What its journal still has will be a loss of ours.
    Now,
    /// It held nothing.
    Already,
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    #[error("'{name}' names no node; give it 1 to 128 letters, digits and `-_.`")]
    Name { name: String },
    #[error(
        "another gateway has the name '{name}' and its lease for {} s yet; give each a name of its own, or wait \
         where it is gone with its disk",
        left.as_secs().saturating_add(1)
    )]
    Taken { name: String, left: Duration },
    #[error("the node did not join the ledger")]
    Fault(#[from] LedgerFault),
}

/// Why a node did not leave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    #[error(transparent)]
    Refused(LeaveRefusal),
    #[error("the node did not leave the ledger")]
    Fault(#[from] LedgerFault),
}

/// Why a node was not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    #[error("there is no node '{name}'")]
    NotFound { name: String },
    #[error("the node '{name}' has its lease for {} s yet; stop it first, and wait that long", left.as_secs().saturating_add(1))]
    StillLeased { name: String, left: Duration },
    #[error("the node was not forgotten")]
    Fault(#[from] LedgerFault),
}

faults!(JoinError);
faults!(LeaveError);
faults!(ForgetError);

impl LedgerStore {
    /// Begins an epoch. The one before is closed and what it held is free, so that a node with a journal of its own
    /// calls this only when all of that was posted.
    pub async fn join(&self, name: &str, journal: JournalKind, ttl: Duration) -> Result<Joined, JoinError> {
        check_name(name)?;
        change!(self.pool, db => begin(db, name, journal, ttl).await.map_err(JoinError::from))
    }

    /// As [`LedgerStore::join`], of a node that knows its last epoch, 0 where it knows none. Refused while another one
    /// of that name lives: its journal may have charges which nobody takes once its epoch is closed.
    pub async fn join_after(
        &self,
        name: &str,
        epoch: u64,
        journal: JournalKind,
        ttl: Duration,
    ) -> Result<Joined, JoinError> {
        check_name(name)?;
        change!(self.pool, db => {
            match not_taken(db, name, epoch).await {
                Ok(()) => begin(db, name, journal, ttl).await.map_err(JoinError::from),
                Err(error) => Err(error),
            }
        })
    }

    /// Ends an epoch in order: all its charges are posted, and nothing is held.
    pub async fn leave(&self, name: &str, epoch: u64) -> Result<(), LeaveError> {
        change!(self.pool, db => end(db, name, epoch).await)
    }

    /// Closes the epochs of nodes without a journal of their own whose lease ended, and names them.
    ///
    /// Nothing of theirs is on its way that would still be posted. A node with a journal keeps what it holds.
    pub async fn reap(&self) -> Result<Vec<String>, LedgerFault> {
        change!(self.pool, db => close_ended(db).await)
    }

    /// Frees what a node holds that does not come back. What its journal still has is taken from nobody's account.
    pub async fn forget_node(&self, name: &str, by: By<'_>) -> Result<Forgotten, ForgetError> {
        change!(self.pool, db => give_up(db, name, by).await)
    }

    /// Every node, by name.
    pub async fn nodes(&self) -> Result<Vec<StoredNode>, LedgerFault> {
        question!(self.reader, db => all(db).await)
    }
}

fn check_name(name: &str) -> Result<(), JoinError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(JoinError::Name { name: name.to_owned() })
    }
}

async fn not_taken(db: &mut Db<'_>, name: &str, epoch: u64) -> Result<(), JoinError> {
    let Some(row) = locked(db, name).await? else {
        return Ok(());
    };
    let node = node(&row, sql::now_ms(db).await?)?;
    if node.is_live() && node.epoch != epoch {
        return Err(JoinError::Taken {
            name: node.name,
            left: node.lease_left,
        });
    }
    Ok(())
}

fn word_of(journal: JournalKind) -> &'static str {
    match journal {
        JournalKind::Local => "local",
        JournalKind::Direct => "direct",
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The row of a node, locked until the transaction ends.
pub(super) async fn locked(db: &mut Db<'_>, name: &str) -> Result<Option<Record>, LedgerFault> {
    let sql = sql::by_kind(
        db,
        "SELECT * FROM nodes WHERE name = $1",
        "SELECT * FROM nodes WHERE name = $1 FOR UPDATE",
    );
    row(db, sql, values![name]).await
}

pub(super) fn state(row: &Record) -> Result<NodeState, LedgerFault> {
    match row.text("state")?.as_str() {
        "open" => Ok(NodeState::Open),
        "closed" => Ok(NodeState::Closed),
        "forgotten" => Ok(NodeState::Forgotten),
        _ => Err(LedgerFault::Row { column: "state" }),
    }
}

async fn begin(db: &mut Db<'_>, name: &str, journal: JournalKind, ttl: Duration) -> Result<Joined, LedgerFault> {
    let now = sql::now_ms(db).await?;
    let sql = "INSERT INTO nodes (name, epoch, state, journal, joined_at_ms, renewed_at_ms, lease_until_ms, round, \
               last_seq) VALUES ($1, 1, 'open', $2, $3, $3, $4, 0, 0) ON CONFLICT (name) DO UPDATE \
               SET epoch = nodes.epoch + 1, state = 'open', journal = excluded.journal, \
               joined_at_ms = excluded.joined_at_ms, renewed_at_ms = excluded.renewed_at_ms, \
               lease_until_ms = excluded.lease_until_ms, round = 0 RETURNING epoch, last_seq";
    let until = now.saturating_add(millis(ttl));
    let row = row(db, sql, values![name, word_of(journal), now, until]).await?;
    let row = row.ok_or(LedgerFault::Row { column: "epoch" })?;
    run(db, "DELETE FROM leases WHERE node = $1", values![name]).await?;
    // Its shares of rates stay until their windows are over: what the epoch before used counts.
    let sql = "SELECT organisation, seq, receipt_hash FROM receipt_heads WHERE node = $1 ORDER BY organisation";
    let heads = rows(db, sql, values![name]).await?;
    Ok(Joined {
        epoch: row.narrow("epoch")?,
        last_seq: row.narrow("last_seq")?,
        heads: heads.iter().map(head).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn head(row: &Record) -> Result<ChainHead, LedgerFault> {
    let bad = LedgerFault::Row { column: "receipt_hash" };
    let hash = row.maybe_bytes("receipt_hash")?.unwrap_or_default();
    Ok(ChainHead {
        organisation: row.word("organisation")?,
        seq: row.narrow("seq")?,
        receipt_hash: hash.try_into().map_err(|_| bad)?,
    })
}

/// Whatever it held is free.
async fn close(db: &mut Db<'_>, name: &str, state: &str) -> Result<(), LedgerFault> {
    run(db, "UPDATE nodes SET state = $2 WHERE name = $1", values![name, state]).await?;
    run(db, "DELETE FROM leases WHERE node = $1", values![name]).await?;
    // Its share of a rate stays until its window is over.
    Ok(())
}

async fn end(db: &mut Db<'_>, name: &str, epoch: u64) -> Result<(), LeaveError> {
    let Some(row) = locked(db, name).await? else {
        return Err(LeaveError::Refused(LeaveRefusal::UnknownNode));
    };
    if row.narrow::<u64>("epoch")? != epoch {
        return Err(LeaveError::Refused(LeaveRefusal::WrongEpoch));
    }
    if state(&row)? == NodeState::Open {
        close(db, name, "closed").await?;
    }
    Ok(())
}

async fn close_ended(db: &mut Db<'_>) -> Result<Vec<String>, LedgerFault> {
    let now = sql::now_ms(db).await?;
    let sql = sql::by_kind(
        db,
        "SELECT name FROM nodes WHERE state = 'open' AND journal = 'direct' AND lease_until_ms <= $1 ORDER BY name",
        // One that is being renewed now is not touched.
        "SELECT name FROM nodes WHERE state = 'open' AND journal = 'direct' AND lease_until_ms <= $1 ORDER BY name \
         FOR UPDATE SKIP LOCKED",
    );
    let ended = rows(db, sql, values![now]).await?;
    let ended = ended
        .iter()
        .map(|row| row.text("name"))
        .collect::<Result<Vec<_>, _>>()?;
    for name in &ended {
        close(db, name, "closed").await?;
    }
    Ok(ended)
}

async fn give_up(db: &mut Db<'_>, name: &str, by: By<'_>) -> Result<Forgotten, ForgetError> {
    let Some(row) = locked(db, name).await? else {
        return Err(ForgetError::NotFound { name: name.to_owned() });
    };
    let node = node(&row, sql::now_ms(db).await?)?;
    if node.state != NodeState::Open {
        return Ok(Forgotten::Already);
    }
    if node.is_live() {
        return Err(ForgetError::StillLeased {
            name: node.name,
            left: node.lease_left,
        });
    }
    let state = match node.journal {
        JournalKind::Local => "forgotten",
        JournalKind::Direct => "closed",
    };
    close(db, name, state).await?;
    let mut detail = Map::new();
    detail.insert("epoch".into(), node.epoch.into());
    detail.insert("last_seq".into(), node.last_seq.into());
    log(db, by, "node.forget", name, detail).await?;
    Ok(Forgotten::Now)
}

async fn all(db: &mut Db<'_>) -> Result<Vec<StoredNode>, LedgerFault> {
    let now = sql::now_ms(db).await?;
    let slices = rows(
        db,
        "SELECT node, count(*) AS slices FROM leases WHERE granted > drawn GROUP BY node",
        &[],
    )
    .await?;
    let found = rows(db, "SELECT * FROM nodes ORDER BY name", &[]).await?;
    let mut nodes = found.iter().map(|row| node(row, now)).collect::<Result<Vec<_>, _>>()?;
    for row in &slices {
        let name = row.text("node")?;
        if let Ok(at) = nodes.binary_search_by(|node| node.name.cmp(&name)) {
            nodes[at].slices = row.narrow("slices")?;
        }
    }
    Ok(nodes)
}

fn node(row: &Record, now_ms: i64) -> Result<StoredNode, LedgerFault> {
    let until = row.int("lease_until_ms")?;
    let left = u64::try_from(until.saturating_sub(now_ms)).unwrap_or(0);
    Ok(StoredNode {
        name: row.text("name")?,
        epoch: row.narrow("epoch")?,
        state: state(row)?,
        journal: match row.text("journal")?.as_str() {
            "local" => JournalKind::Local,
            "direct" => JournalKind::Direct,
            _ => return Err(LedgerFault::Row { column: "journal" }),
        },
        joined_at_ms: row.int("joined_at_ms")?,
        renewed_at_ms: row.int("renewed_at_ms")?,
        lease_until_ms: until,
        lease_left: Duration::from_millis(left),
        last_seq: row.narrow("last_seq")?,
        slices: 0,
    })
}
