//! Signing takes and showing them to the contract.

use super::{Alert, Effect, Notice, Payee, Phase, Record, Take, Then, Tombstone};
use crate::{Nano, channel::clock::is_past};

impl Payee {
    /// Signs what may be taken where enough has come together, and shows it to the contract where that is due.
    pub(super) fn cash(&mut self, now_ms: i64) {
        if matches!(self.phase, Phase::Signed | Phase::Gone) {
            return self.show(now_ms);
        }
        let takeable = self.takeable(now_ms).max(self.take());
        let unclaimed = takeable.saturating_sub(self.view.claimed());
        if unclaimed <= self.policy.dust {
            self.timers.settled_ms = now_ms;
        }
        let is_due =
            self.view.open().is_some() && unclaimed > self.policy.dust && self.is_due(takeable, unclaimed, now_ms);
        let unsigned = takeable.saturating_sub(self.take());
        if !unsigned.is_zero() && (is_due || unsigned >= self.policy.sign_every) {
            self.sign(takeable);
        }
        if is_due {
            self.show(now_ms);
        }
    }

    /// What may be taken now: what both sides agree on; what we say, where there is nobody to agree with.
    fn takeable(&self, now_ms: i64) -> Nano {
        let earned = self.earned();
        let agreed = if self.is_alone(now_ms) {
            earned
        } else {
            earned.min(self.agreed)
        };
        agreed.min(self.usable())
    }

    /// There is nobody to agree with.
    fn is_alone(&self, now_ms: i64) -> bool {
        self.view.close_at().is_some()
            || self.is_disputed
            || is_past(self.timers.heard_ms, self.policy.patience_ms, now_ms)
    }

    fn is_due(&self, takeable: Nano, unclaimed: Nano, now_ms: i64) -> bool {
        self.view.close_at().is_some()
            || self.is_disputed
            || unclaimed >= self.policy.settle_above
            || takeable >= self.view.deposited()
            || is_past(self.timers.settled_ms, self.policy.settle_every_ms, now_ms)
    }

    fn sign(&mut self, amount: Nano) {
        assert!(
            amount <= self.spent && amount <= self.voucher_max(),
            "a take above what was earned"
        );
        let take = Take::sign(&self.signer, &self.channel.keys, &self.channel.id, amount);
        self.signed(take.expect("only a channel of this key is accepted or restored"));
    }

    fn signed(&mut self, take: Take) {
        self.take = Some(take);
        self.persist(Record::Take(take.claim()));
        if let Some(settlement) = self.settlement() {
            self.after(Then::Do(Effect::Watch(settlement.claim())));
        }
        self.after(Then::Do(Effect::Send(Notice::Take { take: take.claim() })));
    }

    /// Shows the take, and again after a while, until the chain shows that it took effect.
    fn show(&mut self, now_ms: i64) {
        let Some(settlement) = self.settlement() else { return };
        let (amount, is_last) = (settlement.take().amount(), settlement.take().is_last());
        let is_done = if is_last {
            self.view.is_gone()
        } else {
            self.view.claimed() >= amount.min(self.view.deposited())
        };
        if is_done {
            self.timers.shown = None;
            return;
        }
        let is_shown = matches!(self.timers.shown, Some((shown, at))
            if shown >= amount && !is_past(at, self.policy.resend_ms, now_ms));
        if !is_shown {
            self.timers.shown = Some((amount, now_ms));
            self.after(Then::Do(Effect::Settle(settlement)));
        }
    }

    pub(super) fn drain(&mut self) {
        if matches!(self.phase, Phase::Serving | Phase::Waking | Phase::Stopped) {
            self.phase = Phase::Draining;
        }
    }

    /// Nothing is under way any more, and the payer agrees or is not there: the last take, after which nothing is signed
    /// or served on this channel.
    pub(super) fn close_if_drained(&mut self, now_ms: i64) {
        if self.phase != Phase::Draining || !self.open().is_zero() || self.view.open().is_none() {
            return;
        }
        // Not agreed, or agreed and not covered yet; or the payer knows of more.
        let is_agreed = self.earned() <= self.agreed && self.owed() <= self.usable() && !self.may_have_forgotten;
        if !is_agreed && !self.is_alone(now_ms) {
            return;
        }
        let amount = self.earned().min(self.usable()).max(self.take());
        let take = Take::sign_last(&self.signer, &self.channel.keys, &self.channel.id, amount);
        self.phase = Phase::Signed;
        self.timers.shown = None;
        self.signed(take.expect("only a channel of this key is accepted or restored"));
    }

    pub(super) fn bury_if_over(&mut self) {
        if !self.view.is_gone() || self.phase == Phase::Gone {
            return;
        }
        self.phase = Phase::Gone;
        let tombstone = self.tombstone();
        self.persist(Record::Buried(tombstone));
        let lost = self.earned().saturating_sub(self.view.claimed());
        if !lost.is_zero() {
            self.alert(Alert::Unpaid { lost });
        }
        self.after(Then::Do(Effect::Buried(tombstone)));
    }

    pub(super) fn tombstone(&self) -> Tombstone {
        Tombstone {
            account: self.channel.id.account,
            deposited: self.view.deposited(),
            claimed: self.view.claimed(),
            spent: self.earned(),
        }
    }
}
