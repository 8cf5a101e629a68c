//! Money that comes in and goes out, and the list of all that moved.
//!
//! A deposit is a transfer from `system:funding` to an organisation, a withdrawal one back. Each has a name that its
//! maker chose, and a second one of that name is the first.

use billing::{AccountId, Currency, Level, Nano};
use serde_json::Map;

use super::accounts::{StoredAccount, account, balance, log};
use super::sql::{self, Record, row, rows, run, stored, values};
use super::{LedgerFault, LedgerStore, change, faults, question};
use crate::keys::By;
use crate::pool::Db;
use crate::reader::MAX_ROWS;

/// Longest name or memo, in bytes.
const TEXT_LIMIT: usize = 256;

/// Money that an organisation paid in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Names it among all deposits and withdrawals.
    pub id: String,
    pub organisation: AccountId,
    pub amount: Nano,
    pub currency: Currency,
    /// Such as the number of an invoice.
    pub memo: Option<String>,
}

/// Money that an organisation gets back.
pub type Withdrawal = Deposit;

/// A deposit or a withdrawal that is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// Whether it was not there before.
    pub is_new: bool,
    /// What is left of the organisation's money now, in billionths; negative where it owes.
    pub balance_nano: i64,
}

/// Why nothing was deposited, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepositError {
    #[error("the name and the memo of a deposit have 1 to {TEXT_LIMIT} bytes and no NUL")]
    Text,
    #[error("'{id}' was another deposit or withdrawal; nothing was changed, choose another name for this one")]
    Differs { id: String },
    #[error("'{id}' is no organisation, and only organisations hold money")]
    Level { id: AccountId },
    #[error("there is no account '{id}'")]
    NotFound { id: AccountId },
    #[error("'{id}' has {expect}, not {found}; nothing was changed")]
    Currency {
        id: AccountId,
        expect: Currency,
        found: Currency,
    },
    #[error("a deposit is more than nothing")]
    Zero,
    #[error("'{id}' would have more than any amount can be; nothing was changed")]
    Overflow { id: AccountId },
    #[error("nothing was deposited")]
    Fault(#[from] LedgerFault),
}

/// Why nothing was withdrawn, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    #[error("the name and the memo of a withdrawal have 1 to {TEXT_LIMIT} bytes and no NUL")]
    Text,
    #[error("'{id}' was another deposit or withdrawal; nothing was changed, choose another name for this one")]
    Differs { id: String },
    #[error("'{id}' is no organisation, and only organisations hold money")]
    Level { id: AccountId },
    #[error("there is no account '{id}'")]
    NotFound { id: AccountId },
    #[error("'{id}' has {expect}, not {found}; nothing was changed")]
    Currency {
        id: AccountId,
        expect: Currency,
        found: Currency,
    },
    #[error("a withdrawal is more than nothing")]
    Zero,
    /// Where gateways hold some of it, they were asked to give back what is for no request.
    #[error(
        "'{id}' has {available} to withdraw now{}; nothing was changed",
        if leased.is_zero() { String::new() } else { format!(", and {leased} that gateways hold for requests; try again in two seconds") }
    )]
    Short {
        id: AccountId,
        available: Nano,
        leased: Nano,
    },
    #[error("nothing was withdrawn")]
    Fault(#[from] LedgerFault),
}

faults!(DepositError);
faults!(WithdrawError);

/// What a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    Deposit,
    Withdrawal,
    Capture,
    Refund,
}

impl TransferKind {
    pub const ALL: [Self; 4] = [Self::Deposit, Self::Withdrawal, Self::Capture, Self::Refund];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

/// A movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransfer {
    /// Grows with each.
    pub id: i64,
    pub kind: TransferKind,
    pub debit: AccountId,
    pub credit: AccountId,
    pub amount: Nano,
    pub currency: Currency,
    pub at_ms: i64,
    /// The charge that it belongs to: node and seq.
    pub charge: Option<(String, u64)>,
    /// The name of a deposit or a withdrawal.
    pub reference: Option<String>,
    pub memo: Option<String>,
    pub actor: Option<String>,
}

/// Which transfers to tell of; the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferQuery {
    /// All where `None`.
    pub account: Option<AccountId>,
    /// Those before this one; for the next page the last id of the page before.
    pub before: Option<i64>,
    /// At most 10,000.
    pub limit: u32,
}

impl LedgerStore {
    pub async fn deposit(&self, deposit: &Deposit, by: By<'_>) -> Result<Deposited, DepositError> {
        check_text(deposit).map_err(|()| DepositError::Text)?;
        let outcome = change!(self.pool, db => pay_in(db, deposit, by).await);
        match outcome {
            Err(DepositError::Fault(fault)) if fault.is_out_of_range() => Err(DepositError::Overflow {
                id: deposit.organisation.clone(),
            }),
            outcome => outcome,
        }
    }

    /// Money that was lent is not paid out, nor what requests are held for.
    pub async fn withdraw(&self, withdrawal: &Withdrawal, by: By<'_>) -> Result<Deposited, WithdrawError> {
        check_text(withdrawal).map_err(|()| WithdrawError::Text)?;
        let outcome = change!(self.pool, db => pay_out(db, withdrawal, by).await);
        if let Err(WithdrawError::Short { leased, .. }) = outcome
            && !leased.is_zero()
        {
            change!(self.pool, db => recall(db, &withdrawal.organisation).await.map_err(WithdrawError::from))?;
        }
        outcome
    }

    /// Transfers, the newest first.
    pub async fn transfers(&self, query: &TransferQuery) -> Result<Vec<StoredTransfer>, LedgerFault> {
        question!(self.reader, db => list(db, query).await)
    }
}

fn check_text(deposit: &Deposit) -> Result<(), ()> {
    let is_good = |text: &str| text.len() <= TEXT_LIMIT && !text.contains('\0');
    match &deposit.memo {
        Some(memo) if !is_good(memo) => Err(()),
        _ if deposit.id.is_empty() || !is_good(&deposit.id) => Err(()),
        _ => Ok(()),
    }
}

/// The accounts that a deposit goes from and to.
fn sides(deposit: &Deposit, kind: TransferKind) -> (AccountId, AccountId) {
    let organisation = deposit.organisation.clone();
    match kind {
        TransferKind::Withdrawal => (organisation, AccountId::funding()),
        _ => (AccountId::funding(), organisation),
    }
}

enum Before {
    Same,
    Differs,
    None,
}

async fn before(db: &mut Db<'_>, deposit: &Deposit, kind: TransferKind) -> Result<Before, LedgerFault> {
    let sql = "SELECT * FROM transfers WHERE reference = $1";
    let Some(row) = row(db, sql, values![&deposit.id]).await? else {
        return Ok(Before::None);
    };
    let found = transfer(&row)?;
    let (debit, credit) = sides(deposit, kind);
    let is_same = found.kind == kind
        && (found.debit, found.credit) == (debit, credit)
        && (found.amount, found.currency) == (deposit.amount, deposit.currency)
        && found.memo == deposit.memo;
    Ok(if is_same { Before::Same } else { Before::Differs })
}

/// The organisation with its money and all that it spent, locked.
pub(super) async fn holder(db: &mut Db<'_>, id: &AccountId) -> Result<Option<StoredAccount>, LedgerFault> {
    let lock = sql::by_kind(
        db,
        "SELECT id FROM accounts WHERE id = $1",
        "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE",
    );
    row(db, lock, values![id.as_str()]).await?;
    // What nodes post changes it, and what they are granted depends on it.
    run(
        db,
        "INSERT INTO pots (account, span, number, used) SELECT id, 'total', 0, 0 FROM accounts WHERE id = $1 \
         ON CONFLICT (account, span, number) DO UPDATE SET used = pots.used",
        values![id.as_str()],
    )
    .await?;
    let sql = "SELECT a.*, coalesce(b.credited, 0) AS deposited, coalesce(b.debited, 0) AS withdrawn, p.used AS spent, \
               coalesce((SELECT CAST(sum(CASE WHEN granted > drawn THEN granted - drawn ELSE 0 END) AS bigint) FROM leases l WHERE l.account = a.id \
               AND l.span = 'total' AND l.number = 0), 0) AS leased FROM accounts a \
               JOIN pots p ON p.account = a.id AND p.span = 'total' AND p.number = 0 \
               LEFT JOIN balances b ON b.account = a.id AND b.currency = a.currency AND b.node = '' WHERE a.id = $1";
    let Some(row) = row(db, sql, values![id.as_str()]).await? else {
        return Ok(None);
    };
    let mut holder = account(&row)?;
    holder.total.spent = row.nano("spent")?;
    holder.total.leased = row.nano("leased")?;
    Ok(Some(holder))
}

async fn pay_in(db: &mut Db<'_>, deposit: &Deposit, by: By<'_>) -> Result<Deposited, DepositError> {
    let deposited = credit(db, deposit, by).await?;
    if deposited.is_new {
        log_movement(db, deposit, TransferKind::Deposit, by).await?;
    }
    Ok(deposited)
}

/// A deposit that is no operator's doing, and so is not in the audit log.
pub(super) async fn credit(db: &mut Db<'_>, deposit: &Deposit, by: By<'_>) -> Result<Deposited, DepositError> {
    let id = deposit.organisation.clone();
    let holder = holder(db, &id).await?;
    // Behind the lock, so that of two at once the second finds the first.
    let before = before(db, deposit, TransferKind::Deposit).await?;
    if let Before::Differs = before {
        return Err(DepositError::Differs { id: deposit.id.clone() });
    }
    if id.level() != Level::Organisation {
        return Err(DepositError::Level { id });
    }
    let Some(holder) = holder else {
        return Err(DepositError::NotFound { id });
    };
    if holder.currency != deposit.currency {
        return Err(DepositError::Currency {
            id,
            expect: holder.currency,
            found: deposit.currency,
        });
    }
    if deposit.amount.is_zero() {
        return Err(DepositError::Zero);
    }
    let is_new = matches!(before, Before::None);
    let mut deposited = holder.deposited;
    if is_new {
        // With the credit, which is what may be spent too.
        let sum = deposited.checked_add(deposit.amount);
        let sum = sum.filter(|sum| sum.checked_add(holder.credit.unwrap_or_default()).is_some());
        deposited = match sum {
            Some(sum) => sum,
            None => return Err(DepositError::Overflow { id }),
        };
        book(db, deposit, TransferKind::Deposit, by).await?;
    }
    Ok(Deposited {
        is_new,
        balance_nano: balance(deposited, holder.withdrawn, holder.total.spent),
    })
}

pub(super) async fn pay_out(db: &mut Db<'_>, withdrawal: &Withdrawal, by: By<'_>) -> Result<Deposited, WithdrawError> {
    let id = withdrawal.organisation.clone();
    let holder = holder(db, &id).await?;
    let before = before(db, withdrawal, TransferKind::Withdrawal).await?;
    if let Before::Differs = before {
        return Err(WithdrawError::Differs {
            id: withdrawal.id.clone(),
        });
    }
    if id.level() != Level::Organisation {
        return Err(WithdrawError::Level { id });
    }
    let Some(holder) = holder else {
        return Err(WithdrawError::NotFound { id });
    };
    let now = |withdrawn| balance(holder.deposited, withdrawn, holder.total.spent);
    if let Before::Same = before {
        return Ok(Deposited {
            is_new: false,
            balance_nano: now(holder.withdrawn),
        });
    }
    if holder.currency != withdrawal.currency {
        return Err(WithdrawError::Currency {
            id,
            expect: holder.currency,
            found: withdrawal.currency,
        });
    }
    if withdrawal.amount.is_zero() {
        return Err(WithdrawError::Zero);
    }
    let money = holder.deposited.saturating_sub(holder.withdrawn);
    let left = money.saturating_sub(holder.total.spent);
    // What nodes may still spend stays; it is covered by the credit first.
    let leased = match holder.credit {
        Some(credit) => holder.total.leased.saturating_sub(credit).min(left),
        None => Nano::ZERO,
    };
    let available = left.saturating_sub(leased);
    if withdrawal.amount > available {
        return Err(WithdrawError::Short { id, available, leased });
    }
    book(db, withdrawal, TransferKind::Withdrawal, by).await?;
    log_movement(db, withdrawal, TransferKind::Withdrawal, by).await?;
    Ok(Deposited {
        is_new: true,
        // No more than was deposited, so the sum is an amount.
        balance_nano: now(holder.withdrawn.saturating_add(withdrawal.amount)),
    })
}

/// A new generation of an account in which nothing differs, so that nodes give back what they can.
async fn recall(db: &mut Db<'_>, id: &AccountId) -> Result<(), LedgerFault> {
    let sql = "UPDATE accounts SET disabled = disabled WHERE id = $1";
    run(db, sql, values![id.as_str()]).await.map(drop)
}

async fn book(db: &mut Db<'_>, deposit: &Deposit, kind: TransferKind, by: By<'_>) -> Result<(), LedgerFault> {
    let (debit, credit) = sides(deposit, kind);
    run(
        db,
        "INSERT INTO transfers (kind, debit, credit, amount, currency, at_ms, reference, memo, actor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        values![
            kind.as_str(),
            debit.as_str(),
            credit.as_str(),
            deposit.amount,
            deposit.currency.as_str(),
            by.at_ms,
            &deposit.id,
            deposit.memo.as_deref(),
            by.actor,
        ],
    )
    .await?;
    let mut sums = [
        (debit, deposit.amount, Nano::ZERO),
        (credit, Nano::ZERO, deposit.amount),
    ];
    sums.sort();
    for (account, debited, credited) in sums {
        run(
            db,
            "INSERT INTO balances (account, currency, node, debited, credited) VALUES ($1, $2, '', $3, $4) \
             ON CONFLICT (account, currency, node) DO UPDATE SET debited = balances.debited + excluded.debited, \
             credited = balances.credited + excluded.credited",
            values![account.as_str(), deposit.currency.as_str(), debited, credited],
        )
        .await?;
    }
    Ok(())
}

async fn log_movement(db: &mut Db<'_>, deposit: &Deposit, kind: TransferKind, by: By<'_>) -> Result<(), LedgerFault> {
    let mut detail = Map::new();
    detail.insert("id".into(), deposit.id.clone().into());
    detail.insert("amount_nano".into(), stored(deposit.amount).into());
    detail.insert("currency".into(), deposit.currency.as_str().into());
    let action = match kind {
        TransferKind::Withdrawal => "account.withdraw",
        _ => "account.deposit",
    };
    log(db, by, action, deposit.organisation.as_str(), detail).await
}

async fn list(db: &mut Db<'_>, query: &TransferQuery) -> Result<Vec<StoredTransfer>, LedgerFault> {
    let before = query.before.unwrap_or(i64::MAX);
    let limit = i64::from(query.limit.min(MAX_ROWS));
    let found = match &query.account {
        None => {
            let sql = "SELECT * FROM transfers WHERE id < $1 ORDER BY id DESC LIMIT $2";
            rows(db, sql, values![before, limit]).await?
        }
        Some(account) => {
            // Two walks along an index each; an OR would read the whole table.
            let sql = "SELECT * FROM (SELECT * FROM (SELECT * FROM transfers WHERE debit = $3 AND id < $1 \
                       ORDER BY id DESC LIMIT $2) AS d UNION ALL SELECT * FROM (SELECT * FROM transfers \
                       WHERE credit = $3 AND id < $1 ORDER BY id DESC LIMIT $2) AS c) AS t ORDER BY id DESC LIMIT $2";
            rows(db, sql, values![before, limit, account.as_str()]).await?
        }
    };
    found.iter().map(transfer).collect()
}

pub(super) fn transfer(row: &Record) -> Result<StoredTransfer, LedgerFault> {
    let kind = row.text("kind")?;
    let kind = TransferKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let charge = match (row.maybe_text("node")?, row.maybe_int("seq")?) {
        (Some(node), Some(seq)) => {
            let seq = u64::try_from(seq).map_err(|_| LedgerFault::Row { column: "seq" })?;
            Some((node, seq))
        }
        _ => None,
    };
    Ok(StoredTransfer {
        id: row.int("id")?,
        kind: kind.ok_or(LedgerFault::Row { column: "kind" })?,
        debit: row.word("debit")?,
        credit: row.word("credit")?,
        amount: row.nano("amount")?,
        currency: row.word("currency")?,
        at_ms: row.int("at_ms")?,
        charge,
        reference: row.maybe_text("reference")?,
        memo: row.maybe_text("memo")?,
        actor: row.maybe_text("actor")?,
    })
}
