//! What the payee says, and what the chain shows of it.

use super::{Alert, Books, Effect, Fact, Notice, Payer, Phase, Record, Take, Trust};
use crate::{
    Nano,
    channel::{ClaimedTake, ClaimedVoucher, Standing, clock::is_past, view::News},
};

impl Payer {
    pub(super) fn hear(&mut self, notice: Notice, now_ms: i64) {
        if self.gate.is_full() {
            return;
        }
        if self.phase == Phase::Offered && !matches!(notice, Notice::Refuse { .. }) {
            self.phase = Phase::Open;
        }
        match notice {
            Notice::Accept {} => {}
            Notice::Refuse { code, .. } => {
                // A stranger's word, kept short.
                let code = code.chars().take(32).filter(char::is_ascii_graphic).collect();
                self.alert(Alert::Refused { code });
                if self.phase == Phase::Offered {
                    self.leave(now_ms);
                }
            }
            Notice::Raise { .. } => self.timers.is_poked = true,
            Notice::Take { take } => self.take_seen(&take),
            Notice::Reestablish { question, standing } => {
                self.shown(&standing);
                let standing = self.standing();
                self.after(Effect::Send(Notice::Established { question, standing }));
            }
            Notice::Established { question, standing } => {
                self.shown(&standing);
                self.answered(question, &standing);
            }
            // What a payer says.
            Notice::Offer { .. } | Notice::Voucher { .. } | Notice::Tally { .. } | Notice::Close { .. } => {}
        }
    }

    fn shown(&mut self, theirs: &Standing) {
        if let Some(voucher) = &theirs.voucher {
            self.voucher_shown(voucher);
        }
        if let Some(take) = &theirs.take {
            self.take_seen(take);
        }
    }

    /// A voucher of ours that is above what we know of: our disk lost it, and it is good all the same.
    fn voucher_shown(&mut self, claimed: &ClaimedVoucher) {
        let known = self.voucher_max();
        if claimed.max <= known {
            return;
        }
        match claimed.verify(&self.channel.keys, &self.channel.id) {
            Err(refusal) => self.alert(Alert::BadVoucher(refusal)),
            Ok(voucher) => {
                let shown = voucher.max();
                self.alert(Alert::LostVoucher { shown, known });
                if self.phase == Phase::Waking {
                    self.doubt = shown.saturating_sub(self.spent);
                }
                self.voucher = Some(voucher);
                self.persist(Record::Voucher(voucher.claim()));
                self.after(Effect::Covered(shown));
            }
        }
    }

    fn take_seen(&mut self, claimed: &ClaimedTake) {
        let is_known = self
            .take
            .is_some_and(|take: Take| take.is_last() || (claimed.amount <= take.amount() && !claimed.is_last));
        if is_known {
            return;
        }
        let take = match claimed.verify(&self.channel.keys, &self.channel.id) {
            Ok(take) => take,
            Err(refusal) => return self.alert(Alert::BadTake(refusal)),
        };
        self.take = Some(take);
        self.persist(Record::Take(take.claim()));
        if take.is_last() && !matches!(self.phase, Phase::Gone | Phase::Quarantined) {
            self.phase = Phase::Signed;
        }
    }

    /// The payee answered where it stands. Of what it says beyond our books, we owe what a crash of ours made us forget.
    fn answered(&mut self, number: u64, theirs: &Standing) {
        if self.timers.question.is_none_or(|(asked, _)| asked != number) {
            return;
        }
        // It still resolves what was under way: what it says is not final. Asked again later.
        if self.phase == Phase::Waking && !theirs.open.is_zero() {
            return;
        }
        self.timers.question = None;
        if self.phase == Phase::Waking {
            let more = theirs.spent.saturating_sub(self.spent).min(self.doubt);
            self.doubt = Nano::ZERO;
            self.phase = if self.view.open().is_some() {
                Phase::Open
            } else {
                Phase::Opening
            };
            if !more.is_zero() && self.policy.trust == Trust::Attested {
                self.owe(more);
            }
            self.send_tally();
        }
        let (says, spent) = (theirs.spent, self.spent.saturating_add(self.open_to_come()));
        if says > spent {
            self.alert(Alert::Disputed { says, spent });
        }
    }

    fn owe(&mut self, more: Nano) {
        match self.policy.books {
            Books::Own => {
                self.spent = self.spent.saturating_add(more);
                let spent = self.spent;
                self.persist(Record::Spent { spent, hold: None });
                // The payee may have it in the channel already.
                self.folded(more.min(self.beside.owed));
            }
            // Until the books have it.
            Books::Told => self.doubt = more,
        }
        self.after(Effect::Owed { more });
    }

    /// What was owed is in the books, and they have told so.
    pub(super) fn booked(&mut self, owed: Nano) {
        if self.phase != Phase::Waking {
            self.doubt = self.doubt.saturating_sub(owed);
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            voucher: self.voucher.map(|voucher| voucher.claim()),
            take: self.take.map(|take| take.claim()),
            spent: self.spent,
            open: self.open_to_come(),
        }
    }

    pub(super) fn question_if(&mut self, now_ms: i64, is_due: bool) {
        if !is_due || self.phase == Phase::Gone {
            return;
        }
        let number = match self.timers.question {
            Some((_, due_ms)) if now_ms < due_ms => return,
            // An answer to an earlier asking is none here: it may have been given before work ended there.
            _ => self.timers.questions.saturating_add(1),
        };
        self.timers.questions = number;
        self.timers.question = Some((number, now_ms.saturating_add(self.policy.resend_ms)));
        let (question, standing) = (number, self.standing());
        self.after(Effect::Send(Notice::Reestablish { question, standing }));
    }

    /// Says again what brought no answer.
    pub(super) fn speak(&mut self, now_ms: i64) {
        let resend_ms = self.policy.resend_ms;
        let is_due = |at: Option<i64>| at.is_none_or(|at| is_past(at, resend_ms, now_ms));
        let is_here = self.view.open().is_some();
        self.question_if(now_ms, self.phase == Phase::Waking);
        if self.phase == Phase::Opening && is_here {
            self.phase = Phase::Offered;
        }
        if self.phase == Phase::Offered && is_due(self.timers.offered_ms) {
            self.timers.offered_ms = Some(now_ms);
            let offer = Notice::offer(&self.channel);
            self.after(Effect::Send(offer));
        }
        let is_done = self.phase == Phase::Leaving && self.under_way().is_zero() && is_here;
        if is_done && is_due(self.timers.asked_to_close_ms) {
            self.timers.asked_to_close_ms = Some(now_ms);
            let spent = self.spent;
            self.after(Effect::Send(Notice::Close { spent }));
        }
    }

    pub(super) fn see(&mut self, fact: Fact) {
        match self.view.look(fact) {
            News::Nothing => return,
            News::Contradicts(contradiction) => return self.alert(Alert::Contradiction(contradiction)),
            News::Changed => self.persist(Record::Fact(fact)),
        }
        self.acts.seen(&self.view);
        let (claimed, signed) = (self.view.claimed(), self.voucher_max());
        if claimed > signed {
            self.alert(Alert::BeyondVoucher { claimed, signed });
        }
        let deposited = self.view.deposited();
        if signed > deposited {
            self.alert(Alert::Underfunded { deposited, signed });
        }
    }

    /// Whether the payee took more than it earned, with all that is under way; by its signature or by the chain.
    pub(super) fn watch_takes(&mut self) {
        let signed = self.take.map_or(Nano::ZERO, |take| take.amount());
        let claimed = self.view.claimed();
        // What it signed and vouchers do not cover, it cannot have.
        let taken = signed.min(self.voucher_max()).max(claimed);
        let is_within = signed.max(claimed) <= self.spent.saturating_add(self.under_way());
        if is_within || self.phase == Phase::Gone {
            return;
        }
        // What is owed to it anyway was paid so.
        let beyond = taken.saturating_sub(self.spent.saturating_add(self.under_way()));
        self.take_in(beyond.min(self.beside.owed));
        let earned = self.spent.saturating_add(self.open_to_come());
        if signed.max(claimed) <= earned {
            return;
        }
        let more = taken.saturating_sub(earned);
        let loss = self.tolerated.saturating_add(more);
        let wanted = self
            .tolerated
            .saturating_add(signed.max(claimed).saturating_sub(earned));
        if self.phase != Phase::Quarantined && wanted <= self.policy.tolerance.of(self.spent) {
            return self.tolerate(taken, earned, more);
        }
        if loss <= self.loss && self.phase == Phase::Quarantined {
            return;
        }
        self.book(loss);
        if self.phase != Phase::Quarantined {
            self.phase = Phase::Quarantined;
            self.persist(Record::Quarantined);
        }
        let loss = self.loss;
        self.alert(Alert::Overtaken { taken, earned, loss });
    }

    /// Two books that are honest differ by a little: what the payee has of that is lost, and ours follow.
    fn tolerate(&mut self, taken: Nano, earned: Nano, more: Nano) {
        if more.is_zero() {
            return;
        }
        self.spent = self.spent.saturating_add(more);
        self.tolerated = self.tolerated.saturating_add(more);
        let (spent, loss) = (self.spent, self.tolerated);
        self.persist(Record::Spent { spent, hold: None });
        self.persist(Record::Tolerated(loss));
        self.book(loss);
        self.alert(Alert::Tolerated { taken, earned, loss });
    }

    pub(super) fn book(&mut self, loss: Nano) {
        if loss > self.loss {
            self.loss = loss;
            self.persist(Record::Loss(loss));
        }
    }

    pub(super) fn leave(&mut self, now_ms: i64) {
        if matches!(
            self.phase,
            Phase::Offered | Phase::Open | Phase::Waking | Phase::Opening
        ) {
            self.phase = Phase::Leaving;
            self.timers.leaving_ms = Some(now_ms);
            self.persist(Record::Leaving);
        }
    }
}
