//! The ledger at work in a gateway: what a request may cost at most is held before it runs, what it cost is captured
//! when it ends, and the capture is durable before the client sees the end.
//!
//! A hold is taken from what this node leased, in memory; the ledger on disk is asked only where that does not
//! suffice. Nothing is held after the lease ended by this node's own clock: the gateway then refuses who is charged.
//! Accounts without a payer never come here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use billing::{AccountId, Currency, Nano, Payer, Window};

use crate::wall_clock::unix_ms;

use book::{Book, HoldId};

mod book;
mod committer;
mod payers;

pub(crate) use committer::{CaptureError, Captured, Draft, Receipted};
pub(crate) use payers::{Known, Payers, account_of};

/// The ledger of this gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Shared>);

struct Shared {
    book: Mutex<Book>,
    /// Accounts that pay for nothing; mostly empty.
    barred: ArcSwap<HashMap<AccountId, Bar>>,
    payers: ArcSwap<Payers>,
    queue: committer::Queue,
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

impl Ledger {
    /// A ledger, and the task that makes its captures durable.
    pub(crate) fn new() -> (Self, committer::Committer) {
        let (queue, committer) = committer::queue();
        let shared = Shared {
            book: Mutex::default(),
            barred: ArcSwap::default(),
            payers: ArcSwap::default(),
            queue,
        };
        (Self(Arc::new(shared)), committer)
    }

    /// Holds `ceiling` in every pot of the payer, or in none. Never waits where this node has room; else asks the
    /// ledger on disk once, and waits two seconds at most.
    pub(crate) async fn reserve(&self, payer: &Arc<Payer>, ceiling: Nano) -> Result<Reservation, ReserveError> {
        self.0.refuse_barred(payer)?;
        let at_ms = unix_ms();
        let first = self.0.book().reserve(payer, ceiling, at_ms);
        let hold = match first {
            Ok(hold) => hold,
            Err(_) => self.0.ask(payer, ceiling, at_ms)?,
        };
        Ok(Reservation {
            ledger: self.0.clone(),
            payer: payer.clone(),
            held: ceiling,
            hold: Some(hold),
        })
    }

    /// The most that could be held now without asking anybody.
    pub(crate) fn affordable(&self, payer: &Payer) -> Nano {
        self.0.book().affordable(payer, unix_ms())
    }

    /// Takes what is known of accounts.
    pub(crate) fn know(&self, payers: Payers) {
        self.0.payers.store(Arc::new(payers));
    }

    /// Takes which accounts pay for nothing.
    pub(crate) fn bar(&self, barred: HashMap<AccountId, Bar>) {
        self.0.barred.store(Arc::new(barred));
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic in between leaves at worst a hold that nobody has, and never too much room.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_barred(&self, payer: &Payer) -> Result<(), ReserveError> {
        let barred = self.barred.load();
        if barred.is_empty() {
            return Ok(());
        }
        for account in payer.accounts() {
            let account = account.clone();
            match barred.get(&account) {
                Some(Bar::Disabled) => return Err(ReserveError::Disabled { account }),
                Some(Bar::Unknown) => return Err(ReserveError::Unknown { account }),
                None => {}
            }
        }
        Ok(())
    }

    fn ask(&self, payer: &Arc<Payer>, ceiling: Nano, at_ms: i64) -> Result<HoldId, ReserveError> {
        let payers = self.payers.load();
        let mut book = self.book();
        book.lease(payer, at_ms, |pot| payers.cap(&pot.account, pot.window));
        book.reserve(payer, ceiling, at_ms).map_err(|short| {
            let (pot, missing) = short.first();
            ReserveError::Short {
                account: pot.account,
                window: pot.window,
                missing,
                currency: payer.currency,
            }
        })
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
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

    /// Takes the amount of the draft, never more than is held. What comes back is ready when that is durable; dropping
    /// it changes nothing.
    pub(crate) fn capture(mut self, draft: Draft) -> Captured {
        let Some(hold) = self.hold.take() else {
            return Captured::refused();
        };
        let amount = draft.amount.min(self.held);
        let windows = self.ledger.book().capture(hold, amount);
        self.ledger.queue.push(draft.charge(&self.payer, self.held, windows))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.ledger.book().release(hold);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}
