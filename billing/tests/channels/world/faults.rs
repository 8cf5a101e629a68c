//! What goes wrong without anybody's ill will, and what people do.

use billing::{
    Nano,
    channel::{Fact, State, payee, payer},
};

use super::{Step, World, payer::beginning};
use crate::nodes::{nano, shortened};

impl World {
    pub(crate) fn halt_or_go_on(&mut self) {
        if self.halted_for == 0 {
            self.stats.halts += 1;
            self.halted_for = 1 + self.random.below(20);
            self.chain.is_halted = true;
        }
    }

    /// A clock that is set, ahead or back.
    pub(crate) fn step_a_clock(&mut self) {
        self.stats.clock_steps += 1;
        let hour = i64::try_from(self.random.below(7_200_000)).expect("small") - 3_600_000;
        match self.random.below(5) {
            0 | 1 => self.payer.skew_ms = hour,
            2 | 3 => self.payee.skew_ms = hour,
            _ => self.tower.skew_ms = hour,
        }
        // A clock ahead is patience that ends.
        self.is_apart = true;
        self.note(|| format!("a clock is set by {hour} ms"));
    }

    /// One of the two wants out.
    pub(crate) fn leave(&mut self) {
        match self.random.below(8) {
            0 => self.payer_event(payer::Event::Close),
            1 => self.payee_event(payee::Event::Close),
            _ => {}
        }
    }

    pub(crate) fn top_up(&mut self) {
        let amount = nano(1 + self.random.below(3000));
        self.payer_event(payer::Event::TopUp(amount));
    }

    /// What was earned so far can no longer be disputed.
    pub(crate) fn mature(&mut self) {
        if let Some(machine) = &self.payer.machine {
            let spent = machine.spent();
            self.payer_event(payer::Event::Matured(spent));
        }
    }

    /// The journal is replaced by what it comes to.
    pub(crate) fn snapshot(&mut self) {
        if let Some(machine) = &self.payer.machine
            && !self.payer.disk.is_dirty()
            && self.payer.todo.is_empty()
        {
            let lines = shortened(self.payer.owed, machine.snapshot());
            self.payer.disk.replace(&lines);
            self.stats.snapshots += 1;
        }
        if let Some(machine) = &self.payee.machine
            && !self.payee.disk.is_dirty()
            && self.payee.todo.is_empty()
        {
            let lines = shortened(self.payee.owed, machine.snapshot());
            self.payee.disk.replace(&lines);
            self.stats.snapshots += 1;
        }
    }

    /// A source that shows a state that cannot be.
    pub(crate) fn contradict(&mut self) -> Step {
        let Some(newest) = self.chain.newest() else {
            return Ok(());
        };
        let State::Open(mut open) = newest.state else {
            return Ok(());
        };
        if self.random.is_one_in(2) {
            open.deposited = nano(open.deposited.get() - 1 - self.random.below(open.deposited.get()));
        } else {
            open.claimed = open.deposited.checked_add(nano(1)).expect("small");
        }
        let fact = Fact {
            seqno: newest.seqno + 1,
            state: State::Open(open),
            ..newest
        };
        if self.random.is_one_in(2) {
            self.payer_event(payer::Event::Chain(fact));
        } else {
            self.payee_event(payee::Event::Chain(fact));
        }
        Ok(())
    }

    /// The payer's disk is an older one.
    pub(crate) fn rewind_payer(&mut self) {
        self.stats.rewound += 1;
        self.is_apart = true;
        let first = self.payer.disk.first();
        let copy = beginning(&self.payer.disk.copy(), &mut self.random);
        if copy.len() >= first {
            self.payer.disk.restore(copy);
        }
        self.payer.durable_max = Nano::ZERO;
    }
}
