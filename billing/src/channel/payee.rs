//! The payee's side of one channel, as a machine without a disk or a clock.
//!
//! Calls and events go in, effects come out of [`Payee::step`] and [`Payee::effects`]. What must be durable first is
//! held back until the ticket of its record comes back ([`Ticket`]): a voucher counts, a take is shown and the end of an
//! answer is seen only after.
//!
//! What it sees to, whatever comes in:
//! - It serves while `spent + reserved ≤ min(voucher, deposited) + credit`, and never while the payer closes.
//! - It signs takes that only grow, `take ≤ spent`, `take ≤ voucher`; the last one once, and serves nothing after.
//! - While the payer speaks with it, it takes what both agree on. Where the payer closes, is silent or will not agree,
//!   it takes all that it has earned, as far as vouchers go.
//!
//! Lies and contradictions are [`Alert`]s; only its own state is asserted.
//!
//! It is left to you to check what a channel is on the chain (code, address, no earlier life), to keep records in order,
//! and to call with [`Event::Tick`] a few times a second.

mod accept;
mod cash;
mod listen;
mod record;
mod serve;

use std::sync::Arc;

pub use self::{
    accept::{AcceptRefusal, Demands},
    record::{Record, RestoreRefusal},
    serve::ReserveRefusal,
};
use super::{
    Blob, Channel, CommitRefusal, Contradiction, Fact, HoldId, Resolved, Settlement, Signer, Slack, Take, Ticket,
    Tombstone, Voucher, VoucherRefusal,
    gate::Gate,
    holds::Holds,
    notice::{Notice, Standing},
    view::{News, View},
};
use crate::Nano;

/// How a payee goes about it. Amounts in nanoton, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayeePolicy {
    /// Served beyond what vouchers cover. Zero: only ahead of work.
    pub credit: Nano,
    /// A greater voucher is asked for when there is less headroom than this.
    pub low_water: Nano,
    /// A take is signed, and shown to watchtower and payer, for each so much.
    pub sign_every: Nano,
    /// Settled when so much is not claimed yet.
    pub settle_above: Nano,
    /// Settled when anything was not claimed for so long. A day.
    pub settle_every_ms: i64,
    /// Not worth a transaction.
    pub dust: Nano,
    /// What of disputes is let go.
    pub waive: Slack,
    /// Of silence, after which it takes what it has earned without agreement.
    pub patience_ms: i64,
    /// After which what brought no answer is said or shown again.
    pub resend_ms: i64,
    /// Kept here, or in a ledger that tells ([`Event::Books`]).
    pub books: Books,
}

/// Who counts what is spent and reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Books {
    /// This machine: [`Payee::reserve`], [`Payee::commit`], [`Payee::release`].
    Own,
    /// A ledger, in which the channel is one account, whose slices several nodes may lease.
    Told,
}

/// What came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub enum Event {
    /// The payer said this, on a connection that proved whose it is.
    Notice(Notice),
    /// A source of the chain says this.
    Chain(Fact),
    /// The record of this ticket is on disk, and all before it.
    Persisted(Ticket),
    /// [`Books::Told`]: in all. `open` is what may be on top of `spent` when what is under way has ended, `reserved`
    /// what the account cannot spend otherwise.
    Books { spent: Nano, reserved: Nano, open: Nano },
    /// There is a new connection to the payer.
    Connected,
    /// We want to end: serve nothing new, then sign the last take.
    Close,
    /// Time has passed.
    Tick,
}

/// What to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Write it, then give the ticket back.
    Persist(Record, Ticket),
    /// Tell the payer, if it can be reached; it is said again where that matters.
    Send(Notice),
    /// Give it to a watchtower.
    Watch(Blob),
    /// Show it to the contract. It comes again until the chain shows that it took effect.
    Settle(Settlement),
    /// There is so much headroom now: requests that wait for it may try again.
    Headroom(Nano),
    /// The capture is durable: the client may see the end.
    Committed(HoldId),
    /// Look at it: somebody lies, or lost something.
    Alert(Alert),
    /// The channel is over. Keep the tombstone for ever.
    Buried(Tombstone),
}

/// What a person should look at. Nothing here stops the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alert {
    #[error("the payer sent a voucher that is none")]
    BadVoucher(#[source] VoucherRefusal),
    /// It counts up to the deposit.
    #[error("the payer signed a voucher over {max}, and {deposited} is deposited")]
    AboveDeposit { max: Nano, deposited: Nano },
    #[error("the chain contradicts itself; nothing is served on this channel until it does not")]
    Contradiction(#[source] Contradiction),
    /// Somebody else has our key.
    #[error("{claimed} was claimed, and we signed {signed}; replace the payee's key")]
    ForeignTake { claimed: Nano, signed: Nano },
    #[error("we earned {earned}, the payer says {says}; the difference was let go")]
    Waived { earned: Nano, says: Nano },
    #[error("we earned {earned}, the payer says {says}; nothing more is served and what vouchers cover is taken")]
    Disputed { earned: Nano, says: Nano },
    /// Work of ours that a crash made us forget.
    #[error("the payer says that we earned {says}, our books had {earned}; we take it")]
    Admitted { earned: Nano, says: Nano },
    #[error("the payer asked the contract to close at {close_at}")]
    Closing { close_at: u32 },
    #[error("the channel is over, and {lost} of what we earned was not paid")]
    Unpaid { lost: Nano },
}

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It crashed, or was restored: first both sides say where they stand.
    Waking,
    Serving,
    /// It serves what it holds and nothing new, then closes.
    Draining,
    /// A dispute: it serves nothing and takes what it has earned.
    Stopped,
    /// The last take is signed.
    Signed,
    /// The chain says that it is over.
    Gone,
}

/// One channel, from the payee's side.
pub struct Payee {
    channel: Channel,
    signer: Arc<Signer>,
    policy: PayeePolicy,
    phase: Phase,
    view: View,
    /// The best that came, and the best that is on disk, which counts.
    best: Option<Voucher>,
    counted: Option<Voucher>,
    /// The greatest that was signed.
    take: Option<Take>,
    spent: Nano,
    /// Let go in disputes.
    waived: Nano,
    /// In a dispute that was not let go: there is nobody to agree with.
    is_disputed: bool,
    /// It was restored, and the payer has not said since where it stands with nothing under way: it may know of work
    /// that a crash made us forget.
    may_have_forgotten: bool,
    /// What the payer says that we have spent, at most.
    agreed: Nano,
    holds: Holds,
    /// [`Books::Told`].
    told: (Nano, Nano),
    timers: Timers,
    gate: Gate<Then>,
    out: Vec<Effect>,
}

#[derive(Debug, Default)]
struct Timers {
    /// Of the last step.
    stepped_ms: i64,
    /// When the payer was heard last; moved on while nobody was awake to hear it.
    heard_ms: i64,
    /// The last voucher that was asked for, and when.
    asked: Option<(Nano, i64)>,
    /// The open question where the payer stands.
    question: Option<Question>,
    /// Number of the last question; the clock's when it woke, so that an answer to an earlier life is none.
    questions: u64,
    /// The last settlement that was shown, and when.
    shown: Option<(Nano, i64)>,
    settled_ms: i64,
    /// The most that a refused reserve would have needed.
    wanted: Nano,
}

/// Whether the payer agrees to what was earned when it was asked.
#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    earned: Nano,
    /// When it is asked again; it is not asked before.
    due_ms: i64,
    is_asked: bool,
}

/// What waits for a record.
#[derive(Debug)]
enum Then {
    Count(Voucher),
    Do(Effect),
}

impl Payee {
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// In nanoton, over the life of the channel.
    pub const fn spent(&self) -> Nano {
        self.spent
    }

    /// What is held for work under way, in nanoton.
    pub const fn reserved(&self) -> Nano {
        match self.policy.books {
            Books::Own => self.holds.sum(),
            Books::Told => self.told.0,
        }
    }

    /// The most that the payer has signed and we have on disk.
    pub fn voucher_max(&self) -> Nano {
        self.counted.map_or(Nano::ZERO, |voucher| voucher.max())
    }

    /// The most that we have signed.
    pub fn take(&self) -> Nano {
        self.take.map_or(Nano::ZERO, |take| take.amount())
    }

    /// All that was paid in, as far as it was seen.
    pub fn deposited(&self) -> Nano {
        self.view.deposited()
    }

    /// All that was paid out, as far as it was seen.
    pub fn claimed(&self) -> Nano {
        self.view.claimed()
    }

    /// Unix seconds from which the payer may have the rest, once it has asked.
    pub fn close_at(&self) -> Option<u32> {
        self.view.close_at()
    }

    /// The greatest take that was signed, with the voucher that covers it.
    pub fn settlement(&self) -> Option<Settlement> {
        // `check` asserts that the voucher covers the take.
        Settlement::new(self.take?, self.counted).ok()
    }

    /// What the next piece of work may cost, in nanoton.
    pub fn headroom(&self) -> Nano {
        let is_open = self.view.close_at().is_none() && !self.view.is_doubted() && !self.view.is_gone();
        if self.phase != Phase::Serving || !is_open {
            return Nano::ZERO;
        }
        let covered = self.usable().saturating_add(self.policy.credit);
        covered.saturating_sub(self.earned()).saturating_sub(self.reserved())
    }

    /// One event in; what to do about it out.
    pub fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        self.timers.follow(now_ms, self.policy.resend_ms);
        match event {
            Event::Notice(notice) => self.hear(notice, now_ms),
            Event::Chain(fact) => self.see(fact, now_ms),
            Event::Persisted(ticket) => {
                for then in self.gate.open(&ticket) {
                    self.run(then);
                }
            }
            Event::Books { spent, reserved, open } => self.be_told(spent, reserved, open),
            Event::Connected => {
                self.timers.asked = None;
                self.timers.question = None;
                self.question(now_ms);
            }
            Event::Close => self.drain(),
            Event::Tick => {}
        }
        self.go_on(now_ms);
        self.effects()
    }

    /// What calls between events have caused.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// What is due by itself.
    fn go_on(&mut self, now_ms: i64) {
        if self.phase == Phase::Gone {
            return;
        }
        self.admit();
        self.bury_if_over();
        self.cash(now_ms);
        self.close_if_drained(now_ms);
        self.ask(now_ms);
        self.question_if_due(now_ms);
        self.check();
    }

    /// What vouchers and deposit cover, over the life of the channel.
    fn usable(&self) -> Nano {
        self.voucher_max().min(self.view.deposited())
    }

    /// What may be unclaimed before it is settled.
    #[must_use]
    pub const fn settle_above(&self) -> Nano {
        self.policy.settle_above
    }

    /// What we say that we are owed: spent, and not let go. In nanoton, over the life of the channel.
    pub const fn earned(&self) -> Nano {
        self.spent.saturating_sub(self.waived)
    }

    fn persist(&mut self, record: Record) {
        let ticket = self.gate.ticket();
        self.out.push(Effect::Persist(record, ticket));
    }

    /// Once all records so far are durable.
    fn after(&mut self, then: Then) {
        if let Some(then) = self.gate.after(then) {
            self.run(then);
        }
    }

    fn run(&mut self, then: Then) {
        match then {
            Then::Count(voucher) => {
                if voucher.max() > self.voucher_max() || self.counted.is_none() {
                    self.counted = Some(voucher);
                }
                let headroom = self.headroom();
                self.out.push(Effect::Headroom(headroom));
            }
            Then::Do(effect) => self.out.push(effect),
        }
    }

    fn alert(&mut self, alert: Alert) {
        self.out.push(Effect::Alert(alert));
    }

    /// The invariants of our own state. A broken one stops the process: a wrong signature is worse than an outage.
    fn check(&self) {
        assert!(self.waived <= self.spent, "more was let go than was earned");
        assert!(self.take() <= self.spent, "took more than was earned");
        assert!(self.take() <= self.voucher_max(), "took more than vouchers allow");
    }
}

impl Timers {
    /// A step after a longer time than this is one after sleep, or after the clock was set: it is no silence.
    const AWAKE_MS: i64 = 60_000;

    /// A clock that was set back makes nothing wait for years, and one that was set ahead ends no patience.
    fn follow(&mut self, now_ms: i64, resend_ms: i64) {
        let slept_ms = now_ms
            .saturating_sub(self.stepped_ms)
            .saturating_sub(Self::AWAKE_MS)
            .max(0);
        self.stepped_ms = now_ms;
        self.heard_ms = self.heard_ms.saturating_add(slept_ms).min(now_ms);
        if let Some(question) = &mut self.question {
            question.due_ms = question.due_ms.min(now_ms.saturating_add(resend_ms));
        }
        self.settled_ms = self.settled_ms.min(now_ms);
        for (_, at) in self.asked.iter_mut().chain(&mut self.shown) {
            *at = (*at).min(now_ms);
        }
    }
}
