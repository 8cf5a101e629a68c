//! What is set aside of a channel for work under way, by the caller's names.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::decimal;
use crate::Nano;

/// The caller's name for a piece of work: a request's id. Never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId(#[serde(with = "decimal::hex")] pub [u8; 16]);

/// Why nothing was captured. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefusal {
    #[error("amounts of this channel are kept in a ledger; capture there")]
    KeptElsewhere,
    /// It may be that of a process that ended.
    #[error("nothing is held under this name")]
    Unknown,
    #[error("it was captured or released before, at another amount: {amount}")]
    Otherwise { amount: Nano },
    #[error("{amount} is more than the {held} that is held")]
    AboveHeld { held: Nano, amount: Nano },
    #[error("the sum would be more than 9223372036.854775807, the most that an amount can be")]
    TooLarge,
}

/// Done now, or done before: the outcome is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    Now,
    Before,
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    open: BTreeMap<HoldId, Nano>,
    sum: Nano,
    /// The last ones that were resolved, so that doing it again is known as such.
    resolved: BTreeMap<HoldId, Nano>,
    order: VecDeque<HoldId>,
}

impl Holds {
    /// Open at a time; more are refused.
    pub(super) const MOST: usize = 65_536;
    /// Resolved ones that are remembered.
    const REMEMBERED: usize = 1024;

    pub(super) const fn sum(&self) -> Nano {
        self.sum
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= Self::MOST
    }

    pub(super) fn held(&self, id: HoldId) -> Option<Nano> {
        self.open.get(&id).copied()
    }

    pub(super) fn outcome(&self, id: HoldId) -> Option<Nano> {
        self.resolved.get(&id).copied()
    }

    /// Sets the hold to `amount`, which the caller has checked for room; `None` where the sum is no amount.
    pub(super) fn set(&mut self, id: HoldId, amount: Nano) -> Option<()> {
        let before = self.held(id).unwrap_or_default();
        self.sum = self.sum.checked_sub(before)?.checked_add(amount)?;
        self.open.insert(id, amount);
        Some(())
    }

    /// Ends the hold and remembers that so much of it was captured.
    pub(super) fn resolve(&mut self, id: HoldId, amount: Nano) -> Result<Resolved, CommitRefusal> {
        match (self.open.get(&id), self.resolved.get(&id)) {
            (Some(held), _) if amount > *held => Err(CommitRefusal::AboveHeld { held: *held, amount }),
            (Some(held), _) => {
                self.sum = self.sum.saturating_sub(*held);
                self.open.remove(&id);
                self.remember(id, amount);
                Ok(Resolved::Now)
            }
            (None, Some(before)) if *before == amount => Ok(Resolved::Before),
            (None, Some(before)) => Err(CommitRefusal::Otherwise { amount: *before }),
            (None, None) => Err(CommitRefusal::Unknown),
        }
    }

    /// Ends the hold and adds what was captured of it to `spent`.
    pub(super) fn capture(&mut self, spent: &mut Nano, id: HoldId, amount: Nano) -> Result<Resolved, CommitRefusal> {
        let sum = spent.checked_add(amount).ok_or(CommitRefusal::TooLarge)?;
        let resolved = self.resolve(id, amount)?;
        if resolved == Resolved::Now {
            *spent = sum;
        }
        Ok(resolved)
    }

    pub(super) fn remember(&mut self, id: HoldId, amount: Nano) {
        if self.resolved.insert(id, amount).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > Self::REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.resolved.remove(&oldest);
        }
    }

    pub(super) fn remembered(&self) -> impl Iterator<Item = (HoldId, Nano)> {
        let found = |id: &HoldId| self.resolved.get(id).map(|amount| (*id, *amount));
        self.order.iter().filter_map(found)
    }
}
