//! The ledger on disk: accounts, transfers, the leases of nodes, charges, and what was spent. In SQLite or PostgreSQL.
//!
//! [`LedgerStore`] follows the rules of [`billing::Ledger`], which is pure and which the tests compare it with.
//! Every change is one transaction, and durable when it is answered. A thing that was done is answered like the first
//! time: deposits and withdrawals have a name, charges have `(node, seq)`, renewals have a round.
//! The clock of the database decides which lease has ended; the clock of a node never comes here.
//!
//! Refused, each by name and with nothing changed: amounts that no sum can hold, an account that does not exist or
//! has another currency, money that is not there, a charge that differs from the one that was posted under its number,
//! a gap, whatever an incarnation says that was closed.
//! Never refused for lack of money: a charge. It was covered when it was held.
//!
//! Left to others: when to renew and to post (`gateway::ledger`), what a request costs (`billing`), the signature of
//! receipts.
//!
//! In PostgreSQL all take locks in one order: channel, node, accounts, pots, balances, each by name.

mod accounts;
mod channels;
mod charges;
mod export;
mod leases;
mod nodes;
mod post;
mod rates;
mod receipts;
mod spend;
pub(crate) mod sql;
mod strikes;
mod system;
mod transfers;
mod verify;

use std::time::Duration;

use crate::fault::Fault;
use crate::pool::Pool;
use crate::reader::ReadError;

pub use accounts::{
    AccountChange, AccountSnapshot, ChangeError, CreateError, DeclareError, DeclaredKey, NewAccount, Spending,
    StoredAccount,
};
pub use channels::{
    AddError, ChannelChanges, ChannelQuery, ChannelStore, CloseError, Facts, NewChannel, Objection, RaiseError, Raised,
    Reached, Sender, Side, Stage, StoredChannel, Word, channel_account,
};
pub use charges::{ChargeQuery, Paid, PostedCharge, SealedCharge, StoredReceipt};
pub use export::ExportError;
pub use leases::{RenewError, Renewed};
pub(crate) use nodes::head;
pub use nodes::{ChainHead, ForgetError, Forgotten, JoinError, Joined, LeaveError, StoredNode};
pub use post::{PostError, Posted};
pub use rates::{ExchangeRate, RateError, RateKind, RateShare, RateUse};
pub use receipts::StoredReceiptKey;
pub use spend::{SpendBy, SpendQuery, SpendRow};
pub use strikes::Strikes;
pub use system::SystemAccount;
pub use transfers::{
    Deposit, DepositError, Deposited, StoredTransfer, TransferKind, TransferQuery, WithdrawError, Withdrawal,
};

pub use verify::{Checked, Discrepancy, Report, VerifyError};

pub(crate) use charges::{charge_of_json, json_of_charge};

/// How long a change may take, of a server that answers.
pub(crate) const CHANGE: Duration = Duration::from_secs(10);

/// How long a question may take.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);

/// The ledger of a [`Store`](crate::Store). Clones share its connections.
#[derive(Clone, Debug)]
pub struct LedgerStore {
    pool: Pool,
    /// For questions; in SQLite it cannot write.
    reader: Pool,
}

impl LedgerStore {
    pub(crate) fn new(pool: Pool, reader: Pool) -> Self {
        Self { pool, reader }
    }
}

/// Why the database of the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerFault {
    #[error("the database of the ledger failed: {advice}")]
    Database { advice: &'static str, source: sqlx::Error },
    #[error(
        "a row of the ledger has a value in `{column}` that this program cannot read; it was altered or is damaged"
    )]
    Row { column: &'static str },
}

impl LedgerFault {
    /// Whether the same may succeed later: the disk is full, the server is away.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database { source, .. } => Fault::of(source).may_pass(),
            Self::Row { .. } => false,
        }
    }

    /// Whether a sum would have been beyond what a column holds, or a value outside of what it accepts.
    fn is_out_of_range(&self) -> bool {
        let Self::Database {
            source: sqlx::Error::Database(error),
            ..
        } = self
        else {
            return false;
        };
        // SQLite's CONSTRAINT_DATATYPE, for an integer that became a real one; PostgreSQL's numeric_value_out_of_range.
        matches!(error.code().as_deref(), Some("3091" | "22003"))
    }
}

impl From<sqlx::Error> for LedgerFault {
    fn from(source: sqlx::Error) -> Self {
        Self::Database {
            advice: Fault::of(&source).advice(),
            source,
        }
    }
}

impl From<ReadError> for LedgerFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database { advice, source } => Self::Database { advice, source },
            ReadError::Row { column } => Self::Row { column },
        }
    }
}

/// Lets `?` take what a statement, a commit or a pool failed with.
macro_rules! faults {
    ($error:ty) => {
        impl From<sqlx::Error> for $error {
            fn from(source: sqlx::Error) -> Self {
                Self::Fault($crate::ledger::LedgerFault::from(source))
            }
        }
    };
}

/// One change, in a transaction of its own: `change!(self.pool, db => work(db).await)`.
///
/// A macro, for of a future that a closure made the compiler cannot always tell that it is `Send`.
macro_rules! change {
    ($pool:expr, $db:ident => $work:expr) => {{
        let mut conn = $pool.acquire().await?;
        let outcome = $pool
            .within($crate::ledger::CHANGE, async {
                let mut tx = conn.begin().await?;
                let outcome = {
                    let mut db = tx.db();
                    let $db = &mut db;
                    $work
                };
                match outcome {
                    Ok(answer) => {
                        tx.commit().await?;
                        Ok(Ok(answer))
                    }
                    // A refusal leaves the connection as good as it was.
                    Err(refusal) => match tx.rollback().await {
                        Ok(()) => Ok(Err(refusal)),
                        Err(_) => Err(refusal),
                    },
                }
            })
            .await;
        conn.release(outcome).await.and_then(|outcome| outcome)
    }};
}

/// One question, whose statements all see the same moment: `question!(self.reader, db => work(db).await)`.
macro_rules! question {
    ($pool:expr, $db:ident => $work:expr) => {
        $crate::ledger::question!($pool, $crate::ledger::QUESTION, $db => $work)
    };
    ($pool:expr, $limit:expr, $db:ident => $work:expr) => {{
        let mut conn = $pool.acquire().await?;
        let outcome = $pool
            .within($limit, async {
                let mut tx = conn.snapshot().await?;
                let answer = {
                    let mut db = tx.db();
                    let $db = &mut db;
                    $work
                }?;
                tx.commit().await?;
                Ok(answer)
            })
            .await;
        conn.release(outcome).await
    }};
}

pub(crate) use {change, faults, question};
