//! What the payer says, and what the chain does.

use super::{Alert, Books, Effect, Fact, News, Notice, Payee, Phase, Question, Record, Standing, Then};
use crate::{
    Nano,
    channel::{ClaimedVoucher, State},
};

impl Payee {
    pub(super) fn hear(&mut self, notice: Notice, now_ms: i64) {
        self.timers.heard_ms = now_ms;
        if self.gate.is_full() {
            return;
        }
        match notice {
            Notice::Offer { .. } => self.after(Then::Do(Effect::Send(Notice::Accept {}))),
            Notice::Voucher { voucher, spent, .. } => {
                self.take_voucher(&voucher);
                self.agree(spent);
            }
            Notice::Tally { spent, .. } => self.agree(spent),
            Notice::Close { spent } => {
                // It is final.
                self.may_have_forgotten = false;
                self.agree(spent);
                self.drain();
            }
            Notice::Reestablish { question, standing } => {
                self.reestablish(&standing);
                let standing = self.standing();
                self.after(Then::Do(Effect::Send(Notice::Established { question, standing })));
            }
            Notice::Established { question, standing } => {
                self.reestablish(&standing);
                self.answered(question, &standing);
            }
            // What a payee says.
            Notice::Accept {} | Notice::Refuse { .. } | Notice::Raise { .. } | Notice::Take { .. } => {}
        }
    }

    /// A valid one that is not greater is ignored: notices overtake each other.
    fn take_voucher(&mut self, claimed: &ClaimedVoucher) {
        if matches!(self.phase, Phase::Signed | Phase::Gone) {
            return;
        }
        let best = self.best.map_or(Nano::ZERO, |best| best.max());
        let voucher = match claimed.verify(&self.channel.keys, &self.channel.id) {
            Ok(voucher) => voucher,
            Err(refusal) => return self.alert(Alert::BadVoucher(refusal)),
        };
        if voucher.max() <= best {
            return;
        }
        let deposited = self.view.deposited();
        if voucher.max() > deposited && self.view.open().is_some() {
            let max = voucher.max();
            self.alert(Alert::AboveDeposit { max, deposited });
        }
        self.best = Some(voucher);
        self.persist(Record::Voucher(voucher.claim()));
        self.after(Then::Count(voucher));
    }

    /// The payer says that we have earned so much.
    fn agree(&mut self, says: Nano) {
        self.agreed = self.agreed.max(says);
    }

    /// What the payer says that we have earned, as far as it is covered, where nothing is under way and it is more than
    /// we know of: work that a crash made us forget.
    pub(super) fn admit(&mut self) {
        let is_ours_final = self.policy.books == Books::Own && self.open().is_zero();
        let (earned, says) = (self.earned(), self.agreed.min(self.usable()));
        if !is_ours_final || says <= earned || matches!(self.phase, Phase::Signed | Phase::Gone) {
            return;
        }
        // No more than what vouchers cover and what was let go, which are amounts of one channel.
        let spent = says.saturating_add(self.waived);
        self.spent = spent;
        self.persist(Record::Spent { spent, hold: None });
        self.alert(Alert::Admitted { earned, says });
    }

    /// Both show where they stand; what the payer admits is taken, and what it does not is a dispute when it is final.
    fn reestablish(&mut self, theirs: &Standing) {
        if let Some(voucher) = &theirs.voucher {
            self.take_voucher(voucher);
        }
        self.agree(theirs.spent);
    }

    fn answered(&mut self, number: u64, theirs: &Standing) {
        let Some(question) = self.timers.question.filter(|question| question.number == number) else {
            return;
        };
        self.timers.question = None;
        if self.phase == Phase::Waking {
            self.phase = Phase::Serving;
        }
        // What is under way there may yet be captured.
        if !theirs.open.is_zero() {
            return;
        }
        self.may_have_forgotten = false;
        // What we had earned when we asked is more: that is final.
        if question.earned > theirs.spent {
            self.settle_dispute(question.earned, theirs.spent);
        }
    }

    fn settle_dispute(&mut self, earned: Nano, says: Nano) {
        let waived = self.waived.saturating_add(earned.saturating_sub(says));
        if self.is_disputed || matches!(self.phase, Phase::Signed | Phase::Gone) {
            return;
        }
        if waived <= self.policy.waive.of(earned) {
            self.waived = waived;
            self.persist(Record::Waived(waived));
            self.alert(Alert::Waived { earned, says });
            return;
        }
        self.stop();
        self.alert(Alert::Disputed { earned, says });
    }

    fn stop(&mut self) {
        if self.is_disputed {
            return;
        }
        self.is_disputed = true;
        self.persist(Record::Stopped);
        if matches!(self.phase, Phase::Serving | Phase::Waking) {
            self.phase = Phase::Stopped;
        }
    }

    /// Asks where the payer stands. The same question again has the same number: an answer to either is one.
    pub(super) fn question(&mut self, now_ms: i64) {
        if matches!(self.phase, Phase::Signed | Phase::Gone) {
            return;
        }
        let due_ms = now_ms.saturating_add(self.policy.resend_ms);
        let earned = self.earned();
        let question = self
            .timers
            .question
            .filter(|question| question.is_asked)
            .unwrap_or_else(|| {
                self.timers.questions = self.timers.questions.saturating_add(1);
                Question {
                    number: self.timers.questions,
                    earned,
                    due_ms,
                    is_asked: true,
                }
            });
        self.timers.question = Some(Question { due_ms, ..question });
        let (question, standing) = (question.number, self.standing());
        self.after(Then::Do(Effect::Send(Notice::Reestablish { question, standing })));
    }

    /// When waking, where the payer has not agreed to what we earned though nothing is under way, and before the end
    /// where it may know of more.
    pub(super) fn question_if_due(&mut self, now_ms: i64) {
        let is_idle = self.open().is_zero() && !self.is_disputed;
        let is_unsure = is_idle && self.agreed < self.earned();
        let is_due = match self.phase {
            Phase::Waking => true,
            Phase::Serving => is_unsure,
            Phase::Draining => is_unsure || (is_idle && self.may_have_forgotten),
            Phase::Stopped | Phase::Signed | Phase::Gone => false,
        };
        match self.timers.question {
            None if is_due && self.phase == Phase::Waking => self.question(now_ms),
            // The payer's word may be on its way.
            None if is_due => {
                self.timers.question = Some(Question {
                    number: 0,
                    earned: Nano::ZERO,
                    due_ms: now_ms.saturating_add(self.policy.resend_ms),
                    is_asked: false,
                });
            }
            Some(question) if is_due && now_ms >= question.due_ms => self.question(now_ms),
            Some(question) if !is_due && !question.is_asked => self.timers.question = None,
            _ => {}
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            voucher: self.counted.map(|voucher| voucher.claim()),
            take: self.take.map(|take| take.claim()),
            spent: self.earned(),
            open: self.open(),
        }
    }

    pub(super) fn see(&mut self, fact: Fact, now_ms: i64) {
        let was_closing = self.view.close_at().is_some();
        let claimed = self.view.claimed();
        match self.view.look(fact) {
            News::Nothing => return,
            News::Contradicts(contradiction) => return self.alert(Alert::Contradiction(contradiction)),
            News::Changed => self.persist(Record::Fact(fact)),
        }
        if let (State::Open(_), Some(close_at), false) = (fact.state, self.view.close_at(), was_closing) {
            self.alert(Alert::Closing { close_at });
        }
        if self.view.claimed() > claimed {
            self.timers.settled_ms = now_ms;
        }
        let (claimed, signed) = (self.view.claimed(), self.take());
        if claimed > signed {
            self.stop();
            self.alert(Alert::ForeignTake { claimed, signed });
        }
        let headroom = self.headroom();
        if !headroom.is_zero() {
            self.out.push(Effect::Headroom(headroom));
        }
    }
}
