//! What happened to an account: a transaction, read from its cell.
//!
//! A cell is what its hash says, and each names the one before it, so that a history that ends at a known hash is
//! whole. That the chain has it is the word of whoever told us.

use billing::{Nano, channel::Account};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellFamily as _, CellSlice},
    models::{self, AccountStatus, ComputePhase, IntAddr, Message, MsgInfo, TxInfo},
};

use crate::{
    address,
    chain::{Cursor, Transaction},
};

/// A transaction whose cell was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    pub at: Cursor,
    /// Unix seconds.
    pub time: u32,
    /// The account's transaction before it; `None` for the first of all, or since it was deleted.
    pub previous: Option<Cursor>,
    pub before: Existence,
    pub after: Existence,
    pub inbound: Option<Inbound>,
    /// Messages to other accounts, in order.
    pub outbound: Vec<Outbound>,
    /// Whether nothing came of it but fees.
    pub is_aborted: bool,
    /// Of the contract's code; `None` where it did not run.
    pub exit_code: Option<i32>,
}

/// Whether an account is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    No,
    /// Has coins at most.
    Uninitialised,
    Frozen,
    Active,
}

/// The message that a transaction is the answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// From outside the chain.
    External { body: Cell },
    Internal {
        from: Account,
        amount: Nano,
        /// One of ours that came back.
        is_bounced: bool,
        /// Logical time of its making: after the sender's transaction that made it, before any later one of the sender.
        sent_lt: u64,
        body: Cell,
    },
}

/// A message to another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    pub to: Account,
    pub amount: Nano,
    /// Coins that go back to who sent them.
    pub is_bounced: bool,
    pub body: Cell,
}

/// Why a transaction cannot be read, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    #[error("a transaction is no bag of cells")]
    Bag,
    #[error("a transaction has another hash than it says")]
    Hash,
    #[error("a transaction cannot be read")]
    Form,
    #[error("a transaction is not of the account, the logical time or the time that it is said to be")]
    Place,
    /// Otherwise a history would have no beginning.
    #[error("a transaction names a later one as the one before")]
    Order,
    #[error("a transaction is about addresses or amounts that there are not")]
    Range,
}

impl Happened {
    /// Reads what a chain says happened to `account`.
    pub fn read(account: &Account, transaction: &Transaction) -> Result<Self, TransactionError> {
        let cell = Boc::decode(&transaction.cell).map_err(|_| TransactionError::Bag)?;
        if cell.repr_hash().0 != transaction.at.hash {
            return Err(TransactionError::Hash);
        }
        let parsed: models::Transaction = cell.parse().map_err(|_| TransactionError::Form)?;
        if parsed.account.0 != account.hash || parsed.lt != transaction.at.lt || parsed.now != transaction.time {
            return Err(TransactionError::Place);
        }
        let previous = (parsed.prev_trans_lt != 0).then_some(Cursor {
            lt: parsed.prev_trans_lt,
            hash: parsed.prev_trans_hash.0,
        });
        if previous.is_some_and(|previous| previous.lt >= parsed.lt) {
            return Err(TransactionError::Order);
        }
        let inbound = match parsed.load_in_msg().map_err(|_| TransactionError::Form)? {
            Some(message) => Some(inbound(&message)?),
            None => None,
        };
        let mut sent = Vec::new();
        for message in parsed.iter_out_msgs() {
            sent.extend(outbound(&message.map_err(|_| TransactionError::Form)?)?);
        }
        let (is_aborted, exit_code) = match parsed.load_info().map_err(|_| TransactionError::Form)? {
            TxInfo::Ordinary(info) => (info.aborted, exit_code(&info.compute_phase)),
            TxInfo::TickTock(info) => (info.aborted, exit_code(&info.compute_phase)),
        };
        Ok(Self {
            at: transaction.at,
            time: transaction.time,
            previous,
            before: parsed.orig_status.into(),
            after: parsed.end_status.into(),
            inbound,
            outbound: sent,
            is_aborted,
            exit_code,
        })
    }

    /// Whether the account came into being here: its code ran for the first time, or anew.
    pub fn is_birth(&self) -> bool {
        self.before != Existence::Active && self.before != Existence::Frozen && self.after == Existence::Active
    }
}

impl From<AccountStatus> for Existence {
    fn from(status: AccountStatus) -> Self {
        match status {
            AccountStatus::NotExists => Self::No,
            AccountStatus::Uninit => Self::Uninitialised,
            AccountStatus::Frozen => Self::Frozen,
            AccountStatus::Active => Self::Active,
        }
    }
}

fn exit_code(compute: &ComputePhase) -> Option<i32> {
    match compute {
        ComputePhase::Skipped(_) => None,
        ComputePhase::Executed(phase) => Some(phase.exit_code),
    }
}

fn inbound(message: &Message<'_>) -> Result<Inbound, TransactionError> {
    let body = owned(message.body)?;
    match &message.info {
        MsgInfo::Int(info) => Ok(Inbound::Internal {
            from: account(&info.src)?,
            amount: amount(info)?,
            is_bounced: info.bounced,
            sent_lt: info.created_lt,
            body,
        }),
        MsgInfo::ExtIn(_) => Ok(Inbound::External { body }),
        MsgInfo::ExtOut(_) => Err(TransactionError::Form),
    }
}

/// `None` for a note to the world outside, which no account receives.
fn outbound(message: &Message<'_>) -> Result<Option<Outbound>, TransactionError> {
    match &message.info {
        MsgInfo::Int(info) => Ok(Some(Outbound {
            to: account(&info.dst)?,
            amount: amount(info)?,
            is_bounced: info.bounced,
            body: owned(message.body)?,
        })),
        MsgInfo::ExtOut(_) => Ok(None),
        MsgInfo::ExtIn(_) => Err(TransactionError::Form),
    }
}

fn account(address: &IntAddr) -> Result<Account, TransactionError> {
    match address {
        IntAddr::Std(address) => address::from_std(address).ok_or(TransactionError::Range),
        IntAddr::Var(_) => Err(TransactionError::Range),
    }
}

fn amount(info: &models::IntMsgInfo) -> Result<Nano, TransactionError> {
    let nano = u64::try_from(info.value.tokens.into_inner()).ok();
    nano.and_then(Nano::new).ok_or(TransactionError::Range)
}

fn owned(body: CellSlice<'_>) -> Result<Cell, TransactionError> {
    let mut builder = CellBuilder::new();
    builder.store_slice(body).map_err(|_| TransactionError::Form)?;
    builder
        .build_ext(Cell::empty_context())
        .map_err(|_| TransactionError::Form)
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
