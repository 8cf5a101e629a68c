//! The payer's process.

use billing::{
    Nano,
    channel::{
        Notice, Payer, Purse,
        payer::{Act, Alert, Effect, Event, Record},
    },
};

use super::{Step, World};
use crate::{
    chain::Sender,
    nodes::{Line, PayerNode, nano, replay, signed},
    random::Random,
    work::{Payees, Payers, id_of},
};

impl PayerNode {
    /// What is folded is off what is owed at once, and on the disk with its record.
    pub(crate) fn keep(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            if let Effect::Folded { amount } = effect {
                self.owed -= amount.get();
            }
        }
        self.todo.extend(effects);
    }

    pub(crate) fn learn(&mut self, record: &Record) {
        match record {
            Record::Voucher(voucher) => self.durable_max = self.durable_max.max(voucher.max),
            Record::Spent { spent, .. } => self.durable_spent = self.durable_spent.max(*spent),
            _ => {}
        }
    }
}

impl World {
    pub(crate) fn open(&mut self) {
        let amount = nano(500 + self.random.below(6000));
        let node = &mut self.payer;
        let opened = Payer::open(
            self.channel,
            node.signer.clone(),
            node.policy,
            amount,
            Nano::ZERO,
            node.is_buried,
            &mut node.purse,
            self.now_ms + node.skew_ms,
        );
        let mut machine = opened.expect("within the caps");
        let effects = machine.effects();
        node.keep(effects);
        node.machine = Some(machine);
        self.note(|| format!("payer opens with {amount}"));
    }

    pub(crate) fn payer_event(&mut self, event: Event) {
        let now_ms = self.now_ms + self.payer.skew_ms;
        self.payer_tells_what_is_beside();
        let node = &mut self.payer;
        if let Some(machine) = &mut node.machine {
            let text = self.trace.is_some().then(|| format!("payer: {event:?}"));
            let effects = machine.step(&mut node.purse, event, now_ms);
            node.keep(effects);
            if let Some(text) = text {
                self.note(|| text);
            }
        }
    }

    pub(crate) fn tell_payer(&mut self, notice: Notice) -> Step {
        self.payer_event(Event::Notice(notice));
        Ok(())
    }

    /// One effect.
    pub(crate) fn do_payer(&mut self) -> Step {
        let Some(effect) = self.payer.todo.pop_front() else {
            return Ok(());
        };
        let text = self.trace.is_some().then(|| format!("payer does {effect:?}"));
        if let Some(text) = text {
            self.note(|| text);
        }
        match effect {
            Effect::Persist(record, ticket) => {
                let mut line = Line::of(record);
                if let Some(Effect::Folded { amount }) = self.payer.todo.front() {
                    line.owed = -signed(amount.get());
                    self.payer.todo.pop_front();
                }
                self.payer.disk.write(line, Some(ticket));
            }
            Effect::Folded { .. } => return Err("what was folded has no record before it".to_owned()),
            Effect::Send(notice) => self.payer_sends(notice)?,
            Effect::Act(act) => {
                match act {
                    Act::RequestClose => self.stats.requested_closes += 1,
                    Act::FinishClose => self.stats.finished_closes += 1,
                    Act::TopUp { .. } => self.stats.top_ups += 1,
                    Act::Settle(_) | Act::Open { .. } => {}
                }
                if matches!(act, Act::RequestClose) {
                    self.is_apart = true;
                }
                self.chain.send(Sender::Payer, act);
            }
            Effect::Covered(max) => self.payer.covered = self.payer.covered.max(max),
            Effect::Captured(id) => {
                let number = self.works.keys().copied().find(|number| id_of(*number) == id);
                if let Some(number) = number {
                    self.set(number, |work| work.is_seen = true);
                }
            }
            Effect::Owed { .. } => self.stats.owed += 1,
            Effect::Alert(alert) => self.payer_alerts(&alert)?,
            Effect::Buried(_) => self.payer.is_buried = true,
        }
        Ok(())
    }

    fn payer_sends(&mut self, notice: Notice) -> Step {
        let shown = match &notice {
            Notice::Voucher { voucher, .. } => Some(*voucher),
            Notice::Reestablish { standing, .. } | Notice::Established { standing, .. } => standing.voucher,
            _ => None,
        };
        if let Some(voucher) = shown {
            self.stats.vouchers += 1;
            if voucher.max > self.payer.durable_max {
                let durable = self.payer.durable_max;
                return Err(format!(
                    "a voucher over {} is sent, and {durable} is on disk",
                    voucher.max
                ));
            }
            if voucher.max > self.best_sent {
                self.best_sent = voucher.max;
                self.stolen = Some(voucher);
            }
        }
        let spent = match &notice {
            Notice::Voucher { spent, .. } | Notice::Tally { spent, .. } | Notice::Close { spent } => Some(*spent),
            Notice::Reestablish { standing, .. } | Notice::Established { standing, .. } => Some(standing.spent),
            _ => None,
        };
        if spent > Some(self.payer.durable_spent) {
            let durable = self.payer.durable_spent;
            return Err(format!("{spent:?} is told as spent, and {durable} is on disk"));
        }
        self.post(true, notice);
        Ok(())
    }

    fn payer_alerts(&mut self, alert: &Alert) -> Step {
        let is_honest = self.is_honest();
        match alert {
            Alert::Overtaken { .. } if is_honest && self.is_patient && !self.is_apart => {
                return Err(format!("an honest payee is quarantined: {alert}"));
            }
            Alert::Overtaken { loss, .. } => {
                self.stats.quarantined += 1;
                self.stats.losses += u64::from(!loss.is_zero());
                self.is_apart = true;
            }
            Alert::Tolerated { .. } => {
                self.stats.tolerated += 1;
                self.is_apart = true;
            }
            Alert::BadTake(_) => self.stats.bad_takes += 1,
            Alert::BadVoucher(_) => self.stats.bad_vouchers += 1,
            Alert::LostVoucher { .. } => self.stats.lost_vouchers += 1,
            Alert::Contradiction(_) => self.stats.contradictions += 1,
            Alert::Disputed { .. } => self.stats.disputed += 1,
            Alert::BeyondVoucher { .. } if is_honest => return Err(format!("{alert}")),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn sync_payer(&mut self) {
        let (records, ticket) = self.payer.disk.sync();
        for line in &records {
            line.record.iter().for_each(|record| self.payer.learn(record));
        }
        if let Some(ticket) = ticket {
            self.payer_event(Event::Persisted(ticket));
        }
    }

    /// The process ends; what was not done is not done. It comes back at once from what is on the disk.
    pub(crate) fn crash_payer(&mut self) -> Step {
        if self.payer.machine.is_none() {
            return Ok(());
        }
        self.note(|| "payer crashes".to_owned());
        self.stats.payer_crashes += 1;
        self.disconnect();
        for work in self.works.values_mut() {
            // Nobody is left who would capture it.
            work.payer = Payers::Done;
            if work.payee == Payees::Unknown {
                work.payee = Payees::Done;
            }
        }
        self.works.retain(|_, work| work.payee != Payees::Done);
        self.payer.todo.clear();
        self.stats.torn += u64::from(self.payer.disk.crash(&mut self.random));
        self.payer.covered = Nano::ZERO;
        let (durable_max, durable_spent) = (self.payer.durable_max, self.payer.durable_spent);
        if self.nature == super::Nature::Rewound && self.random.is_one_in(2) {
            self.rewind_payer();
        }
        self.start_payer();
        let Some(machine) = &self.payer.machine else {
            return Ok(());
        };
        let is_rewound = self.nature == super::Nature::Rewound;
        if !is_rewound && (machine.voucher_max() < durable_max || machine.spent() < durable_spent) {
            return Err(format!(
                "payer came back with a voucher of {} and {} spent, and had {durable_max} and {durable_spent} on disk",
                machine.voucher_max(),
                machine.spent()
            ));
        }
        self.payer_event(Event::Connected);
        self.payee_event(billing::channel::payee::Event::Connected);
        Ok(())
    }

    fn start_payer(&mut self) {
        let (owed, records) = replay(self.payer.disk.read());
        let node = &mut self.payer;
        node.owed = owed;
        node.purse = Purse::new(node.caps);
        if records.is_empty() {
            // It never wrote that it opens one, so that it did not.
            node.machine = None;
            self.open();
            return;
        }
        node.durable_max = Nano::ZERO;
        node.durable_spent = Nano::ZERO;
        for record in &records {
            node.learn(record);
        }
        let restored = Payer::restore(records, node.signer.clone(), node.policy, self.now_ms + node.skew_ms);
        let machine = restored.expect("its own records");
        let pending = machine.pending_payment();
        node.machine = Some(machine);
        // Its wallet knows nothing of it: it was never sent.
        if let Some(act) = pending
            && !self.chain.knows(&act)
        {
            self.payer_event(Event::Failed(act));
        }
    }
}

/// Any of the journal's beginnings.
pub(crate) fn beginning(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    bytes[..random.place(bytes.len() + 1)].to_vec()
}
