//! The check: everything that is kept as a running sum is computed anew from what was only ever added.
//!
//! It sees one moment, goes through charges in pages, and leaves the sums to the database; what it keeps grows with
//! the number of organisations, not of charges. It changes nothing, and gateways go on meanwhile.
//!
//! 1. The pages of the file, in SQLite.
//! 2. Balances are the sums of transfers, and debits equal credits.
//! 3. What pots used is the sum of charges; what is left of the money fits both.
//! 4. Charges of each node: no gap, nothing beyond its hold, each with its transfers, each receipt with its hash and
//!    the one before it.
//! 5. Nothing was refunded twice, no transfer has no charge, nothing came from nowhere.
//! 6. No node drew more than it was granted.
//! 7. What is on the account of a channel came of it, and no more than its vouchers and its deposit; what was signed is
//!    whole.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use billing::AccountId;
use billing::receipt::{Document, Facts, Head, to_hex};

use super::accounts::all;
use super::charges::{PostedCharge, kind_of, posted};
use super::post::payer;
use super::sql::{self, Record, counted, row, rows, run, values};
use super::transfers::{StoredTransfer, transfer};
use super::{LedgerFault, LedgerStore, faults, question};
use crate::pool::{Db, Either};

/// How long the whole check may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Charges that are read at a time.
const PAGE: i64 = 500;

/// Discrepancies that are told; more are counted.
const MOST: usize = 1000;

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub checked: Checked,
    /// At most a thousand.
    pub discrepancies: Vec<Discrepancy>,
    /// All of them.
    pub found: u64,
    /// What is no fault of the ledger and may interest its operator: bounds that were cut below what was spent.
    pub notes: Vec<Discrepancy>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub accounts: u64,
    pub nodes: u64,
    pub transfers: u64,
    pub charges: u64,
    pub receipts: u64,
    pub channels: u64,
}

/// Where what is stored is not what the replay gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// Of what: an account and a window, a charge as `node/seq`, a node.
    pub subject: String,
    /// Which property.
    pub what: &'static str,
    pub stored: String,
    pub replayed: String,
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            what,
            stored,
            replayed,
        } = self;
        write!(f, "{subject}: {what} is {stored}, and should be {replayed}")
    }
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    #[error("the ledger could not be checked")]
    Fault(#[from] LedgerFault),
}

faults!(VerifyError);

impl Report {
    pub fn is_clean(&self) -> bool {
        self.found == 0
    }

    pub(super) fn differs(
        &mut self,
        subject: impl Into<String>,
        what: &'static str,
        stored: impl Into<String>,
        replayed: impl Into<String>,
    ) {
        self.found = self.found.saturating_add(1);
        if self.discrepancies.len() < MOST {
            self.discrepancies.push(Discrepancy {
                subject: subject.into(),
                what,
                stored: stored.into(),
                replayed: replayed.into(),
            });
        }
    }
}

impl LedgerStore {
    /// Replays every transfer and every charge, and names what does not fit.
    pub async fn verify(&self) -> Result<Report, VerifyError> {
        question!(self.reader, LIMIT, db => verify(db).await.map_err(VerifyError::from))
    }
}

async fn verify(db: &mut Db<'_>) -> Result<Report, LedgerFault> {
    let mut report = Report::default();
    match db {
        Either::Sqlite(_) => {
            check_pages(db, &mut report).await?;
            if !report.is_clean() {
                // What is read from a damaged file says nothing.
                return Ok(report);
            }
        }
        Either::Postgres(_) => {
            run(db, "SET LOCAL statement_timeout = '30min'", &[]).await?;
        }
    }
    count(db, &mut report).await?;
    check_balances(db, &mut report).await?;
    check_used(db, &mut report).await?;
    check_money(db, &mut report).await?;
    let nodes = rows(db, "SELECT name, last_seq FROM nodes ORDER BY name", &[]).await?;
    for node in &nodes {
        let (name, last_seq) = (node.text("name")?, node.narrow("last_seq")?);
        check_node(db, &name, last_seq, &mut report).await?;
    }
    check_strays(db, &mut report).await?;
    check_slices(db, &mut report).await?;
    super::channels::check(db, &mut report).await?;
    note_bounds(db, &mut report).await?;
    Ok(report)
}

async fn check_pages(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    for row in rows(db, "PRAGMA integrity_check(100)", &[]).await? {
        let found = row.text("integrity_check")?;
        if found != "ok" {
            report.differs(
                "the file",
                "a page",
                found,
                "whole; stop the gateway and restore a backup",
            );
        }
    }
    Ok(())
}

async fn count(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let sql = "SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM nodes) AS nodes, \
               (SELECT count(*) FROM transfers) AS transfers";
    if let Some(row) = row(db, sql, &[]).await? {
        report.checked.accounts = row.narrow("accounts")?;
        report.checked.nodes = row.narrow("nodes")?;
        report.checked.transfers = row.narrow("transfers")?;
    }
    Ok(())
}

/// A sum that no column may hold: of units and of billionths apart, as SQLite refuses to add up beyond 63 bits.
fn whole(row: &Record, units: &'static str, rest: &'static str) -> Result<i128, LedgerFault> {
    let part = |column| {
        let text = row.text(column)?;
        text.parse::<i128>().map_err(|_| LedgerFault::Row { column })
    };
    Ok(part(units)?.saturating_mul(1_000_000_000).saturating_add(part(rest)?))
}

/// Both parts of a sum, and whether two sums differ; built by the compiler.
macro_rules! apart {
    ($of:literal) => {
        concat!(
            "CAST(sum(",
            $of,
            " / 1000000000) AS text) AS ",
            $of,
            "_units, ",
            "CAST(sum(",
            $of,
            " % 1000000000) AS text) AS ",
            $of,
            "_rest"
        )
    };
    ($one:literal, $other:literal) => {
        concat!(
            "(sum(",
            $one,
            " / 1000000000) - sum(",
            $other,
            " / 1000000000)) * 1000000000 + ",
            "sum(",
            $one,
            " % 1000000000) - sum(",
            $other,
            " % 1000000000) <> 0"
        )
    };
}

async fn check_balances(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    const SQL: &str = concat!(
        "SELECT account, currency, node, ",
        apart!("kd"),
        ", ",
        apart!("kc"),
        ", ",
        apart!("rd"),
        ", ",
        apart!("rc"),
        " FROM (SELECT account, currency, node, debited AS kd, credited AS kc, 0 AS rd, 0 AS rc FROM balances \
         UNION ALL SELECT debit, currency, coalesce(node, ''), 0, 0, amount, 0 FROM transfers \
         UNION ALL SELECT credit, currency, coalesce(node, ''), 0, 0, 0, amount FROM transfers) AS t \
         GROUP BY account, currency, node HAVING ",
        apart!("kd", "rd"),
        " OR ",
        apart!("kc", "rc"),
        " ORDER BY account, currency, node",
    );
    for row in rows(db, SQL, &[]).await? {
        let subject = match row.text("node")?.as_str() {
            "" => format!("{} in {}", row.text("account")?, row.text("currency")?),
            node => format!("{} in {} by {node}", row.text("account")?, row.text("currency")?),
        };
        let (kept, replayed) = (whole(&row, "kd_units", "kd_rest")?, whole(&row, "rd_units", "rd_rest")?);
        if kept != replayed {
            report.differs(&subject, "what was debited", kept.to_string(), replayed.to_string());
        }
        let (kept, replayed) = (whole(&row, "kc_units", "kc_rest")?, whole(&row, "rc_units", "rc_rest")?);
        if kept != replayed {
            report.differs(&subject, "what was credited", kept.to_string(), replayed.to_string());
        }
    }
    const SUMS: &str = concat!(
        "SELECT currency, ",
        apart!("debited"),
        ", ",
        apart!("credited"),
        " FROM balances GROUP BY currency ",
        "HAVING ",
        apart!("debited", "credited"),
    );
    for row in rows(db, SUMS, &[]).await? {
        let subject = format!("all accounts in {}", row.text("currency")?);
        let debited = whole(&row, "debited_units", "debited_rest")?;
        let credited = whole(&row, "credited_units", "credited_rest")?;
        report.differs(subject, "the sum of debits", debited.to_string(), credited.to_string());
    }
    Ok(())
}

async fn check_used(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    // Summed up by day first, so that the nine sums of each charge are made of little.
    const SQL: &str = "WITH daily AS (SELECT organisation, team, key, day, month, \
         sum(CASE kind WHEN 'capture' THEN amount / 1000000000 ELSE -(amount / 1000000000) END) AS units, \
         sum(CASE kind WHEN 'capture' THEN amount % 1000000000 ELSE -(amount % 1000000000) END) AS rest \
         FROM charges WHERE NOT late GROUP BY organisation, team, key, day, month) \
         SELECT account, span, number, CAST(sum(ku) AS text) AS ku, CAST(sum(kr) AS text) AS kr, \
         CAST(sum(ru) AS text) AS ru, CAST(sum(rr) AS text) AS rr \
         FROM (SELECT account, span, number, used / 1000000000 AS ku, used % 1000000000 AS kr, 0 AS ru, 0 AS rr FROM pots \
         UNION ALL SELECT organisation, 'total', 0, 0, 0, units, rest FROM daily \
         UNION ALL SELECT organisation, 'day', day, 0, 0, units, rest FROM daily \
         UNION ALL SELECT organisation, 'month', month, 0, 0, units, rest FROM daily \
         UNION ALL SELECT team, 'total', 0, 0, 0, units, rest FROM daily WHERE team IS NOT NULL \
         UNION ALL SELECT team, 'day', day, 0, 0, units, rest FROM daily WHERE team IS NOT NULL \
         UNION ALL SELECT team, 'month', month, 0, 0, units, rest FROM daily WHERE team IS NOT NULL \
         UNION ALL SELECT key, 'total', 0, 0, 0, units, rest FROM daily WHERE key IS NOT NULL \
         UNION ALL SELECT key, 'day', day, 0, 0, units, rest FROM daily WHERE key IS NOT NULL \
         UNION ALL SELECT key, 'month', month, 0, 0, units, rest FROM daily WHERE key IS NOT NULL) AS t \
         GROUP BY account, span, number \
         HAVING (sum(ku) - sum(ru)) * 1000000000 + sum(kr) - sum(rr) <> 0 ORDER BY account, span, number";
    for row in rows(db, SQL, &[]).await? {
        let subject = format!("{} in {}", row.text("account")?, super::leases::window(&row)?);
        let (kept, replayed) = (whole(&row, "ku", "kr")?, whole(&row, "ru", "rr")?);
        report.differs(subject, "what was used", kept.to_string(), replayed.to_string());
    }
    Ok(())
}

/// What an organisation has is what was paid in, less what was paid out, less what was used.
async fn check_money(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let sql = "SELECT a.id, CAST(coalesce(sum(b.credited - b.debited), 0) AS text) AS kept, \
               CAST(coalesce(sum(CASE b.node WHEN '' THEN b.credited - b.debited ELSE 0 END), 0) - \
               coalesce(max(p.used), 0) AS text) AS replayed FROM accounts a \
               LEFT JOIN balances b ON b.account = a.id AND b.currency = a.currency \
               LEFT JOIN pots p ON p.account = a.id AND p.span = 'total' AND p.number = 0 \
               WHERE a.parent IS NULL GROUP BY a.id ORDER BY a.id";
    for row in rows(db, sql, &[]).await? {
        let (kept, replayed) = (row.text("kept")?, row.text("replayed")?);
        if kept != replayed {
            report.differs(row.text("id")?, "what is left of the money", kept, replayed);
        }
    }
    Ok(())
}

async fn check_node(db: &mut Db<'_>, name: &str, last_seq: u64, report: &mut Report) -> Result<(), LedgerFault> {
    let mut heads: HashMap<AccountId, (u64, [u8; 32])> = HashMap::new();
    let mut last = 0_u64;
    loop {
        let sql = "SELECT * FROM charges WHERE node = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let page = rows(db, sql, values![name, counted(last), PAGE]).await?;
        let Some(end) = page.last() else { break };
        let sql = "SELECT * FROM transfers WHERE node = $1 AND seq > $2 AND seq <= $3 ORDER BY seq, id";
        let transfers = rows(db, sql, values![name, counted(last), end.int("seq")?]).await?;
        let mut transfers = transfers
            .iter()
            .map(transfer)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .peekable();
        for row in &page {
            let seq: u64 = row.narrow("seq")?;
            let subject = format!("{name}/{seq}");
            let expected = last.saturating_add(1);
            if seq != expected {
                report.differs(
                    &subject,
                    "the number after the last",
                    seq.to_string(),
                    expected.to_string(),
                );
            }
            last = seq;
            let mut own = Vec::new();
            let of = |transfer: &StoredTransfer| transfer.charge.as_ref().map_or(0, |(_, seq)| *seq);
            while let Some(transfer) = transfers.next_if(|next| of(next) <= seq) {
                own.push(transfer);
            }
            check_charge(row, &subject, &own, &mut heads, report);
        }
    }
    if last != last_seq {
        report.differs(
            name,
            "the number of its last charge",
            last_seq.to_string(),
            last.to_string(),
        );
    }
    let sql = "SELECT organisation, seq, receipt_hash FROM receipt_heads WHERE node = $1";
    for row in rows(db, sql, values![name]).await? {
        let kept = super::nodes::head(&row)?;
        let replayed = heads.remove(&kept.organisation);
        if replayed != Some((kept.seq, kept.receipt_hash)) {
            let told = |(seq, hash): (u64, [u8; 32])| format!("{seq} {}", to_hex(&hash));
            report.differs(
                format!("{} at {name}", kept.organisation),
                "its last receipt",
                told((kept.seq, kept.receipt_hash)),
                replayed.map_or_else(|| "none".into(), told),
            );
        }
    }
    for (organisation, (seq, _)) in heads {
        let subject = format!("{organisation} at {name}");
        report.differs(subject, "its last receipt", "none", seq.to_string());
    }
    Ok(())
}

fn check_charge(
    row: &Record,
    subject: &str,
    transfers: &[StoredTransfer],
    heads: &mut HashMap<AccountId, (u64, [u8; 32])>,
    report: &mut Report,
) {
    report.checked.charges = report.checked.charges.saturating_add(1);
    let posted = match posted(row) {
        Ok(posted) => posted,
        Err(fault) => {
            return report.differs(subject, "the row", fault.to_string(), "readable");
        }
    };
    let charge = &posted.sealed.charge;
    if charge.amount > charge.held {
        report.differs(
            subject,
            "the amount",
            charge.amount.to_string(),
            format!("at most the {} that were held", charge.held),
        );
    }
    let payer = payer(charge, posted.late);
    let moved = charge.moves(&payer);
    let expected: Vec<_> = moved
        .map(|(debit, credit, amount)| {
            (
                debit,
                credit,
                amount,
                charge.currency,
                charge.at_ms,
                kind_of(charge.kind).0,
            )
        })
        .collect();
    let stored: Vec<_> = transfers
        .iter()
        .map(|one| {
            let kind = one.kind.as_str();
            (
                one.debit.clone(),
                one.credit.clone(),
                one.amount,
                one.currency,
                one.at_ms,
                kind,
            )
        })
        .collect();
    if stored != expected {
        report.differs(subject, "its transfers", format!("{stored:?}"), format!("{expected:?}"));
    }
    check_receipt(&posted, subject, heads, report);
}

fn check_receipt(
    posted: &PostedCharge,
    subject: &str,
    heads: &mut HashMap<AccountId, (u64, [u8; 32])>,
    report: &mut Report,
) {
    let charge = &posted.sealed.charge;
    let (Some(receipt), Some(hash)) = (&posted.sealed.receipt, posted.sealed.receipt_hash) else {
        return;
    };
    report.checked.receipts = report.checked.receipts.saturating_add(1);
    let facts = Document::parse(receipt.as_bytes())
        .ok()
        .and_then(|document| Facts::read(&document).ok());
    let (Some(head), Some(facts)) = (Head::of(receipt), facts) else {
        return report.differs(subject, "the receipt", "unreadable", "a receipt");
    };
    if head.hash != hash {
        report.differs(subject, "the hash of the receipt", to_hex(&hash), to_hex(&head.hash));
    }
    let before = heads.insert(charge.organisation.clone(), (charge.seq, hash));
    let named = facts.previous.map(|previous| (previous.seq, previous.hash));
    if named != before {
        let told = |link: Option<(u64, [u8; 32])>| match link {
            Some((seq, hash)) => format!("{seq} {}", to_hex(&hash)),
            None => "none".to_owned(),
        };
        report.differs(
            subject,
            "the receipt before, as the receipt names it,",
            told(named),
            told(before),
        );
    }
    let said = (
        head.seq,
        head.organisation,
        facts.amounts.total,
        facts.amounts.fee,
        facts.amounts.held,
    );
    let known = (
        charge.seq,
        charge.organisation.clone(),
        charge.amount,
        charge.fee,
        charge.held,
    );
    if said != known {
        report.differs(
            subject,
            "what the receipt says",
            format!("{said:?}"),
            format!("{known:?}"),
        );
    }
}

async fn check_strays(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let sql = "SELECT t.id, t.node, t.seq FROM transfers t WHERE t.node IS NOT NULL AND NOT EXISTS \
               (SELECT 1 FROM charges c WHERE c.node = t.node AND c.seq = t.seq) ORDER BY t.id LIMIT 1000";
    for row in rows(db, sql, &[]).await? {
        let subject = format!("transfer {}", row.int("id")?);
        let charge = format!("{}/{}", row.text("node")?, row.int("seq")?);
        report.differs(subject, "its charge", "missing", charge);
    }
    let sql = "SELECT c.node, count(*) AS charges FROM charges c WHERE NOT EXISTS \
               (SELECT 1 FROM nodes n WHERE n.name = c.node) GROUP BY c.node ORDER BY c.node";
    for row in rows(db, sql, &[]).await? {
        let found = format!("missing, and it has {} charges", row.int("charges")?);
        report.differs(row.text("node")?, "the node", found, "there");
    }
    let sql = "SELECT id, kind, debit, credit FROM transfers WHERE \
               (kind = 'deposit' AND NOT (debit = 'system:funding' AND substr(credit, 1, 4) = 'org:')) OR \
               (kind = 'withdrawal' AND NOT (credit = 'system:funding' AND substr(debit, 1, 4) = 'org:')) \
               ORDER BY id LIMIT 1000";
    for row in rows(db, sql, &[]).await? {
        let subject = format!("transfer {}, a {}", row.int("id")?, row.text("kind")?);
        let found = format!("from {} to {}", row.text("debit")?, row.text("credit")?);
        report.differs(subject, "its way", found, "between system:funding and an organisation");
    }
    // Neither the fee nor the rest goes back more than once.
    let sql = "SELECT r.node, r.refund_of, CAST(sum(r.amount) AS text) AS amount, coalesce(max(c.amount), 0) AS most \
               FROM charges r LEFT JOIN charges c ON c.node = r.node AND c.seq = r.refund_of AND c.kind = 'capture' \
               WHERE r.kind = 'refund' GROUP BY r.node, r.refund_of \
               HAVING sum(r.amount) > coalesce(max(c.amount), 0) OR sum(r.fee) > coalesce(max(c.fee), 0) \
               OR sum(r.amount - r.fee) > coalesce(max(c.amount - c.fee), 0) ORDER BY r.node, r.refund_of LIMIT 1000";
    for row in rows(db, sql, &[]).await? {
        let subject = format!("{}/{}", row.text("node")?, row.int("refund_of")?);
        let most = format!("at most {}", row.int("most")?);
        report.differs(subject, "what was given back of it", row.text("amount")?, most);
    }
    Ok(())
}

async fn check_slices(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let sql = "SELECT l.*, n.epoch AS current, n.state FROM leases l LEFT JOIN nodes n ON n.name = l.node \
               WHERE l.drawn > l.granted OR n.epoch IS NULL OR n.epoch <> l.epoch OR n.state <> 'open' \
               ORDER BY l.account, l.span, l.number, l.node LIMIT 1000";
    for row in rows(db, sql, &[]).await? {
        let window = super::leases::window(&row)?;
        let subject = format!("{} in {window} at {}", row.text("account")?, row.text("node")?);
        let (granted, drawn) = (row.int("granted")?, row.int("drawn")?);
        if drawn > granted {
            report.differs(
                &subject,
                "what was drawn",
                drawn.to_string(),
                format!("at most {granted}"),
            );
        } else {
            report.differs(
                &subject,
                "a slice",
                granted.to_string(),
                "none, for this epoch is closed",
            );
        }
    }
    Ok(())
}

/// Bounds that are exceeded: they were cut, or what was in flight was held before they were there.
async fn note_bounds(db: &mut Db<'_>, report: &mut Report) -> Result<(), LedgerFault> {
    let windows = billing::Windows::at(sql::now_ms(db).await?);
    for account in all(db).await?.accounts {
        for (span, spending) in [
            (billing::Span::Total, account.total),
            (billing::Span::Day, account.day),
            (billing::Span::Month, account.month),
        ] {
            let window = windows.of(span);
            let Some(cap) = super::accounts::cap(&account, window) else {
                continue;
            };
            let taken = spending.spent.saturating_add(spending.leased);
            if taken > cap && report.notes.len() < MOST {
                report.notes.push(Discrepancy {
                    subject: format!("{} in {window}", account.id),
                    what: "what is spent and leased",
                    stored: taken.to_string(),
                    replayed: format!("at most {cap}"),
                });
            }
        }
    }
    Ok(())
}
