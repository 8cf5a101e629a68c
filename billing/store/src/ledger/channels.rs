//! Payment channels on disk: what both sides are bound to, what the chain said last, and the highest of what was signed.
//!
//! Of a payee each channel is an account of the ledger, `org:channel-` and 64 hexadecimal digits, in TON and without
//! credit. What it may spend is `min(voucher_max, deposited)`, less what it spent: a raised voucher or a seen deposit is
//! a deposit of the difference, in one transaction with the row that says so. So a crash leaves both or neither, and
//! what comes twice is put on the account once.
//!
//! Vouchers and takes only grow: what is lower than what is here changes nothing and is no error, for messages come late
//! and out of order. What the chain is said to be is taken as far as its contract can have done it. What was signed is durable when it is answered. A closed channel's row stays for ever,
//! so that a contract that is put at the same address again revives nothing.
//!
//! Refused by name: a channel that is here with other terms, one that was closed, a voucher of a closed one or by other
//! keys, closing while requests run.
//! Left to others: whether a signature is right, and which sources of the chain agree.
//!
//! In PostgreSQL the row of the channel is locked before those of the ledger.

mod change;
mod check;
mod export;
mod facts;
mod heard;
mod rows;
mod settle;

use billing::channel::{Account, ChannelId, ClaimedTake, ClaimedVoucher, Keys, NotTheSigner, Signer, Terms, Voucher};
use billing::{AccountId, Nano};

pub(super) use check::check;
pub(super) use export::export;
pub use facts::{Facts, Objection, Word};
pub use heard::{Reached, Sender};

use super::transfers::{DepositError, WithdrawError};
use super::{CreateError, LedgerFault, change, faults, question};
use crate::keys::By;
use crate::pool::Pool;

/// A fee of all.
const MAX_FEE_BPS: u16 = 10_000;

/// The channels of a [`Store`](crate::Store). Clones share its connections.
#[derive(Clone, Debug)]
pub struct ChannelStore {
    pool: Pool,
    /// For questions; in SQLite it cannot write.
    reader: Pool,
}

/// Which of the two we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Payee,
    Payer,
}

/// How far a channel is in its life. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Open,
    /// No new work: the payer asked to close, or we are about to.
    Stopping,
    /// The tombstone. Nothing is served, paid or signed any more.
    Closed,
}

/// A channel that is to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewChannel {
    pub side: Side,
    pub id: ChannelId,
    pub terms: Terms,
    pub keys: Keys,
    pub facts: Facts,
    pub word: Word,
}

/// A channel as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChannel {
    pub side: Side,
    pub id: ChannelId,
    pub terms: Terms,
    pub keys: Keys,
    pub facts: Facts,
    /// The deposit that sources agreed on.
    pub confirmed: Nano,
    pub stage: Stage,
    /// The highest. It was verified before it came here.
    pub voucher: Option<ClaimedVoucher>,
    /// What the payee signed last.
    pub take: Option<ClaimedTake>,
    /// Of a payee: what was put on the account of it.
    pub credited: Nano,
    /// Of a payee what the account spent; of a payer what its own metering says.
    pub spent: Nano,
    /// The generation of its last change of stage or facts.
    pub revision: i64,
    pub created_at_ms: i64,
    pub closed_at_ms: Option<i64>,
}

/// Channels that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelChanges {
    /// Differs after any change of stage or facts; not after vouchers, takes and charges.
    pub generation: i64,
    pub channels: Vec<StoredChannel>,
}

/// Which channels to tell of; by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelQuery {
    /// Both where `None`.
    pub side: Option<Side>,
    /// Those after this one; for the next page the last of the page before.
    pub after: Option<Account>,
    /// At most 10,000.
    pub limit: u32,
}

/// What came of a voucher or a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Whether anything is higher or newer than it was.
    pub is_new: bool,
    /// What was put on the account now.
    pub credited_now: Nano,
    /// What cannot be true of what was told; who hears of it tells the operator.
    pub objection: Option<Objection>,
    pub channel: StoredChannel,
}

/// Why a channel was not added, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// What is signed does not name the workchain: elsewhere a voucher would be good a second time.
    #[error("channels are accounts of workchain 0, and {0} is not")]
    Workchain(Account),
    #[error("the channel {id} has a fee of {fee_bps} parts of {MAX_FEE_BPS}; it cannot be more than all")]
    Fee { id: Account, fee_bps: u16 },
    #[error("the channel {0} was closed, and a closed one never comes back; open another one with a new salt")]
    Closed(Account),
    #[error("the channel {0} is known with other terms, or as the other side's")]
    Differs(Account),
    /// Its vouchers were shown before, and are not here.
    #[error("{claimed} of the channel {id} were claimed before it was known here; open another one with a new salt")]
    Claimed { id: Account, claimed: Nano },
    #[error("the channel {0} has no account in the ledger")]
    Account(Account, #[source] CreateError),
    #[error("the channel {0} has an account, and its deposit is not on it")]
    Deposit(Account, #[source] DepositError),
    #[error("the channel was not added")]
    Fault(#[from] LedgerFault),
}

/// Why nothing was raised, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaiseError {
    #[error("there is no channel {0} here")]
    NotFound(Account),
    #[error("the channel {0} is closed; open another one")]
    Closed(Account),
    /// Anybody signs by keys of their own.
    #[error("the voucher was checked by other keys than those of the channel {0}; it counts for nothing")]
    Keys(Account),
    #[error("the channel {0} was raised, and its account was not; nothing was changed")]
    Deposit(Account, #[source] DepositError),
    #[error("the channel was not changed")]
    Fault(#[from] LedgerFault),
}

/// Why a channel was not closed, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    #[error("there is no channel {0} of this side here")]
    NotFound(Account),
    /// By the chain, without a last take.
    #[error("the channel {0} has ended already; what was signed before is all that can be claimed")]
    Closed(Account),
    #[error("the channel {0} has another key for the payee than this gateway")]
    Signer(Account, #[source] NotTheSigner),
    /// It takes no new ones already.
    #[error("{leased} GRAM (TON) of the channel {id} are held for requests that run; try again when they have ended")]
    InFlight { id: Account, leased: Nano },
    #[error("the rest of the channel {0} could not be taken off its account; nothing was changed")]
    Withdraw(Account, #[source] WithdrawError),
    #[error("the channel was not closed")]
    Fault(#[from] LedgerFault),
}

faults!(AddError);
faults!(RaiseError);
faults!(CloseError);

impl ChannelStore {
    pub(crate) fn new(pool: Pool, reader: Pool) -> Self {
        Self { pool, reader }
    }

    /// Makes a channel known, a payee's with its account. Doing it again changes nothing but what facts are newer.
    pub async fn add(&self, new: &NewChannel, by: By<'_>) -> Result<StoredChannel, AddError> {
        change!(self.pool, db => change::add(db, new, by).await)
    }

    /// Takes a voucher that was checked by the channel's own keys. One that is not higher changes nothing.
    pub async fn raise(&self, voucher: &Voucher, by: By<'_>) -> Result<Raised, RaiseError> {
        change!(self.pool, db => change::raise(db, voucher, by).await)
    }

    /// Takes of what the chain is said to be what its contract can have done, of whatever block, and names what it cannot.
    ///
    /// Where the payer asked to close, or more was claimed than was signed here, the account takes no new work from then
    /// on.
    pub async fn observe(&self, id: &ChannelId, facts: &Facts, word: Word, by: By<'_>) -> Result<Raised, RaiseError> {
        change!(self.pool, db => change::observe(db, id, facts, word, by).await)
    }

    /// The payee takes no new work for this channel. What runs goes on.
    pub async fn stop(&self, id: &ChannelId, by: By<'_>) -> Result<StoredChannel, RaiseError> {
        change!(self.pool, db => change::stop(db, id, by).await)
    }

    /// What the payer's own metering says was used in all; what is less changes nothing.
    pub async fn note_spent(&self, id: &ChannelId, spent: Nano) -> Result<StoredChannel, RaiseError> {
        change!(self.pool, db => change::note_spent(db, id, spent).await)
    }

    /// Signs all that the account spent so far, and at most what vouchers cover. Where that is no more than the last
    /// take, the last take is the answer; `None` where there is nothing to take.
    pub async fn take(&self, id: &ChannelId, signer: &Signer) -> Result<Option<ClaimedTake>, CloseError> {
        change!(self.pool, db => settle::take(db, id, signer).await)
    }

    /// Signs the last take, and takes what is left off the account. Stops the channel first, also where it then fails.
    /// Doing it again answers the same; one that was buried is refused.
    pub async fn close(&self, id: &ChannelId, signer: &Signer, by: By<'_>) -> Result<ClaimedTake, CloseError> {
        // In a transaction of its own: gateways are to hear of it while requests still run.
        match self.stop(id, by).await {
            Ok(_) | Err(RaiseError::Closed(_)) => {}
            Err(RaiseError::Fault(fault)) => return Err(fault.into()),
            Err(_) => return Err(CloseError::NotFound(id.account)),
        }
        change!(self.pool, db => settle::close(db, id, signer, by).await)
    }

    /// The chain has no contract of this payee's channel any more: what it paid out it paid out. The row stays as the
    /// tombstone.
    ///
    /// Once no request runs: signs what was earned, in case the chain was not as it was said to be, and takes what is left
    /// off the account.
    pub async fn bury_payees(&self, id: &ChannelId, signer: &Signer, by: By<'_>) -> Result<StoredChannel, CloseError> {
        match self.stop(id, by).await {
            Ok(_) | Err(RaiseError::Closed(_)) => {}
            Err(RaiseError::Fault(fault)) => return Err(fault.into()),
            Err(_) => return Err(CloseError::NotFound(id.account)),
        }
        change!(self.pool, db => settle::bury_payees(db, id, signer, by).await)
    }

    /// The chain has no contract of this payer's channel any more. The row stays as the tombstone.
    pub async fn bury_payers(&self, id: &ChannelId, by: By<'_>) -> Result<StoredChannel, CloseError> {
        change!(self.pool, db => settle::bury_payers(db, id, by).await)
    }

    pub async fn channel(&self, id: &ChannelId) -> Result<Option<StoredChannel>, LedgerFault> {
        question!(self.reader, db => rows::one(db, id).await)
    }

    /// By address.
    pub async fn channels(&self, query: &ChannelQuery) -> Result<Vec<StoredChannel>, LedgerFault> {
        question!(self.reader, db => rows::list(db, query).await)
    }

    /// Channels whose stage or facts changed after a generation, at most 10,000: ask again from the generation that is
    /// told. Costs next to nothing where none did.
    pub async fn changes(&self, since: i64) -> Result<ChannelChanges, LedgerFault> {
        question!(self.reader, db => rows::changes(db, since).await)
    }
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payee => "payee",
            Self::Payer => "payer",
        }
    }
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stopping => "stopping",
            Self::Closed => "closed",
        }
    }
}

impl StoredChannel {
    /// Up to which it may be taken; nothing before the first voucher.
    pub fn voucher_max(&self) -> Nano {
        self.voucher.map_or(Nano::ZERO, |voucher| voucher.max)
    }

    /// What was signed to be taken.
    pub fn taken(&self) -> Nano {
        self.take.map_or(Nano::ZERO, |take| take.amount)
    }

    /// What stands behind work: no more than the vouchers say, and no more than was paid in.
    pub fn covered(&self) -> Nano {
        self.voucher_max().min(self.facts.on_chain.deposited)
    }
}

/// The account of a payee's channel.
pub fn channel_account(id: &ChannelId) -> AccountId {
    id.account.organisation()
}
