//! The wire between gateways and their ledger: what is sent arrives at once or late, once or twice, or never.

use std::fmt;

use billing::book::Settled;
use billing::ledger::{PostRefusal, RenewRefusal};
use billing::{Charge, ChargeKind, Grant, JournalKind, Pot, Renewal, Windows};

use super::gateways::fail;
use super::{MARGIN, Step, TTL, WIRE, World};
use crate::node::Phase;

#[derive(Clone)]
pub(super) enum Message {
    Renew(From, Renewal),
    Renewed(From, u64, Result<Vec<Grant>, RenewRefusal>),
    Post(From, Vec<Charge>),
    /// Up to this one.
    Posted(From, u64, Result<(), PostRefusal>),
}

/// Who sent it, or whom it answers.
#[derive(Clone, Copy)]
pub(super) struct From {
    node: usize,
    incarnation: u64,
    epoch: u64,
    sent_at: i64,
}

impl World {
    pub(super) fn from(&self, at: usize) -> From {
        let node = &self.nodes[at];
        From {
            node: at,
            incarnation: node.incarnation,
            epoch: node.epoch,
            sent_at: self.now,
        }
    }

    pub(super) fn send(&mut self, message: Message) {
        if self.wire.len() < WIRE {
            self.wire.push(message);
        }
    }

    /// One message arrives, at once or late, once or twice, or never.
    pub(super) fn deliver(&mut self) -> Step {
        if self.wire.is_empty() {
            return Ok(());
        }
        let place = self.random.place(self.wire.len());
        let is_request = matches!(self.wire[place], Message::Renew(..) | Message::Post(..));
        match self.random.below(12) {
            0 => {
                self.wire.swap_remove(place);
                Ok(())
            }
            _ if is_request && self.is_away => Ok(()),
            1 => self.arrive(self.wire[place].clone()),
            _ => {
                let message = self.wire.swap_remove(place);
                self.arrive(message)
            }
        }
    }

    /// Everything under way arrives or is lost.
    pub(crate) fn deliver_all(&mut self) -> Step {
        while let Some(message) = self.wire.pop() {
            self.arrive(message)?;
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, message: Message) -> Step {
        match message {
            Message::Renew(from, renewal) => {
                let name = self.nodes[from.node].name.clone();
                let renewed = self.ledger.renew(&name, from.epoch, TTL, self.now, &renewal);
                self.note(|| format!("the ledger answers n{}: {renewed:?}", from.node));
                self.look()?;
                match &renewed {
                    Err(RenewRefusal::Stale { .. }) => self.stats.stale += 1,
                    Err(refusal @ (RenewRefusal::ReturnAboveSlice { .. } | RenewRefusal::UnknownNode)) => {
                        return Err(format!("n{} was refused: {refusal}", from.node));
                    }
                    _ => {}
                }
                self.send(Message::Renewed(
                    from,
                    renewal.round,
                    renewed.map(|renewed| renewed.grants),
                ));
                Ok(())
            }
            Message::Post(from, charges) => self.arrive_post(from, charges),
            Message::Renewed(from, round, grants) => self.arrive_renewed(from, round, grants),
            Message::Posted(from, last, result) => self.arrive_posted(from, last, result),
        }
    }

    pub(super) fn arrive_post(&mut self, from: From, charges: Vec<Charge>) -> Step {
        let name = self.nodes[from.node].name.clone();
        let fresh: Vec<&Charge> = charges
            .iter()
            .filter(|charge| self.ledger.charge(&name, charge.seq).is_none())
            .collect();
        let posted = self.ledger.post(&name, from.epoch, &charges);
        let seqs = Seqs(&charges);
        if self.trace.is_some() {
            let line = format!("n{} posts {seqs:?}: {posted:?}", from.node);
            self.note(|| line);
        }
        if let Ok(posted) = &posted {
            self.stats.already += posted.already;
            self.stats.late += posted.late;
            if posted.late == 0 {
                // A bound that came while these were held has no slice for them.
                for (pot, excess) in &mut self.watch {
                    for charge in fresh.iter().filter(|charge| is_uncovered(charge, pot)) {
                        self.stats.uncovered += 1;
                        *excess = excess.checked_add(charge.amount).expect("small");
                    }
                }
            }
        }
        self.look()?;
        let last = charges.last().map_or(0, |charge| charge.seq);
        self.send(Message::Posted(from, last, posted.map(|_| ())));
        Ok(())
    }

    pub(super) fn arrive_renewed(&mut self, from: From, round: u64, grants: Result<Vec<Grant>, RenewRefusal>) -> Step {
        let now = self.now;
        let node = &mut self.nodes[from.node];
        let is_for_it = node.incarnation == from.incarnation && node.epoch == from.epoch;
        let kind = node.kind;
        let Some(memory) = node
            .awake()
            .filter(|memory| is_for_it && memory.phase == Phase::Serving)
        else {
            return Ok(());
        };
        match grants {
            Ok(grants) => {
                let settled = memory.book.settle(round, &grants);
                let settled = settled.map_err(|refusal| format!("n{}: {refusal}", from.node))?;
                if settled == Settled::Now {
                    memory.is_waiting = false;
                }
                if from.sent_at <= now {
                    memory.lease_until = memory.lease_until.max(from.sent_at + TTL - MARGIN);
                }
            }
            Err(RenewRefusal::Closed) => {
                self.stats.failed += fail(memory, kind)?;
                self.stats.closed += 1;
            }
            Err(_) => {}
        }
        Ok(())
    }

    pub(super) fn arrive_posted(&mut self, from: From, last: u64, result: Result<(), PostRefusal>) -> Step {
        let node = &mut self.nodes[from.node];
        if node.epoch != from.epoch || node.incarnation != from.incarnation || node.memory.is_none() || node.is_stopped
        {
            return Ok(());
        }
        let kind = node.kind;
        match (kind, result) {
            (JournalKind::Local, Ok(())) => {
                node.journal.retain(|charge| charge.seq > last);
                Ok(())
            }
            // Sent before an earlier part had arrived.
            (JournalKind::Local, Err(PostRefusal::Gap { .. })) => Ok(()),
            (JournalKind::Local, Err(refusal)) => Err(format!("a journal was refused: {refusal}")),
            (JournalKind::Direct, result) => {
                let Some(memory) = node.awake() else { return Ok(()) };
                if memory.posting.last().map(|charge| charge.seq) != Some(last) {
                    return Ok(());
                }
                match result {
                    Ok(()) => {
                        let posted = std::mem::take(&mut memory.posting);
                        self.let_see(&posted);
                        let lost = posted
                            .iter()
                            .find(|charge| self.ledger.charge(&charge.node, charge.seq) != Some(charge));
                        match lost {
                            None => Ok(()),
                            Some(lost) => Err(format!("charge {} was seen and is not posted", lost.seq)),
                        }
                    }
                    Err(PostRefusal::Closed) => {
                        self.stats.failed += memory.posting.len() as u64;
                        memory.posting.clear();
                        self.stats.failed += fail(memory, kind)?;
                        self.stats.closed += 1;
                        Ok(())
                    }
                    Err(refusal) => Err(format!("a direct charge was refused: {refusal}")),
                }
            }
        }
    }
}

fn is_uncovered(charge: &Charge, pot: &Pot) -> bool {
    let windows = Windows {
        day: charge.day,
        month: charge.month,
    };
    let accounts = [Some(&charge.organisation), charge.team.as_ref(), charge.key.as_ref()];
    let is_counted = accounts.contains(&Some(&pot.account)) && windows.of(pot.window.span()) == pot.window;
    let is_capture = charge.kind == ChargeKind::Capture;
    is_capture && is_counted && !charge.bounds.contains(pot.account.level(), pot.window.span())
}

pub(super) struct Seqs<'a>(pub(super) &'a [Charge]);

impl fmt::Debug for Seqs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = self.0.iter().map(|charge| (charge.seq, charge.amount.get()));
        f.debug_list().entries(amounts).finish()
    }
}
