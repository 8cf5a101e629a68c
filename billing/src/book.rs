//! The working memory of a node: what it was granted of each pot, what of that is held and what was spent.
//!
//! To hold is to take from all pots of a payer or from none; nothing here ever waits. A hold is resolved once, by a
//! capture of at most what it holds, or by a release. Memory does not survive a crash, and need not: what was granted
//! and not captured is free again when the node joins anew.
//!
//! What is free in a book never exceeds what the ledger leased: room that is returned leaves the book before the ledger
//! hears of it, and room that is granted enters it after. Only [`Book::renewal`] and [`Book::settle`] speak with the
//! ledger; [`Book::restart`] begins a new epoch.
//!
//! It is left to you to ask for more where a reserve was short, to stop reserving when the lease ends, and to post what
//! was captured.

mod holds;
mod renewal;
mod slots;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub use self::{
    holds::HoldId,
    renewal::{SettleRefusal, Settled},
    slots::PotView,
};
use self::{
    holds::{Absent, Hold, Holds},
    slots::Slots,
};
use crate::{Bounds, Nano, Payer, Pot, Windows, window::day_of};

/// What a node may hold and what it holds.
#[derive(Debug, Default)]
pub struct Book {
    slots: Slots,
    holds: Holds,
    /// By the address of the payer, which is not given to another while its entry here is one of its owners.
    payers: HashMap<usize, Resolved>,
    /// Of the last reserve.
    today: Windows,
    /// Of the last renewal.
    round: u64,
    is_round_open: bool,
}

/// Where the pots of a payer are, on one day.
#[derive(Debug, Clone)]
struct Resolved {
    payer: Arc<Payer>,
    windows: Windows,
    pots: Arc<[usize]>,
    bounds: Bounds,
}

/// There is not enough in some pots; nothing was held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is not enough room in {} of the payer's pots", pots.len())]
pub struct Short {
    /// Every one that is short, in the order of the payer's bounds.
    pub pots: Vec<Shortage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub pot: Pot,
    /// What is needed on top of what is free.
    pub missing: Nano,
}

/// What became of a hold that was captured: what the charge must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    pub held: Nano,
    /// What of it was not needed.
    pub released: Nano,
    /// The windows of the moment at which it was held.
    pub day: u32,
    pub month: u32,
    /// The pots that it was held in.
    pub bounds: Bounds,
}

/// Why nothing was captured. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureRefusal {
    #[error("there never was such a hold")]
    Unknown,
    /// It was held in an earlier epoch, whose slices are gone.
    #[error("the hold ended with the epoch that it was held in")]
    Void,
    #[error("the hold was captured or released before")]
    Already,
    /// The hold stays.
    #[error("only {held} is held")]
    AboveHeld { held: Nano },
}

/// Why nothing was released. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseRefusal {
    #[error("there never was such a hold")]
    Unknown,
    #[error("the hold ended with the epoch that it was held in")]
    Void,
    #[error("the hold was captured or released before")]
    Already,
}

/// Why nothing was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefusal {
    #[error("the sum would be more than 9223372036.854775807, the most that an amount can be")]
    TooLarge,
}

impl Book {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the amount from all pots that bound the payer at this moment, or from none.
    pub fn reserve(&mut self, payer: &Arc<Payer>, amount: Nano, at_ms: i64) -> Result<HoldId, Short> {
        let Resolved {
            windows, pots, bounds, ..
        } = self.resolve(payer, at_ms);
        let (windows, bounds, pots) = (*windows, *bounds, pots.clone());
        let mut is_enough = true;
        for &at in &*pots {
            is_enough &= self.slots.want(at, amount, at_ms);
        }
        if !is_enough {
            return Err(self.short(&pots, amount));
        }
        for &at in &*pots {
            self.slots.hold(at, amount);
        }
        Ok(self.holds.insert(Hold {
            amount,
            pots,
            windows,
            bounds,
        }))
    }

    /// Spends the amount and gives the rest of the hold back to its pots.
    pub fn capture(&mut self, id: HoldId, amount: Nano) -> Result<Captured, CaptureRefusal> {
        let held = self.holds.get(id)?.amount;
        let released = held.checked_sub(amount).ok_or(CaptureRefusal::AboveHeld { held })?;
        let hold = self.holds.remove(id)?;
        for &at in &*hold.pots {
            self.slots.capture(at, held, amount);
        }
        Ok(Captured {
            held,
            released,
            day: hold.windows.day,
            month: hold.windows.month,
            bounds: hold.bounds,
        })
    }

    /// Gives all of the hold back to its pots, and says how much it was.
    pub fn release(&mut self, id: HoldId) -> Result<Nano, ReleaseRefusal> {
        let hold = self.holds.remove(id)?;
        for &at in &*hold.pots {
            self.slots.capture(at, hold.amount, Nano::ZERO);
        }
        Ok(hold.amount)
    }

    /// The most that could be held now.
    pub fn affordable(&mut self, payer: &Arc<Payer>, at_ms: i64) -> Nano {
        let pots = self.resolve(payer, at_ms).pots.clone();
        let free = pots.iter().map(|&at| self.slots.view(at).free);
        free.min().unwrap_or(Nano::MOST)
    }

    /// More room, of whose grant there is no doubt.
    pub fn grant(&mut self, pot: &Pot, amount: Nano) -> Result<(), GrantRefusal> {
        let at = self.slots.find_or_make(pot);
        if self.slots.grant(at, amount) {
            Ok(())
        } else {
            Err(GrantRefusal::TooLarge)
        }
    }

    /// Takes up to `most` of what is free out of the book, and says how much that was. It may then be returned.
    pub fn take_free(&mut self, pot: &Pot, most: Nano) -> Nano {
        match self.slots.find(pot) {
            None => Nano::ZERO,
            Some(at) => self.slots.take_free(at, most),
        }
    }

    pub fn free(&self, pot: &Pot) -> Nano {
        self.pot(pot).map_or(Nano::ZERO, |view| view.free)
    }

    /// `None` where nothing was ever granted or asked of it, or it was forgotten.
    pub fn pot(&self, pot: &Pot) -> Option<PotView<'_>> {
        self.slots.find(pot).map(|at| self.slots.view(at))
    }

    pub fn pots(&self) -> impl Iterator<Item = PotView<'_>> {
        self.slots.views()
    }

    /// Holds that are not resolved.
    pub fn open_holds(&self) -> usize {
        self.holds.open()
    }

    /// Found by the address of the payer; made once a day.
    fn resolve(&mut self, payer: &Arc<Payer>, at_ms: i64) -> &Resolved {
        if day_of(at_ms) != self.today.day {
            self.today = Windows::at(at_ms);
        }
        let windows = self.today;
        let slots = &mut self.slots;
        let mut make = || {
            let mut pots = Vec::with_capacity(payer.bounds.len());
            for pot in payer.pots(windows) {
                let at = slots.find_or_make(&pot);
                // A bound that is named twice bounds once.
                if !pots.contains(&at) {
                    pots.push(at);
                }
            }
            let bounds = payer.bounds.iter().fold(Bounds::NONE, |bounds, (account, span)| {
                bounds.with(account.level(), *span)
            });
            Resolved {
                payer: payer.clone(),
                windows,
                pots: pots.into(),
                bounds,
            }
        };
        let resolved = self.payers.entry(Arc::as_ptr(payer).addr()).or_insert_with(&mut make);
        if resolved.windows != windows {
            *resolved = make();
        }
        resolved
    }

    fn short(&self, pots: &[usize], amount: Nano) -> Short {
        let views = pots.iter().map(|&at| self.slots.view(at));
        let short = views.filter(|view| view.free < amount).map(|view| Shortage {
            pot: view.pot.clone(),
            missing: amount.saturating_sub(view.free),
        });
        Short { pots: short.collect() }
    }
}

impl From<Absent> for CaptureRefusal {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Unknown => Self::Unknown,
            Absent::Void => Self::Void,
            Absent::Resolved => Self::Already,
        }
    }
}

impl From<Absent> for ReleaseRefusal {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Unknown => Self::Unknown,
            Absent::Void => Self::Void,
            Absent::Resolved => Self::Already,
        }
    }
}
