//! The pots of a book, in places that holds remember.

use std::collections::HashMap;

use crate::{Nano, Pot, Window, Windows};

/// A pot as a book sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PotView<'a> {
    pub pot: &'a Pot,
    /// In this epoch, less what was returned.
    pub granted: Nano,
    pub spent: Nano,
    pub held: Nano,
    pub free: Nano,
    /// When it was last asked for, by the clock that reserves are given.
    pub wanted_at_ms: i64,
    /// How much was last asked for.
    pub wanted: Nano,
    /// What a renewal did to it is not known.
    pub is_in_doubt: bool,
}

#[derive(Debug)]
struct Slot {
    pot: Pot,
    granted: Nano,
    spent: Nano,
    held: Nano,
    /// How many hold it. While there is one it stays in its place.
    holds: u32,
    wanted_at_ms: i64,
    wanted: Nano,
    is_in_doubt: bool,
    /// What the ledger granted before this slot was made; `None` where that is not known.
    base: Option<Nano>,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    places: Vec<Option<Slot>>,
    index: HashMap<Pot, usize>,
    vacant: Vec<usize>,
    /// Pots of windows before these may have been here before.
    forgotten: Windows,
}

impl Slot {
    fn new(pot: Pot, base: Option<Nano>) -> Self {
        Self {
            pot,
            granted: Nano::ZERO,
            spent: Nano::ZERO,
            held: Nano::ZERO,
            holds: 0,
            wanted_at_ms: i64::MIN,
            wanted: Nano::ZERO,
            is_in_doubt: false,
            base,
        }
    }

    fn free(&self) -> Nano {
        self.granted.saturating_sub(self.spent).saturating_sub(self.held)
    }

    fn view(&self) -> PotView<'_> {
        PotView {
            pot: &self.pot,
            granted: self.granted,
            spent: self.spent,
            held: self.held,
            free: self.free(),
            wanted_at_ms: self.wanted_at_ms,
            wanted: self.wanted,
            is_in_doubt: self.is_in_doubt,
        }
    }
}

impl Slots {
    pub(super) fn find(&self, pot: &Pot) -> Option<usize> {
        self.index.get(pot).copied()
    }

    pub(super) fn find_or_make(&mut self, pot: &Pot) -> usize {
        if let Some(at) = self.find(pot) {
            return at;
        }
        let base = (!is_before(pot.window, self.forgotten)).then_some(Nano::ZERO);
        let slot = Some(Slot::new(pot.clone(), base));
        let at = match self.vacant.pop() {
            Some(at) => {
                self.places[at] = slot;
                at
            }
            None => {
                self.places.push(slot);
                self.places.len().saturating_sub(1)
            }
        };
        self.index.insert(pot.clone(), at);
        at
    }

    /// Notes that so much is wanted, and says whether it is there.
    pub(super) fn want(&mut self, at: usize, amount: Nano, at_ms: i64) -> bool {
        let slot = self.slot_mut(at);
        slot.wanted = amount;
        slot.wanted_at_ms = at_ms;
        slot.free() >= amount
    }

    /// The amount is free.
    pub(super) fn hold(&mut self, at: usize, amount: Nano) {
        let slot = self.slot_mut(at);
        slot.held = slot.held.saturating_add(amount);
        slot.holds = slot.holds.saturating_add(1);
    }

    /// Of what is held, spends a part and frees the rest.
    pub(super) fn capture(&mut self, at: usize, held: Nano, spent: Nano) {
        let slot = self.slot_mut(at);
        slot.held = slot.held.saturating_sub(held);
        slot.holds = slot.holds.saturating_sub(1);
        slot.spent = slot.spent.saturating_add(spent);
    }

    /// `false` where a sum would leave the bound of an amount.
    #[must_use]
    pub(super) fn grant(&mut self, at: usize, amount: Nano) -> bool {
        let slot = self.slot_mut(at);
        match slot.granted.checked_add(amount) {
            None => false,
            Some(granted) => {
                slot.granted = granted;
                true
            }
        }
    }

    pub(super) fn take_free(&mut self, at: usize, most: Nano) -> Nano {
        let slot = self.slot_mut(at);
        let taken = slot.free().min(most);
        slot.granted = slot.granted.saturating_sub(taken);
        taken
    }

    pub(super) fn doubt(&mut self, at: usize) {
        self.slot_mut(at).is_in_doubt = true;
    }

    /// What was granted to this slot where the ledger's total is `granted`, `more` of it just now. `None` where that is
    /// less than what is used.
    pub(super) fn share_of(&self, at: usize, granted: Nano, more: Nano) -> Option<Nano> {
        let slot = self.slot(at);
        let share = match slot.base {
            Some(base) => granted.checked_sub(base)?,
            None => slot.granted.checked_add(more)?,
        };
        (share >= slot.spent.saturating_add(slot.held)).then_some(share)
    }

    /// The share is one that [`Self::share_of`] gave.
    pub(super) fn settle(&mut self, at: usize, granted: Nano, share: Nano) {
        let slot = self.slot_mut(at);
        slot.base = Some(granted.saturating_sub(share));
        slot.granted = share;
        slot.is_in_doubt = false;
    }

    /// Forgets pots of windows before these that nobody holds and of which nothing is in doubt.
    pub(super) fn forget_before(&mut self, windows: Windows) {
        self.forgotten = Windows {
            day: self.forgotten.day.max(windows.day),
            month: self.forgotten.month.max(windows.month),
        };
        for (at, place) in self.places.iter_mut().enumerate() {
            let past =
                place.take_if(|slot| slot.holds == 0 && !slot.is_in_doubt && is_before(slot.pot.window, windows));
            if let Some(slot) = past {
                self.index.remove(&slot.pot);
                self.vacant.push(at);
            }
        }
    }

    pub(super) fn view(&self, at: usize) -> PotView<'_> {
        self.slot(at).view()
    }

    /// In the order of their places, which is the same in each run.
    pub(super) fn views(&self) -> impl Iterator<Item = PotView<'_>> {
        self.places.iter().flatten().map(Slot::view)
    }

    fn slot(&self, at: usize) -> &Slot {
        self.places[at]
            .as_ref()
            .expect("a place that is known is taken: it is left only when nobody knows it")
    }

    fn slot_mut(&mut self, at: usize) -> &mut Slot {
        self.places[at]
            .as_mut()
            .expect("a place that is known is taken: it is left only when nobody knows it")
    }
}

fn is_before(window: Window, windows: Windows) -> bool {
    match window {
        Window::Total => false,
        Window::Day(day) => day < windows.day,
        Window::Month(month) => month < windows.month,
    }
}
