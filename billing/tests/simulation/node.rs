//! A gateway as the ledger's protocol sees it: what of it survives a crash, and what does not.

use std::sync::Arc;

use billing::{
    Ask, Book, Charge, ChargeKind, Currency, End, Fee, HoldId, JournalKind, Nano, Payer, Return, Span, Tariff, Terms,
    Usage, UsageSource, Windows, book::Captured,
};

/// Who may ask, as a node last heard it.
pub(crate) struct Snapshot {
    pub(crate) payers: Vec<(Arc<Payer>, bool)>,
}

pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) kind: JournalKind,
    // On disk.
    /// Charges that the ledger has not confirmed; only with a journal of its own.
    pub(crate) journal: Vec<Charge>,
    pub(crate) journal_seq: u64,
    pub(crate) epoch: u64,
    // In memory.
    pub(crate) memory: Option<Memory>,
    pub(crate) is_stopped: bool,
    /// It looked at its lease and was stopped before it reserved.
    pub(crate) is_past_check: bool,
    /// Of the process: answers to an earlier one find nobody.
    pub(crate) incarnation: u64,
}

pub(crate) struct Memory {
    pub(crate) phase: Phase,
    pub(crate) book: Book,
    /// By its own clock, counted from before the renewal was sent.
    pub(crate) lease_until: i64,
    pub(crate) holds: Vec<Open>,
    /// The last hold that was resolved.
    pub(crate) resolved: Option<HoldId>,
    /// Captured and not yet durable; the clients wait.
    pub(crate) queue: Vec<Draft>,
    /// Direct only: on its way to the ledger, the same until it is known what became of it.
    pub(crate) posting: Vec<Charge>,
    pub(crate) next_seq: u64,
    pub(crate) asks: Vec<Ask>,
    /// For the answer to its last renewal.
    pub(crate) is_waiting: bool,
    pub(crate) snapshot: Arc<Snapshot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What the journal holds goes first; then it joins.
    Joining,
    Serving,
}

pub(crate) struct Open {
    pub(crate) id: HoldId,
    pub(crate) payer: Arc<Payer>,
    pub(crate) amount: Nano,
    pub(crate) request: u64,
    /// In which it was held.
    pub(crate) day: u32,
}

pub(crate) struct Draft {
    pub(crate) captured: Captured,
    pub(crate) payer: Arc<Payer>,
    pub(crate) amount: Nano,
    pub(crate) request: u64,
}

impl Node {
    pub(crate) fn new(name: &str, kind: JournalKind) -> Self {
        Self {
            name: name.into(),
            kind,
            journal: Vec::new(),
            journal_seq: 0,
            epoch: 0,
            memory: None,
            is_stopped: false,
            is_past_check: false,
            incarnation: 0,
        }
    }

    pub(crate) fn start(&mut self, snapshot: Arc<Snapshot>) {
        self.incarnation += 1;
        self.memory = Some(Memory {
            phase: Phase::Joining,
            book: Book::new(),
            lease_until: 0,
            holds: Vec::new(),
            resolved: None,
            queue: Vec::new(),
            posting: Vec::new(),
            next_seq: 0,
            asks: Vec::new(),
            is_waiting: false,
            snapshot,
        });
    }

    pub(crate) fn crash(&mut self) {
        self.memory = None;
        self.is_stopped = false;
        self.is_past_check = false;
    }

    /// Its process, where it runs and is not stopped.
    pub(crate) fn awake(&mut self) -> Option<&mut Memory> {
        self.memory.as_mut().filter(|_| !self.is_stopped)
    }
}

impl Memory {
    /// All free room, for a change of accounts, a refusal or an idle hour.
    pub(crate) fn free_room(&self) -> Vec<Return> {
        let views = self.book.pots().filter(|view| !view.free.is_zero());
        let all = views.map(|view| Return {
            pot: view.pot.clone(),
            amount: view.free,
        });
        all.collect()
    }
}

impl Draft {
    /// Of the whole amount a fourth is fee.
    pub(crate) fn charge(&self, node: &Arc<str>, seq: u64, at_ms: i64) -> Charge {
        let fee = Nano::new(self.amount.get() / 4).expect("less than the amount");
        Charge {
            node: node.clone(),
            seq,
            kind: ChargeKind::Capture,
            at_ms,
            request_id: self.request.to_string(),
            organisation: self.payer.organisation.clone(),
            team: self.payer.team.clone(),
            key: self.payer.key.clone(),
            day: self.captured.day,
            month: self.captured.month,
            bounds: self.captured.bounds,
            currency: Currency::USD,
            held: self.captured.held,
            amount: self.amount,
            fee,
            terms: Terms {
                tariff: Tariff::default(),
                fee: Fee::default(),
                currency: Currency::USD,
                rate: None,
            },
            model: String::new(),
            endpoint: String::new(),
            backend: None,
            upstream: None,
            end: End::Complete,
            billed: Usage::default(),
            claimed: None,
            counted: None,
            source: UsageSource::Upstream,
            tags: Vec::new(),
            evidence: None,
        }
    }
}

/// Gives back one billionth of a capture, of its earnings.
pub(crate) fn refund(of: &Charge, seq: u64) -> Charge {
    Charge {
        seq,
        kind: ChargeKind::Refund { of: of.seq },
        request_id: format!("{}-refund", of.request_id),
        amount: Nano::new(1).expect("small"),
        fee: Nano::ZERO,
        bounds: billing::Bounds::NONE,
        ..of.clone()
    }
}

/// The pots that are looked at after every step.
pub(crate) fn bounded_spans() -> [(&'static str, Span); 3] {
    [("org:o", Span::Total), ("team:o/t", Span::Month), ("key:a", Span::Day)]
}

/// The pots of a moment.
pub(crate) fn pots_at(now: i64) -> impl Iterator<Item = billing::Pot> {
    bounded_spans().into_iter().map(move |(account, span)| billing::Pot {
        account: account.parse().expect("an account"),
        window: Windows::at(now).of(span),
    })
}
