//! The whole ledger as lines of JSON, from which a stranger can compute every balance anew.
//!
//! The format is in `docs/money.md`. It is one moment of the ledger; what is kept in memory is a page of it.

use std::fmt::Write as _;
use std::time::Duration;

use billing::receipt::to_hex;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::accounts::{StoredAccount, account};
use super::charges::{PostedCharge, posted};
use super::leases::window;
use super::sql::{Record, rows, run, values};
use super::transfers::{StoredTransfer, transfer};
use super::{LedgerFault, LedgerStore, faults, question};
use crate::pool::{Db, Either};

/// The version of the format.
const VERSION: u32 = 1;

/// How long an export may take; a slow reader makes it slow.
const LIMIT: Duration = Duration::from_secs(3600);

/// Rows that are read at a time.
const PAGE: i64 = 500;

/// Why the export is not whole. Its last line is missing then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    #[error("the export cannot be written")]
    Write(#[source] std::io::Error),
    #[error("the ledger could not be exported")]
    Fault(#[from] LedgerFault),
}

faults!(ExportError);

impl LedgerStore {
    /// Writes the ledger; says how many lines. `at_ms` is told in the first of them.
    pub async fn export(&self, to: &mut (impl AsyncWrite + Unpin + Send), at_ms: i64) -> Result<u64, ExportError> {
        let mut lines = Lines {
            to,
            digest: Sha256::new(),
            count: 0,
            text: String::new(),
        };
        question!(self.reader, LIMIT, db => export(db, &mut lines, at_ms).await)
    }
}

pub(super) struct Lines<'a, W> {
    to: &'a mut W,
    digest: Sha256,
    count: u64,
    /// Lines that are not written yet.
    text: String,
}

impl<W: AsyncWrite + Unpin + Send> Lines<'_, W> {
    pub(super) fn push(&mut self, line: &Json) {
        // Writing to a String cannot fail.
        let _written = writeln!(self.text, "{line}");
        self.count = self.count.saturating_add(1);
    }

    pub(super) async fn flush(&mut self) -> Result<(), ExportError> {
        self.digest.update(self.text.as_bytes());
        let written = self.to.write_all(self.text.as_bytes()).await;
        self.text.clear();
        written.map_err(ExportError::Write)
    }
}

async fn export<W: AsyncWrite + Unpin + Send>(
    db: &mut Db<'_>,
    lines: &mut Lines<'_, W>,
    at_ms: i64,
) -> Result<u64, ExportError> {
    if let Either::Postgres(_) = db {
        run(db, "SET LOCAL statement_timeout = '30min'", &[]).await?;
        // A reader of the export may be slow.
        run(db, "SET LOCAL idle_in_transaction_session_timeout = '30min'", &[]).await?;
    }
    let currencies = rows(db, "SELECT DISTINCT currency FROM accounts ORDER BY currency", &[]).await?;
    let currencies = currencies
        .iter()
        .map(|row| row.text("currency"))
        .collect::<Result<Vec<_>, _>>()?;
    lines.push(&json!({
        "type": "ledger", "version": VERSION, "at_ms": at_ms, "unit": "1/1000000000", "currencies": currencies,
    }));
    let mut last = String::new();
    loop {
        let sql = "SELECT *, 0 AS deposited, 0 AS withdrawn FROM accounts WHERE id > $1 ORDER BY id LIMIT $2";
        let page = match db {
            Either::Sqlite(_) => rows(db, sql, values![&last, PAGE]).await?,
            Either::Postgres(_) => {
                let sql = "SELECT *, 0::bigint AS deposited, 0::bigint AS withdrawn FROM accounts WHERE id > $1 \
                           ORDER BY id LIMIT $2";
                rows(db, sql, values![&last, PAGE]).await?
            }
        };
        let Some(end) = page.last() else { break };
        last = end.text("id")?;
        for row in &page {
            lines.push(&account_line(&account(row)?));
        }
        lines.flush().await?;
    }
    let mut last = 0;
    loop {
        let sql = "SELECT * FROM transfers WHERE id > $1 ORDER BY id LIMIT $2";
        let page = rows(db, sql, values![last, PAGE]).await?;
        let Some(end) = page.last() else { break };
        last = end.int("id")?;
        for row in &page {
            lines.push(&transfer_line(&transfer(row)?));
        }
        lines.flush().await?;
    }
    let (mut node, mut seq) = (String::new(), 0);
    loop {
        let sql = "SELECT * FROM charges WHERE (node, seq) > ($1, $2) ORDER BY node, seq LIMIT $3";
        let page = rows(db, sql, values![&node, seq, PAGE]).await?;
        let Some(end) = page.last() else { break };
        (node, seq) = (end.text("node")?, end.int("seq")?);
        for row in &page {
            lines.push(&charge_line(&posted(row)?)?);
        }
        lines.flush().await?;
    }
    let (mut of, mut span, mut number) = (String::new(), String::new(), 0);
    loop {
        let sql = "SELECT * FROM pots WHERE (account, span, number) > ($1, $2, $3) \
                   ORDER BY account, span, number LIMIT $4";
        let page = rows(db, sql, values![&of, &span, number, PAGE]).await?;
        let Some(end) = page.last() else { break };
        (of, span, number) = (end.text("account")?, end.text("span")?, end.int("number")?);
        for row in &page {
            lines.push(&json!({
                "type": "pot", "account": row.text("account")?, "window": window(row)?.to_string(),
                "used": amount(row, "used")?,
            }));
        }
        lines.flush().await?;
    }
    let sql = "SELECT account, currency, CAST(sum(debited) AS bigint) AS debited, \
               CAST(sum(credited) AS bigint) AS credited FROM balances GROUP BY account, currency \
               ORDER BY account, currency";
    for row in &rows(db, sql, &[]).await? {
        lines.push(&json!({
            "type": "balance", "account": row.text("account")?, "currency": row.text("currency")?,
            "debited": amount(row, "debited")?, "credited": amount(row, "credited")?,
        }));
    }
    lines.flush().await?;
    super::channels::export(db, lines).await?;
    let digest: [u8; 32] = lines.digest.clone().finalize().into();
    lines.push(&json!({"type": "end", "lines": lines.count, "sha256": to_hex(&digest)}));
    lines.flush().await?;
    lines.to.flush().await.map_err(ExportError::Write)?;
    Ok(lines.count)
}

/// Digits in a text, which no reader rounds.
fn amount(row: &Record, column: &'static str) -> Result<String, LedgerFault> {
    Ok(row.nano(column)?.get().to_string())
}

fn account_line(account: &StoredAccount) -> Json {
    let bound = |bound: Option<billing::Nano>| bound.map(|bound| bound.get().to_string());
    json!({
        "type": "account", "id": account.id, "parent": account.parent, "currency": account.currency,
        "credit": bound(account.credit),
        "budget": {
            "total": bound(account.budget.total),
            "day": bound(account.budget.day),
            "month": bound(account.budget.month),
        },
        "disabled": account.disabled, "created_at_ms": account.created_at_ms,
    })
}

fn transfer_line(transfer: &StoredTransfer) -> Json {
    let (node, seq) = transfer.charge.clone().unzip();
    json!({
        "type": "transfer", "id": transfer.id, "kind": transfer.kind.as_str(), "debit": transfer.debit,
        "credit": transfer.credit, "amount": transfer.amount.get().to_string(), "currency": transfer.currency,
        "at_ms": transfer.at_ms, "node": node, "seq": seq, "reference": transfer.reference, "memo": transfer.memo,
        "actor": transfer.actor,
    })
}

fn charge_line(posted: &PostedCharge) -> Result<Json, LedgerFault> {
    let bad = |_| LedgerFault::Row { column: "receipt" };
    let charge = &posted.sealed.charge;
    let mut line = json!({
        "type": "charge", "late": posted.late, "epoch": posted.epoch,
        "window": {
            "day": billing::Window::Day(charge.day).to_string(),
            "month": billing::Window::Month(charge.month).to_string(),
        },
    });
    let text = super::json_of_charge(charge);
    let members: Json = serde_json::from_str(&text).map_err(bad)?;
    if let (Json::Object(line), Json::Object(members)) = (&mut line, members) {
        // The evidence is in the receipt, in its own form.
        line.extend(members.into_iter().filter(|(name, _)| name != "evidence"));
        for (name, amount) in [("held", charge.held), ("amount", charge.amount), ("fee", charge.fee)] {
            line.insert(name.into(), amount.get().to_string().into());
        }
        if let (Some(receipt), Some(hash)) = (&posted.sealed.receipt, posted.sealed.receipt_hash) {
            // As a text: the bytes are what is signed.
            line.insert("receipt".into(), (**receipt).into());
            line.insert("receipt_hash".into(), to_hex(&hash).into());
        }
    }
    Ok(line)
}
