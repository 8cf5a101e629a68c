//! A watchtower: settles for payees whose payer starts to close, without a key and without anybody's leave.
//!
//! It keeps the best settlement of each channel, looks at what the chain says, and shows the settlement to the contract
//! when a close was requested, again and again until the contract has paid it. It can neither take money nor make
//! anybody lose any: recipients are fixed, and what it shows was signed by both sides.
//!
//! Sources of the chain may lie, each for itself: what one says is compared with what the same one said before, and with
//! nobody else's. One that shows a close that is not paid is enough to settle; that a channel is over, all must say.
//!
//! A restored older state does no harm that the next blob does not repair: settlements only grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Blob, ChannelId, Contradiction, Fact, Keys, Settlement, SettlementRefusal, Ticket,
    gate::Gate,
    opening::Id,
    view::{News, View},
};
use crate::Nano;

/// What came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub enum Event {
    /// A payee, or its copy, brings a settlement. The keys are what it says they are; the contract knows.
    Blob { channel: ChannelId, keys: Keys, blob: Blob },
    /// The first source of the chain says this.
    Chain { channel: ChannelId, fact: Fact },
    /// One of several says this, by its place among them.
    Source {
        source: usize,
        channel: ChannelId,
        fact: Fact,
    },
    /// The record of this ticket is on disk, and all before it.
    Persisted(Ticket),
    /// Time has passed.
    Tick,
}

/// What to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Write it, then give the ticket back.
    Persist(Record, Ticket),
    /// It is on disk: tell who brought it.
    Kept { channel: ChannelId, take: Nano },
    /// Follow this account on the chain.
    Follow(ChannelId),
    /// Show it to the contract.
    Settle(Settlement),
    /// Look at it.
    Alert(Alert),
    /// It is over: no need to follow it.
    Forget(ChannelId),
}

/// What a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alert {
    #[error("a settlement was brought that is none")]
    BadBlob(#[source] SettlementRefusal),
    #[error("no more than {} channels are watched", Watchtower::MOST)]
    TooMany,
    #[error("the payer of {} asked to close at {close_at}; settling", channel.account)]
    Closing { channel: ChannelId, close_at: u32 },
    #[error("the chain contradicts itself about {}", channel.account)]
    Contradiction {
        channel: ChannelId,
        #[source]
        why: Contradiction,
    },
    #[error("{} is over, and {lost} of what was to be settled was not paid", channel.account)]
    Missed { channel: ChannelId, lost: Nano },
}

/// One line of a watchtower's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub enum Record {
    Kept {
        #[serde(with = "Id")]
        channel: ChannelId,
        keys: Keys,
        blob: Blob,
    },
    Over {
        #[serde(with = "Id")]
        channel: ChannelId,
    },
}

/// Channels that are watched.
#[derive(Debug)]
pub struct Watchtower {
    resend_ms: i64,
    sources: usize,
    channels: BTreeMap<ChannelId, Entry>,
    gate: Gate<Effect>,
    out: Vec<Effect>,
}

#[derive(Debug)]
struct Entry {
    keys: Keys,
    best: Settlement,
    /// What each source says.
    views: Vec<View>,
    /// Since when one says that it is over.
    gone_ms: Option<i64>,
    shown: Option<(Nano, i64)>,
    was_closing: bool,
}

impl Watchtower {
    /// Watched at a time.
    pub const MOST: usize = 100_000;

    /// What a source says that is over is kept for so long, where another one has said nothing of it.
    pub const GONE_AFTER_MS: i64 = 86_400_000;

    /// Shows a settlement again when it had no effect for so long.
    pub const fn new(resend_ms: i64) -> Self {
        Self {
            resend_ms,
            sources: 1,
            channels: BTreeMap::new(),
            gate: Gate::new(),
            out: Vec::new(),
        }
    }

    /// With so many sources of the chain, of which none knows what another one says.
    #[must_use]
    pub fn with_sources(mut self, sources: usize) -> Self {
        self.sources = sources.max(1);
        for entry in self.channels.values_mut() {
            entry.views.resize_with(self.sources, View::default);
        }
        self
    }

    /// From its journal. What is no settlement any more is left out: it was verified before it was written.
    pub fn restore(records: impl IntoIterator<Item = Record>, resend_ms: i64) -> Self {
        let mut tower = Self::new(resend_ms);
        for record in records {
            match record {
                Record::Kept { channel, keys, blob } => {
                    if let Ok(best) = blob.verify(&keys, &channel) {
                        tower.keep(channel, keys, best);
                    }
                }
                Record::Over { channel } => {
                    tower.channels.remove(&channel);
                }
            }
        }
        tower
    }

    /// What is to be followed on the chain.
    pub fn watched(&self) -> impl Iterator<Item = &ChannelId> {
        self.channels.keys()
    }

    /// The most that is to be settled on a channel.
    pub fn best(&self, channel: &ChannelId) -> Option<&Settlement> {
        self.channels.get(channel).map(|entry| &entry.best)
    }

    /// Who signs on a channel that is watched.
    pub fn keys(&self, channel: &ChannelId) -> Option<&Keys> {
        self.channels.get(channel).map(|entry| &entry.keys)
    }

    /// One event in; what to do about it out.
    pub fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        match event {
            Event::Blob { channel, keys, blob } => self.bring(channel, keys, &blob),
            Event::Chain { channel, fact } => self.see(channel, 0, fact, now_ms),
            Event::Source { source, channel, fact } => self.see(channel, source, fact, now_ms),
            Event::Persisted(ticket) => self.out.extend(self.gate.open(&ticket)),
            Event::Tick => {}
        }
        self.bury(now_ms);
        self.settle(now_ms);
        std::mem::take(&mut self.out)
    }

    fn bring(&mut self, channel: ChannelId, keys: Keys, blob: &Blob) {
        let settlement = match blob.verify(&keys, &channel) {
            Ok(settlement) => settlement,
            Err(refusal) => return self.out.push(Effect::Alert(Alert::BadBlob(refusal))),
        };
        if !self.channels.contains_key(&channel) && self.channels.len() >= Self::MOST {
            return self.out.push(Effect::Alert(Alert::TooMany));
        }
        let is_first = !self.channels.contains_key(&channel);
        if self.keep(channel, keys, settlement) {
            let ticket = self.gate.ticket();
            let blob = settlement.claim();
            self.out
                .push(Effect::Persist(Record::Kept { channel, keys, blob }, ticket));
        }
        let take = self.best(&channel).map_or(Nano::ZERO, |best| best.take().amount());
        self.after(Effect::Kept { channel, take });
        if is_first {
            self.after(Effect::Follow(channel));
        }
    }

    /// Whether it is better than what was kept. Other keys than before are another's claim, and change nothing.
    fn keep(&mut self, channel: ChannelId, keys: Keys, settlement: Settlement) -> bool {
        let Some(entry) = self.channels.get_mut(&channel) else {
            let entry = Entry {
                keys,
                best: settlement,
                views: (0..self.sources).map(|_| View::default()).collect(),
                gone_ms: None,
                shown: None,
                was_closing: false,
            };
            self.channels.insert(channel, entry);
            return true;
        };
        let (old, new) = (entry.best.take(), settlement.take());
        let is_better =
            new.amount() > old.amount() || (new.is_last() && !old.is_last() && new.amount() == old.amount());
        if entry.keys != keys || !is_better {
            return false;
        }
        entry.best = settlement;
        true
    }

    fn see(&mut self, channel: ChannelId, source: usize, fact: Fact, now_ms: i64) {
        let Some(entry) = self.channels.get_mut(&channel) else {
            return;
        };
        let Some(view) = entry.views.get_mut(source) else {
            return;
        };
        let news = view.look(fact);
        if view.is_gone() {
            entry.gone_ms.get_or_insert(now_ms);
        }
        let close_at = view.close_at();
        if let News::Contradicts(why) = news {
            return self.out.push(Effect::Alert(Alert::Contradiction { channel, why }));
        }
        if let (Some(close_at), false) = (close_at, entry.was_closing) {
            entry.was_closing = true;
            self.out.push(Effect::Alert(Alert::Closing { channel, close_at }));
        }
    }

    /// What all sources say is over; or one of them, for long, and nobody else anything.
    fn bury(&mut self, now_ms: i64) {
        let gone = self
            .channels
            .iter()
            .filter(|(_, entry)| entry.is_over(now_ms))
            .map(|(channel, entry)| (*channel, entry.lost()));
        let gone: Vec<(ChannelId, Nano)> = gone.collect();
        for (channel, lost) in gone {
            self.channels.remove(&channel);
            if !lost.is_zero() {
                self.out.push(Effect::Alert(Alert::Missed { channel, lost }));
            }
            let ticket = self.gate.ticket();
            self.out.push(Effect::Persist(Record::Over { channel }, ticket));
            self.after(Effect::Forget(channel));
        }
    }

    /// Whatever closes and is not paid is shown, and shown again.
    fn settle(&mut self, now_ms: i64) {
        let resend_ms = self.resend_ms;
        let mut due = Vec::new();
        for entry in self.channels.values_mut() {
            let amount = entry.best.take().amount();
            if !entry.views.iter().any(|view| is_owed(view, amount)) {
                continue;
            }
            let is_shown = matches!(entry.shown, Some((shown, at))
                if shown >= amount && (0..resend_ms).contains(&now_ms.saturating_sub(at)));
            if !is_shown {
                entry.shown = Some((amount, now_ms));
                due.push(entry.best);
            }
        }
        // A settlement is of use whether or not our disk has it.
        self.out.extend(due.into_iter().map(Effect::Settle));
    }

    fn after(&mut self, effect: Effect) {
        self.out.extend(self.gate.after(effect));
    }
}

impl Entry {
    fn is_over(&self, now_ms: i64) -> bool {
        let Some(gone_ms) = self.gone_ms else { return false };
        // Who has it open says that the other one lies.
        if self.views.iter().any(|view| view.open().is_some()) {
            return false;
        }
        let waited_ms = now_ms.saturating_sub(gone_ms);
        self.views.iter().all(View::is_gone) || waited_ms >= Watchtower::GONE_AFTER_MS
    }

    /// The most that any source says was not paid.
    fn lost(&self) -> Nano {
        let gone = self.views.iter().filter(|view| view.is_gone());
        let lost = gone.map(|view| {
            let due = self.best.take().amount().min(view.deposited());
            due.saturating_sub(view.claimed())
        });
        lost.max().unwrap_or(Nano::ZERO)
    }
}

/// Whether a source shows that the payer is closing, and that so much was not paid.
fn is_owed(view: &View, amount: Nano) -> bool {
    let is_paid = view.claimed() >= amount.min(view.deposited());
    view.open().is_some() && view.close_at().is_some() && !is_paid
}
