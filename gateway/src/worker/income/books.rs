//! The books of a worker: its channels, what gateways owe beyond them, and whom to tell.

use std::collections::{BTreeMap, BTreeSet};

use attestation::Hex;
use billing::{
    Nano,
    channel::{
        Account, Blob, Envelope, HoldId, Notice, Payee,
        payee::{Alert, Effect, Event, Phase},
    },
};

use super::journal::{Kept, Line, Restored};
use crate::{config::KeyDigest, control::Notices, frames::Then, layers::rescue::Chain};

/// What a piece of work under way is marked with, for it to be seen that something is under way.
const MARK: Nano = Nano::saturating(1);

#[derive(Default)]
pub(super) struct Books {
    pub(super) channels: BTreeMap<Account, Kept>,
    pub(super) buried: BTreeSet<Account>,
    pub(super) owed: BTreeMap<KeyDigest, Nano>,
    links: BTreeMap<KeyDigest, Vec<(u64, Notices)>>,
    serial: u64,
    /// Settlements that are to lie where a watch finds them.
    pub(super) blobs: BTreeMap<Account, Blob>,
    /// Channels that are not to be followed any more.
    pub(super) over: Vec<Account>,
}

/// What is to be written of one moment.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) lines: Vec<Line>,
    pub(super) then: Vec<Then>,
}

impl Books {
    pub(super) fn new(restored: Restored) -> Self {
        Self {
            channels: restored.channels,
            buried: restored.buried,
            owed: restored.owed,
            ..Self::default()
        }
    }

    pub(super) fn step(&mut self, entry: &mut Entry, account: Account, event: Event, now_ms: i64) {
        if let Some(kept) = self.channels.get_mut(&account) {
            let effects = kept.payee.step(event, now_ms);
            self.perform(entry, account, effects);
        }
    }

    /// What a gateway says of its channel. What it owes beside goes in first: it may be that which is spoken of.
    pub(super) fn hear(
        &mut self,
        entry: &mut Entry,
        account: Account,
        notice: Notice,
        fresh: impl Fn() -> HoldId,
        now_ms: i64,
    ) {
        if let Some(kept) = self.channels.get_mut(&account) {
            match &notice {
                Notice::Reestablish { .. } => kept.is_asked = true,
                Notice::Voucher { .. } | Notice::Tally { .. } => kept.is_asked = false,
                _ => {}
            }
        }
        self.fold(entry, fresh, now_ms);
        self.step(entry, account, Event::Notice(notice), now_ms);
    }

    pub(super) fn perform(&mut self, entry: &mut Entry, account: Account, effects: Vec<Effect>) {
        let Some(kept) = self.channels.get(&account) else {
            return;
        };
        let (gateway, id) = (kept.gateway, kept.payee.channel().id);
        for effect in effects {
            match effect {
                Effect::Persist(record, ticket) => {
                    entry.lines.push(Line::Channel {
                        gateway: Hex(gateway.0),
                        account,
                        record,
                    });
                    entry.then.push(Then::Tell(account, ticket));
                }
                Effect::Send(notice) => self.say(&gateway, Envelope::new(&id, notice)),
                Effect::Watch(blob) => {
                    self.blobs.insert(account, blob);
                }
                // The gateway pays the gas; whoever watches may too.
                Effect::Settle(settlement) => {
                    let take = settlement.take().claim();
                    self.blobs.insert(account, settlement.claim());
                    self.say(&gateway, Envelope::new(&id, Notice::Take { take }));
                }
                Effect::Headroom(_) | Effect::Committed(_) => {}
                Effect::Alert(alert) => {
                    if let Alert::Admitted { earned, says } = alert {
                        // It is the same work, counted beside the channel.
                        self.admitted(entry, &gateway, says.saturating_sub(earned));
                    }
                    tell(&account, &alert);
                }
                Effect::Buried(tombstone) => {
                    tracing::info!(channel = %account, earned = %tombstone.spent, claimed = %tombstone.claimed, "a channel that paid this worker is over");
                    self.buried.insert(account);
                    self.over.push(account);
                }
            }
        }
    }

    /// A new connection to a gateway.
    pub(super) fn meet(&mut self, entry: &mut Entry, gateway: KeyDigest, notices: Notices, now_ms: i64) -> u64 {
        self.serial = self.serial.saturating_add(1);
        self.links.entry(gateway).or_default().push((self.serial, notices));
        for account in self.of(&gateway) {
            self.step(entry, account, Event::Connected, now_ms);
        }
        self.serial
    }

    pub(super) fn part(&mut self, gateway: &KeyDigest, serial: u64) {
        if let Some(links) = self.links.get_mut(gateway) {
            links.retain(|(known, _)| *known != serial);
            if links.is_empty() {
                self.links.remove(gateway);
            }
        }
    }

    /// Whoever cannot be reached is told again.
    pub(super) fn say(&self, gateway: &KeyDigest, envelope: Envelope) {
        if let Some((_, notices)) = self.links.get(gateway).and_then(|links| links.last()) {
            drop(notices.try_send(envelope));
        }
    }

    fn of(&self, gateway: &KeyDigest) -> Vec<Account> {
        let theirs = self.channels.iter().filter(|(_, kept)| kept.gateway == *gateway);
        theirs.map(|(account, _)| *account).collect()
    }

    /// A piece of work begins; the channel that it is marked in.
    pub(super) fn begin(
        &mut self,
        entry: &mut Entry,
        gateway: &KeyDigest,
        hold: HoldId,
        now_ms: i64,
    ) -> Option<Account> {
        let serving = |kept: &&mut Kept| {
            let is_open = kept.payee.phase() == Phase::Serving && !kept.is_asked;
            kept.gateway == *gateway && is_open
        };
        let kept = self.channels.values_mut().find(serving)?;
        let account = kept.payee.channel().id.account;
        let is_marked = kept.payee.reserve(hold, MARK, now_ms).is_ok();
        let effects = kept.payee.effects();
        self.perform(entry, account, effects);
        is_marked.then_some(account)
    }

    /// It has ended, and `amount` was earned: in the channel as far as that has room, beyond it on credit.
    pub(super) fn end(
        &mut self,
        entry: &mut Entry,
        gateway: &KeyDigest,
        marked: Option<Account>,
        hold: HoldId,
        amount: Nano,
        now_ms: i64,
    ) {
        let mut left = amount;
        if let Some(account) = marked {
            left = left.saturating_sub(self.capture(entry, account, hold, left, now_ms));
        }
        if !left.is_zero() {
            let owed = self.owed.get(gateway).copied().unwrap_or_default().saturating_add(left);
            self.owe(entry, gateway, owed);
        }
    }

    /// What of `amount` the channel takes.
    fn capture(&mut self, entry: &mut Entry, account: Account, hold: HoldId, amount: Nano, now_ms: i64) -> Nano {
        let Some(kept) = self.channels.get_mut(&account) else {
            return Nano::ZERO;
        };
        let payee = &mut kept.payee;
        let part = amount.min(room(payee));
        let is_captured =
            !part.is_zero() && payee.reserve(hold, part, now_ms).is_ok() && payee.commit(hold, part).is_ok();
        if !is_captured {
            // It may be that of a channel that has ended.
            payee.release(hold).ok();
        }
        let effects = payee.effects();
        self.perform(entry, account, effects);
        if is_captured { part } else { Nano::ZERO }
    }

    /// What a gateway owes goes into its channel, where that has room.
    pub(super) fn fold(&mut self, entry: &mut Entry, fresh: impl Fn() -> HoldId, now_ms: i64) {
        let owing: Vec<KeyDigest> = self.owed.keys().copied().collect();
        for gateway in owing {
            let owed = self.owed.get(&gateway).copied().unwrap_or_default();
            let hold = fresh();
            let Some(account) = self.begin(entry, &gateway, hold, now_ms) else {
                continue;
            };
            let taken = self.capture(entry, account, hold, owed, now_ms);
            if !taken.is_zero() {
                self.owe(entry, &gateway, owed.saturating_sub(taken));
            }
        }
    }

    fn admitted(&mut self, entry: &mut Entry, gateway: &KeyDigest, more: Nano) {
        if let Some(owed) = self.owed.get(gateway).copied() {
            self.owe(entry, gateway, owed.saturating_sub(more));
        }
    }

    fn owe(&mut self, entry: &mut Entry, gateway: &KeyDigest, owed: Nano) {
        entry.lines.push(Line::Owed {
            gateway: Hex(gateway.0),
            amount: owed,
        });
        if owed.is_zero() {
            self.owed.remove(gateway);
        } else {
            self.owed.insert(*gateway, owed);
        }
    }

    /// What a gateway has not covered of what we earned.
    pub(super) fn unpaid(&self, gateway: &KeyDigest) -> Nano {
        let theirs = self.channels.values().filter(|kept| kept.gateway == *gateway);
        let uncovered = theirs.filter(|kept| kept.payee.phase() != Phase::Gone).map(|kept| {
            let payee = &kept.payee;
            let covered = payee.voucher_max().min(payee.deposited());
            payee.earned().saturating_sub(covered)
        });
        let owed = self.owed.get(gateway).copied().unwrap_or_default();
        uncovered.fold(owed, Nano::saturating_add)
    }
}

/// What of the deposit is not earned yet.
fn room(payee: &Payee) -> Nano {
    payee.deposited().saturating_sub(payee.earned())
}

fn tell(channel: &Account, alert: &Alert) {
    match alert {
        // A client that left, a crash of ours: what the gateway admits is taken.
        Alert::Admitted { .. } => {
            tracing::debug!(%channel, why = %Chain(alert), "a gateway says that this worker earned more than it counted");
        }
        Alert::Waived { .. } => {
            tracing::warn!(%channel, why = %Chain(alert), "a gateway pays less than this worker counted, and it is let go");
        }
        _ => tracing::warn!(%channel, why = %Chain(alert), "something is wrong with a channel that pays this worker"),
    }
}
