//! The ledger at work in a gateway: what a request may cost at most is held before it runs, what it cost is captured
//! when it ends, and the capture is durable before the client sees the end.
//!
//! A hold is taken from what this node leased, in memory; the ledger on disk is asked only where that does not
//! suffice. Nothing is held after the lease ended by this node's own clock: the gateway then refuses who is charged,
//! and captures go on. Accounts without a payer never come here.
//!
//! [`start`] is where it begins and ends; [`node`] renews the lease, [`committer`] makes captures durable, [`shipper`] brings those of a local journal to the
//! ledger, [`central`] is what the three ask.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use billing::{AccountId, Book, Charge, Currency, HoldId, Nano, Payer, Pot, Window, book::Short};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::{metrics::LedgerMetrics, wall_clock::unix_ms};

mod accounts;
mod central;
mod committer;
mod draft;
mod identity;
mod node;
mod payers;
mod shipper;
mod start;
mod store;
#[cfg(test)]
mod tests;

use accounts::AccountsError;
pub(crate) use accounts::{Accounts, Charged};
pub(crate) use committer::{CaptureError, Captured, Then};
pub(crate) use draft::Draft;
pub(crate) use payers::{Known, Payers, account_of, accounts_without_key, default_account};
pub(crate) use start::{LedgerError, Setting, node_name};

/// How long a request waits for the ledger on disk.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a refusal by the ledger on disk is not asked for again.
const REFUSAL: Duration = Duration::from_secs(1);
/// Captures that are not durable yet, at most; beyond them nothing more is held.
const QUEUE: usize = 65_536;

/// The ledger of this gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Accounts that pay for nothing; mostly empty.
    barred: ArcSwap<HashMap<AccountId, Bar>>,
    /// Whether any key is charged.
    is_needed: AtomicBool,
    /// Wakes the node: somebody asks, or something changed.
    wake: Notify,
    /// The number of the last renewal that came to an end.
    rounds: watch::Sender<u64>,
    /// Whether this node tried to join at least once.
    is_tried: watch::Sender<bool>,
    queue: committer::Queue,
    metrics: LedgerMetrics,
}

/// What is held and leased. Locked for moments, never while anything is waited for.
#[derive(Default)]
struct State {
    book: Book,
    /// The incarnation of this node; 0 before the first.
    epoch: u64,
    /// Until when this node may hold; `None` where it may not.
    open: Option<Fence>,
    /// The number of the last renewal that began.
    begun: u64,
    /// What requests wait for, in the renewal after that.
    asks: HashMap<Pot, Nano>,
    refused: HashMap<Pot, Refusal>,
    /// Pots of which all that is free goes back with the next renewal.
    give: HashSet<Pot>,
}

/// The end of the lease, by both clocks: the monotonic one stands while a machine sleeps.
#[derive(Clone, Copy, Debug)]
struct Fence {
    at: Instant,
    wall_ms: i64,
}

/// The ledger on disk had so little.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    rest: Nano,
    until: Instant,
}

/// Why an account pays for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bar {
    Disabled,
    Unknown,
}

/// Why nothing was held, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReserveError {
    /// An administrator turned it off.
    #[error("the account {account} is disabled")]
    Disabled { account: AccountId },
    /// A key names an account that nobody made.
    #[error("there is no account {account}")]
    Unknown { account: AccountId },
    /// The database cannot be reached and the lease has ended, or there are more captures than can be written.
    #[error("the ledger cannot be reached")]
    Unavailable,
    /// There is not enough left.
    #[error("{account} has {missing} {currency} too little for this request")]
    Short {
        account: AccountId,
        window: Window,
        missing: Nano,
        currency: Currency,
    },
}

impl ReserveError {
    /// The reason, for metrics.
    fn word(&self) -> &'static str {
        match self {
            Self::Disabled { .. } | Self::Unknown { .. } => "account",
            Self::Unavailable => "unavailable",
            Self::Short { .. } => "money",
        }
    }
}

/// What came of looking into the book.
enum Look {
    Held(Reservation),
    /// Asked for, in the renewal of this number.
    Asked(u64),
}

impl Ledger {
    /// A ledger that holds nothing until a node joins for it, and what makes its captures durable.
    fn new(metrics: LedgerMetrics) -> (Self, committer::Waiting) {
        let (queue, waiting) = committer::queue();
        let shared = Shared {
            state: Mutex::default(),
            barred: ArcSwap::default(),
            is_needed: AtomicBool::new(false),
            wake: Notify::new(),
            rounds: watch::Sender::new(0),
            is_tried: watch::Sender::new(false),
            queue,
            metrics,
        };
        (Self(Arc::new(shared)), waiting)
    }

    /// For a gateway that keeps nothing: it charges nobody, and would refuse who is to be charged.
    pub(crate) fn none() -> Self {
        let none = Self::new(LedgerMetrics::default()).0;
        none.0.is_tried.send_replace(true);
        none
    }

    /// Holds `ceiling` in every pot of the payer, or in none. Never waits where this node has room; else asks the
    /// ledger on disk once, and waits two seconds at most.
    pub(crate) async fn reserve(&self, payer: &Arc<Payer>, ceiling: Nano) -> Result<Reservation, ReserveError> {
        self.0.refuse_barred(payer)?;
        let look = match self.look(payer, ceiling) {
            Err(ReserveError::Unavailable) if !*self.0.is_tried.borrow() => {
                // The first key that is charged is a moment younger than the first join. A timeout is a refusal below.
                timeout(PATIENCE, self.0.is_tried.subscribe().wait_for(|is_tried| *is_tried))
                    .await
                    .ok();
                self.look(payer, ceiling)
            }
            look => look,
        };
        match look? {
            Look::Held(reservation) => Ok(reservation),
            Look::Asked(round) => self.wait(payer, ceiling, round).await,
        }
    }

    /// A request was refused for this, and not run with less instead.
    pub(crate) fn count_refusal(&self, error: &ReserveError) {
        self.0.metrics.refused(error.word());
    }

    async fn wait(&self, payer: &Arc<Payer>, ceiling: Nano, mut round: u64) -> Result<Reservation, ReserveError> {
        let deadline = Instant::now() + PATIENCE;
        let mut rounds = self.0.rounds.subscribe();
        loop {
            let renewed = timeout_at(deadline, rounds.wait_for(|done| *done >= round)).await;
            if !matches!(renewed, Ok(Ok(_))) {
                return Err(ReserveError::Unavailable);
            }
            self.0.refuse_barred(payer)?;
            match self.look(payer, ceiling)? {
                Look::Held(reservation) => return Ok(reservation),
                // Others were faster, or the ledger could not be reached.
                Look::Asked(next) => round = next,
            }
        }
    }

    fn look(&self, payer: &Arc<Payer>, ceiling: Nano) -> Result<Look, ReserveError> {
        if self.0.queue.len() >= QUEUE {
            return Err(ReserveError::Unavailable);
        }
        let at_ms = unix_ms();
        let mut state = self.0.state();
        if !state.is_open(at_ms) {
            return Err(ReserveError::Unavailable);
        }
        let short = match state.book.reserve(payer, ceiling, at_ms) {
            Ok(hold) => {
                drop(state);
                return Ok(Look::Held(Reservation {
                    ledger: self.0.clone(),
                    payer: payer.clone(),
                    held: ceiling,
                    hold: Some(hold),
                }));
            }
            Err(short) => short,
        };
        if let Some(error) = state.refusal(&short, payer) {
            return Err(error);
        }
        for shortage in short.pots {
            let need = state.asks.entry(shortage.pot).or_default();
            *need = (*need).max(shortage.missing);
        }
        let round = state.begun + 1;
        drop(state);
        self.0.wake.notify_one();
        Ok(Look::Asked(round))
    }

    /// The most that could be held now without asking anybody.
    #[cfg(test)]
    pub(crate) fn affordable(&self, payer: &Arc<Payer>) -> Nano {
        self.0.state().book.affordable(payer, unix_ms())
    }

    /// Makes a charge durable that was never held: a refund. Its node and number are given here.
    pub(crate) fn post(&self, charge: Charge) -> Captured {
        let epoch = self.0.state().epoch;
        self.0.queue.push(epoch, charge, None)
    }

    /// What is free of these accounts' pots goes back to the ledger, which may grant less by now.
    fn give_back(&self, accounts: &HashSet<AccountId>) {
        if accounts.is_empty() {
            return;
        }
        let mut guard = self.0.state();
        let state = &mut *guard;
        let pots = state.book.pots().map(|view| view.pot);
        let changed = pots.filter(|pot| accounts.contains(&pot.account)).cloned();
        state.give.extend(changed);
        // What was refused may be granted now.
        state.refused.retain(|pot, _| !accounts.contains(&pot.account));
        drop(guard);
        self.0.wake.notify_one();
    }

    /// There is more money on an account: what was refused may be granted now.
    pub(crate) fn forget_refusals(&self, account: &AccountId) {
        self.0.state().refused.retain(|pot, _| pot.account != *account);
    }

    /// What is free of an account goes back to the ledger. Waits for it, up to two seconds.
    pub(crate) async fn give_up(&self, account: &AccountId) {
        self.give_back(&HashSet::from([account.clone()]));
        self.settle().await;
    }

    /// Forgets what was refused, and waits until what is to go back has gone: up to two seconds.
    pub(crate) async fn settle(&self) {
        let mut rounds = self.0.rounds.subscribe();
        let round = {
            let mut state = self.0.state();
            state.refused.clear();
            if !state.is_open(unix_ms()) {
                // Nothing is held, so nothing is held too much.
                return;
            }
            state.begun + 1
        };
        self.0.wake.notify_one();
        drop(timeout_at(Instant::now() + PATIENCE, rounds.wait_for(|done| *done >= round)).await);
    }

    /// Takes which accounts pay for nothing, and whether any key is charged.
    pub(crate) fn bar(&self, barred: HashMap<AccountId, Bar>, is_needed: bool) {
        self.0.barred.store(Arc::new(barred));
        if is_needed && !self.0.is_needed.swap(true, Ordering::Relaxed) {
            self.0.wake.notify_one();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in between leaves at worst a hold that nobody has, and never too much room.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_barred(&self, payer: &Payer) -> Result<(), ReserveError> {
        let barred = self.barred.load();
        if barred.is_empty() {
            return Ok(());
        }
        for account in payer.accounts() {
            match barred.get(account) {
                Some(Bar::Disabled) => {
                    return Err(ReserveError::Disabled {
                        account: account.clone(),
                    });
                }
                Some(Bar::Unknown) => {
                    return Err(ReserveError::Unknown {
                        account: account.clone(),
                    });
                }
                None => {}
            }
        }
        Ok(())
    }
}

impl State {
    fn is_open(&self, at_ms: i64) -> bool {
        self.open
            .is_some_and(|fence| at_ms < fence.wall_ms && Instant::now() < fence.at)
    }

    /// What the ledger on disk said of these pots a moment ago, where that was no.
    fn refusal(&mut self, short: &Short, payer: &Payer) -> Option<ReserveError> {
        if self.refused.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.refused.retain(|_, refusal| refusal.until > now);
        short.pots.iter().find_map(|shortage| {
            let rest = self.refused.get(&shortage.pot)?.rest;
            (shortage.missing > rest).then(|| ReserveError::Short {
                account: shortage.pot.account.clone(),
                window: shortage.pot.window,
                missing: shortage.missing.saturating_sub(rest),
                currency: payer.currency,
            })
        })
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// An amount that is held for a request until it is captured. Dropped, it is released.
#[derive(Debug)]
#[must_use = "what is dropped is released"]
pub(crate) struct Reservation {
    ledger: Arc<Shared>,
    payer: Arc<Payer>,
    held: Nano,
    hold: Option<HoldId>,
}

impl Reservation {
    pub(crate) fn held(&self) -> Nano {
        self.held
    }

    pub(crate) fn payer(&self) -> &Arc<Payer> {
        &self.payer
    }

    /// Takes the amount of the draft, never more than is held. What comes back is ready when that is durable, and so
    /// is what was to be done then; dropping it changes nothing.
    pub(crate) fn capture_and(mut self, draft: Draft, then: Option<Then>) -> Captured {
        let Some(hold) = self.hold.take() else {
            return Captured::refused();
        };
        let amount = draft.amount.min(self.held);
        let mut state = self.ledger.state();
        let epoch = state.epoch;
        let captured = state.book.capture(hold, amount);
        drop(state);
        match captured {
            Ok(captured) => self.ledger.queue.push(epoch, draft.charge(&self.payer, captured), then),
            // It was held in an incarnation of this node that is over.
            Err(_) => Captured::refused(),
        }
    }
}

#[cfg(test)]
impl Reservation {
    pub(crate) fn capture(self, draft: Draft) -> Captured {
        self.capture_and(draft, None)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            // One of an incarnation that is over is void already.
            let _void = self.ledger.state().book.release(hold);
        }
    }
}
