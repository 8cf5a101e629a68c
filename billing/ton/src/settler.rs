//! Makes channels be what we want of them, through one wallet: settled, opened, topped up, closing, closed.
//!
//! A *job* names a channel and a goal, which is a fact of the channel's own state: so much claimed, so much deposited.
//! Jobs that are ready go together into one external message of the wallet, up to 255 of them.
//! A job is done when the channel shows it. That the wallet executed a message says nothing: it drops silently what it
//! cannot pay for, and a channel can refuse.
//!
//! What it holds to, whatever is lost, late or played twice:
//! - one external message in flight; a new one is signed only when the chain's own time says that the old one is dead,
//!   or its number is used up, so that no two can both have an effect;
//! - what is signed is durable before it is sent, and sent again as it is after a crash;
//! - a goal is absolute ("claimed is at least"), and the channel is read before anything is sent for it: a job that was
//!   done already costs nothing;
//! - an opening or a top-up is sent again only long after the last one must have arrived, and not for ever.
//!
//! [`Settler`] does no I/O and reads no clock: events and a time in, effects out. [`drive`] is the shell around it.
//! It does not decide when to settle: [`strategy`] says it, as a pure function.
//!
//! A wallet without coins is a named state, [`Trouble::Broke`]: it says how much to send where.
//!
//! ```
//! use billing::{Nano, channel::{Account, Network}};
//! use billing_ton::{Seed, Wallet, settler::{Effect, Event, Goal, Job, Settings, Settler}};
//!
//! let seed = Seed::from_bytes([7; 32]);
//! let wallet = Wallet::new(Network::TESTNET, seed.public_key());
//! let mut settler = Settler::new(wallet, seed, Settings::USUAL)?;
//! let job = Job {
//!     channel: Account { workchain: 0, hash: [1; 32] },
//!     goal: Goal::Claimed(Nano::saturating(2_000_000_000)),
//!     // Comes back, less what it cost.
//!     amount: Nano::saturating(50_000_000),
//!     body: Default::default(),
//!     init: None,
//! };
//! // Durable first; nothing is promised before.
//! let effects = settler.step(Event::Want(job), 0);
//! assert!(matches!(effects[..], [Effect::Persist(1), Effect::ReadChannel(_)]));
//! let effects = settler.step(Event::Persisted(1), 0);
//! assert!(matches!(effects[..], [Effect::Accepted(_)]));
//! # Ok::<(), billing_ton::settler::StartError>(())
//! ```

use std::{collections::BTreeMap, fmt};

use billing::{
    Nano,
    channel::{Account, OnChain},
};
use tycho_types::{cell::Cell, models::StateInit};

use crate::{
    chain::Head,
    seed::Seed,
    wallet::{Mode, Payment, Standing, StandingError, Wallet},
};

pub mod drive;
mod jobs;
mod journal;
mod machine;
pub mod strategy;

pub use journal::{Journal, JournalError};

/// Jobs at a time; more are declined, so that a peer who makes us want things cannot fill our memory.
pub const MAX_JOBS: usize = 4096;

/// What is to be true of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// So much was taken in all, or all that there is.
    Claimed(Nano),
    /// So much was paid in, in all: an opening or a top-up.
    Deposited(Nano),
    /// Its payer asked to close.
    Closing,
    /// It paid out everything and is no more.
    Gone,
}

/// The kinds of goals, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Settle,
    RequestClose,
    FinishClose,
    Deposit,
}

/// A channel has one job of a kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub channel: Account,
}

/// A goal, and the message that brings it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub channel: Account,
    pub goal: Goal,
    /// Attached to the message: of a settlement, for gas, and what is not used comes back.
    pub amount: Nano,
    pub body: Cell,
    /// Of an opening.
    pub init: Option<StateInit>,
}

impl Goal {
    fn kind(self) -> Kind {
        match self {
            Self::Claimed(_) => Kind::Settle,
            Self::Closing => Kind::RequestClose,
            Self::Gone => Kind::FinishClose,
            Self::Deposited(_) => Kind::Deposit,
        }
    }

    fn is_met(self, seen: &Seen) -> bool {
        match (self, seen) {
            // `deposited` is all that can be claimed, whatever was signed.
            (Self::Claimed(least), Seen::Open(state)) => state.claimed >= least || state.claimed >= state.deposited,
            (Self::Deposited(least), Seen::Open(state)) => state.deposited >= least,
            (Self::Closing, Seen::Open(state)) => state.close_at.is_some(),
            (Self::Closing | Self::Gone, Seen::Absent) => true,
            (Self::Gone, Seen::Open(_)) | (Self::Claimed(_) | Self::Deposited(_), Seen::Absent) => false,
            (_, Seen::Foreign) => false,
        }
    }
}

impl Job {
    pub fn key(&self) -> Key {
        Key {
            kind: self.goal.kind(),
            channel: self.channel,
        }
    }

    fn payment(&self) -> Payment {
        Payment {
            to: self.channel,
            amount: self.amount,
            // A channel that is not there or refuses gives it back.
            bounce: true,
            mode: Mode::FeesApart,
            body: Some(self.body.clone()),
            init: self.init.clone(),
        }
    }
}

/// What the chain says of a channel's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is no contract.
    Absent,
    Open(OnChain),
    /// There is something else, or its state cannot be read.
    Foreign,
}

/// Amounts and seconds that it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Stays in the wallet, for its rent and for the fee of executing a message.
    pub reserve: Nano,
    /// What a payment costs beside its amount, at most: forwarding, and the gas of one more action. A margin, not a
    /// fee: what is not used stays.
    pub per_payment: Nano,
    /// How long a signed message is good, by the chain's time.
    pub lifetime_s: u32,
    /// When a settlement that did not happen is tried again, by the chain's time since it was sent.
    pub settle_patience_s: u32,
    /// The same of a deposit, which must not happen twice.
    pub deposit_patience_s: u32,
    /// A deposit is tried so often.
    pub deposit_attempts: u32,
}

impl Settings {
    /// Enough at the prices of before 2026, which were six times today's.
    pub const USUAL: Self = Self {
        reserve: Nano::saturating(50_000_000),
        per_payment: Nano::saturating(5_000_000),
        lifetime_s: 60,
        settle_patience_s: 60,
        deposit_patience_s: 600,
        deposit_attempts: 3,
    };
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A goal. A later one of the same key replaces it where that is safe.
    Want(Job),
    /// A goal that is none any more. What is in flight for it stays in flight.
    Forget(Key),
    /// Our wallet, as of a final block.
    Wallet {
        head: Head,
        standing: Result<Standing, StandingError>,
    },
    /// A channel, as of a final block.
    Channel { account: Account, head: Head, seen: Seen },
    /// The chain's source refused the message in flight, with its reason. It may be in effect all the same.
    Refused(String),
    /// The journal of this number, and so all before it, is on disk.
    Persisted(u64),
    /// Time passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make [`Settler::journal`] durable, then say [`Event::Persisted`] with this number. What must come after it is
    /// handed out then only. Of several the last is enough.
    Persist(u64),
    /// Hand it to the chain. May be handed out again, the same bytes.
    Send(Vec<u8>),
    /// Say [`Event::Wallet`].
    ReadWallet,
    /// Say [`Event::Channel`].
    ReadChannel(Account),
    /// The job is durable and will be pursued.
    Accepted(Key),
    Declined(Key, Declined),
    /// The channel shows it. May be said again after a crash.
    Done(Key, Goal),
    /// It will not be pursued any more.
    GaveUp(Key, GaveUp),
    Alert(Alert),
}

/// Why a job is not taken, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    #[error("its message does not fit in a payment")]
    TooLarge,
    #[error("another deposit into the channel is on its way; want it when that one is done")]
    Busy,
    #[error("there are {MAX_JOBS} jobs already")]
    Full,
}

/// Why a job ended without its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    #[error("the channel is closing and takes no deposit")]
    Closing,
    #[error("there is no channel to top up")]
    Absent,
    #[error("the account is not the channel that was expected")]
    Foreign,
    #[error("the deposit was sent {0} times and did not arrive; look at the wallet's history before trying again")]
    Attempts(u32),
}

/// What an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alert {
    #[error("the wallet is in trouble: {0}")]
    Trouble(Trouble),
    #[error("the wallet is well again")]
    Recovered,
    #[error("a message of the wallet came to nothing before its time was over; it will be made anew")]
    Expired,
    /// The key and how often.
    #[error("the wallet executed a message, and a channel does not show it; sent {1} times: {0}")]
    NotApplied(Key, u32),
    #[error("there is nothing to settle with: {0} is gone or has changed")]
    NoChannel(Key),
    #[error("the chain's source says that the wallet is at number {said}, and it was at {known}: a reset, or a lie")]
    WentBack { said: u32, known: u32 },
    /// Unix seconds.
    #[error("the chain's source says that it is {said}, and it was {known}: a clock is wrong, or somebody lies")]
    TimeWentBack { said: u32, known: u32 },
    #[error("the chain's source refused a message: {0}")]
    Refused(String),
}

/// Why nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// An amount and an address to show to somebody with coins.
    #[error("it has {has} GRAM (TON) and needs {needs}; send {} to {}", needs.saturating_sub(*has), crate::address::raw(account))]
    Broke { account: Account, has: Nano, needs: Nano },
    #[error("{0}")]
    Unusable(StandingError),
}

/// The wallet and the key do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not that of the wallet")]
pub struct StartError;

/// One wallet's jobs.
pub struct Settler {
    wallet: Wallet,
    seed: Seed,
    settings: Settings,
    jobs: BTreeMap<Key, Pending>,
    in_flight: Option<InFlight>,
    trouble: Option<Trouble>,
    /// The chain's time at which something was known to be done: no reading from before counts.
    latest: u32,
    /// Of the journal.
    number: u64,
    persisted: u64,
    /// Effects that wait for a journal to be durable.
    held: Vec<(u64, Effect)>,
    /// When the wallet was last asked for, in the caller's seconds.
    wallet_asked_s: Option<u64>,
}

/// A job and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    job: Job,
    phase: Phase,
    /// The goal that a message was last signed for.
    sent: Option<Goal>,
    /// How often the wallet executed a message with it.
    sends: u32,
    /// How often it rested.
    failures: u32,
    /// When its channel was last asked for, in the caller's seconds.
    asked_s: Option<u64>,
    /// Whether it was said that there is no channel.
    is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its channel is to be read, at or after this time of the chain.
    Unread {
        not_before: u32,
    },
    /// The channel was read, and the goal is not met.
    Ready,
    InFlight,
    /// The wallet executed a message with it at this time of the chain, or before.
    Awaiting {
        since: u32,
    },
    /// Until this second of the caller's.
    Resting {
        until_s: u64,
        not_before: u32,
    },
}

/// A signed message that may have an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InFlight {
    seqno: u32,
    valid_until: u32,
    message: Vec<u8>,
    keys: Vec<Key>,
    /// Of the journal that has it; nothing is sent before it is durable.
    number: u64,
    /// In the caller's seconds; `None` right after a start.
    sent_s: Option<u64>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Settle => "settling",
            Kind::RequestClose => "asking to close",
            Kind::FinishClose => "closing",
            Kind::Deposit => "paying into",
        };
        write!(f, "{what} {}", crate::address::raw(&self.channel))
    }
}

/// Without the key and without messages.
impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = crate::address::raw(&self.wallet.account());
        let flying = if self.in_flight.is_some() {
            "one message"
        } else {
            "nothing"
        };
        write!(f, "Settler({account}, {} jobs, {flying} in flight)", self.jobs.len())
    }
}

#[cfg(test)]
mod tests;
