//! The journal of a node whose ledger is on PostgreSQL: charges are durable here, in the node's own `mulberry.db`,
//! before the client sees the end of its answer, and are shipped to the ledger behind it.
//!
//! A batch is one transaction, and on the disk when [`Journal::append`] returns. Numbers go on without a gap, also
//! after [`Journal::trim`] took away what was shipped.
//!
//! Refused: a number that is not the next one, another node's charges, a file of which a part is missing.

use std::path::Path;

use billing::AccountId;

use crate::ledger::sql::{self, Batch, Record, Type, counted, row, rows, run, values};
use crate::ledger::{
    ChainHead, LedgerFault, SealedCharge, StoredReceipt, change, charge_of_json, faults, json_of_charge, question,
};
use crate::location::Location;
use crate::opening::OpenError;
use crate::pool::{Db, Pool};
use crate::store::Store;

/// Shipped charges that stay, so that one which is written again is known: more than a batch has.
const KEPT: u64 = 1024;

/// Charges that were not shipped yet, and whose they are.
#[derive(Clone, Debug)]
pub struct Journal {
    store: Store,
}

/// Whose a journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    pub node: String,
    /// What is pending is posted under it.
    pub epoch: u64,
}

/// Why the journal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("the journal belongs to no node yet")]
    NoWriter,
    #[error("the journal is that of node '{node}', and this is '{other}'; give it its own data_dir, or its old name")]
    OtherNode { node: String, other: String },
    #[error("{count} charges of node '{node}' are in the journal and not in the ledger; they have to be shipped first")]
    Unshipped { node: String, count: u64 },
    #[error("charge {found} came where {expected} is next")]
    Gap { expected: u64, found: u64 },
    #[error("number {seq} was given to another charge; nothing was written")]
    Conflict { seq: u64 },
    #[error(
        "the journal has {found} charges up to number {last}, and {expected} were written; it was altered or damaged. \
         Restore the data_dir from a backup, or move it away and run `mulberry ledger forget-node`"
    )]
    Torn { expected: u64, found: u64, last: u64 },
    #[error("the journal failed")]
    Fault(#[from] LedgerFault),
}

faults!(JournalError);

impl Journal {
    /// Opens the node's own database; creates it where needed.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let store = Store::open(&Location::from(path)).await?;
        Ok(Self { store })
    }

    fn pool(&self) -> &Pool {
        &self.store.ledger
    }

    /// For what clients ask: it waits for no capture, and no capture for it.
    fn reader(&self) -> &Pool {
        self.store.reader().pool()
    }

    /// Who wrote last, if anybody did. What is pending is shipped under that name and epoch.
    ///
    /// Looks first whether all is there that was written.
    pub async fn writer(&self) -> Result<Option<Writer>, JournalError> {
        change!(self.pool(), db => {
            match check(db).await {
                Ok(()) => writer(db).await.map_err(JournalError::from),
                Err(error) => Err(error),
            }
        })
    }

    /// Begins an epoch, after all that is pending was shipped: the next number is the one after `last_seq`, or after
    /// the last one here, and receipts go on from the heads.
    pub async fn begin(&self, writer: &Writer, last_seq: u64, heads: &[ChainHead]) -> Result<(), JournalError> {
        change!(self.pool(), db => begin(db, writer, last_seq, heads).await)
    }

    /// Writes charges, all or none; they are on the disk when this returns.
    ///
    /// To write again what was written changes nothing, so that a batch may be repeated of which nobody knows what
    /// became.
    pub async fn append(&self, charges: &[SealedCharge]) -> Result<(), JournalError> {
        change!(self.pool(), db => append(db, charges).await)
    }

    /// Charges that were not shipped, after a number, in their order.
    pub async fn pending(&self, after: u64, limit: u32) -> Result<Vec<SealedCharge>, JournalError> {
        change!(self.pool(), db => pending(db, after, limit).await.map_err(JournalError::from))
    }

    /// How many charges were not shipped, and when the oldest of them was made, in Unix time.
    pub async fn backlog(&self) -> Result<(u64, Option<i64>), JournalError> {
        change!(self.pool(), db => backlog(db).await.map_err(JournalError::from))
    }

    /// Up to this number all was shipped, and may go. Numbers go on.
    pub async fn trim(&self, up_to: u64) -> Result<(), JournalError> {
        change!(self.pool(), db => trim(db, up_to).await.map_err(JournalError::from))
    }

    /// The ledger has only what came up to this number, for it was restored from a backup: what came after it is to
    /// be shipped again. False where that is no longer here; then nothing is changed.
    pub async fn rewind(&self, to: u64) -> Result<bool, JournalError> {
        change!(self.pool(), db => rewind(db, to).await.map_err(JournalError::from))
    }

    /// Of the last charge that was ever written; zero where there is none.
    pub async fn last_seq(&self) -> Result<u64, JournalError> {
        change!(self.pool(), db => last_seq(db).await.map_err(JournalError::from))
    }

    /// The last receipt of each organisation.
    pub async fn heads(&self) -> Result<Vec<ChainHead>, JournalError> {
        question!(self.reader(), db => heads(db).await.map_err(JournalError::from))
    }

    /// The receipts of a request that are still here.
    pub async fn receipt(&self, request_id: &str) -> Result<Vec<StoredReceipt>, JournalError> {
        question!(self.reader(), db => {
            let sql = "SELECT * FROM journal WHERE request_id = $1 ORDER BY seq LIMIT 1000";
            match rows(db, sql, values![request_id]).await {
                Ok(found) => match found.iter().map(sealed).collect::<Result<Vec<_>, _>>() {
                    Ok(found) => Ok(found.into_iter().filter_map(SealedCharge::into_receipt).collect()),
                    Err(fault) => Err(JournalError::from(fault)),
                },
                Err(fault) => Err(JournalError::from(fault)),
            }
        })
    }

    pub async fn close(self) {
        self.store.close().await;
    }
}

async fn last_seq(db: &mut Db<'_>) -> Result<u64, LedgerFault> {
    match row(db, "SELECT last_seq FROM journal_state", &[]).await? {
        Some(row) => row.narrow("last_seq"),
        None => Err(LedgerFault::Row { column: "last_seq" }),
    }
}

async fn writer(db: &mut Db<'_>) -> Result<Option<Writer>, LedgerFault> {
    let sql = "SELECT node, epoch FROM journal_state WHERE node IS NOT NULL";
    match row(db, sql, &[]).await? {
        Some(row) => Ok(Some(Writer {
            node: row.text("node")?,
            epoch: row.narrow("epoch")?,
        })),
        None => Ok(None),
    }
}

/// What is here ends with the last number that was given, and has no gap.
async fn check(db: &mut Db<'_>) -> Result<(), JournalError> {
    let last = last_seq(db).await?;
    let sql = "SELECT count(*) AS found, coalesce(min(seq), 0) AS first, coalesce(max(seq), 0) AS last FROM journal";
    let row = row(db, sql, &[]).await?.ok_or(LedgerFault::Row { column: "seq" })?;
    let found: u64 = row.narrow("found")?;
    if found == 0 {
        return Ok(());
    }
    let first: u64 = row.narrow("first")?;
    let expected = last.saturating_add(1).saturating_sub(first);
    if row.narrow::<u64>("last")? != last || found != expected {
        return Err(JournalError::Torn { expected, found, last });
    }
    Ok(())
}

async fn begin(db: &mut Db<'_>, new: &Writer, posted: u64, heads: &[ChainHead]) -> Result<(), JournalError> {
    let sql = "SELECT count(*) AS count FROM journal WHERE seq > $1";
    let unshipped: u64 = match row(db, sql, values![counted(posted)]).await? {
        Some(row) => row.narrow("count")?,
        None => 0,
    };
    if let Some(old) = writer(db).await? {
        if unshipped > 0 {
            return Err(JournalError::Unshipped {
                node: old.node,
                count: unshipped,
            });
        }
        if old.node != new.node {
            // Nothing of the other one is left here, and its numbers are not those of this one.
            run(db, "DELETE FROM journal", &[]).await?;
            run(db, "DELETE FROM journal_heads", &[]).await?;
            run(db, "UPDATE journal_state SET last_seq = 0, shipped = 0", &[]).await?;
        }
    }
    // Here it may be the higher where the ledger was restored from a backup: no number is given twice.
    let last = last_seq(db).await?.max(posted);
    run(
        db,
        "UPDATE journal_state SET node = $1, epoch = $2, last_seq = $3, shipped = $3",
        values![&new.node, counted(new.epoch), counted(last)],
    )
    .await?;
    run(db, "DELETE FROM journal", &[]).await?;
    put_heads(
        db,
        heads
            .iter()
            .map(|head| (&head.organisation, head.seq, &head.receipt_hash)),
    )
    .await?;
    Ok(())
}

async fn put_heads(
    db: &mut Db<'_>,
    heads: impl Iterator<Item = (&AccountId, u64, &[u8; 32])>,
) -> Result<(), LedgerFault> {
    let mut batch = Batch::new(&[
        ("organisation", Type::Text),
        ("seq", Type::Int),
        ("receipt_hash", Type::Bytes),
    ]);
    for (organisation, seq, hash) in heads {
        batch.push([organisation.as_str().into(), counted(seq).into(), (&hash[..]).into()]);
    }
    sql::each(
        db,
        &batch,
        "INSERT INTO journal_heads (organisation, seq, receipt_hash) SELECT * FROM v WHERE true \
         ON CONFLICT (organisation) DO UPDATE SET seq = excluded.seq, receipt_hash = excluded.receipt_hash \
         WHERE excluded.seq >= journal_heads.seq",
    )
    .await
    .map(drop)
}

async fn append(db: &mut Db<'_>, charges: &[SealedCharge]) -> Result<(), JournalError> {
    let Some(writer) = writer(db).await? else {
        return Err(JournalError::NoWriter);
    };
    let mut last = last_seq(db).await?;
    let before = written(db, last, charges).await?;
    let mut made: Vec<(&SealedCharge, String)> = Vec::with_capacity(charges.len());
    for sealed in charges {
        let charge = &sealed.charge;
        let seq = charge.seq;
        if *charge.node != *writer.node {
            return Err(JournalError::OtherNode {
                node: writer.node,
                other: charge.node.to_string(),
            });
        }
        if seq <= last {
            let mut same = made.iter().map(|(sealed, _)| *sealed).chain(&before);
            if !same.any(|known| *known == *sealed) {
                return Err(JournalError::Conflict { seq });
            }
            continue;
        }
        let expected = last.saturating_add(1);
        if seq != expected {
            return Err(JournalError::Gap { expected, found: seq });
        }
        last = seq;
        made.push((sealed, json_of_charge(charge)));
    }
    let mut batch = Batch::new(&[
        ("seq", Type::Int),
        ("request_id", Type::Text),
        ("organisation", Type::Text),
        ("charge", Type::Text),
        ("receipt", Type::Text),
        ("receipt_hash", Type::Bytes),
    ]);
    let mut heads = std::collections::BTreeMap::new();
    for (sealed, json) in &made {
        let charge = &sealed.charge;
        let hash = sealed.receipt_hash.as_ref();
        batch.push([
            counted(charge.seq).into(),
            (&charge.request_id).into(),
            charge.organisation.as_str().into(),
            json.into(),
            sealed.receipt.as_deref().into(),
            hash.map(|hash| &hash[..]).into(),
        ]);
        if let Some(hash) = hash {
            heads.insert(&charge.organisation, (charge.seq, hash));
        }
    }
    sql::each(
        db,
        &batch,
        "INSERT INTO journal (seq, request_id, organisation, charge, receipt, receipt_hash) SELECT * FROM v",
    )
    .await?;
    put_heads(
        db,
        heads
            .into_iter()
            .map(|(organisation, (seq, hash))| (organisation, seq, hash)),
    )
    .await?;
    if !made.is_empty() {
        run(db, "UPDATE journal_state SET last_seq = $1", values![counted(last)]).await?;
    }
    Ok(())
}

/// What is here already under the numbers of a batch.
async fn written(db: &mut Db<'_>, last: u64, charges: &[SealedCharge]) -> Result<Vec<SealedCharge>, LedgerFault> {
    let first = charges.iter().map(|sealed| sealed.charge.seq).min();
    let Some(first) = first.filter(|first| *first <= last) else {
        return Ok(Vec::new());
    };
    let sql = "SELECT * FROM journal WHERE seq >= $1 ORDER BY seq LIMIT $2";
    let limit = i64::try_from(charges.len()).unwrap_or(i64::MAX);
    let found = rows(db, sql, values![counted(first), limit]).await?;
    found.iter().map(sealed).collect()
}

async fn trim(db: &mut Db<'_>, up_to: u64) -> Result<(), LedgerFault> {
    let sql = "UPDATE journal_state SET shipped = $1 WHERE shipped < $1 AND last_seq >= $1";
    run(db, sql, values![counted(up_to)]).await?;
    let gone = up_to.saturating_sub(KEPT);
    run(db, "DELETE FROM journal WHERE seq <= $1", values![counted(gone)])
        .await
        .map(drop)
}

async fn rewind(db: &mut Db<'_>, to: u64) -> Result<bool, LedgerFault> {
    let sql = "UPDATE journal_state SET shipped = min(shipped, $1) \
               WHERE last_seq = $1 OR EXISTS (SELECT 1 FROM journal WHERE seq = $1 + 1)";
    Ok(run(db, sql, values![counted(to)]).await? > 0)
}

async fn pending(db: &mut Db<'_>, after: u64, limit: u32) -> Result<Vec<SealedCharge>, LedgerFault> {
    let sql =
        "SELECT * FROM journal WHERE seq > $1 AND seq > (SELECT shipped FROM journal_state) ORDER BY seq LIMIT $2";
    let found = rows(db, sql, values![counted(after), i64::from(limit)]).await?;
    found.iter().map(sealed).collect()
}

async fn backlog(db: &mut Db<'_>) -> Result<(u64, Option<i64>), LedgerFault> {
    let sql = "SELECT last_seq - shipped AS count, (SELECT charge FROM journal \
               WHERE seq > (SELECT shipped FROM journal_state) ORDER BY seq LIMIT 1) AS charge FROM journal_state";
    let Some(row) = row(db, sql, &[]).await? else {
        return Ok((0, None));
    };
    let oldest = row
        .maybe_text("charge")?
        .map(|charge| charge_of_json(&charge))
        .transpose()?;
    Ok((row.narrow("count")?, oldest.map(|charge| charge.at_ms)))
}

async fn heads(db: &mut Db<'_>) -> Result<Vec<ChainHead>, LedgerFault> {
    let sql = "SELECT organisation, seq, receipt_hash FROM journal_heads ORDER BY organisation";
    let found = rows(db, sql, &[]).await?;
    found.iter().map(crate::ledger::head).collect()
}

fn sealed(row: &Record) -> Result<SealedCharge, LedgerFault> {
    let hash = row.maybe_bytes("receipt_hash")?.map(<[u8; 32]>::try_from).transpose();
    Ok(SealedCharge {
        charge: charge_of_json(&row.text("charge")?)?,
        receipt: row.maybe_text("receipt")?.map(String::into_boxed_str),
        receipt_hash: hash.map_err(|_| LedgerFault::Row { column: "receipt_hash" })?,
    })
}
