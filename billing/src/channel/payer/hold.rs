//! Holding for work that is about to be sent to the payee, and what becomes of it.

use super::{Beside, Books, Effect, HoldId, Payer, Phase, Record, Trust};
use crate::{
    Nano,
    channel::{CommitRefusal, Purse, Resolved, holds::Holds},
};

/// Whether the payee has, or is about to be sent, a voucher for what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The work may go.
    Sent,
    /// The work may go when [`Effect::Covered`] says at least so much.
    When(Nano),
}

/// Why nothing was held, and no work may go to this payee. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefusal {
    #[error("amounts of this channel are kept in other books; hold there")]
    KeptElsewhere,
    #[error("the channel is {0:?}, and no work goes to its payee")]
    NotOpen(Phase),
    #[error("the contract closes, and no work goes to its payee")]
    Closing,
    #[error("what the chain says of the channel contradicts itself; no work goes to its payee until it does not")]
    Doubted,
    #[error("this name was captured or released before")]
    Resolved,
    #[error(
        "{} pieces of work are under way on this channel, and no more are taken",
        Holds::MOST
    )]
    TooMany,
    #[error("{missing} more must be paid in to the channel for this")]
    Deposit { missing: Nano },
    /// Signing as much would put more at risk than this payee, or all, may hold.
    #[error("{missing} more than may be at risk is needed; wait until work under way has ended")]
    Exposure { missing: Nano },
}

impl Payer {
    /// Sets aside `amount` in all for a piece of work, or makes what is set aside for it as much.
    pub fn hold(&mut self, purse: &mut Purse, id: HoldId, amount: Nano) -> Result<Coverage, HoldRefusal> {
        if self.policy.books == Books::Told {
            return Err(HoldRefusal::KeptElsewhere);
        }
        self.is_open()?;
        if self.holds.outcome(id).is_some() {
            return Err(HoldRefusal::Resolved);
        }
        let before = self.holds.held(id);
        if before.is_none() && self.holds.is_full() {
            return Err(HoldRefusal::TooMany);
        }
        let amount = amount.max(before.unwrap_or_default());
        let others = self.held().saturating_sub(before.unwrap_or_default());
        let coverage = self.covered(purse, others.saturating_add(amount))?;
        if self.holds.set(id, amount).is_none() {
            return Err(HoldRefusal::TooMany);
        }
        self.raise(purse);
        self.account(purse);
        Ok(match coverage {
            Coverage::When(need) if self.sent >= need => Coverage::Sent,
            coverage => coverage,
        })
    }

    /// Whether `amount` more may be held, and whether work of as much may go at once. For books that are kept elsewhere
    /// ([`Books::Told`]): ask, hold there, and tell [`super::Event::Books`].
    pub fn coverage(&self, purse: &Purse, amount: Nano) -> Result<Coverage, HoldRefusal> {
        self.is_open()?;
        self.covered(purse, self.held().saturating_add(amount))
    }

    fn is_open(&self) -> Result<(), HoldRefusal> {
        if self.phase != Phase::Open {
            return Err(HoldRefusal::NotOpen(self.phase));
        }
        if self.view.close_at().is_some() {
            return Err(HoldRefusal::Closing);
        }
        if self.view.is_doubted() {
            return Err(HoldRefusal::Doubted);
        }
        Ok(())
    }

    /// If so much is held in all.
    fn covered(&self, purse: &Purse, held: Nano) -> Result<Coverage, HoldRefusal> {
        let under_way = self.doubt.saturating_add(held);
        let need = self.spent.saturating_add(under_way);
        if need > self.view.deposited() {
            let missing = need.saturating_sub(self.view.deposited());
            return Err(HoldRefusal::Deposit { missing });
        }
        let at_risk = self.at_risk_most(purse);
        if self.policy.trust == Trust::Attested && under_way > at_risk {
            let missing = under_way.saturating_sub(at_risk);
            return Err(HoldRefusal::Exposure { missing });
        }
        Ok(match self.policy.trust {
            Trust::Attested if self.sent < need => Coverage::When(need),
            Trust::Attested | Trust::Credit => Coverage::Sent,
        })
    }

    /// Captures `amount` of what is held and gives the rest back. [`Effect::Captured`] follows when it is durable.
    pub fn capture(&mut self, purse: &mut Purse, id: HoldId, amount: Nano) -> Result<Resolved, CommitRefusal> {
        if self.policy.books == Books::Told {
            return Err(CommitRefusal::KeptElsewhere);
        }
        let resolved = self.holds.capture(&mut self.spent, id, amount)?;
        if resolved == Resolved::Now {
            self.persist(Record::Spent {
                spent: self.spent,
                hold: Some((id, amount)),
            });
            self.watch_takes();
        }
        self.after(Effect::Captured(id));
        self.tally();
        self.account(purse);
        Ok(resolved)
    }

    /// So much is owed to the payee beside the channel in all, and the ceilings of the work beside it are `under_way`.
    /// What the deposit has room for goes into the channel, which puts nothing at risk: it is earned.
    pub fn beside(&mut self, purse: &mut Purse, owed: Nano, under_way: Nano) {
        self.beside = Beside { owed, under_way };
        let is_open = matches!(self.phase, Phase::Open | Phase::Leaving) && self.view.open().is_some();
        if owed.is_zero() || !is_open || self.view.close_at().is_some() || self.view.is_doubted() {
            return;
        }
        let taken = self.spent.saturating_add(self.under_way());
        self.take_in(owed.min(self.view.deposited().saturating_sub(taken)));
        self.raise(purse);
        self.tally();
        self.account(purse);
    }

    /// What was owed beside the channel is in it.
    pub(super) fn take_in(&mut self, amount: Nano) {
        if amount.is_zero() {
            return;
        }
        self.spent = self.spent.saturating_add(amount);
        let spent = self.spent;
        self.persist(Record::Spent { spent, hold: None });
        self.folded(amount);
    }

    pub(super) fn folded(&mut self, amount: Nano) {
        if !amount.is_zero() {
            self.beside.owed = self.beside.owed.saturating_sub(amount);
            self.out.push(Effect::Folded { amount });
        }
    }

    /// Makes what is held for a piece of work `amount` where that is more, for work that is done and cost more than was
    /// thought. Nothing is signed for it: what the last voucher does not cover is refused.
    pub fn stretch(&mut self, id: HoldId, amount: Nano) -> Result<(), CommitRefusal> {
        if self.policy.books == Books::Told {
            return Err(CommitRefusal::KeptElsewhere);
        }
        let held = self.holds.held(id).ok_or(CommitRefusal::Unknown)?;
        if amount <= held {
            return Ok(());
        }
        let above = CommitRefusal::AboveHeld { held, amount };
        if amount > self.exposure() {
            return Err(above);
        }
        self.holds.set(id, amount).ok_or(above)
    }

    /// Gives back what is held: the payee has earned nothing of it. The same again is no error.
    pub fn release(&mut self, id: HoldId) -> Result<Resolved, CommitRefusal> {
        if self.policy.books == Books::Told {
            return Err(CommitRefusal::KeptElsewhere);
        }
        let resolved = self.holds.resolve(id, Nano::ZERO)?;
        self.watch_takes();
        self.tally();
        Ok(resolved)
    }

    pub(super) fn be_told(&mut self, spent: Nano, held: Nano) {
        if self.policy.books == Books::Own {
            return;
        }
        // The books' sums are our own state, and never shrink.
        assert!(spent >= self.spent, "the books tell of less spent than before");
        if spent > self.spent {
            self.spent = spent;
            self.persist(Record::Spent { spent, hold: None });
        }
        self.told = held;
    }

    /// What has matured was spent: more is a mistake of the books, and counts as far as that.
    pub(super) fn mature(&mut self, matured: Nano) {
        self.matured = self.matured.max(matured.min(self.spent));
    }
}
