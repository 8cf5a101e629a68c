//! Nodes, a ledger, and a wire between them that loses, delays and doubles what it carries.
//!
//! A step is one thing that happens somewhere. After each the invariants are looked at; what breaks one is an `Err`
//! that says which.

mod administration;
mod gateways;
mod wire;

use std::sync::Arc;

use billing::{AccountId, JournalKind, Ledger, Nano, Pot, ledger::NodeState};

use self::{administration::make_accounts, wire::Message};
use crate::{
    node::{Node, Phase, Snapshot, pots_at},
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

fn excess_of(ledger: &Ledger, pot: &Pot) -> Nano {
    let state = ledger.pot(pot);
    let all = state.used.checked_add(state.leased).expect("small");
    all.checked_sub(state.cap.unwrap_or(Nano::MOST)).unwrap_or_default()
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
