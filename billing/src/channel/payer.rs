//! The payer's side of one channel, as a machine without a disk or a clock.
//!
//! Calls and events go in, effects come out of [`Payer::step`] and [`Payer::effects`]. What must be durable first is
//! held back until the ticket of its record comes back ([`Ticket`]): a voucher is sent, money is paid in, and the end of
//! an answer is seen only after.
//!
//! What it sees to, whatever comes in:
//! - Vouchers only grow, and never exceed what is deposited.
//! - What is signed and not earned, `voucher − spent`, is within the policy's cap and the [`Purse`]'s. An attested payee
//!   gets vouchers ahead of work, a window at a time; another one for earnings that have matured, so that it risks its
//!   work and we risk nothing.
//! - `spent` grows by our own books alone; what the payee says matters after a crash of ours, within what was signed.
//! - What is owed to the payee beside the channel goes into it as soon as there is room, and until then nothing that is
//!   said is final: two books are compared only when both are whole.
//! - A payee that takes more than it earned, and more than books that are honest may differ by, is quarantined: nothing
//!   more is held or signed, the contract is asked to close, the loss is booked. It is at most what was signed and not
//!   earned.
//!
//! It is left to you to compute the address, to draw a fresh salt, to carry out [`Act`]s one at a time, and to call with
//! [`Event::Tick`] a few times a second.

mod act;
mod hold;
mod listen;
mod open;
mod raise;
mod record;

use std::sync::Arc;

use self::act::Acts;
pub use self::{
    act::Act,
    hold::{Coverage, HoldRefusal},
    open::OpenRefusal,
    record::{Record, RestoreRefusal},
};
use super::{
    Channel, Contradiction, Fact, HoldId, Purse, Settlement, Signer, Slack, Take, TakeRefusal, Ticket, Tombstone,
    Voucher, VoucherRefusal, gate::Gate, holds::Holds, notice::Notice, view::View,
};
use crate::Nano;

pub use super::payee::Books;

/// How a payer goes about it. Amounts in nanoton, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayerPolicy {
    pub trust: Trust,
    /// Signed and not earned, at most: what this payee could run away with.
    pub exposure_cap: Nano,
    /// Signed ahead of what is held.
    pub window: Nano,
    /// More is paid in when less than this is neither spent nor held. Zero: never.
    pub top_up_below: Nano,
    pub top_up_by: Nano,
    /// The payee is told what it has earned for each so much; and whenever nothing is under way.
    pub tally_every: Nano,
    /// What the payee has, after we asked it to close, before the contract is asked.
    pub cooperate_ms: i64,
    /// After which what brought no answer is said or done again.
    pub resend_ms: i64,
    /// What the payee may take beyond what it earned, and is not quarantined: it is booked as lost.
    pub tolerance: Slack,
    /// Kept here, or in books that tell ([`Event::Books`]).
    pub books: Books,
}

/// How far a payee is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its key is in claims that a quote vouches for: vouchers go ahead of work.
    Attested,
    /// Anybody: vouchers cover earnings that have matured, and it works on credit until then.
    Credit,
}

/// What came in.
#[derive(Debug)]
pub enum Event {
    /// The payee said this, on a connection that proved whose it is.
    Notice(Notice),
    /// A source of the chain says this.
    Chain(Fact),
    /// The record of this ticket is on disk, and all before it.
    Persisted(Ticket),
    /// [`Books::Told`]: `spent` in all, and `held` for what is under way.
    Books { spent: Nano, held: Nano },
    /// [`Books::Told`]: what [`Effect::Owed`] said is in the books, and they were told since.
    Booked(Nano),
    /// So much of what was spent can no longer be disputed, in all.
    Matured(Nano),
    /// The act did not take effect and never will.
    Failed(Act),
    /// There is a new connection to the payee.
    Connected,
    /// The payee's standing changed.
    Trust(Trust),
    /// A person pays in more.
    TopUp(Nano),
    /// We want the rest back. What has not matured by then is not paid: let it first.
    Close,
    /// Time has passed.
    Tick,
}

/// What to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Write it, then give the ticket back.
    Persist(Record, Ticket),
    /// Tell the payee, if it can be reached; it is said again where that matters.
    Send(Notice),
    /// Do it on the chain.
    Act(Act),
    /// So much is signed and on its way, in all: work that waits for it may go.
    Covered(Nano),
    /// The capture is durable: the client may see the end.
    Captured(HoldId),
    /// Work that a crash of ours made us forget is owed: the books must show `more`. With [`Books::Told`] it counts as
    /// under way until [`Event::Booked`]; a crash before that brings it again, as far as the books do not have it.
    Owed { more: Nano },
    /// So much of what was owed beside the channel is in it now: take it off what is owed, in the same entry as the
    /// record before.
    Folded { amount: Nano },
    /// Look at it.
    Alert(Alert),
    /// The channel is over. Keep the tombstone for ever, and refuse to pay in to this address.
    Buried(Tombstone),
}

/// What a person should look at. Nothing here stops the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alert {
    #[error("the payee refused the channel: {code}")]
    Refused { code: String },
    #[error("the payee sent a take that is none")]
    BadTake(#[source] TakeRefusal),
    #[error("the payee shows a voucher that is none")]
    BadVoucher(#[source] VoucherRefusal),
    /// Our disk forgot it; it counts.
    #[error("the payee shows a voucher of ours over {shown}, and our records end at {known}")]
    LostVoucher { shown: Nano, known: Nano },
    #[error("the chain contradicts itself; nothing is signed on this channel until it does not")]
    Contradiction(#[source] Contradiction),
    #[error("the payee took {taken} and has earned {earned}: it is quarantined, and {loss} is lost so far")]
    Overtaken { taken: Nano, earned: Nano, loss: Nano },
    #[error("the payee took {taken} and has earned {earned}: that is let go, with {loss} that is lost so far")]
    Tolerated { taken: Nano, earned: Nano, loss: Nano },
    /// The contract does not allow that: somebody has our key, or the chain's source lies.
    #[error("{claimed} was claimed, and we signed {signed}; replace the payer's key")]
    BeyondVoucher { claimed: Nano, signed: Nano },
    #[error("the payee says that it has earned {says}, our books have {spent}; ours rule the next voucher")]
    Disputed { says: Nano, spent: Nano },
    #[error("{deposited} is deposited, less than what was signed, {signed}")]
    Underfunded { deposited: Nano, signed: Nano },
    #[error("more is not paid in: {0}")]
    NotFunded(#[source] super::FundRefusal),
    #[error("the channel cannot be topped up any more; open another")]
    LateTopUp,
}

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Paid for, and not seen on the chain yet.
    Opening,
    /// Offered to the payee.
    Offered,
    /// It crashed, or was restored: first both sides say where they stand.
    Waking,
    Open,
    /// We want the rest back: nothing new is held.
    Leaving,
    /// The payee took more than it earned.
    Quarantined,
    /// The payee has signed its last take.
    Signed,
    /// The chain says that it is over.
    Gone,
}

/// One channel, from the payer's side.
pub struct Payer {
    channel: Channel,
    signer: Arc<Signer>,
    policy: PayerPolicy,
    phase: Phase,
    view: View,
    /// What was paid in to open it, until the chain shows it.
    opening: Nano,
    voucher: Option<Voucher>,
    /// The greatest that is on disk and was sent.
    sent: Nano,
    take: Option<Take>,
    spent: Nano,
    matured: Nano,
    /// What may have been delivered on top of `spent` before we crashed; until the payee has said.
    doubt: Nano,
    holds: Holds,
    beside: Beside,
    /// [`Books::Told`].
    told: Nano,
    /// What it took beyond what it earned, and is in `spent`.
    tolerated: Nano,
    /// The greatest loss that was booked.
    loss: Nano,
    acts: Acts,
    timers: Timers,
    gate: Gate<Effect>,
    out: Vec<Effect>,
}

/// What the channel knows nothing of. In nanoton.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    owed: Nano,
    under_way: Nano,
}

#[derive(Debug, Default)]
struct Timers {
    /// What the payee was last told that it has earned.
    tallied: Nano,
    /// The open question, and when it is asked again.
    question: Option<(u64, i64)>,
    questions: u64,
    offered_ms: Option<i64>,
    asked_to_close_ms: Option<i64>,
    leaving_ms: Option<i64>,
    /// The payee asked for more.
    is_poked: bool,
    /// Why the last top-up was not made; told once.
    refused: Option<super::FundRefusal>,
}

impl Payer {
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What the payee has earned by our books, in nanoton over the life of the channel.
    pub const fn spent(&self) -> Nano {
        self.spent
    }

    /// What is held for work under way, in nanoton.
    pub const fn held(&self) -> Nano {
        match self.policy.books {
            Books::Own => self.holds.sum(),
            Books::Told => self.told,
        }
    }

    /// The most that was signed, in nanoton over the life of the channel.
    pub fn voucher_max(&self) -> Nano {
        self.voucher.map_or(Nano::ZERO, |voucher| voucher.max())
    }

    /// Signed and not earned: what the payee could run away with.
    pub fn exposure(&self) -> Nano {
        self.voucher_max().saturating_sub(self.spent)
    }

    /// All that was paid in, as far as it was seen.
    pub fn deposited(&self) -> Nano {
        self.view.deposited()
    }

    /// All that was paid out, as far as it was seen.
    pub fn claimed(&self) -> Nano {
        self.view.claimed()
    }

    /// The payee's greatest take, with the voucher of ours that covers it.
    pub fn settlement(&self) -> Option<Settlement> {
        Settlement::new(self.take?, self.voucher).ok()
    }

    /// What the payee took and had not earned.
    pub const fn loss(&self) -> Nano {
        self.loss
    }

    /// Money that was to be paid in and is not seen yet. After a restore, ask your wallet: what it knows nothing of was
    /// never sent, and is [`Event::Failed`].
    pub fn pending_payment(&self) -> Option<Act> {
        if let Some((amount, to)) = self.acts.top_up() {
            return Some(Act::TopUp { amount, to });
        }
        let amount = self.opening;
        let is_opening = self.phase == Phase::Opening && self.view.open().is_none();
        is_opening.then_some(Act::Open { amount })
    }

    /// One event in; what to do about it out.
    pub fn step(&mut self, purse: &mut Purse, event: Event, now_ms: i64) -> Vec<Effect> {
        match event {
            Event::Notice(notice) => self.hear(notice, now_ms),
            Event::Chain(fact) => self.see(fact),
            Event::Persisted(ticket) => {
                for effect in self.gate.open(&ticket) {
                    self.emit(effect);
                }
            }
            Event::Books { spent, held } => self.be_told(spent, held),
            Event::Booked(owed) => self.booked(owed),
            Event::Matured(matured) => self.mature(matured),
            Event::Failed(act) => self.acts.failed(act),
            Event::Connected => {
                self.timers.question = None;
                self.timers.offered_ms = None;
                self.timers.asked_to_close_ms = None;
                self.question_if(now_ms, !matches!(self.phase, Phase::Opening | Phase::Offered));
            }
            Event::Trust(trust) => self.policy.trust = trust,
            Event::TopUp(amount) => self.top_up(purse, amount),
            Event::Close => self.leave(now_ms),
            Event::Tick => {}
        }
        self.go_on(purse, now_ms);
        self.effects()
    }

    /// What calls between events have caused.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// What is due by itself.
    fn go_on(&mut self, purse: &mut Purse, now_ms: i64) {
        if self.phase == Phase::Gone {
            return;
        }
        self.timers.follow(now_ms, self.policy.resend_ms);
        self.acts.follow(now_ms);
        self.bury_if_over(purse);
        if self.phase == Phase::Gone {
            return;
        }
        self.watch_takes();
        self.speak(now_ms);
        self.raise(purse);
        self.tally();
        self.act(purse, now_ms);
        self.account(purse);
        self.check();
    }

    fn persist(&mut self, record: Record) {
        let ticket = self.gate.ticket();
        self.out.push(Effect::Persist(record, ticket));
    }

    /// Once all records so far are durable.
    fn after(&mut self, effect: Effect) {
        if let Some(effect) = self.gate.after(effect) {
            self.emit(effect);
        }
    }

    fn emit(&mut self, effect: Effect) {
        if let Effect::Covered(max) = effect {
            self.sent = self.sent.max(max);
        }
        self.out.push(effect);
    }

    fn alert(&mut self, alert: Alert) {
        self.out.push(Effect::Alert(alert));
    }

    fn account(&self, purse: &mut Purse) {
        if self.phase == Phase::Gone {
            return;
        }
        let paid = self.view.deposited().max(self.opening).max(self.acts.paying_in());
        let capital = paid.saturating_sub(self.view.claimed());
        purse.set(&self.channel.id, &self.channel.terms.payee, self.exposure(), capital);
    }

    /// The invariants of our own state. A broken one stops the process: a wrong signature is worse than an outage.
    fn check(&self) {
        assert!(self.sent <= self.voucher_max(), "sent a voucher that was not signed");
        assert!(self.matured <= self.spent, "more has matured than was spent");
    }
}

impl Timers {
    /// A clock that was set back makes nothing wait for years.
    fn follow(&mut self, now_ms: i64, resend_ms: i64) {
        let times = [&mut self.offered_ms, &mut self.asked_to_close_ms, &mut self.leaving_ms];
        for at in times.into_iter().flatten() {
            *at = (*at).min(now_ms);
        }
        if let Some((_, due_ms)) = &mut self.question {
            *due_ms = (*due_ms).min(now_ms.saturating_add(resend_ms));
        }
    }
}
