//! Headroom for work: reserve, commit, release; and asking for more of it.

use super::{Books, CommitRefusal, Effect, HoldId, Holds, Notice, Payee, Phase, Record, Resolved, Then};
use crate::{Nano, channel::clock::is_past};

/// Why nothing was reserved. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveRefusal {
    #[error("amounts of this channel are kept in a ledger; hold there")]
    KeptElsewhere,
    #[error("the channel is {0:?} and serves nothing")]
    NotServing(Phase),
    #[error("the payer closes the channel; nothing new is served on it")]
    Closing,
    #[error("what the chain says of the channel contradicts itself; nothing is served on it until it does not")]
    Doubted,
    #[error("this name was captured or released before")]
    Resolved,
    #[error(
        "{} pieces of work are under way on this channel, and no more are taken",
        Holds::MOST
    )]
    TooMany,
    #[error("a voucher of {voucher} is needed, and of a deposit of as much")]
    Short { voucher: Nano },
}

impl Payee {
    /// Sets aside `amount` in all for a piece of work, or makes what is set aside for it as much. The same again is no
    /// error. Where there is too little, the payer is asked for a greater voucher; [`Effect::Headroom`] says when one
    /// counts.
    pub fn reserve(&mut self, id: HoldId, amount: Nano, now_ms: i64) -> Result<(), ReserveRefusal> {
        if self.policy.books == Books::Told {
            return Err(ReserveRefusal::KeptElsewhere);
        }
        let before = self.holds.held(id);
        if before.is_some_and(|before| amount <= before) {
            return Ok(());
        }
        if self.phase != Phase::Serving {
            return Err(ReserveRefusal::NotServing(self.phase));
        }
        if self.view.close_at().is_some() {
            return Err(ReserveRefusal::Closing);
        }
        if self.view.is_doubted() {
            return Err(ReserveRefusal::Doubted);
        }
        if self.holds.outcome(id).is_some() {
            return Err(ReserveRefusal::Resolved);
        }
        if before.is_none() && self.holds.is_full() {
            return Err(ReserveRefusal::TooMany);
        }
        let more = amount.saturating_sub(before.unwrap_or_default());
        if more > self.headroom() || self.holds.set(id, amount).is_none() {
            let all = self.earned().saturating_add(self.reserved()).saturating_add(more);
            let voucher = all.saturating_sub(self.policy.credit);
            self.timers.wanted = self.timers.wanted.max(voucher);
            self.ask(now_ms);
            return Err(ReserveRefusal::Short { voucher });
        }
        self.ask(now_ms);
        Ok(())
    }

    /// Captures `amount` of what is held and gives the rest back. [`Effect::Committed`] follows when it is durable.
    pub fn commit(&mut self, id: HoldId, amount: Nano) -> Result<Resolved, CommitRefusal> {
        if self.policy.books == Books::Told {
            return Err(CommitRefusal::KeptElsewhere);
        }
        let resolved = self.holds.capture(&mut self.spent, id, amount)?;
        if resolved == Resolved::Now {
            self.persist(Record::Spent {
                spent: self.spent,
                hold: Some((id, amount)),
            });
        }
        self.after(Then::Do(Effect::Committed(id)));
        Ok(resolved)
    }

    /// Gives back what is held. The same again is no error.
    pub fn release(&mut self, id: HoldId) -> Result<Resolved, CommitRefusal> {
        if self.policy.books == Books::Told {
            return Err(CommitRefusal::KeptElsewhere);
        }
        self.holds.resolve(id, Nano::ZERO)
    }

    pub(super) fn be_told(&mut self, spent: Nano, reserved: Nano, open: Nano) {
        if self.policy.books == Books::Own {
            return;
        }
        // The ledger's sums are our own state, and never shrink.
        assert!(spent >= self.spent, "the ledger tells of less spent than before");
        if spent > self.spent {
            self.spent = spent;
            self.persist(Record::Spent { spent, hold: None });
        }
        self.told = (reserved, open);
    }

    /// What may be on top of `spent` when all that is under way has ended.
    pub(super) const fn open(&self) -> Nano {
        match self.policy.books {
            Books::Own => self.holds.sum(),
            Books::Told => self.told.1,
        }
    }

    /// What we have earned by our books or by the payer's, whichever is more.
    pub(super) fn owed(&self) -> Nano {
        match self.policy.books {
            Books::Own => self.earned().max(self.agreed.min(self.view.deposited())),
            Books::Told => self.earned(),
        }
    }

    /// Asks for a greater voucher where there is little headroom, once for each need, again after a while.
    pub(super) fn ask(&mut self, now_ms: i64) {
        if !matches!(self.phase, Phase::Serving | Phase::Draining) {
            return;
        }
        if self.view.open().is_none() || self.view.close_at().is_some() {
            return;
        }
        let low = if self.phase == Phase::Draining {
            // What was served on credit, and what the payer admits, is to be covered before the end.
            self.owed().saturating_add(self.reserved())
        } else {
            let all = self.earned().saturating_add(self.reserved());
            all.saturating_add(self.policy.low_water)
                .saturating_sub(self.policy.credit)
        };
        let need = low.max(self.timers.wanted).min(self.view.deposited());
        if need <= self.voucher_max() {
            self.timers.wanted = Nano::ZERO;
            self.timers.asked = None;
            return;
        }
        let is_new = match self.timers.asked {
            None => true,
            Some((asked, at)) => need > asked || is_past(at, self.policy.resend_ms, now_ms),
        };
        if is_new {
            self.timers.asked = Some((need, now_ms));
            let spent = self.spent;
            self.after(Then::Do(Effect::Send(Notice::Raise { max: need, spent })));
        }
    }
}
