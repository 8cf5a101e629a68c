//! What is known of all who are paid, and what their channels ask for.

use std::{collections::BTreeMap, sync::Arc};

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
    journal::{self, Line, Payees},
    payee::{Payee, PayeeId},
};
use crate::{frames::Then, layers::rescue::Chain};

pub(super) struct State {
    pub(super) purse: Purse,
    pub(super) payees: Payees,
    /// What is kept of channels that are over.
    pub(super) tombstones: Vec<Vec<Line>>,
    /// Entries since the journal was made shorter.
    pub(super) entries: u64,
    /// Who is at which upstream now.
    pub(super) places: BTreeMap<Arc<str>, Place>,
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
    pub(super) fn new(purse: Purse, payees: Payees, tombstones: Vec<Vec<Line>>) -> Self {
        let of = |payee: &Payee| Some((payee.channel.as_ref()?.channel().id.account, payee.key));
        Self {
            purse,
            accounts: payees.values().filter_map(of).collect(),
            payees,
            tombstones,
            entries: 0,
            places: BTreeMap::new(),
            serial: 0,
            acts: Acts::default(),
            new: Vec::new(),
            over: Vec::new(),
        }
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
                Effect::Send(notice) => {
                    // Whoever cannot be reached is told again.
                    if let Some((_, notices)) = payee.links.last() {
                        drop(notices.try_send(Envelope::new(&id, notice)));
                    }
                }
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
                        tracing::error!(channel = %account, payee = %Hex(*key), why = %Chain(&alert), "a worker took more than it earned; it gets no requests any more");
                    } else {
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
                        self.tombstones.extend(journal::lines(*key, &payer));
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
    pub(super) fn owed(&mut self, payee: &Payee) {
        self.lines.push(Line::Owed {
            payee: Hex(payee.key),
            amount: payee.owed,
        });
    }
}
