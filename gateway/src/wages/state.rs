//! What is known of all who are paid, and what their channels ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use attestation::Hex;
use billing::{
    Nano, Tariff,
    channel::{
        Account, Envelope, Payer, Purse,
        payer::{Alert, Effect, Event},
    },
};

use super::{
    acts::Acts,
    journal::{self, Line, Payees, Restored},
    payee::{Payee, PayeeId},
    quarantine::{Mark, Quarantine},
};
use crate::{frames::Then, layers::rescue::Chain};

pub(super) struct State {
    pub(super) purse: Purse,
    pub(super) payees: Payees,
    pub(super) quarantine: Quarantine,
    /// What is kept of channels that are over, or cannot be restored.
    pub(super) set_apart: Vec<Vec<Line>>,
    /// Entries since the journal was made shorter.
    pub(super) entries: u64,
    /// Who is at which upstream now; of several connections the newest serves, and is the last.
    pub(super) places: BTreeMap<Arc<str>, Vec<Place>>,
    pub(super) serial: u64,
    /// Whose each channel is.
    pub(super) accounts: BTreeMap<Account, PayeeId>,
    /// To be done on the chain.
    pub(super) acts: Acts,
    /// Channels to be followed from now on, and no more.
    pub(super) new: Vec<Account>,
    pub(super) over: Vec<Account>,
}

/// A worker that is connected and wants to be paid.
pub(super) struct Place {
    pub(super) serial: u64,
    pub(super) payee: PayeeId,
    pub(super) tariff: Tariff,
    /// What it is known by.
    pub(super) marks: Vec<Mark>,
    /// It asks more than we pay.
    pub(super) is_too_dear: bool,
}

/// What is to be written of one moment.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) lines: Vec<Line>,
    pub(super) then: Vec<Then>,
}

impl State {
    pub(super) fn new(purse: Purse, restored: Restored) -> Self {
        let Restored {
            payees,
            quarantine,
            set_apart,
        } = restored;
        let of = |payee: &Payee| Some((payee.channel.as_ref()?.channel().id.account, payee.key));
        Self {
            purse,
            accounts: payees.values().filter_map(of).collect(),
            payees,
            quarantine,
            set_apart,
            entries: 0,
            places: BTreeMap::new(),
            serial: 0,
            acts: Acts::default(),
            new: Vec::new(),
            over: Vec::new(),
        }
    }

    /// Who serves there now, if it is paid.
    pub(super) fn at(&self, upstream: &str) -> Option<&Place> {
        self.places.get(upstream)?.last()
    }

    /// For whose theft a worker gets no requests.
    pub(super) fn held_for(&self, id: &PayeeId) -> BTreeSet<PayeeId> {
        let places = self.places.values().flatten().filter(|place| place.payee == *id);
        let own = self.quarantine.has(id).then_some(*id);
        places
            .flat_map(|place| self.quarantine.owners(&place.marks))
            .chain(own)
            .collect()
    }

    pub(super) fn payee_of(&self, account: &Account) -> Option<PayeeId> {
        self.accounts.get(account).copied()
    }

    /// The channel, while it is not over.
    pub(super) fn payer(&self, account: &Account) -> Option<&Payer> {
        let payee = self.payees.get(self.accounts.get(account)?)?;
        payee.channel.as_ref()
    }

    /// A channel was opened to this worker.
    pub(super) fn opened(&mut self, entry: &mut Entry, key: &PayeeId, account: Account) {
        self.accounts.insert(account, *key);
        self.new.push(account);
        self.after(entry, key);
    }

    pub(super) fn step(&mut self, entry: &mut Entry, key: &PayeeId, event: Event, now_ms: i64) {
        if let Some(payee) = self.payees.get_mut(key) {
            let effects = payee.step(&mut self.purse, event, now_ms);
            self.perform(entry, key, effects);
        }
    }

    /// What a call has caused.
    pub(super) fn after(&mut self, entry: &mut Entry, key: &PayeeId) {
        if let Some(payee) = self.payees.get_mut(key) {
            let effects = payee.effects();
            self.perform(entry, key, effects);
        }
    }

    fn perform(&mut self, entry: &mut Entry, key: &PayeeId, effects: Vec<Effect>) {
        let Some(payee) = self.payees.get_mut(key) else { return };
        let Some(id) = payee.channel.as_ref().map(|payer| payer.channel().id) else {
            return;
        };
        let account = id.account;
        for effect in effects {
            match effect {
                Effect::Persist(record, ticket) => {
                    entry.lines.push(Line::Channel {
                        payee: Hex(*key),
                        account,
                        record,
                    });
                    entry.then.push(Then::Tell(account, ticket));
                }
                Effect::Send(notice) => payee.say(&Envelope::new(&id, notice)),
                Effect::Act(act) => self.acts.want(account, act),
                Effect::Covered(_) | Effect::Captured(_) => {}
                // It is in the channel now.
                Effect::Owed { more } => {
                    tracing::info!(channel = %account, %more, "a worker says what it earned before a crash, and it is owed");
                }
                Effect::Folded { amount } => {
                    payee.owed = payee.owed.saturating_sub(amount);
                    entry.owed(payee);
                }
                Effect::Alert(alert) => {
                    if matches!(alert, Alert::Overtaken { .. }) {
                        payee.is_quarantined = true;
                        let payout = payee.channel.as_ref().map(|payer| payer.channel().terms.payee);
                        let marks = [Mark::Payee(Hex(*key))].into_iter().chain(payout.map(Mark::Payout));
                        for mark in marks.chain(payee.marks.iter().cloned()) {
                            entry.quarantined(&mut self.quarantine, *key, mark);
                        }
                        tracing::error!(channel = %account, payee = %Hex(*key), why = %Chain(&alert), "a worker took more than it earned; it gets no requests any more");
                    } else if payee.is_to_be_told(&alert) {
                        tracing::warn!(channel = %account, payee = %Hex(*key), why = %Chain(&alert), "something is wrong with a channel to a worker");
                    }
                }
                Effect::Buried(tombstone) => {
                    // What it has signed, it may have been paid without our seeing it.
                    let signed = payee.channel.as_ref().and_then(Payer::settlement);
                    let signed = signed.map_or(Nano::ZERO, |settlement| settlement.take().amount());
                    let unpaid = tombstone.spent.saturating_sub(tombstone.claimed.max(signed));
                    payee.lost = payee.loss();
                    if !unpaid.is_zero() && !payee.is_quarantined {
                        payee.owed = payee.owed.saturating_add(unpaid);
                        entry.owed(payee);
                    }
                    tracing::info!(channel = %account, spent = %tombstone.spent, claimed = %tombstone.claimed, "a channel to a worker is over");
                    payee.buried.insert(account);
                    if let Some(payer) = payee.channel.take() {
                        self.set_apart.extend(journal::lines(*key, &payer));
                    }
                    self.accounts.remove(&account);
                    self.acts.forget(&account);
                    self.over.push(account);
                }
            }
        }
    }
}

impl Entry {
    pub(super) fn quarantined(&mut self, quarantine: &mut Quarantine, thief: PayeeId, mark: Mark) {
        if quarantine.add(thief, mark.clone()) {
            let payee = Hex(thief);
            self.lines.push(Line::Quarantined { payee, mark });
        }
    }

    pub(super) fn owed(&mut self, payee: &Payee) {
        self.lines.push(Line::Owed {
            payee: Hex(payee.key),
            amount: payee.owed,
        });
    }
}
