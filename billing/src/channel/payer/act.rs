//! What is done on the chain, once, and again only where that does no harm.

use super::{Alert, Effect, Payer, Phase, Purse, Record};
use crate::{
    Nano,
    channel::{FundRefusal, Settlement, Tombstone, clock::is_past, view::View},
};

/// Blocks, final ones, and who reads them take their time: what was to be done on the chain is asked for again after so
/// long, should nobody have said that it failed.
const AGAIN_MS: i64 = 60_000;

/// Something to do on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub enum Act {
    /// Deploy the contract with so much. Not asked for again unless [`super::Event::Failed`] says that it failed.
    Open { amount: Nano },
    /// Pay in `amount`, so that `to` is deposited in all. Not asked for again unless it failed.
    TopUp { amount: Nano, to: Nano },
    /// Show the payee's last take to the contract: it closes at once.
    Settle(Settlement),
    /// Start the clock after which the rest is ours.
    RequestClose,
    /// Take the rest: the clock has run out.
    FinishClose,
}

/// What is under way on the chain.
#[derive(Debug, Default)]
pub(super) struct Acts {
    /// That failed and is to be done again.
    again: Option<Act>,
    /// What will be deposited in all, when it is seen.
    top_up: Option<(Nano, Nano)>,
    settle_ms: Option<i64>,
    request_ms: Option<i64>,
    finish_ms: Option<i64>,
}

impl Acts {
    /// What will be deposited when all that is under way has arrived.
    pub(super) fn paying_in(&self) -> Nano {
        self.top_up.map_or(Nano::ZERO, |(_, to)| to)
    }

    pub(super) const fn restore_top_up(&mut self, amount: Nano, to: Nano) {
        self.top_up = Some((amount, to));
    }

    pub(super) const fn forget_top_up(&mut self) {
        self.top_up = None;
    }

    pub(super) const fn top_up(&self) -> Option<(Nano, Nano)> {
        self.top_up
    }

    pub(super) fn failed(&mut self, act: Act) {
        match act {
            Act::Open { .. } | Act::TopUp { .. } => self.again = Some(act),
            Act::Settle(_) => self.settle_ms = None,
            Act::RequestClose => self.request_ms = None,
            Act::FinishClose => self.finish_ms = None,
        }
    }

    pub(super) fn seen(&mut self, view: &View) {
        if self.top_up.is_some_and(|(_, to)| view.deposited() >= to) {
            self.top_up = None;
        }
    }

    /// A clock that was set back makes nothing wait for years.
    pub(super) fn follow(&mut self, now_ms: i64) {
        let times = [&mut self.settle_ms, &mut self.request_ms, &mut self.finish_ms];
        for at in times.into_iter().flatten() {
            *at = (*at).min(now_ms);
        }
    }
}

impl Payer {
    /// What is due on the chain.
    pub(super) fn act(&mut self, purse: &mut Purse, now_ms: i64) {
        self.act_again();
        if self.view.open().is_none() {
            return;
        }
        match self.view.close_at() {
            Some(close_at) => {
                let is_shown = self.show_last(now_ms);
                // The last take gives us the rest as well. Should the contract not go by it, there is this in the end.
                let patience_s = if is_shown { self.policy.cooperate_ms / 1000 } else { 0 };
                let is_late = i64::from(self.view.time_s()) >= i64::from(close_at).saturating_add(patience_s);
                if is_late && due(&mut self.acts.finish_ms, AGAIN_MS, now_ms) {
                    self.after(Effect::Act(Act::FinishClose));
                }
            }
            None => self.act_while_open(purse, now_ms),
        }
    }

    /// What the payee earned is its own, also where the clock runs already. Says whether there is a last take to show.
    fn show_last(&mut self, now_ms: i64) -> bool {
        let Some(settlement) = self.last_settlement() else {
            return false;
        };
        if due(&mut self.acts.settle_ms, AGAIN_MS, now_ms) {
            self.after(Effect::Act(Act::Settle(settlement)));
        }
        true
    }

    fn act_while_open(&mut self, purse: &mut Purse, now_ms: i64) {
        self.show_last(now_ms);
        let is_patient = |since: i64| !is_past(since, self.policy.cooperate_ms, now_ms);
        let is_leaving = matches!(self.phase, Phase::Leaving | Phase::Signed);
        if is_leaving && self.timers.leaving_ms.is_none_or(is_patient) {
            self.timers.leaving_ms.get_or_insert(now_ms);
            return;
        }
        if is_leaving || self.phase == Phase::Quarantined {
            if due(&mut self.acts.request_ms, AGAIN_MS, now_ms) {
                self.after(Effect::Act(Act::RequestClose));
            }
            return;
        }
        let free = self
            .view
            .deposited()
            .saturating_sub(self.spent)
            .saturating_sub(self.held());
        if self.phase == Phase::Open && free < self.policy.top_up_below && self.acts.top_up.is_none() {
            self.top_up(purse, self.policy.top_up_by);
        }
    }

    /// The payee's last take with our voucher, if that covers it and the contract can still go by it.
    fn last_settlement(&self) -> Option<Settlement> {
        let take = self
            .take
            .filter(|take| take.is_last() && take.amount() >= self.view.claimed())?;
        Settlement::new(take, self.voucher).ok()
    }

    pub(super) fn top_up(&mut self, purse: &mut Purse, amount: Nano) {
        let is_late = self.phase != Phase::Open || self.view.close_at().is_some() || self.view.is_doubted();
        if is_late || self.acts.top_up.is_some() {
            return self.alert(Alert::LateTopUp);
        }
        let owner = &self.channel.terms.payee;
        if let Err(refusal) = purse.allows_funding(owner, amount) {
            return self.not_funded(refusal);
        }
        let Some(to) = self.view.deposited().checked_add(amount).filter(|_| !amount.is_zero()) else {
            return;
        };
        self.acts.top_up = Some((amount, to));
        self.persist(Record::TopUp { amount, to });
        self.after(Effect::Act(Act::TopUp { amount, to }));
    }

    fn not_funded(&mut self, refusal: FundRefusal) {
        if self.timers.refused != Some(refusal) {
            self.timers.refused = Some(refusal);
            self.alert(Alert::NotFunded(refusal));
        }
    }

    fn act_again(&mut self) {
        match self.acts.again.take() {
            Some(act @ Act::Open { .. }) if self.view.open().is_none() && self.phase == Phase::Opening => {
                self.after(Effect::Act(act));
            }
            Some(Act::TopUp { .. }) => {
                self.acts.top_up = None;
                self.persist(Record::TopUpFailed);
            }
            _ => {}
        }
    }

    pub(super) fn bury_if_over(&mut self, purse: &mut Purse) {
        if !self.view.is_gone() {
            return;
        }
        self.watch_takes();
        let beyond = self.view.claimed().saturating_sub(self.spent);
        self.take_in(beyond.min(self.beside.owed));
        let beyond = self.view.claimed().saturating_sub(self.spent);
        self.book(self.tolerated.saturating_add(beyond));
        self.phase = Phase::Gone;
        let tombstone = self.tombstone();
        self.persist(Record::Buried(tombstone));
        self.after(Effect::Buried(tombstone));
        purse.remove(&self.channel.id);
    }

    pub(super) fn tombstone(&self) -> Tombstone {
        Tombstone {
            account: self.channel.id.account,
            deposited: self.view.deposited(),
            claimed: self.view.claimed(),
            spent: self.spent,
        }
    }
}

/// Now, where it was never done or long ago; and then it was done now.
fn due(at: &mut Option<i64>, resend_ms: i64, now_ms: i64) -> bool {
    let is_due = at.is_none_or(|at| is_past(at, resend_ms, now_ms));
    if is_due {
        *at = Some(now_ms);
    }
    is_due
}
