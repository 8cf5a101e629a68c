//! Debts beside the channel: what a gateway and its worker do where the channel has no room for a piece of work.
//!
//! The payer owes it, and puts it into the channel when that has room. The payee counts it, and does the same by its own
//! books. Whatever the order in which the two do so, at rest both say the same.

use billing::{
    Nano,
    channel::{HoldId, Notice, payee::Phase},
};

use crate::{
    nodes::{Line, nano, signed},
    work::{Part, Payees, Payers, Work, id_of},
    world::{Nature, Step, World},
};

/// What a piece of work under way is marked with.
const MARK: Nano = Nano::saturating(1);

impl World {
    /// As each time before the payer's machine is told anything.
    pub(crate) fn payer_tells_what_is_beside(&mut self) {
        let under_way = self
            .works
            .values()
            .filter(|work| work.is_beside && work.payer != Payers::Done);
        let under_way = under_way.fold(Nano::ZERO, |sum, work| sum.saturating_add(work.ceiling));
        let node = &mut self.payer;
        if let Some(machine) = &mut node.machine {
            machine.beside(&mut node.purse, nano(node.owed), under_way);
            let before = node.owed;
            let effects = machine.effects();
            node.keep(effects);
            self.stats.folded += u64::from(node.owed < before);
        }
    }

    /// A piece of work beside the channel has ended.
    pub(crate) fn payer_owes(&mut self, number: u64, amount: u64) {
        self.note(|| format!("payer owes {amount} for {number}"));
        self.payer.owed += amount;
        self.payer.disk.write(Line::owed(signed(amount)), None);
        self.set(number, |work| work.payer = Payers::Done);
        self.payer_tells_what_is_beside();
    }

    /// What is owed goes in before anything is compared.
    pub(crate) fn payee_hears(&mut self, notice: &Notice) {
        match notice {
            Notice::Reestablish { .. } => self.payee.is_asked = true,
            Notice::Voucher { .. } | Notice::Tally { .. } => self.payee.is_asked = false,
            _ => {}
        }
        self.payee_folds();
    }

    pub(crate) fn payee_folds(&mut self) {
        if self.nature != Nature::Beside || self.payee.owed == 0 {
            return;
        }
        self.payee.next_fold += 1;
        let id = id_of(self.payee.next_fold);
        if !self.mark(id) {
            return;
        }
        let (taken, owed) = (self.take_in(id, self.payee.owed), self.payee.owed);
        self.note(|| format!("payee folds {taken} of {owed}"));
        if taken > 0 {
            self.payee.owed -= taken;
            self.payee.disk.write(Line::owed(-signed(taken)), None);
        }
    }

    /// Marks that something is under way, where the channel is one to mark it in.
    fn mark(&mut self, id: HoldId) -> bool {
        let now_ms = self.now_ms + self.payee.skew_ms;
        let node = &mut self.payee;
        let Some(machine) = &mut node.machine else { return false };
        let is_marked =
            machine.phase() == Phase::Serving && !node.is_asked && machine.reserve(id, MARK, now_ms).is_ok();
        let effects = machine.effects();
        node.keep(effects);
        is_marked
    }

    /// What of it the channel takes.
    fn take_in(&mut self, id: HoldId, amount: u64) -> u64 {
        let now_ms = self.now_ms + self.payee.skew_ms;
        let node = &mut self.payee;
        let Some(machine) = &mut node.machine else { return 0 };
        let room = machine.deposited().saturating_sub(machine.earned());
        let part = nano(amount).min(room);
        let is_in = !part.is_zero() && machine.reserve(id, part, now_ms).is_ok() && machine.commit(id, part).is_ok();
        if !is_in {
            machine.release(id).ok();
        }
        let effects = machine.effects();
        node.keep(effects);
        if is_in { part.get() } else { 0 }
    }

    pub(crate) fn payee_works_beside(&mut self, number: u64, work: Work) {
        if self.payee.is_dead {
            return;
        }
        match work.payee {
            Payees::Waits => {
                self.mark(id_of(number));
                self.set(number, |work| work.payee = Payees::Works);
            }
            Payees::Works if work.delivered < work.cost => {
                let part = 1 + self.random.below(work.cost - work.delivered);
                self.set(number, |work| work.delivered += part);
                self.parts.push_back((number, Part::Some(part)));
            }
            Payees::Works | Payees::Cut => {
                let taken = self.take_in(id_of(number), work.delivered);
                let left = work.delivered - taken;
                self.note(|| format!("payee counts {taken} of {number} in the channel, and {left} beside it"));
                if left > 0 {
                    self.payee.owed += left;
                    self.payee.disk.write(Line::owed(signed(left)), None);
                }
                self.set(number, |work| {
                    work.committed = work.delivered;
                    work.payee = Payees::Done;
                });
                if work.payee == Payees::Works && work.payer == Payers::Sent {
                    self.parts.push_back((number, Part::End));
                }
            }
            _ => {}
        }
    }

    /// It lets go what the two counted differently, and nothing that the payer says it owes.
    pub(crate) fn look_at_what_was_let_go(&mut self) -> Step {
        let is_plain = self.stats.payer_crashes == 0 && self.stats.payee_crashes == 0 && self.stats.admitted == 0;
        let Some(machine) = self
            .payee
            .machine
            .as_ref()
            .filter(|_| self.nature == Nature::Beside && is_plain)
        else {
            return Ok(());
        };
        let let_go = machine.spent().saturating_sub(machine.earned()).get();
        if let_go > self.difference {
            return Err(format!(
                "{let_go} was let go, and the two counted {} differently",
                self.difference
            ));
        }
        Ok(())
    }
}
