//! How a book and the ledger stay in step though messages get lost.

use std::sync::Arc;

use super::{Book, PotView, slots::Slots};
use crate::{Ask, Grant, Nano, Pot, Renewal, Return, Windows};

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Now,
    /// A later renewal is on its way, or this one was settled: the answer is of no use.
    Stale,
}

/// Why an answer was not taken, and nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleRefusal {
    /// The slices of this epoch were freed under it: begin another one.
    #[error("less of {} is granted than is held and spent", pot.account)]
    BelowUse { pot: Pot },
}

impl Book {
    /// What to send to the ledger, in a new round.
    ///
    /// Of each pot in `gives` up to the amount is taken out of the book at once. Pots of which an earlier round left
    /// doubt are asked about too. Until the answer is settled all these pots are in doubt: what is free in them may be
    /// held as ever, and is less than what the ledger leased, never more.
    pub fn renewal(&mut self, asks: &[Ask], gives: &[Return]) -> Renewal {
        self.round = self.round.saturating_add(1);
        self.is_round_open = true;
        let mut renewal = Renewal {
            round: self.round,
            asks: asks.to_vec(),
            returns: Vec::with_capacity(gives.len()),
        };
        for Return { pot, amount } in gives {
            let amount = self.take_free(pot, *amount);
            if !amount.is_zero() {
                renewal.returns.push(Return {
                    pot: pot.clone(),
                    amount,
                });
            }
        }
        let doubtful = self.pots().filter(|view| view.is_in_doubt);
        let mut unnamed: Vec<Ask> = Vec::new();
        for PotView { pot, .. } in doubtful {
            let is_named =
                asks.iter().any(|ask| ask.pot == *pot) || renewal.returns.iter().any(|returned| returned.pot == *pot);
            if !is_named {
                unnamed.push(Ask {
                    pot: pot.clone(),
                    need: Nano::ZERO,
                });
            }
        }
        renewal.asks.extend(unnamed);
        let returned = renewal.returns.iter().map(|returned| &returned.pot);
        for pot in renewal.asks.iter().map(|ask| &ask.pot).chain(returned) {
            let at = self.slots.find_or_make(pot);
            self.slots.doubt(at);
        }
        renewal
    }

    /// Takes the ledger's answer to the renewal of this round.
    pub fn settle(&mut self, round: u64, grants: &[Grant]) -> Result<Settled, SettleRefusal> {
        if round != self.round || !self.is_round_open {
            return Ok(Settled::Stale);
        }
        let mut shares = Vec::with_capacity(grants.len());
        for grant in grants {
            let at = self.slots.find_or_make(&grant.pot);
            let share = self.slots.share_of(at, grant.granted, grant.more);
            let share = share.ok_or_else(|| SettleRefusal::BelowUse { pot: grant.pot.clone() })?;
            shares.push((at, grant.granted, share));
        }
        for (at, granted, share) in shares {
            self.slots.settle(at, granted, share);
        }
        self.is_round_open = false;
        Ok(Settled::Now)
    }

    /// Begins a new epoch: nothing is granted, and no hold counts any more.
    pub fn restart(&mut self) {
        self.slots = Slots::default();
        self.payers.clear();
        self.holds.void();
        self.is_round_open = false;
    }

    /// Lets go of the pots of days and months that are over, unless someone holds them, and of payers that nobody else
    /// knows any more. What is free in such a pot stays leased until the epoch ends; return it before, where others
    /// could use it.
    pub fn forget_past(&mut self, at_ms: i64) {
        let windows = Windows::at(at_ms);
        self.payers
            .retain(|_, resolved| resolved.windows.day >= windows.day && Arc::strong_count(&resolved.payer) > 1);
        self.slots.forget_before(windows);
    }
}
