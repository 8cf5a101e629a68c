//! What gateways do: serve, make durable, ship, renew, crash, stop, join again.

use billing::book::{CaptureRefusal, ReleaseRefusal};
use billing::{Ask, Charge, ChargeKind, JournalKind, Nano, Pot, Return, Windows};

use super::wire::{Message, Seqs};
use super::{MARGIN, Seen, Step, TTL, World, nano};
use crate::node::{Draft, Memory, Open, Phase, refund};

impl World {
    pub(super) fn request(&mut self, at: usize) -> Step {
        let amount = nano(1 + self.random.below(9));
        let which = self.random.place(self.snapshot.payers.len());
        let (now, node) = (self.now, &mut self.nodes[at]);
        if node.memory.is_none() {
            node.start(self.snapshot.clone());
            self.note(|| format!("n{at} starts"));
            return Ok(());
        }
        let is_past_check = node.is_past_check;
        let Some(memory) = node.awake() else { return Ok(()) };
        if memory.phase != Phase::Serving {
            self.commit(at)?;
            self.ship(at);
            return self.join(at);
        }
        if now >= memory.lease_until && !is_past_check {
            self.stats.fenced += 1;
            self.renew(at);
            return Ok(());
        }
        let (payer, is_disabled) = memory.snapshot.payers[which].clone();
        if is_disabled {
            return Ok(());
        }
        match memory.book.reserve(&payer, amount, now) {
            Ok(id) => {
                let request = self.requests;
                memory.holds.push(Open {
                    id,
                    payer,
                    amount,
                    request,
                    day: Windows::at(now).day,
                });
                self.requests += 1;
                self.stats.held += 1;
                self.note(|| format!("n{at} holds {amount} for {which}: request {request}"));
            }
            Err(short) => {
                memory.asks.extend(short.pots.into_iter().map(|shortage| Ask {
                    pot: shortage.pot,
                    need: shortage.missing,
                }));
                memory.asks.truncate(6);
                self.stats.short += 1;
                self.renew(at);
            }
        }
        self.nodes[at].is_past_check = false;
        Ok(())
    }

    pub(super) fn resolve(&mut self, at: usize) -> Step {
        let (dice, part) = (self.random.below(8), self.random.below(100));
        let place = self.random.below(64);
        let now = self.now;
        let today = Windows::at(now).day;
        let Some(memory) = self.nodes[at].awake() else {
            return Ok(());
        };
        if dice == 0
            && let Some(id) = memory.resolved
        {
            // What is resolved stays resolved, whoever has its place now.
            let captured = memory.book.capture(id, Nano::ZERO);
            let released = memory.book.release(id);
            return match (captured, released) {
                (
                    Err(CaptureRefusal::Already | CaptureRefusal::Void),
                    Err(ReleaseRefusal::Already | ReleaseRefusal::Void),
                ) => Ok(()),
                twice => Err(format!("a hold was resolved twice: {twice:?}")),
            };
        }
        if memory.holds.is_empty() {
            return Ok(());
        }
        let place = usize::try_from(place).expect("small") % memory.holds.len();
        let Open { id, amount, .. } = memory.holds[place];
        if dice == 1 {
            let above = nano(amount.get() + 1);
            return match memory.book.capture(id, above) {
                Err(CaptureRefusal::AboveHeld { held }) if held == amount => Ok(()),
                other => Err(format!("{above} were captured of {amount}: {other:?}")),
            };
        }
        let Open {
            payer, request, day, ..
        } = memory.holds.swap_remove(place);
        memory.resolved = Some(id);
        let pots: Vec<Pot> = payer.pots(Windows::at(now)).collect();
        let free = |memory: &Memory| -> Vec<u64> { pots.iter().map(|pot| memory.book.free(pot).get()).collect() };
        let before = free(memory);
        if dice == 2 {
            let released = memory.book.release(id);
            // Pots of an earlier day are not looked at: there all is as it was.
            let grown: Vec<u64> = free(memory)
                .iter()
                .zip(&before)
                .map(|(after, before)| after - before)
                .collect();
            self.note(|| format!("n{at} releases request {request}"));
            let is_whole = grown
                .iter()
                .all(|grown| *grown == amount.get() || *grown == 0 && day < today);
            return match released {
                Ok(released) if released == amount && is_whole => Ok(()),
                other => Err(format!(
                    "{amount} were held, {other:?} was released, and {grown:?} is free"
                )),
            };
        }
        let spent = nano(amount.get() * part / 100 + 1);
        let captured = memory.book.capture(id, spent.min(amount));
        let captured = captured.map_err(|refusal| format!("a hold was not captured: {refusal}"))?;
        memory.queue.push(Draft {
            captured,
            payer,
            amount: spent.min(amount),
            request,
        });
        self.note(|| format!("n{at} captures {spent} of {amount} for request {request}"));
        Ok(())
    }

    /// Makes durable what was captured: all that is queued at once.
    pub(super) fn commit(&mut self, at: usize) -> Step {
        let is_crash = self.random.is_one_in(16);
        let now = self.now;
        let node = &mut self.nodes[at];
        let (kind, name, journal_seq) = (node.kind, node.name.clone(), node.journal_seq);
        let Some(memory) = node.awake() else { return Ok(()) };
        if kind == JournalKind::Local {
            let numbers = journal_seq + 1..;
            let queue = std::mem::take(&mut memory.queue);
            let charges: Vec<Charge> = numbers
                .zip(&queue)
                .map(|(seq, draft)| draft.charge(&name, seq, now))
                .collect();
            let Some(last) = charges.last() else { return Ok(()) };
            node.journal_seq = last.seq;
            node.journal.extend_from_slice(&charges);
            if is_crash {
                // On disk, and nobody was told.
                self.crash(at);
                return Ok(());
            }
            self.let_see(&charges);
            return Ok(());
        }
        if memory.phase != Phase::Serving && memory.posting.is_empty() {
            return Ok(());
        }
        if memory.posting.is_empty() {
            let queue = std::mem::take(&mut memory.queue);
            let numbers = memory.next_seq..;
            memory.posting = numbers
                .zip(&queue)
                .map(|(seq, draft)| draft.charge(&name, seq, now))
                .collect();
            let Some(last) = memory.posting.last() else {
                return Ok(());
            };
            memory.next_seq = last.seq + 1;
        }
        let charges = memory.posting.clone();
        let from = self.from(at);
        self.send(Message::Post(from, charges));
        if is_crash {
            self.crash(at);
        }
        Ok(())
    }

    pub(super) fn let_see(&mut self, charges: &[Charge]) {
        for charge in charges {
            self.stats.seen += 1;
            self.seen.push(Seen {
                request: charge.request_id.parse().expect("a number"),
                node: charge.node.clone(),
                seq: charge.seq,
                amount: charge.amount,
            });
        }
        self.note(|| format!("clients see the ends of {:?}", Seqs(charges)));
    }

    /// Sends a part of the journal from its beginning on.
    pub(super) fn ship(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.journal.is_empty() || node.awake().is_none() {
            return;
        }
        let count = 1 + self.random.place(self.nodes[at].journal.len());
        let charges = self.nodes[at].journal[..count].to_vec();
        let from = self.from(at);
        self.send(Message::Post(from, charges));
    }

    pub(super) fn renew(&mut self, at: usize) {
        let gives_back = self.random.is_one_in(4);
        let is_impatient = self.random.is_one_in(4);
        let Some(memory) = self.nodes[at].awake() else { return };
        if memory.phase != Phase::Serving || memory.is_waiting && !is_impatient {
            return;
        }
        let asks = std::mem::take(&mut memory.asks);
        let gives = if gives_back { memory.free_room() } else { Vec::new() };
        self.send_renewal(at, &asks, &gives);
    }

    pub(super) fn send_renewal(&mut self, at: usize, asks: &[Ask], gives: &[Return]) {
        let Some(memory) = self.nodes[at].awake() else { return };
        self.stats.doubts += u64::from(memory.book.pots().any(|view| view.is_in_doubt));
        let renewal = memory.book.renewal(asks, gives);
        memory.is_waiting = true;
        let from = self.from(at);
        self.note(|| format!("n{at} renews: {renewal:?}"));
        self.send(Message::Renew(from, renewal));
    }

    /// A change of accounts reaches a node: it returns what is free, so that cuts hold.
    pub(super) fn hear(&mut self, at: usize) {
        let snapshot = self.snapshot.clone();
        let now = self.now;
        let Some(memory) = self.nodes[at].awake() else { return };
        memory.snapshot = snapshot;
        memory.book.forget_past(now);
        if memory.phase == Phase::Serving {
            let gives = memory.free_room();
            self.send_renewal(at, &[], &gives);
        }
    }

    pub(super) fn refund(&mut self, at: usize) {
        let Some(capture) = self.nodes[at].journal.last().cloned() else {
            return;
        };
        let node = &mut self.nodes[at];
        if node.awake().is_none() || capture.kind != ChargeKind::Capture || capture.amount <= capture.fee {
            return;
        }
        node.journal_seq += 1;
        let seq = node.journal_seq;
        node.journal.push(refund(&capture, seq));
        self.stats.refunds += 1;
        self.note(|| format!("n{at} refunds {}", capture.seq));
    }

    pub(super) fn crash(&mut self, at: usize) {
        if self.nodes[at].memory.is_some() {
            self.nodes[at].crash();
            self.stats.crashes += 1;
            self.note(|| format!("n{at} crashes"));
        }
    }

    pub(super) fn stop_or_continue(&mut self, at: usize) {
        let is_past_check = self.random.is_one_in(2);
        let node = &mut self.nodes[at];
        if node.memory.is_some() {
            node.is_stopped = !node.is_stopped;
            node.is_past_check = node.is_stopped && is_past_check;
            let is_stopped = node.is_stopped;
            self.note(|| format!("n{at} {}", if is_stopped { "is stopped" } else { "goes on" }));
        }
    }

    /// A node whose journal is shipped joins; the answer may be lost.
    pub(super) fn join(&mut self, at: usize) -> Step {
        let is_lost = self.random.is_one_in(6);
        if self.is_away {
            return Ok(());
        }
        let (now, node) = (self.now, &mut self.nodes[at]);
        if node.memory.is_none() {
            node.start(self.snapshot.clone());
        }
        let (name, kind) = (node.name.clone(), node.kind);
        let is_shipped = node.journal.is_empty();
        let (journal_seq, node_epoch) = (node.journal_seq, node.epoch);
        let Some(memory) = node.awake() else { return Ok(()) };
        let is_old = node_epoch > 0;
        let is_settled = memory.queue.is_empty() && memory.posting.is_empty();
        if memory.phase != Phase::Joining || !is_shipped || !is_settled {
            return Ok(());
        }
        let joined = self.ledger.join(&name, kind, TTL, now);
        if is_lost && is_old {
            self.note(|| format!("n{at} joins and does not hear of it"));
            return self.look();
        }
        if kind == JournalKind::Local && joined.last_seq != journal_seq {
            return Err(format!(
                "the journal ends at {journal_seq}, and the ledger knows {}",
                joined.last_seq
            ));
        }
        memory.book.restart();
        memory.phase = Phase::Serving;
        memory.is_waiting = false;
        memory.lease_until = now + TTL - MARGIN;
        memory.next_seq = joined.last_seq + 1;
        node.epoch = joined.epoch;
        self.note(|| format!("n{at} joins: {joined:?}"));
        self.look()
    }
}

/// The epoch is over: nothing is granted, what is held ends without its clients seeing the end. How many those are.
pub(super) fn fail(memory: &mut Memory, kind: JournalKind) -> Result<u64, String> {
    let mut failed = memory.holds.len();
    memory.book.restart();
    for open in memory.holds.drain(..) {
        match memory.book.capture(open.id, Nano::ZERO) {
            Err(CaptureRefusal::Void) => {}
            other => return Err(format!("a hold of an epoch that is over: {other:?}")),
        }
    }
    memory.asks.clear();
    memory.phase = Phase::Joining;
    if kind == JournalKind::Direct {
        // Never sent, so that it is not posted; what was sent is asked about again.
        failed += memory.queue.len();
        memory.queue.clear();
    }
    Ok(failed as u64)
}
