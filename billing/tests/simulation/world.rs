//! Nodes, a ledger, and a wire between them that loses, delays and doubles what it carries.
//!
//! A step is one thing that happens somewhere. After each the invariants are looked at; what breaks one is an `Err`
//! that says which.

use std::{fmt, sync::Arc};

use billing::{
    AccountId, Ask, Budget, Charge, ChargeKind, Currency, Grant, JournalKind, Ledger, Nano, Pot, Renewal, Return,
    Windows,
    book::{CaptureRefusal, ReleaseRefusal, Settled},
    ledger::{AccountChange, Deposit, ForgetRefusal, NewAccount, NodeState, PostRefusal, RenewRefusal, Withdrawal},
};

use crate::{
    node::{Draft, Memory, Node, Open, Phase, Snapshot, pots_at, refund},
    random::Random,
};

pub(crate) type Step = Result<(), String>;

const TTL: i64 = 30_000;
const MARGIN: i64 = 1000;
/// 2026-11-22, an hour before midnight.
const START: i64 = 1_795_388_400_000;
const DAY: i64 = 86_400_000;
/// Messages under way; more are lost.
const WIRE: usize = 16;

/// How often things happened that the invariants are about. A run in which one never does proves nothing of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) held: u64,
    pub(crate) short: u64,
    pub(crate) fenced: u64,
    pub(crate) seen: u64,
    pub(crate) failed: u64,
    pub(crate) crashes: u64,
    pub(crate) closed: u64,
    pub(crate) stale: u64,
    pub(crate) already: u64,
    pub(crate) late: u64,
    pub(crate) reaped: u64,
    pub(crate) forgotten: u64,
    pub(crate) refunds: u64,
    pub(crate) cuts: u64,
    pub(crate) uncovered: u64,
    pub(crate) doubts: u64,
    pub(crate) days: u64,
}

impl Stats {
    pub(crate) fn counts(&self) -> [(&'static str, u64); 17] {
        [
            ("held", self.held),
            ("short", self.short),
            ("fenced", self.fenced),
            ("seen", self.seen),
            ("failed", self.failed),
            ("crashes", self.crashes),
            ("closed", self.closed),
            ("stale", self.stale),
            ("already", self.already),
            ("late", self.late),
            ("reaped", self.reaped),
            ("forgotten", self.forgotten),
            ("refunds", self.refunds),
            ("cuts", self.cuts),
            ("uncovered", self.uncovered),
            ("doubts", self.doubts),
            ("days", self.days),
        ]
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.held += more.held;
        self.short += more.short;
        self.fenced += more.fenced;
        self.seen += more.seen;
        self.failed += more.failed;
        self.crashes += more.crashes;
        self.closed += more.closed;
        self.stale += more.stale;
        self.already += more.already;
        self.late += more.late;
        self.reaped += more.reaped;
        self.forgotten += more.forgotten;
        self.refunds += more.refunds;
        self.cuts += more.cuts;
        self.uncovered += more.uncovered;
        self.doubts += more.doubts;
        self.days += more.days;
    }
}

pub(crate) struct World {
    pub(crate) random: Random,
    /// Kept when a history is replayed.
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) ledger: Ledger,
    pub(crate) now: i64,
    /// The ledger's database does not answer.
    pub(crate) is_away: bool,
    pub(crate) nodes: Vec<Node>,
    wire: Vec<Message>,
    snapshot: Arc<Snapshot>,
    requests: u64,
    /// Requests whose client saw the end.
    pub(crate) seen: Vec<Seen>,
    /// What was used and leased beyond the cap, after the last step.
    watch: Vec<(Pot, Nano)>,
    movements: u64,
    pub(crate) stats: Stats,
}

pub(crate) struct Seen {
    pub(crate) request: u64,
    pub(crate) node: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) amount: Nano,
}

#[derive(Clone)]
enum Message {
    Renew(From, Renewal),
    Renewed(From, u64, Result<Vec<Grant>, RenewRefusal>),
    Post(From, Vec<Charge>),
    /// Up to this one.
    Posted(From, u64, Result<(), PostRefusal>),
}

/// Who sent it, or whom it answers.
#[derive(Clone, Copy)]
struct From {
    node: usize,
    incarnation: u64,
    epoch: u64,
    sent_at: i64,
}

pub(crate) fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

fn account(id: &str) -> AccountId {
    id.parse().expect("an account")
}

impl World {
    pub(crate) fn new(seed: u64, trace: Option<Vec<String>>) -> Self {
        let mut random = Random::new(seed);
        // One in eight is a gateway alone with its SQLite.
        let is_sole = random.is_one_in(8);
        let mut ledger = if is_sole { Ledger::sole() } else { Ledger::shared() };
        make_accounts(&mut ledger, &mut random);
        let kinds: &[JournalKind] = match random.below(4) {
            _ if is_sole => &[JournalKind::Direct],
            0 => &[JournalKind::Direct, JournalKind::Direct],
            1 => &[JournalKind::Local, JournalKind::Direct, JournalKind::Local],
            2 => &[JournalKind::Local, JournalKind::Local],
            _ => &[JournalKind::Local, JournalKind::Direct],
        };
        let names = ["n0", "n1", "n2"];
        let nodes = kinds
            .iter()
            .zip(names)
            .map(|(kind, name)| Node::new(name, *kind))
            .collect();
        let snapshot = take_snapshot(&ledger);
        Self {
            random,
            trace,
            ledger,
            now: START,
            is_away: false,
            nodes,
            wire: Vec::new(),
            snapshot,
            requests: 0,
            seen: Vec::new(),
            watch: pots_at(START).map(|pot| (pot, Nano::ZERO)).collect(),
            movements: 0,
            stats: Stats::default(),
        }
    }

    /// Every node serves; from here on things go wrong.
    pub(crate) fn begin(&mut self) -> Step {
        (0..self.nodes.len()).try_for_each(|at| self.join(at))
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        let at = self.random.place(self.nodes.len());
        match self.random.below(100) {
            0..20 => self.request(at)?,
            20..36 => self.resolve(at)?,
            36..46 => self.commit(at)?,
            46..50 => self.ship(at),
            50..55 => self.renew(at),
            55..87 => self.deliver()?,
            87 => self.crash(at),
            88 => self.stop_or_continue(at),
            89..92 => self.let_time_pass(),
            92 => self.is_away = !self.is_away && self.random.is_one_in(2),
            93 => self.administer()?,
            94..96 => self.free_the_dead()?,
            96..98 => self.hear(at),
            _ => self.refund(at),
        }
        Ok(())
    }

    fn request(&mut self, at: usize) -> Step {
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

    fn resolve(&mut self, at: usize) -> Step {
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
    fn commit(&mut self, at: usize) -> Step {
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

    fn let_see(&mut self, charges: &[Charge]) {
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
    fn ship(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.journal.is_empty() || node.awake().is_none() {
            return;
        }
        let count = 1 + self.random.place(self.nodes[at].journal.len());
        let charges = self.nodes[at].journal[..count].to_vec();
        let from = self.from(at);
        self.send(Message::Post(from, charges));
    }

    fn renew(&mut self, at: usize) {
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

    fn send_renewal(&mut self, at: usize, asks: &[Ask], gives: &[Return]) {
        let Some(memory) = self.nodes[at].awake() else { return };
        self.stats.doubts += u64::from(memory.book.pots().any(|view| view.is_in_doubt));
        let renewal = memory.book.renewal(asks, gives);
        memory.is_waiting = true;
        let from = self.from(at);
        self.note(|| format!("n{at} renews: {renewal:?}"));
        self.send(Message::Renew(from, renewal));
    }

    /// A change of accounts reaches a node: it returns what is free, so that cuts hold.
    fn hear(&mut self, at: usize) {
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

    fn refund(&mut self, at: usize) {
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

    fn crash(&mut self, at: usize) {
        if self.nodes[at].memory.is_some() {
            self.nodes[at].crash();
            self.stats.crashes += 1;
            self.note(|| format!("n{at} crashes"));
        }
    }

    fn stop_or_continue(&mut self, at: usize) {
        let is_past_check = self.random.is_one_in(2);
        let node = &mut self.nodes[at];
        if node.memory.is_some() {
            node.is_stopped = !node.is_stopped;
            node.is_past_check = node.is_stopped && is_past_check;
            let is_stopped = node.is_stopped;
            self.note(|| format!("n{at} {}", if is_stopped { "is stopped" } else { "goes on" }));
        }
    }

    fn let_time_pass(&mut self) {
        let passed = match self.random.below(10) {
            0..3 => 10,
            3..6 => 1000,
            6..8 => 9000,
            8 => 40_000,
            _ => DAY,
        };
        self.now += passed;
        self.stats.days += u64::from(passed == DAY);
        for pot in pots_at(self.now) {
            if !self.watch.iter().any(|(watched, _)| *watched == pot) {
                self.watch.push((pot, Nano::ZERO));
            }
        }
        let now = self.now;
        self.note(|| format!("it is {now}"));
    }

    fn free_the_dead(&mut self) -> Step {
        if self.is_away {
            return Ok(());
        }
        if self.random.is_one_in(2) {
            let reaped = self.ledger.reap(self.now);
            self.stats.reaped += reaped.len() as u64;
            self.note(|| format!("reaped: {reaped:?}"));
        } else {
            let at = self.random.place(self.nodes.len());
            let name = self.nodes[at].name.clone();
            let kind = self.nodes[at].kind;
            match self.ledger.forget(&name, self.now) {
                Ok(what) if kind == JournalKind::Local => {
                    self.stats.forgotten += 1;
                    self.note(|| format!("n{at} is forgotten: {what:?}"));
                }
                Ok(_) | Err(ForgetRefusal::UnknownNode | ForgetRefusal::StillLeased { .. }) => {}
            }
        }
        self.look()
    }

    fn administer(&mut self) -> Step {
        if self.is_away {
            return Ok(());
        }
        let amount = self.random.below(40);
        let is_lifted = self.random.is_one_in(6);
        let bound = (!is_lifted).then(|| nano(amount));
        let credit = Some(Some(nano(amount / 2)));
        let budget = |day, month| {
            Some(Budget {
                total: None,
                day,
                month,
            })
        };
        match self.random.below(7) {
            0 => self.change("key:a", budget(bound, None), None, None)?,
            1 => self.change("team:o/t", budget(None, bound), None, None)?,
            2 => self.change("org:o", None, credit, None)?,
            3 => self.change("team:o/t", None, None, Some(is_lifted))?,
            4 => self.deposit(amount + 1)?,
            5 => self.deposit_again()?,
            _ => self.withdraw(amount + 1)?,
        }
        self.stats.cuts += 1;
        self.snapshot = take_snapshot(&self.ledger);
        self.note(|| format!("an administrator changes something by {amount}"));
        // What is leased stays leased, so that a cut may leave an excess, which is not to grow.
        for (pot, excess) in &mut self.watch {
            *excess = excess_of(&self.ledger, pot);
        }
        Ok(())
    }

    fn change(
        &mut self,
        id: &str,
        budget: Option<Budget>,
        credit: Option<Option<Nano>>,
        is_disabled: Option<bool>,
    ) -> Step {
        let change = AccountChange {
            credit,
            budget,
            is_disabled,
        };
        let changed = self.ledger.change_account(&account(id), &change);
        changed.map_err(|refusal| format!("{id} was not changed: {refusal}"))
    }

    fn movement(&self, amount: u64) -> Deposit {
        Deposit {
            id: self.movements.to_string().into(),
            organisation: account("org:o"),
            amount: nano(amount),
            currency: Currency::USD,
            memo: "".into(),
        }
    }

    fn deposit(&mut self, amount: u64) -> Step {
        self.movements += 1;
        match self.ledger.deposit(self.movement(amount)) {
            Ok(deposited) if deposited.is_new => Ok(()),
            other => Err(format!("a deposit came to {other:?}")),
        }
    }

    /// The last one is known, and the same id for another amount is refused.
    fn deposit_again(&mut self) -> Step {
        self.deposit(7)?;
        let before = self.ledger.balance(&account("org:o"), Currency::USD);
        let again = self.ledger.deposit(self.movement(7));
        let other = self.ledger.deposit(self.movement(8));
        let after = self.ledger.balance(&account("org:o"), Currency::USD);
        if again.as_ref().is_ok_and(|deposited| !deposited.is_new) && other.is_err() && before == after {
            Ok(())
        } else {
            Err(format!("a deposit was made twice: {again:?}, {other:?}"))
        }
    }

    /// Never into the credit, nor what nodes have leased.
    fn withdraw(&mut self, amount: u64) -> Step {
        self.movements += 1;
        let Deposit {
            id,
            organisation,
            amount,
            currency,
            memo,
        } = self.movement(amount);
        let before = self.ledger.balance(&organisation, currency).available();
        let place = self.watch.iter().position(|(pot, _)| pot.account == organisation);
        let excess = place.map(|place| excess_of(&self.ledger, &self.watch[place].0));
        let withdrawn = self.ledger.withdraw(Withdrawal {
            id,
            organisation,
            amount,
            currency,
            memo,
        });
        let grown = place.map(|place| excess_of(&self.ledger, &self.watch[place].0)) > excess;
        match withdrawn {
            Ok(_) if amount > before || grown => Err(format!("{amount} were withdrawn of {before}")),
            _ => Ok(()),
        }
    }

    /// A node whose journal is shipped joins; the answer may be lost.
    fn join(&mut self, at: usize) -> Step {
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

    fn from(&self, at: usize) -> From {
        let node = &self.nodes[at];
        From {
            node: at,
            incarnation: node.incarnation,
            epoch: node.epoch,
            sent_at: self.now,
        }
    }

    fn send(&mut self, message: Message) {
        if self.wire.len() < WIRE {
            self.wire.push(message);
        }
    }

    /// One message arrives, at once or late, once or twice, or never.
    fn deliver(&mut self) -> Step {
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

    fn arrive(&mut self, message: Message) -> Step {
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

    fn arrive_post(&mut self, from: From, charges: Vec<Charge>) -> Step {
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

    fn arrive_renewed(&mut self, from: From, round: u64, grants: Result<Vec<Grant>, RenewRefusal>) -> Step {
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
                self.stats.failed += fail(memory, kind);
                self.stats.closed += 1;
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn arrive_posted(&mut self, from: From, last: u64, result: Result<(), PostRefusal>) -> Step {
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
                        self.stats.failed += fail(memory, kind);
                        self.stats.closed += 1;
                        Ok(())
                    }
                    Err(refusal) => Err(format!("a direct charge was refused: {refusal}")),
                }
            }
        }
    }

    /// No pot is used and leased beyond its cap, and where one was cut it does not grow; no book has more than the
    /// ledger granted.
    pub(crate) fn look(&mut self) -> Step {
        for (pot, before) in &mut self.watch {
            let excess = excess_of(&self.ledger, pot);
            if excess > *before {
                let state = self.ledger.pot(pot);
                return Err(format!(
                    "{pot:?} is beyond its cap by {excess}, and was by {before}: {state:?}"
                ));
            }
            *before = excess;
        }
        for node in &self.nodes {
            let Some(memory) = node.memory.as_ref().filter(|memory| memory.phase == Phase::Serving) else {
                continue;
            };
            let is_open = self.ledger.node_state(&node.name) == Some(NodeState::Open);
            if !is_open || self.ledger.epoch(&node.name) != Some(node.epoch) {
                continue;
            }
            for view in memory.book.pots() {
                let (granted, drawn) = self.ledger.slice(&node.name, view.pot);
                if view.granted > granted || view.spent.checked_add(view.held) > Some(view.granted) || drawn > granted {
                    return Err(format!(
                        "{} has {view:?}, and was granted {granted}, drew {drawn}",
                        node.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The epoch is over: nothing is granted, what is held ends without its clients seeing the end. How many those are.
fn fail(memory: &mut Memory, kind: JournalKind) -> u64 {
    let mut failed = memory.holds.len();
    memory.book.restart();
    memory.holds.clear();
    memory.asks.clear();
    memory.phase = Phase::Joining;
    if kind == JournalKind::Direct {
        // Never sent, so that it is not posted; what was sent is asked about again.
        failed += memory.queue.len();
        memory.queue.clear();
    }
    failed as u64
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

fn excess_of(ledger: &Ledger, pot: &Pot) -> Nano {
    let state = ledger.pot(pot);
    let all = state.used.checked_add(state.leased).expect("small");
    all.checked_sub(state.cap.unwrap_or(Nano::MOST)).unwrap_or_default()
}

fn make_accounts(ledger: &mut Ledger, random: &mut Random) {
    let credit = [0, 0, 20][random.place(3)];
    let month = [Some(nano(60)), None][random.place(2)];
    let new = |id: &str, parent: Option<&str>, credit: Option<Nano>, day, month| NewAccount {
        id: account(id),
        parent: parent.map(account),
        currency: Currency::USD,
        credit,
        budget: Budget {
            total: None,
            day,
            month,
        },
    };
    let accounts = [
        new("org:o", None, Some(nano(credit)), None, None),
        new("team:o/t", Some("org:o"), None, None, month),
        new("key:a", Some("team:o/t"), None, Some(nano(30)), None),
        new("key:b", Some("org:o"), None, None, None),
    ];
    for account in accounts {
        ledger.create_account(account).expect("good accounts");
    }
    let deposit = Deposit {
        id: "first".into(),
        organisation: account("org:o"),
        amount: nano(100),
        currency: Currency::USD,
        memo: "".into(),
    };
    ledger.deposit(deposit).expect("a good deposit");
}

pub(crate) fn take_snapshot(ledger: &Ledger) -> Arc<Snapshot> {
    let payer = |id: &str| {
        let payer = ledger.payer(&account(id)).expect("it was made");
        let is_disabled = payer
            .accounts()
            .filter_map(|id| ledger.account(id))
            .any(|account| account.is_disabled);
        (Arc::new(payer), is_disabled)
    };
    Arc::new(Snapshot {
        payers: vec![payer("key:a"), payer("key:b")],
    })
}

struct Seqs<'a>(&'a [Charge]);

impl fmt::Debug for Seqs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = self.0.iter().map(|charge| (charge.seq, charge.amount.get()));
        f.debug_list().entries(amounts).finish()
    }
}
