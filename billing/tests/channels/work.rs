//! Work: what payer and payee do between them that is worth money.

use billing::{
    Nano,
    channel::{
        HoldId,
        payee::ReserveRefusal,
        payer::{Coverage, HoldRefusal},
    },
};

use crate::{
    nodes::nano,
    world::{Nature, Step, World},
};

/// One request, as both sides and the truth have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) ceiling: Nano,
    /// What it comes to when nothing goes wrong.
    pub(crate) cost: u64,
    pub(crate) delivered: u64,
    pub(crate) received: u64,
    pub(crate) payer: Payers,
    pub(crate) payee: Payees,
    /// The capture is durable, and the app has seen the end.
    pub(crate) is_seen: bool,
    /// The channel has no room for it: the payer will owe it.
    pub(crate) is_beside: bool,
    /// What each side counted.
    pub(crate) captured: u64,
    pub(crate) committed: u64,
}

/// What the payer's process knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payers {
    /// Until the payer was sent a voucher for it.
    Waits(Nano),
    Sent,
    /// The connection is gone, or the app is.
    Cut,
    Done,
}

/// What the payee's process knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payees {
    Unknown,
    Waits,
    Works,
    Cut,
    /// Captured; the end is sent when that is durable.
    Ends,
    Done,
}

/// What crosses a connection between the two, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Some(u64),
    End,
}

pub(crate) fn id_of(number: u64) -> HoldId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    HoldId(id)
}

impl World {
    pub(crate) fn begin_work(&mut self) -> Step {
        let ceiling = nano(10 + self.random.below(300));
        let cost = 1 + self.random.below(ceiling.get());
        let number = self.next_work;
        let node = &mut self.payer;
        let Some(machine) = &mut node.machine else {
            return Ok(());
        };
        let held = machine.hold(&mut node.purse, id_of(number), ceiling);
        let effects = machine.effects();
        node.keep(effects);
        self.note(|| format!("payer holds {ceiling} for {number}: {held:?}"));
        let mut is_beside = false;
        let payer = match held {
            // Nobody waits: what is not covered yet is served on credit.
            Ok(_) if self.nature == Nature::Beside => Payers::Waits(Nano::ZERO),
            Err(_) if self.nature == Nature::Beside => {
                self.stats.beside += 1;
                is_beside = true;
                Payers::Waits(Nano::ZERO)
            }
            Ok(Coverage::Sent) => Payers::Waits(Nano::ZERO),
            Ok(Coverage::When(need)) => Payers::Waits(need),
            Err(HoldRefusal::Exposure { .. }) => {
                self.stats.over_cap += 1;
                return Ok(());
            }
            Err(HoldRefusal::Deposit { .. }) => {
                self.stats.over_deposit += 1;
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        self.stats.held += 1;
        self.stats.works += 1;
        self.next_work += 1;
        let work = Work {
            ceiling,
            cost,
            delivered: 0,
            received: 0,
            payer,
            payee: Payees::Unknown,
            is_seen: false,
            is_beside,
            captured: 0,
            committed: 0,
        };
        self.works.insert(number, work);
        Ok(())
    }

    /// The connection ends: what was on it is lost, and both sides notice, each in its time.
    pub(crate) fn disconnect(&mut self) {
        self.stats.cut += 1;
        self.parts.clear();
        for work in self.works.values_mut() {
            if work.payer == Payers::Sent {
                work.payer = Payers::Cut;
            }
            if work.payee == Payees::Works {
                work.payee = Payees::Cut;
            }
            if work.payee == Payees::Waits {
                work.payee = Payees::Done;
            }
        }
    }

    /// One thing happens to one piece of work.
    pub(crate) fn work(&mut self) -> Step {
        if self.works.is_empty() {
            return Ok(());
        }
        let at = self.random.place(self.works.len());
        let number = *self.works.keys().nth(at).expect("a place");
        if self.random.is_one_in(2) {
            self.work_of_payer(number)
        } else {
            self.work_of_payee(number)
        }
    }

    pub(crate) fn work_of_payer(&mut self, number: u64) -> Step {
        let Some(work) = self.works.get(&number).copied() else {
            return Ok(());
        };
        if self.payer.machine.is_none() {
            return Ok(());
        }
        match work.payer {
            Payers::Waits(need) if need <= self.payer.covered => {
                self.set(number, |work| {
                    work.payer = Payers::Sent;
                    work.payee = Payees::Waits;
                });
                if self.payee.machine.is_none() && self.nature != Nature::Beside {
                    self.set(number, |work| {
                        work.payer = Payers::Cut;
                        work.payee = Payees::Done;
                    });
                }
            }
            // The app leaves.
            Payers::Waits(_) if self.random.is_one_in(10) => {
                self.capture(number, 0)?;
            }
            Payers::Sent if self.random.is_one_in(30) => {
                self.stats.cancelled += 1;
                self.capture(number, work.received)?;
                self.set(number, |work| {
                    work.payee = match work.payee {
                        Payees::Works => Payees::Cut,
                        Payees::Waits => Payees::Done,
                        other => other,
                    }
                });
            }
            Payers::Cut => self.capture(number, work.received)?,
            _ => {}
        }
        self.forget(number);
        Ok(())
    }

    fn capture(&mut self, number: u64, amount: u64) -> Step {
        self.set(number, |work| work.captured = amount);
        if self.works.get(&number).is_some_and(|work| work.is_beside) {
            self.payer_owes(number, amount);
            return Ok(());
        }
        let node = &mut self.payer;
        let Some(machine) = &mut node.machine else {
            return Ok(());
        };
        let captured = machine.capture(&mut node.purse, id_of(number), nano(amount));
        let effects = machine.effects();
        node.keep(effects);
        self.note(|| format!("payer captures {amount} of {number}: {captured:?}"));
        captured.map_err(|refusal| format!("the capture of {number} was refused: {refusal}"))?;
        self.stats.captured += 1;
        self.set(number, |work| work.payer = Payers::Done);
        Ok(())
    }

    pub(crate) fn work_of_payee(&mut self, number: u64) -> Step {
        let Some(work) = self.works.get(&number).copied() else {
            return Ok(());
        };
        if self.nature == Nature::Beside {
            self.payee_works_beside(number, work);
            self.forget(number);
            return Ok(());
        }
        let Some(machine) = &mut self.payee.machine else {
            return Ok(());
        };
        match work.payee {
            Payees::Waits => {
                let reserved = machine.reserve(id_of(number), work.ceiling, self.now_ms + self.payee.skew_ms);
                let effects = machine.effects();
                self.payee.keep(effects);
                self.note(|| format!("payee reserves {} for {number}: {reserved:?}", work.ceiling));
                match reserved {
                    Ok(()) => self.reserved(number)?,
                    Err(ReserveRefusal::Short { .. }) => {
                        self.stats.short += 1;
                        if self.random.is_one_in(20) {
                            self.refuse(number);
                        }
                    }
                    Err(_) => self.refuse(number),
                }
            }
            Payees::Works if work.delivered < work.cost => {
                let part = 1 + self.random.below(work.cost - work.delivered);
                self.set(number, |work| work.delivered += part);
                self.parts.push_back((number, Part::Some(part)));
            }
            Payees::Works => self.commit(number, work.delivered, Payees::Ends)?,
            Payees::Cut => self.commit(number, work.delivered, Payees::Done)?,
            _ => {}
        }
        self.forget(number);
        Ok(())
    }

    /// It answers that it does not serve this.
    fn refuse(&mut self, number: u64) {
        self.set(number, |work| {
            work.payee = Payees::Done;
            if work.payer == Payers::Sent {
                work.payer = Payers::Cut;
            }
        });
    }

    fn reserved(&mut self, number: u64) -> Step {
        self.stats.reserved += 1;
        self.set(number, |work| work.payee = Payees::Works);
        let machine = self.payee.machine.as_ref().expect("it reserved");
        let all = machine.earned().saturating_add(machine.reserved());
        let deposited = self.chain.open.map_or(Nano::ZERO, |open| open.deposited);
        let covered = self
            .payee
            .durable_max
            .min(deposited)
            .saturating_add(self.payee.policy.credit);
        if all > covered {
            return Err(format!(
                "the payee serves {all}, and {covered} is covered by what is on its disk"
            ));
        }
        if self.is_closing_seen {
            return Err("the payee serves while the payer closes".to_owned());
        }
        if self.payee.is_last_shown {
            return Err("the payee serves after its last take".to_owned());
        }
        Ok(())
    }

    fn commit(&mut self, number: u64, amount: u64, then: Payees) -> Step {
        let Some(machine) = &mut self.payee.machine else {
            return Ok(());
        };
        let committed = machine.commit(id_of(number), nano(amount));
        let effects = machine.effects();
        self.payee.keep(effects);
        self.note(|| format!("payee commits {amount} of {number}: {committed:?}"));
        committed.map_err(|refusal| format!("the commit of {number} was refused: {refusal}"))?;
        self.stats.committed += 1;
        self.set(number, |work| work.payee = then);
        Ok(())
    }

    /// The payer reads what comes of the answer.
    pub(crate) fn read_part(&mut self) -> Step {
        let Some((number, part)) = self.parts.pop_front() else {
            return Ok(());
        };
        let Some(work) = self.works.get(&number).copied() else {
            return Ok(());
        };
        if work.payer != Payers::Sent || self.payer.machine.is_none() {
            return Ok(());
        }
        match part {
            Part::Some(part) => self.receive(number, part)?,
            Part::End => {
                self.set(number, |work| work.payee = Payees::Done);
                self.capture(number, work.received)?;
            }
        }
        self.forget(number);
        Ok(())
    }

    pub(crate) fn set(&mut self, number: u64, change: impl FnOnce(&mut Work)) {
        if let Some(work) = self.works.get_mut(&number) {
            change(work);
        }
    }

    pub(crate) fn forget(&mut self, number: u64) {
        let is_over = |work: &Work| work.payer == Payers::Done && work.payee == Payees::Done;
        if self.works.get(&number).is_some_and(is_over)
            && let Some(work) = self.works.remove(&number)
        {
            self.difference += work.committed.saturating_sub(work.captured);
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        matches!(self.nature, Nature::Honest | Nature::Credit | Nature::Beside)
    }
}
