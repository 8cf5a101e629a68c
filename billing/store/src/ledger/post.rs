//! Charges become transfers: all of a batch, or none, in one transaction of a handful of statements.
//!
//! A charge is never refused for lack of money: it was covered when it was held. It counts in all nine pots of its
//! accounts, and draws from the slices of those that it was held in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use billing::ledger::{NodeState, PostRefusal};
use billing::{AccountId, Charge, ChargeKind, Currency, Nano, Pot};

use super::charges::{self, COLUMNS, Made, PostedCharge, SealedCharge, kind_of, posted};
use super::leases::place;
use super::nodes::{locked, state};
use super::sql::{self, Batch, Type, counted, rows, run, values};
use super::{LedgerFault, LedgerStore, change, faults};
use crate::pool::Db;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    pub new: u64,
    /// Posted before, word for word.
    pub already: u64,
    /// Of the new ones, those that the operator bears: their node was forgotten.
    pub late: u64,
    /// Of the last charge of this node that is in the ledger.
    pub last_seq: u64,
}

/// Why a batch was not posted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    #[error(transparent)]
    Refused(PostRefusal),
    #[error("the charges were not posted")]
    Fault(#[from] LedgerFault),
}

faults!(PostError);

impl LedgerStore {
    /// Posts charges of a node in their order, or none of them. They are durable when this returns.
    ///
    /// To post again what is posted changes nothing. Texts and counts that no row holds are cut; the receipt says them whole.
    pub async fn post(&self, name: &str, epoch: u64, charges: &[SealedCharge]) -> Result<Posted, PostError> {
        let charges: Vec<Cow<'_, SealedCharge>> = charges.iter().map(SealedCharge::storable).collect();
        let outcome = change!(self.pool, db => post(db, name, epoch, &charges).await);
        match outcome {
            // A sum that the database keeps, of this batch and of all before it.
            Err(PostError::Fault(fault)) if fault.is_out_of_range() => {
                let seq = charges.first().map_or(0, |sealed| sealed.charge.seq);
                Err(PostError::Refused(PostRefusal::TooLarge { seq }))
            }
            outcome => outcome,
        }
    }
}

/// What of a capture is there to give back.
#[derive(Clone, Debug)]
struct Captured {
    charge: Charge,
    is_late: bool,
    refunded: Nano,
    refunded_fee: Nano,
}

/// What a batch changes, summed up.
#[derive(Debug, Default)]
struct Sums {
    /// What is added to the use of a pot, and what is taken from it.
    used: BTreeMap<Pot, (Nano, Nano)>,
    drawn: BTreeMap<Pot, Nano>,
    balances: BTreeMap<(AccountId, Currency), (Nano, Nano)>,
}

#[derive(Debug)]
struct Transfer {
    seq: u64,
    at_ms: i64,
    kind: &'static str,
    debit: AccountId,
    credit: AccountId,
    amount: Nano,
    currency: Currency,
}

async fn post(db: &mut Db<'_>, name: &str, epoch: u64, charges: &[Cow<'_, SealedCharge>]) -> Result<Posted, PostError> {
    let refuse = |refusal| Err(PostError::Refused(refusal));
    let Some(node) = locked(db, name).await? else {
        return refuse(PostRefusal::UnknownNode);
    };
    let (state, node_epoch) = (state(&node)?, node.narrow::<u64>("epoch")?);
    let is_closed = node_epoch != epoch || state == NodeState::Closed;
    let is_forgotten = state == NodeState::Forgotten;
    let last_seq: u64 = node.narrow("last_seq")?;
    let mut before = earlier(db, name, last_seq, charges).await?;
    let mut captures = captures(db, name, charges).await?;
    let currencies = currencies(db, charges).await?;

    let mut summary = Posted {
        last_seq,
        ..Posted::default()
    };
    let mut sums = Sums::default();
    let mut transfers = Vec::with_capacity(charges.len().saturating_mul(2));
    let mut fresh: Vec<(&SealedCharge, bool)> = Vec::with_capacity(charges.len());
    for sealed in charges {
        let charge = &sealed.charge;
        let seq = charge.seq;
        if *charge.node != *name {
            let node = charge.node.to_string();
            return refuse(PostRefusal::WrongNode { node });
        }
        if seq <= summary.last_seq {
            if before.get(&seq).is_none_or(|earlier| *earlier != **sealed) {
                return refuse(PostRefusal::Conflict { seq });
            }
            summary.already += 1;
            continue;
        }
        if is_closed {
            return refuse(PostRefusal::Closed);
        }
        let expected = summary.last_seq.saturating_add(1);
        if seq != expected {
            return refuse(PostRefusal::Gap { seq, expected });
        }
        if charge.amount > charge.held {
            return refuse(PostRefusal::AboveHeld { seq });
        }
        if charge.fee > charge.amount {
            return refuse(PostRefusal::FeeAboveAmount { seq });
        }
        match currencies.get(charge.organisation.as_str()) {
            None => return refuse(PostRefusal::UnknownOrganisation { seq }),
            Some(currency) if *currency != charge.currency => {
                let currency = *currency;
                return refuse(PostRefusal::WrongCurrency { seq, currency });
            }
            Some(_) => {}
        }
        let is_late = match charge.kind {
            ChargeKind::Capture => {
                let capture = Captured {
                    charge: charge.clone(),
                    is_late: is_forgotten,
                    refunded: Nano::ZERO,
                    refunded_fee: Nano::ZERO,
                };
                captures.insert(seq, capture);
                is_forgotten
            }
            // It goes back to whoever gave it.
            ChargeKind::Refund { of } => refund(&mut captures, charge, of)?,
        };
        let moved = sums.add(charge, is_late, &mut transfers);
        moved.ok_or(PostError::Refused(PostRefusal::TooLarge { seq }))?;
        summary.new += 1;
        summary.late += u64::from(is_late);
        summary.last_seq = seq;
        fresh.push((sealed, is_late));
        // So that its double in the same batch is one.
        before.insert(seq, sealed.as_ref().clone());
    }
    if !fresh.is_empty() {
        sums.save(db, name, epoch).await?;
        insert(db, epoch, &fresh).await?;
        insert_transfers(db, name, &transfers).await?;
        let sql = "UPDATE nodes SET last_seq = $2 WHERE name = $1";
        run(db, sql, values![name, counted(summary.last_seq)]).await?;
    }
    Ok(summary)
}

/// The charges that are posted already under a number of the batch.
async fn earlier(
    db: &mut Db<'_>,
    name: &str,
    last_seq: u64,
    charges: &[Cow<'_, SealedCharge>],
) -> Result<HashMap<u64, SealedCharge>, LedgerFault> {
    let seqs = charges
        .iter()
        .map(|sealed| sealed.charge.seq)
        .filter(|seq| *seq <= last_seq);
    let (Some(first), Some(last)) = (seqs.clone().min(), seqs.max()) else {
        return Ok(HashMap::new());
    };
    let sql = "SELECT * FROM charges WHERE node = $1 AND seq >= $2 AND seq <= $3";
    let found = rows(db, sql, values![name, counted(first), counted(last)]).await?;
    let found = found.iter().map(posted).collect::<Result<Vec<PostedCharge>, _>>()?;
    Ok(found
        .into_iter()
        .map(|posted| (posted.sealed.charge.seq, posted.sealed))
        .collect())
}

/// The captures that the batch gives back of, with what was given back of each.
async fn captures(
    db: &mut Db<'_>,
    name: &str,
    charges: &[Cow<'_, SealedCharge>],
) -> Result<HashMap<u64, Captured>, LedgerFault> {
    let mut batch = Batch::new(&[("node", Type::Text), ("seq", Type::Int)]);
    for sealed in charges {
        if let ChargeKind::Refund { of } = sealed.charge.kind {
            batch.push([name.into(), counted(of).into()]);
        }
    }
    let mut captures = HashMap::new();
    if batch.is_empty() {
        return Ok(captures);
    }
    let found = sql::each(
        db,
        &batch,
        "SELECT c.* FROM charges c JOIN v ON c.node = v.node AND (c.seq = v.seq OR c.refund_of = v.seq) ORDER BY c.seq",
    )
    .await?;
    for row in &found {
        let posted = posted(row)?;
        let charge = posted.sealed.charge;
        let seq = charge.seq;
        match charge.kind {
            ChargeKind::Capture => {
                captures.entry(seq).or_insert(Captured {
                    charge,
                    is_late: posted.late,
                    refunded: Nano::ZERO,
                    refunded_fee: Nano::ZERO,
                });
            }
            ChargeKind::Refund { .. } => {}
        }
    }
    // Once each, though a capture may have been named twice.
    let refunds = found.iter().filter_map(|row| match row.maybe_int("refund_of") {
        Ok(None) => None,
        Ok(Some(of)) => Some(Ok((of, row))),
        Err(error) => Some(Err(error)),
    });
    let mut known = std::collections::HashSet::new();
    for refund in refunds {
        let (of, row) = refund?;
        let of = u64::try_from(of).map_err(|_| LedgerFault::Row { column: "refund_of" })?;
        if let Some(capture) = captures.get_mut(&of)
            && known.insert(row.int("seq")?)
        {
            capture.refunded = capture.refunded.saturating_add(row.nano("amount")?);
            capture.refunded_fee = capture.refunded_fee.saturating_add(row.nano("fee")?);
        }
    }
    Ok(captures)
}

/// Whether it comes back to the operator rather than to the organisation.
fn refund(captures: &mut HashMap<u64, Captured>, charge: &Charge, of: u64) -> Result<bool, PostError> {
    let seq = charge.seq;
    let Some(capture) = captures.get_mut(&of) else {
        return Err(PostError::Refused(PostRefusal::UnknownCapture { seq }));
    };
    let taken = &capture.charge;
    let is_of = charge.organisation == taken.organisation
        && charge.team == taken.team
        && charge.key == taken.key
        && charge.currency == taken.currency
        && (charge.day, charge.month) == (taken.day, taken.month);
    if !is_of {
        return Err(PostError::Refused(PostRefusal::OtherCapture { seq }));
    }
    let refunded = capture.refunded.saturating_add(charge.amount);
    let refunded_fee = capture.refunded_fee.saturating_add(charge.fee);
    // Neither the fee nor the rest goes back more than once.
    if refunded_fee > taken.fee || refunded.saturating_sub(refunded_fee) > taken.earned() {
        return Err(PostError::Refused(PostRefusal::AboveCapture { seq }));
    }
    (capture.refunded, capture.refunded_fee) = (refunded, refunded_fee);
    Ok(capture.is_late)
}

/// What each organisation of the batch counts in.
async fn currencies(
    db: &mut Db<'_>,
    charges: &[Cow<'_, SealedCharge>],
) -> Result<HashMap<String, Currency>, LedgerFault> {
    let mut names: Vec<_> = charges
        .iter()
        .map(|sealed| sealed.charge.organisation.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut batch = Batch::new(&[("name", Type::Text)]);
    for name in names {
        batch.push([name.into()]);
    }
    let sql = "SELECT a.id, a.currency FROM v JOIN accounts a ON a.id = v.name WHERE a.parent IS NULL";
    let found = sql::each(db, &batch, sql).await?;
    found
        .iter()
        .map(|row| Ok((row.text("id")?, row.word("currency")?)))
        .collect()
}

/// Who pays: the organisation, or the operator where the node was forgotten.
pub(super) fn payer(charge: &Charge, is_late: bool) -> AccountId {
    if is_late {
        AccountId::loss()
    } else {
        charge.organisation.clone()
    }
}

impl Sums {
    /// `None` where a sum would be beyond any amount.
    fn add(&mut self, charge: &Charge, is_late: bool, transfers: &mut Vec<Transfer>) -> Option<()> {
        let is_capture = charge.kind == ChargeKind::Capture;
        for (pot, is_held) in charge.pots().filter(|_| !is_late) {
            if is_held && is_capture {
                let drawn = self.drawn.entry(pot.clone()).or_default();
                *drawn = drawn.checked_add(charge.amount)?;
            }
            let (added, taken) = self.used.entry(pot).or_default();
            let sum = if is_capture { added } else { taken };
            *sum = sum.checked_add(charge.amount)?;
        }
        for (debit, credit, amount) in charge.moves(&payer(charge, is_late)) {
            let debited = self.balances.entry((debit.clone(), charge.currency)).or_default();
            debited.0 = debited.0.checked_add(amount)?;
            let credited = self.balances.entry((credit.clone(), charge.currency)).or_default();
            credited.1 = credited.1.checked_add(amount)?;
            transfers.push(Transfer {
                seq: charge.seq,
                at_ms: charge.at_ms,
                kind: kind_of(charge.kind).0,
                debit,
                credit,
                amount,
                currency: charge.currency,
            });
        }
        Some(())
    }

    async fn save(&self, db: &mut Db<'_>, name: &str, epoch: u64) -> Result<(), LedgerFault> {
        const USED: &[(&str, Type)] = &[
            ("account", Type::Text),
            ("span", Type::Text),
            ("number", Type::Int),
            ("amount", Type::Int),
        ];
        let (mut added, mut taken) = (Batch::new(USED), Batch::new(USED));
        for (pot, (more, less)) in &self.used {
            let (span, number) = place(pot.window);
            added.push([pot.account.as_str().into(), span.into(), number.into(), (*more).into()]);
            if !less.is_zero() {
                taken.push([pot.account.as_str().into(), span.into(), number.into(), (*less).into()]);
            }
        }
        sql::each(
            db,
            &added,
            "INSERT INTO pots (account, span, number, used) SELECT * FROM v WHERE true ORDER BY account, span, number \
             ON CONFLICT (account, span, number) DO UPDATE SET used = pots.used + excluded.used",
        )
        .await?;
        sql::each(
            db,
            &taken,
            "UPDATE pots SET used = pots.used - v.amount FROM v WHERE pots.account = v.account \
             AND pots.span = v.span AND pots.number = v.number",
        )
        .await?;
        let mut drawn = Batch::new(&[
            ("account", Type::Text),
            ("span", Type::Text),
            ("number", Type::Int),
            ("amount", Type::Int),
            ("node", Type::Text),
            ("epoch", Type::Int),
        ]);
        for (pot, amount) in &self.drawn {
            let (span, number) = place(pot.window);
            drawn.push([
                pot.account.as_str().into(),
                span.into(),
                number.into(),
                (*amount).into(),
                name.into(),
                counted(epoch).into(),
            ]);
        }
        sql::each(
            db,
            &drawn,
            "UPDATE leases SET drawn = leases.drawn + v.amount FROM v WHERE leases.account = v.account \
             AND leases.span = v.span AND leases.number = v.number AND leases.node = v.node AND leases.epoch = v.epoch",
        )
        .await?;
        let mut balances = Batch::new(&[
            ("account", Type::Text),
            ("currency", Type::Text),
            ("node", Type::Text),
            ("debited", Type::Int),
            ("credited", Type::Int),
        ]);
        for ((account, currency), (debited, credited)) in &self.balances {
            balances.push([
                account.as_str().into(),
                currency.as_str().into(),
                name.into(),
                (*debited).into(),
                (*credited).into(),
            ]);
        }
        sql::each(
            db,
            &balances,
            "INSERT INTO balances (account, currency, node, debited, credited) SELECT * FROM v WHERE true \
             ORDER BY account, currency, node ON CONFLICT (account, currency, node) DO UPDATE \
             SET debited = balances.debited + excluded.debited, credited = balances.credited + excluded.credited",
        )
        .await
        .map(drop)
    }
}

async fn insert(db: &mut Db<'_>, epoch: u64, fresh: &[(&SealedCharge, bool)]) -> Result<(), LedgerFault> {
    let made: Vec<_> = fresh.iter().map(|(sealed, _)| Made::of(&sealed.charge)).collect();
    let mut batch = Batch::new(COLUMNS);
    let mut heads: BTreeMap<&AccountId, (u64, &[u8])> = BTreeMap::new();
    for ((sealed, is_late), made) in fresh.iter().zip(&made) {
        let charge = &sealed.charge;
        let (kind, of) = kind_of(charge.kind);
        let receipt_hash = sealed.receipt_hash.as_ref().map(|hash| &hash[..]);
        batch.push([
            (&*charge.node).into(),
            counted(charge.seq).into(),
            counted(epoch).into(),
            kind.into(),
            of.into(),
            (*is_late).into(),
            charge.at_ms.into(),
            (&charge.request_id).into(),
            charge.organisation.as_str().into(),
            charge.team.as_ref().map(AccountId::as_str).into(),
            charge.key.as_ref().map(AccountId::as_str).into(),
            i64::from(charge.day).into(),
            i64::from(charge.month).into(),
            i64::from(charge.bounds.bits()).into(),
            charge.currency.as_str().into(),
            charge.held.into(),
            charge.amount.into(),
            charge.fee.into(),
            (&charge.model).into(),
            (&charge.endpoint).into(),
            charge.backend.as_deref().into(),
            charge.upstream.as_deref().into(),
            charge.end.as_str().into(),
            counted(charge.billed.prompt).into(),
            counted(charge.billed.cached).into(),
            counted(charge.billed.completion).into(),
            counted(charge.billed.reasoning).into(),
            charge.source.as_str().into(),
            made.tags().into(),
            made.detail().into(),
            sealed.receipt.as_deref().into(),
            receipt_hash.into(),
        ]);
        if let Some(hash) = receipt_hash {
            heads.insert(&charge.organisation, (charge.seq, hash));
        }
    }
    sql::each(db, &batch, charges::INSERT).await?;
    let mut batch = Batch::new(&[
        ("node", Type::Text),
        ("organisation", Type::Text),
        ("seq", Type::Int),
        ("receipt_hash", Type::Bytes),
    ]);
    let Some((first, _)) = fresh.first() else { return Ok(()) };
    for (organisation, (seq, hash)) in heads {
        batch.push([
            (&*first.charge.node).into(),
            organisation.as_str().into(),
            counted(seq).into(),
            hash.into(),
        ]);
    }
    sql::each(
        db,
        &batch,
        "INSERT INTO receipt_heads (node, organisation, seq, receipt_hash) SELECT * FROM v WHERE true \
         ON CONFLICT (node, organisation) DO UPDATE SET seq = excluded.seq, receipt_hash = excluded.receipt_hash",
    )
    .await
    .map(drop)
}

async fn insert_transfers(db: &mut Db<'_>, name: &str, transfers: &[Transfer]) -> Result<(), LedgerFault> {
    let mut batch = Batch::new(&[
        ("kind", Type::Text),
        ("debit", Type::Text),
        ("credit", Type::Text),
        ("amount", Type::Int),
        ("currency", Type::Text),
        ("at_ms", Type::Int),
        ("node", Type::Text),
        ("seq", Type::Int),
    ]);
    for transfer in transfers {
        batch.push([
            transfer.kind.into(),
            transfer.debit.as_str().into(),
            transfer.credit.as_str().into(),
            transfer.amount.into(),
            transfer.currency.as_str().into(),
            transfer.at_ms.into(),
            name.into(),
            counted(transfer.seq).into(),
        ]);
    }
    sql::each(
        db,
        &batch,
        "INSERT INTO transfers (kind, debit, credit, amount, currency, at_ms, node, seq) SELECT * FROM v",
    )
    .await
    .map(drop)
}
