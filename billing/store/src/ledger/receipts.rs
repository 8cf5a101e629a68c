//! The public keys that signed receipts, of every node and of all times, and where an organisation's chains stand.
//!
//! The receipts themselves are columns of their charges.

use billing::AccountId;

use super::nodes::{ChainHead, head};
use super::sql::{Record, row, rows, run, values};
use super::{LedgerFault, LedgerStore, change, question};
use crate::pool::Db;

/// A public key that a node signs receipts with, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReceiptKey {
    /// Ed25519.
    pub public_key: [u8; 32],
    pub node: String,
    pub first_used_ms: i64,
}

impl LedgerStore {
    /// Keeps a public key for ever. Doing it again changes nothing.
    pub async fn add_receipt_key(&self, node: &str, public_key: &[u8; 32], now_ms: i64) -> Result<(), LedgerFault> {
        change!(self.pool, db => add(db, node, public_key, now_ms).await)
    }

    /// All public keys, the oldest first.
    pub async fn receipt_keys(&self) -> Result<Vec<StoredReceiptKey>, LedgerFault> {
        question!(self.reader, db => {
            let found = rows(db, "SELECT * FROM receipt_keys ORDER BY first_used_ms, public_key, node", &[]).await;
            found.and_then(|found| found.iter().map(of).collect::<Result<Vec<_>, _>>())
        })
    }

    /// The last receipt of the organisation at each node, by the names of the nodes.
    pub async fn receipt_heads(&self, organisation: &AccountId) -> Result<Vec<(String, ChainHead)>, LedgerFault> {
        question!(self.reader, db => heads(db, organisation).await)
    }
}

async fn add(db: &mut Db<'_>, node: &str, public_key: &[u8; 32], now_ms: i64) -> Result<(), LedgerFault> {
    let key = public_key.as_slice();
    // Looked for first: an insert that conflicts would still take SQLite's only right to write at each start.
    let sql = "SELECT node FROM receipt_keys WHERE public_key = $1 AND node = $2";
    if row(db, sql, values![key, node]).await?.is_some() {
        return Ok(());
    }
    let sql = "INSERT INTO receipt_keys (public_key, node, first_used_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    run(db, sql, values![key, node, now_ms]).await.map(drop)
}

fn of(row: &Record) -> Result<StoredReceiptKey, LedgerFault> {
    let key = row.maybe_bytes("public_key")?.unwrap_or_default();
    Ok(StoredReceiptKey {
        public_key: key.try_into().map_err(|_| LedgerFault::Row { column: "public_key" })?,
        node: row.text("node")?,
        first_used_ms: row.int("first_used_ms")?,
    })
}

async fn heads(db: &mut Db<'_>, organisation: &AccountId) -> Result<Vec<(String, ChainHead)>, LedgerFault> {
    let sql = "SELECT node, organisation, seq, receipt_hash FROM receipt_heads WHERE organisation = $1 ORDER BY node";
    let found = rows(db, sql, values![organisation.as_str()]).await?;
    found.iter().map(|row| Ok((row.text("node")?, head(row)?))).collect()
}
