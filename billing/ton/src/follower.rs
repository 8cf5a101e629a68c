//! Follows channels on a chain: what happened to each, once, in order, from where we were.
//!
//! [`Follower`] is pure: it says what to ask, is told the answers, and gives events. [`poll`] asks a chain, and
//! [`poll_sources`] two where much is at stake: who hides that a channel is closing takes all that is not claimed.
//! How far it is in an account's history is a [`Position`], a value that the caller keeps: with the effects of the events
//! in one commit, so that each happens once, whatever ends us in between. What is told twice has no second effect.
//!
//! An account whose state names the transaction that we are at costs one question; others cost their history since.
//! Each transaction names the one before it, so that a gap is seen and asked again.
//! That a payer closes is told as soon as a state shows it, before the history that leads there was read: who fills a
//! channel's history with dust gains no time by it. States are asked again while a history is being read, for the same
//! reason.
//! Where the chain no longer has the transaction that we were at (it was reset, or somebody lies), an account is *lost*,
//! and stays so until the caller says [`Follower::restart`]: going on would be guessing.
//!
//! A channel that was destroyed is [`What::Closed`]; one that comes back under the same address is [`What::Redeployed`],
//! and must not be used: what was signed for the first life could be played again in the second. Where the source does
//! not tell what came between, it is lost besides.
//!
//! ```
//! use billing::channel::Account;
//! use billing_ton::follower::{Ask, Follower, Position};
//!
//! let mut follower = Follower::new(30);
//! let channel = Account { workchain: 0, hash: [1; 32] };
//! follower.follow(channel, Position::START);
//! assert_eq!(follower.asks(0), [Ask::State(channel)]);
//! // Not again before 30 seconds have passed.
//! assert_eq!(follower.asks(29), []);
//! ```

use std::collections::BTreeMap;

use billing::{
    Nano,
    channel::{Account, OnChain},
};

use crate::{
    chain::{AccountState, ChainError, Cursor, Head, Transaction},
    contract::Remittance,
    settler::Seen,
    transaction::{Existence, Happened, TransactionError},
};

mod polling;
mod position;

pub use polling::{Round, poll, poll_sources};
pub use position::{Life, Position, PositionError};

/// Accounts at a time; more are not followed.
pub const MAX_ACCOUNTS: usize = 65_536;
/// Transactions of one answer.
const PAGE: usize = 256;
/// Questions of one round, so that one round has an end.
const MAX_ASKS: usize = 64;

/// What to ask the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    State(Account),
    History {
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    },
}

/// What the chain answered.
#[derive(Debug)]
pub enum Told {
    State(Account, AccountState),
    /// Oldest first; to the last [`Ask::History`] of the account.
    History(Account, Vec<Transaction>),
    Failed(Account, ChainError),
}

/// Something that happened to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub account: Account,
    /// The transaction; `None` where only its result was seen.
    pub at: Option<Cursor>,
    /// Unix seconds, of the transaction or of the block.
    pub time: u32,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Opened,
    /// `deposited` is the new sum of all deposits.
    Deposited {
        deposited: Nano,
    },
    /// `claimed` is the new sum of all that was taken.
    Claimed {
        claimed: Nano,
    },
    /// From this time (Unix seconds) the payer may have the rest.
    CloseRequested {
        close_at: u32,
    },
    /// The contract is no more.
    Closed,
    /// It came back after its end: nothing signed before may be used.
    Redeployed,
    /// There is another contract than ours, or its state cannot be read.
    Foreign,
    /// All that happened was told; this is the state now, and what the account has in all.
    Current {
        head: Head,
        seen: Seen,
        balance: u128,
    },
    /// A transaction cannot be read. It is passed over; the state says what came of it.
    Unreadable(TransactionError),
    /// The chain contradicts what it told before. Nothing more is told until [`Follower::restart`].
    Lost,
}

/// Some accounts, and how far each was followed.
#[derive(Debug)]
pub struct Follower {
    accounts: BTreeMap<Account, Followed>,
    every_s: u64,
}

#[derive(Clone, Debug)]
struct Followed {
    position: Position,
    /// In the caller's seconds.
    asked_s: Option<u64>,
    /// When its state was.
    state_s: Option<u64>,
    /// A state that is ahead of the position: its history is to be asked.
    pending: Option<AccountState>,
    /// Gaps in a row.
    gaps: u32,
    is_lost: bool,
    /// Of the newest state that counted.
    head: Option<Head>,
    is_foreign: bool,
}

/// A source that tells gaps so often has lost something.
const MAX_GAPS: u32 = 5;

impl Follower {
    /// Asks each account so often.
    pub fn new(every_s: u64) -> Self {
        Self {
            accounts: BTreeMap::new(),
            every_s,
        }
    }

    /// Follows an account from a position on. `false` where there are too many already, or it is followed.
    pub fn follow(&mut self, account: Account, position: Position) -> bool {
        if self.accounts.len() >= MAX_ACCOUNTS || self.accounts.contains_key(&account) {
            return false;
        }
        self.accounts.insert(account, Followed::new(position));
        true
    }

    pub fn forget(&mut self, account: &Account) {
        self.accounts.remove(account);
    }

    /// How far an account was followed: to be kept.
    pub fn position(&self, account: &Account) -> Option<&Position> {
        self.accounts.get(account).map(|followed| &followed.position)
    }

    /// Whether it is lost.
    pub fn is_lost(&self, account: &Account) -> bool {
        self.accounts.get(account).is_some_and(|followed| followed.is_lost)
    }

    /// The newest block that all was told of. One that is old says that the source is stuck, or we are.
    pub fn head(&self, account: &Account) -> Option<Head> {
        self.accounts.get(account).and_then(|followed| followed.head)
    }

    /// Follows an account anew from its beginning. Its events come again where they still are true. One that ended
    /// stays so: whatever is there now is another life of it.
    pub fn restart(&mut self, account: &Account) {
        if let Some(followed) = self.accounts.get_mut(account) {
            let life = match followed.position.life {
                Life::Ended => Life::Ended,
                Life::Unborn | Life::Open => Life::Unborn,
            };
            *followed = Followed::new(Position {
                life,
                ..Position::START
            });
        }
    }

    /// Asks an account in the next round, whatever the time.
    pub fn hurry(&mut self, account: &Account) {
        if let Some(followed) = self.accounts.get_mut(account) {
            followed.asked_s = None;
        }
    }

    /// What to ask now: histories of who is behind, and states of who was not asked for long. Who waited longest comes
    /// first, so that nobody waits for ever. `now_s` only paces.
    pub fn asks(&mut self, now_s: u64) -> Vec<Ask> {
        let every_s = self.every_s;
        let is_past = |asked_s: Option<u64>| asked_s.is_none_or(|asked_s| now_s.abs_diff(asked_s) >= every_s);
        let due = self.accounts.iter_mut().filter(|(_, followed)| {
            let is_due = is_past(followed.asked_s) || followed.pending.is_some();
            is_due && !followed.is_lost
        });
        let mut due: Vec<(&Account, &mut Followed)> = due.collect();
        due.sort_by_key(|(_, followed)| followed.asked_s);
        let asks = due.into_iter().take(MAX_ASKS).map(|(account, followed)| {
            followed.asked_s = Some(now_s);
            if followed.pending.is_some() && !is_past(followed.state_s) {
                return Ask::History {
                    account: *account,
                    after: followed.position.cursor,
                    limit: PAGE,
                };
            }
            followed.state_s = Some(now_s);
            Ask::State(*account)
        });
        asks.collect()
    }

    pub fn step(&mut self, told: Told) -> Vec<Event> {
        let (Told::State(account, _) | Told::History(account, _) | Told::Failed(account, _)) = &told;
        let account = *account;
        let Some(followed) = self.accounts.get_mut(&account) else {
            return Vec::new();
        };
        if followed.is_lost {
            return Vec::new();
        }
        let mut events = Events {
            account,
            list: Vec::new(),
        };
        match told {
            Told::State(_, state) => followed.state(state, &mut events),
            Told::History(_, history) => followed.history(&account, &history, &mut events),
            Told::Failed(_, ChainError::Contradiction(_)) => followed.lost(&mut events),
            Told::Failed(_, ChainError::Anew { .. }) => followed.began_anew(&mut events),
            Told::Failed(..) => followed.failed(&mut events),
        }
        events.list
    }
}

/// Events of one account that are being collected.
struct Events {
    account: Account,
    list: Vec<Event>,
}

impl Events {
    fn push(&mut self, at: Option<Cursor>, time: u32, what: What) {
        self.list.push(Event {
            account: self.account,
            at,
            time,
            what,
        });
    }
}

impl Followed {
    fn new(position: Position) -> Self {
        Self {
            position,
            asked_s: None,
            state_s: None,
            pending: None,
            gaps: 0,
            is_lost: false,
            head: None,
            is_foreign: false,
        }
    }

    fn state(&mut self, state: AccountState, events: &mut Events) {
        // An older block than one we know: the source lags.
        if self.head.is_some_and(|head| state.head.seqno < head.seqno) {
            return;
        }
        match (state.last, self.position.cursor) {
            (last, cursor) if last == cursor => {
                self.pending = None;
                self.current(&state, events);
            }
            // It was seen with more than it has now: an older block, of a source that we do not know yet.
            (Some(last), Some(cursor)) if last.lt < cursor.lt => {}
            _ => {
                self.closing(&state, events);
                self.pending = Some(state);
            }
        }
    }

    /// What cannot wait for the history. What else it says is told in order.
    fn closing(&mut self, state: &AccountState, events: &mut Events) {
        let Seen::Open(on_chain) = Seen::read(&events.account, state) else {
            return;
        };
        if let (Some(close_at), None) = (on_chain.close_at, self.position.on_chain.close_at) {
            self.position.on_chain.close_at = Some(close_at);
            events.push(None, state.head.time, What::CloseRequested { close_at });
        }
    }

    fn history(&mut self, account: &Account, history: &[Transaction], events: &mut Events) {
        for transaction in history {
            let cursor = self.position.cursor;
            // Told already.
            if cursor.is_some_and(|cursor| transaction.at.lt <= cursor.lt) {
                continue;
            }
            let happened = match Happened::read(account, transaction) {
                Ok(happened) => happened,
                Err(TransactionError::Range) => {
                    // It is what its hash says, and about more than there is. Its place in the history is known.
                    events.push(
                        Some(transaction.at),
                        transaction.time,
                        What::Unreadable(TransactionError::Range),
                    );
                    self.position.cursor = Some(transaction.at);
                    continue;
                }
                Err(_) => return self.gap(events),
            };
            let follows = happened.previous == cursor;
            let is_anew = happened.previous.is_none() && cursor.is_some();
            if !follows && !is_anew {
                return self.gap(events);
            }
            self.happened(&happened, is_anew, events);
            self.position.cursor = Some(happened.at);
            self.gaps = 0;
        }
        let Some(state) = self.pending.take() else {
            return;
        };
        let cursor = self.position.cursor;
        let is_reached = state.last == cursor
            // Of an account that is no more, the source has no history, or all of it was told.
            || (state.last.is_none() && history.is_empty())
            // It went on since the state was read; the next one is newer.
            || matches!((state.last, cursor), (Some(last), Some(cursor)) if cursor.lt > last.lt);
        if !is_reached {
            if history.is_empty() {
                self.gap(events);
            }
            self.pending = (!self.is_lost).then_some(state);
        } else if state.last == cursor || state.last.is_none() {
            self.current(&state, events);
        }
    }

    /// Its state is asked again, for what it shows by then. Some sources fail for ever where an account is no more: then its
    /// absence has to do.
    fn failed(&mut self, events: &mut Events) {
        let is_gone = self.pending.as_ref().is_some_and(|state| state.last.is_none());
        if is_gone {
            self.gaps = self.gaps.saturating_add(1);
            if self.gaps >= MAX_GAPS
                && let Some(state) = self.pending.take()
            {
                self.current(&state, events);
            }
        } else {
            self.pending = None;
        }
    }

    fn gap(&mut self, events: &mut Events) {
        self.gaps = self.gaps.saturating_add(1);
        if self.gaps >= MAX_GAPS {
            self.lost(events);
        }
    }

    fn lost(&mut self, events: &mut Events) {
        self.is_lost = true;
        self.pending = None;
        let time = self.head.map_or(0, |head| head.time);
        events.push(self.position.cursor, time, What::Lost);
    }

    /// It ended, and nobody tells how, nor what it did before: its sums are not known any more.
    fn began_anew(&mut self, events: &mut Events) {
        let time = self.head.map_or(0, |head| head.time);
        self.end(None, time, events);
        self.position.life = Life::Ended;
        events.push(None, time, What::Redeployed);
        self.lost(events);
    }

    fn happened(&mut self, happened: &Happened, is_anew: bool, events: &mut Events) {
        let (at, time) = (Some(happened.at), happened.time);
        if is_anew && self.position.life == Life::Open {
            // Its end was not told.
            self.end(None, time, events);
        }
        if happened.is_birth() {
            let what = if self.position.life == Life::Unborn {
                What::Opened
            } else {
                What::Redeployed
            };
            self.position.life = Life::Open;
            self.position.on_chain = Position::START.on_chain;
            events.push(at, time, what);
        }
        for sent in &happened.outbound {
            if sent.is_bounced {
                continue;
            }
            match Remittance::decode(&sent.body) {
                Ok(Remittance::Event { on_chain, .. }) => self.advance(on_chain, at, time, events),
                Ok(Remittance::Payout { cumulative, .. }) => {
                    let on_chain = OnChain {
                        claimed: cumulative,
                        ..self.position.on_chain
                    };
                    self.advance(on_chain, at, time, events);
                }
                Ok(Remittance::FeePayout { .. } | Remittance::Refund { .. } | Remittance::Excesses { .. }) | Err(_) => {
                }
            }
        }
        if happened.before == Existence::Active && matches!(happened.after, Existence::No | Existence::Uninitialised) {
            self.end(at, time, events);
        }
    }

    /// From the state that was known to a newer one.
    fn advance(&mut self, to: OnChain, at: Option<Cursor>, time: u32, events: &mut Events) {
        let known = self.position.on_chain;
        if to.deposited > known.deposited {
            events.push(
                at,
                time,
                What::Deposited {
                    deposited: to.deposited,
                },
            );
        }
        if to.claimed > known.claimed {
            events.push(at, time, What::Claimed { claimed: to.claimed });
        }
        if let Some(close_at) = to.close_at
            && known.close_at.is_none()
        {
            events.push(at, time, What::CloseRequested { close_at });
        }
        self.position.on_chain = OnChain {
            close_at: known.close_at.or(to.close_at),
            deposited: known.deposited.max(to.deposited),
            claimed: known.claimed.max(to.claimed),
        };
    }

    fn end(&mut self, at: Option<Cursor>, time: u32, events: &mut Events) {
        if self.position.life == Life::Open {
            self.position.life = Life::Ended;
            events.push(at, time, What::Closed);
        }
    }

    /// Everything up to this state was told.
    fn current(&mut self, state: &AccountState, events: &mut Events) {
        let head = state.head;
        let is_new = self.head.is_none_or(|known| known.seqno < head.seqno);
        self.head = Some(head);
        self.gaps = 0;
        let seen = Seen::read(&events.account, state);
        match seen {
            Seen::Absent => self.end(None, head.time, events),
            // What messages do not tell, the state does.
            Seen::Open(on_chain) => {
                if self.position.life == Life::Unborn {
                    self.position.life = Life::Open;
                    events.push(None, head.time, What::Opened);
                }
                self.advance(on_chain, None, head.time, events);
            }
            Seen::Foreign if !self.is_foreign => events.push(None, head.time, What::Foreign),
            Seen::Foreign => {}
        }
        self.is_foreign = seen == Seen::Foreign;
        if is_new {
            let balance = state.balance;
            events.push(None, head.time, What::Current { head, seen, balance });
        }
    }
}

impl Follower {
    /// The history that an account waits for, if any.
    fn behind(&self, account: &Account) -> Option<Ask> {
        let followed = self.accounts.get(account)?;
        followed.pending.as_ref().map(|_| Ask::History {
            account: *account,
            after: followed.position.cursor,
            limit: PAGE,
        })
    }
}

#[cfg(test)]
mod tests;
