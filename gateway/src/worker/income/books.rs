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
/// What was signed and not settled for so long is not ours for sure: it counts as not paid.
const UNSETTLED_MS: i64 = 6 * 3_600_000;
/// Between two times that a person is told of a channel that closes.
const AGAIN_MS: i64 = 3_600_000;
/// Channels of one gateway at a time that are not over.
const OF_ONE: usize = 16;

#[derive(Default)]
pub(super) struct Books {
    pub(super) channels: BTreeMap<Account, Kept>,
    pub(super) buried: BTreeSet<Account>,
    pub(super) owed: BTreeMap<KeyDigest, Nano>,
    /// Where each gateway is reached. One whose key is new at each start is there under many.
    pub(super) names: BTreeMap<KeyDigest, String>,
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
        // One that was not laid down before the end is laid down now.
        let signed = restored.channels.iter().filter_map(|(account, kept)| {
            let is_alive = kept.payee.phase() != Phase::Gone;
            let settlement = kept.payee.settlement().filter(|_| is_alive)?;
            Some((*account, settlement.claim()))
        });
        Self {
            blobs: signed.collect(),
            names: restored.names,
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
            // Anybody can offer a channel of somebody else; who never paid from it does not end it.
            if matches!(notice, Notice::Close { .. }) && !is_proved(&kept.payee) {
                return;
            }
            match &notice {
                Notice::Reestablish { .. } => kept.is_asked = true,
                Notice::Voucher { .. } | Notice::Tally { .. } => kept.is_asked = false,
                _ => {}
            }
        }
        self.fold(entry, fresh, now_ms);
        self.step(entry, account, Event::Notice(notice), now_ms);
    }

    /// What another gateway says of a channel than the one that offered it first. Everybody can read a channel's terms on the
    /// chain, and offer it; a voucher is signed by who pays.
    pub(super) fn contend(
        &mut self,
        entry: &mut Entry,
        gateway: KeyDigest,
        account: Account,
        notice: Notice,
        fresh: impl Fn() -> HoldId,
        now_ms: i64,
    ) {
        let Some(kept) = self.channels.get_mut(&account) else {
            return;
        };
        if is_proved(&kept.payee) {
            return;
        }
        let (id, keys) = (kept.payee.channel().id, kept.payee.channel().keys);
        match &notice {
            Notice::Offer { .. } => self.say(&gateway, Envelope::new(&id, Notice::Accept {})),
            Notice::Voucher { voucher, .. } if voucher.verify(&keys, &id).is_ok() => {
                tracing::warn!(channel = %account, from = %kept.gateway, to = %gateway, "a channel was offered by another gateway than the one that pays from it");
                kept.gateway = gateway;
                self.hear(entry, account, notice, fresh, now_ms);
            }
            _ => {}
        }
    }

    /// Whether one more channel of this gateway may be looked up.
    pub(super) fn has_place(&self, gateway: &KeyDigest) -> bool {
        let theirs = self.channels.values().filter(|kept| kept.gateway == *gateway);
        theirs.filter(|kept| kept.payee.phase() != Phase::Gone).count() < OF_ONE
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
    pub(super) fn meet(
        &mut self,
        entry: &mut Entry,
        gateway: KeyDigest,
        name: &str,
        notices: Notices,
        now_ms: i64,
    ) -> u64 {
        self.serial = self.serial.saturating_add(1);
        self.names.insert(gateway, name.to_owned());
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
                if !self.owed.contains_key(gateway) {
                    self.names.remove(gateway);
                }
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
            let is_open = kept.payee.phase() == Phase::Serving && !kept.is_asked && is_proved(&kept.payee);
            kept.gateway == *gateway && is_open
        };
        let kept = self.channels.values_mut().filter(serving);
        let kept = kept.max_by_key(|kept| room(&kept.payee))?;
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
            at: self.names.get(gateway).cloned(),
        });
        if owed.is_zero() {
            self.owed.remove(gateway);
        } else {
            self.owed.insert(*gateway, owed);
        }
    }

    /// What a gateway has not covered of what we earned, and what it has not brought to the chain for hours. Of one that never
    /// paid, with what others owe that were in its place and never paid: a new key is no new credit.
    pub(super) fn unpaid(&self, gateway: &KeyDigest, now_ms: i64) -> Nano {
        let theirs = self.channels.values().filter(|kept| kept.gateway == *gateway);
        let uncovered = theirs.filter(|kept| kept.payee.phase() != Phase::Gone).map(|kept| {
            let payee = &kept.payee;
            let covered = payee.voucher_max().min(payee.deposited());
            let sure = if kept.is_unsettled(now_ms) {
                payee.claimed().min(covered)
            } else {
                covered
            };
            payee.earned().saturating_sub(sure)
        });
        let owed = self.owed.get(gateway).copied().unwrap_or_default();
        let own = uncovered.fold(owed, Nano::saturating_add);
        let Some(name) = self.names.get(gateway).filter(|_| !self.has_paid(gateway)) else {
            return own;
        };
        let is_another =
            |other: &&KeyDigest| *other != gateway && self.names.get(*other) == Some(name) && !self.has_paid(other);
        let others = self.owed.iter().filter(|(other, _)| is_another(other));
        others.map(|(_, owed)| *owed).fold(own, Nano::saturating_add)
    }

    fn has_paid(&self, gateway: &KeyDigest) -> bool {
        let mut theirs = self.channels.values().filter(|kept| kept.gateway == *gateway);
        theirs.any(|kept| is_proved(&kept.payee))
    }

    /// What was settled since the last time; and channels that close before all is settled, of which a person is to be told
    /// now: until when, and what is lost then.
    pub(super) fn watch(&mut self, now_ms: i64) -> Vec<(Account, u32, Nano)> {
        let mut closing = Vec::new();
        for (account, kept) in &mut self.channels {
            let payee = &kept.payee;
            if payee.phase() == Phase::Gone {
                continue;
            }
            let claimed = payee.claimed();
            // Not what was signed alone: who pays may agree to nothing, and then there is nothing to sign.
            let covered = payee.earned().min(payee.voucher_max()).min(payee.deposited());
            let is_all = payee.take() <= claimed && covered.saturating_sub(claimed) <= payee.settle_above();
            match kept.settled {
                Some((known, at_ms)) if known == claimed && !is_all && at_ms <= now_ms => {}
                _ => kept.settled = Some((claimed, now_ms)),
            }
            let left = payee.earned().min(payee.voucher_max()).saturating_sub(claimed);
            let Some(close_at) = payee.close_at().filter(|_| !left.is_zero()) else {
                continue;
            };
            let is_due = |told_ms: i64| !(0..AGAIN_MS).contains(&now_ms.saturating_sub(told_ms));
            if kept.told_ms.is_none_or(is_due) {
                kept.told_ms = Some(now_ms);
                closing.push((*account, close_at, left));
            }
        }
        closing
    }
}

impl Kept {
    /// Whether what was signed waits for hours already.
    fn is_unsettled(&self, now_ms: i64) -> bool {
        self.settled
            .is_some_and(|(_, since_ms)| now_ms.saturating_sub(since_ms) >= UNSETTLED_MS)
    }
}

/// Whether who pays from it has shown so: with a voucher.
fn is_proved(payee: &Payee) -> bool {
    !payee.voucher_max().is_zero()
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
        // Said again and again, with what to do.
        Alert::Closing { .. } => {}
        Alert::Waived { .. } => {
            tracing::warn!(%channel, why = %Chain(alert), "a gateway pays less than this worker counted, and it is let go");
        }
        _ => tracing::warn!(%channel, why = %Chain(alert), "something is wrong with a channel that pays this worker"),
    }
}

#[cfg(test)]
mod tests;
