//! The payee's process.

use billing::{
    Nano,
    channel::{
        Envelope, Notice, Payee,
        payee::{Alert, Effect, Event, Record},
        payer::Act,
    },
};

use super::{Nature, Step, World};
use crate::{
    chain::Sender,
    nodes::{Line, PayeeNode, demands, replay, signed},
    work::{Part, Payees, Payers},
};

impl PayeeNode {
    /// What the payer admits may be what it owes beside the channel: it is off that at once, and on the disk with its
    /// record.
    pub(crate) fn keep(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            if let Effect::Alert(Alert::Admitted { earned, says }) = effect {
                let off = self.owed.min(says.get() - earned.get());
                self.owed -= off;
                self.off.push_back(off);
            }
        }
        self.todo.extend(effects);
    }

    pub(crate) fn learn(&mut self, record: &Record) {
        match record {
            Record::Voucher(voucher) => self.durable_max = self.durable_max.max(voucher.max),
            Record::Spent { spent, hold } => {
                self.durable_spent = self.durable_spent.max(*spent);
                self.durable_ids.extend(hold.map(|(id, _)| id.0));
            }
            Record::Take(take) => self.durable_take = self.durable_take.max(take.amount),
            _ => {}
        }
    }
}

impl World {
    pub(crate) fn payee_event(&mut self, event: Event) {
        let now_ms = self.now_ms + self.payee.skew_ms;
        let node = &mut self.payee;
        if let Some(machine) = &mut node.machine {
            let text = self.trace.is_some().then(|| format!("payee: {event:?}"));
            let effects = machine.step(event, now_ms);
            node.keep(effects);
            if let Some(text) = text {
                self.note(|| text);
            }
        }
    }

    /// A channel that it does not know is looked up.
    pub(crate) fn tell_payee(&mut self, envelope: Envelope) -> Step {
        if self.payee.machine.is_some() || self.payee.is_dead {
            self.payee_hears(&envelope.notice);
            self.payee_event(Event::Notice(envelope.notice));
            return Ok(());
        }
        let (Some(channel), Some(fact)) = (envelope.offered(), self.chain.newest()) else {
            return Ok(());
        };
        if channel != self.channel {
            return Err("the offer is not of the channel that was opened".to_owned());
        }
        let node = &mut self.payee;
        let now_ms = self.now_ms + node.skew_ms;
        let accepted = Payee::accept(
            channel,
            node.signer.clone(),
            node.policy,
            &demands(&channel),
            node.is_buried,
            fact,
            now_ms,
        );
        match accepted {
            Ok(mut machine) => {
                let effects = machine.effects();
                node.keep(effects);
                node.machine = Some(machine);
                self.payee_folds();
            }
            Err(refusal) => {
                let (code, text) = (refusal.code().to_owned(), refusal.to_string());
                self.post(false, Notice::Refuse { code, text });
            }
        }
        Ok(())
    }

    /// One effect.
    pub(crate) fn do_payee(&mut self) -> Step {
        let Some(effect) = self.payee.todo.pop_front() else {
            return Ok(());
        };
        let text = self.trace.is_some().then(|| format!("payee does {effect:?}"));
        if let Some(text) = text {
            self.note(|| text);
        }
        match effect {
            Effect::Persist(record, ticket) => {
                let mut line = Line::of(record);
                if let Some(Effect::Alert(Alert::Admitted { .. })) = self.payee.todo.front() {
                    line.owed = -signed(self.payee.off.pop_front().unwrap_or_default());
                }
                self.payee.disk.write(line, Some(ticket));
            }
            Effect::Send(notice) => {
                let take = match &notice {
                    Notice::Take { take } => Some(*take),
                    Notice::Reestablish { standing, .. } | Notice::Established { standing, .. } => standing.take,
                    _ => None,
                };
                if let Some(take) = take {
                    self.stats.takes += 1;
                    self.take_is_shown(take.amount, take.is_last)?;
                }
                self.post(false, notice);
            }
            Effect::Watch(blob) => {
                self.take_is_shown(blob.take.amount, blob.take.is_last)?;
                self.to_tower.push(blob);
            }
            Effect::Settle(settlement) => {
                self.take_is_shown(settlement.take().amount(), settlement.take().is_last())?;
                self.stats.settled += 1;
                self.stats.cooperative_closes += u64::from(settlement.take().is_last());
                self.chain.send(Sender::Payee, Act::Settle(settlement));
            }
            Effect::Headroom(_) => {}
            Effect::Committed(id) => {
                if !self.payee.durable_ids.contains(&id.0) {
                    return Err(format!("the end of {id:?} is shown, and it is not on disk"));
                }
                self.ended(id_number(id.0));
            }
            Effect::Alert(alert) => self.payee_alerts(&alert)?,
            Effect::Buried(_) => self.payee.is_buried = true,
        }
        Ok(())
    }

    fn ended(&mut self, number: u64) {
        let Some(work) = self.works.get(&number).copied() else {
            return;
        };
        if work.payee != Payees::Ends {
            return;
        }
        self.set(number, |work| work.payee = Payees::Done);
        if work.payer == Payers::Sent {
            self.parts.push_back((number, Part::End));
        }
        if work.payer == Payers::Done {
            self.works.remove(&number);
        }
    }

    /// What it signs is on its disk, earned, and covered by a voucher on its disk.
    fn take_is_shown(&mut self, amount: Nano, is_last: bool) -> Step {
        let node = &self.payee;
        if amount > node.durable_take || amount > node.durable_spent || amount > node.durable_max {
            return Err(format!(
                "a take of {amount} is shown; on disk are a take of {}, {} spent and a voucher of {}",
                node.durable_take, node.durable_spent, node.durable_max
            ));
        }
        if node.is_last_shown && !is_last && amount > node.durable_take {
            return Err("a take after the last".to_owned());
        }
        self.payee.is_last_shown |= is_last;
        Ok(())
    }

    fn payee_alerts(&mut self, alert: &Alert) -> Step {
        match alert {
            Alert::BadVoucher(_) => self.stats.bad_vouchers += 1,
            Alert::Waived { .. } => {
                self.stats.waived += 1;
                self.look_at_what_was_let_go()?;
            }
            // Without a crash it has forgotten nothing, and what is under way is not over.
            Alert::Admitted { .. }
                if self.is_honest() && self.nature != Nature::Beside && self.stats.payee_crashes == 0 =>
            {
                return Err(format!("nothing was forgotten, and {alert}"));
            }
            Alert::Admitted { .. } => self.stats.admitted += 1,
            Alert::Disputed { .. } => {
                self.stats.stopped += 1;
                self.is_apart = true;
            }
            Alert::ForeignTake { .. } => {
                self.stats.foreign += 1;
                if self.nature != Nature::Thief {
                    return Err(format!("{alert}"));
                }
            }
            Alert::Contradiction(_) => self.stats.contradictions += 1,
            // On credit a payee risks its work; what is owed beside may be in its channel when that closes.
            Alert::Unpaid { lost } if !matches!(self.nature, Nature::Thief | Nature::Credit | Nature::Beside) => {
                return Err(format!("the payee was not paid {lost}"));
            }
            Alert::Unpaid { .. } | Alert::AboveDeposit { .. } | Alert::Closing { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn sync_payee(&mut self) {
        let (records, ticket) = self.payee.disk.sync();
        for line in &records {
            line.record.iter().for_each(|record| self.payee.learn(record));
        }
        if let Some(ticket) = ticket {
            self.payee_event(Event::Persisted(ticket));
        }
    }

    /// The process ends, and comes back at once from what is on the disk.
    pub(crate) fn crash_payee(&mut self) -> Step {
        if self.payee.machine.is_none() {
            return Ok(());
        }
        self.note(|| "payee crashes".to_owned());
        self.stats.payee_crashes += 1;
        self.disconnect();
        for work in self.works.values_mut() {
            // What it delivered and had not captured is lost to it, unless the payer admits it.
            if work.payee != Payees::Unknown {
                work.payee = Payees::Done;
            }
        }
        self.works
            .retain(|_, work| work.payer != Payers::Done || work.payee != Payees::Done);
        self.payee.todo.clear();
        // It may not have been written.
        self.is_closing_seen = false;
        self.stats.torn += u64::from(self.payee.disk.crash(&mut self.random));
        if self.nature == Nature::DeadPayee && self.random.is_one_in(2) {
            self.payee.machine = None;
            self.payee.is_dead = true;
            return Ok(());
        }
        let (max, spent, take) = (
            self.payee.durable_max,
            self.payee.durable_spent,
            self.payee.durable_take,
        );
        let (owed, records) = replay(self.payee.disk.read());
        let node = &mut self.payee;
        node.owed = owed;
        node.off.clear();
        if records.is_empty() {
            node.machine = None;
            return Ok(());
        }
        for record in &records {
            node.learn(record);
        }
        let now_ms = self.now_ms + node.skew_ms;
        let machine = Payee::restore(records, node.signer.clone(), node.policy, now_ms)
            .map_err(|refusal| format!("payee: {refusal}"))?;
        if machine.voucher_max() < max || machine.spent() < spent || machine.take() < take {
            return Err(format!(
                "payee came back without what was on its disk: {max}, {spent}, {take}"
            ));
        }
        node.machine = Some(machine);
        self.payee_event(Event::Connected);
        self.payer_event(billing::channel::payer::Event::Connected);
        Ok(())
    }
}

fn id_number(id: [u8; 16]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().expect("16 bytes"))
}
