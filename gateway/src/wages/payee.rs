//! A worker that is paid: its channel, what it is owed beyond that, and what of both may still be disputed.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use billing::{
    Nano,
    channel::{
        Account, Channel, ChannelId, FundRefusal, Keys, Payer, PublicKey, Purse, Signer, Slack, Terms,
        payer::{Alert, Effect, Event, OpenRefusal, PayerPolicy, Phase, Trust},
    },
};
use billing_ton::contract;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::control::{Notices, PayOffer};

/// Amounts that mature apart; what comes within a second goes together.
const APART_MS: i64 = 1_000;
/// A worker that was not seen for a week has its channel closed.
const AWAY_MS: i64 = 7 * 24 * 3_600_000;
/// A take of which the chain shows nothing is brought there again: the settler may have declined it.
const SETTLED_AGAIN: Duration = Duration::from_secs(60);
/// After a channel that was refused the next one is opened so late, and twice as late after each further one.
const REST_MS: i64 = 3_600_000;
const LAST_REST_MS: i64 = 7 * 24 * 3_600_000;

/// A worker that is paid at an address, as [`id`] makes it.
pub(super) type PayeeId = [u8; 32];

/// Who is paid where: nobody who names another's key has what the other earned, or changes where it goes. A worker that
/// an operator named is one of its place; of those that enrolled themselves all with one key and one address are one.
pub(super) fn id(place: Option<&Arc<str>>, offer: &PayOffer) -> PayeeId {
    let place = place.map(|place| place.as_bytes()).unwrap_or_default();
    Sha256::new()
        .chain_update(u64::try_from(place.len()).unwrap_or(u64::MAX).to_be_bytes())
        .chain_update(place)
        .chain_update(offer.network.0.to_be_bytes())
        .chain_update(offer.payee_key.0)
        .chain_update(offer.payout.hash)
        .chain_update(offer.fee_bps.to_be_bytes())
        .chain_update(offer.fee_dest.hash)
        .finalize()
        .into()
}

pub(super) struct Payee {
    pub(super) key: PayeeId,
    /// What it said last.
    pub(super) offer: Option<PayOffer>,
    pub(super) trust: Trust,
    /// Earned, and in no channel.
    pub(super) owed: Nano,
    /// The ceilings of work that is in no channel.
    pub(super) under_way: Nano,
    /// Of `owed` and of what its channel has spent, what may still be disputed: when it was earned, the oldest first.
    fresh: VecDeque<(i64, Nano)>,
    told_matured: Nano,
    pub(super) channel: Option<Payer>,
    /// Channels that are over: their addresses are never paid into again.
    pub(super) buried: BTreeSet<Account>,
    /// It took more than it had earned.
    pub(super) is_quarantined: bool,
    /// What it took so on channels that are over.
    pub(super) lost: Nano,
    pub(super) settling: Settling,
    /// When the settler took no deposit.
    pub(super) declined: Option<Instant>,
    pub(super) links: Vec<(u64, Notices)>,
    refused: Option<FundRefusal>,
    /// Channels in a row that it refused: each has cost gas, and its deposit a day.
    refusals: u32,
    /// Until then no other one is opened.
    rests_until_ms: Option<i64>,
    /// Since when it is not connected.
    away_ms: Option<i64>,
}

/// What opening a channel takes.
pub(super) struct Opening<'a> {
    pub(super) signer: &'a Arc<Signer>,
    pub(super) wallet: Account,
    pub(super) salt: u128,
    pub(super) deposit: Nano,
    pub(super) policy: PayerPolicy,
}

/// The take that is on its way to the contract, and since when.
#[derive(Debug, Default)]
pub(super) struct Settling(Option<(Nano, Instant)>);

impl Settling {
    /// Whether a take of so much is to be brought there, and then it is on its way.
    pub(super) fn is_new(&mut self, amount: Nano) -> bool {
        let is_new = self
            .0
            .is_none_or(|(last, since)| amount > last || since.elapsed() >= SETTLED_AGAIN);
        if is_new {
            self.0 = Some((amount, Instant::now()));
        }
        is_new
    }
}

/// Why no channel is opened where one is due.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    #[error("its terms do not work out")]
    Terms(#[from] contract::BadTerms),
    #[error(transparent)]
    Refused(#[from] OpenRefusal),
}

impl Payee {
    pub(super) fn new(key: PayeeId) -> Self {
        Self {
            key,
            offer: None,
            trust: Trust::Credit,
            owed: Nano::ZERO,
            under_way: Nano::ZERO,
            fresh: VecDeque::new(),
            told_matured: Nano::ZERO,
            channel: None,
            buried: BTreeSet::new(),
            is_quarantined: false,
            lost: Nano::ZERO,
            settling: Settling::default(),
            declined: None,
            links: Vec::new(),
            refused: None,
            refusals: 0,
            rests_until_ms: None,
            away_ms: None,
        }
    }

    /// The key that signs what it takes, once that is known.
    pub(super) fn public(&self) -> Option<PublicKey> {
        let of_channel = self.channel.as_ref().map(|payer| payer.channel().keys.payee);
        of_channel.or_else(|| Some(self.offer?.payee_key.0))
    }

    /// What it took and had not earned.
    pub(super) fn loss(&self) -> Nano {
        let now = self.channel.as_ref().map_or(Nano::ZERO, Payer::loss);
        self.lost.saturating_add(now)
    }

    /// Whether it has not been seen for so long that its deposit is wanted back.
    pub(super) fn is_away_for_good(&mut self, now_ms: i64) -> bool {
        if !self.links.is_empty() {
            self.away_ms = None;
            return false;
        }
        let since = *self.away_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since.min(now_ms)) >= AWAY_MS
    }

    /// After a restart: when what was earned was earned is not known, and so all of it is as if it were new.
    pub(super) fn restored(&mut self, now_ms: i64) {
        let uncovered = self
            .channel
            .as_ref()
            .map_or(Nano::ZERO, |payer| payer.spent().saturating_sub(payer.voucher_max()));
        self.note(uncovered.saturating_add(self.owed), now_ms);
    }

    /// So much was earned.
    pub(super) fn note(&mut self, amount: Nano, now_ms: i64) {
        if amount.is_zero() {
            return;
        }
        match self.fresh.back_mut() {
            Some((since, sum)) if now_ms.saturating_sub(*since) < APART_MS => *sum = sum.saturating_add(amount),
            _ => self.fresh.push_back((now_ms, amount)),
        }
    }

    fn immature(&self) -> Nano {
        let amounts = self.fresh.iter().map(|(_, amount)| *amount);
        amounts.fold(Nano::ZERO, Nano::saturating_add)
    }

    /// What has been earned for so long cannot be disputed any more; what the channel is to be told of it.
    pub(super) fn mature(&mut self, after: Duration, now_ms: i64) -> Option<Nano> {
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        // A clock that was set back makes nothing wait for years.
        for (since, _) in &mut self.fresh {
            *since = (*since).min(now_ms);
        }
        while let Some((since, _)) = self.fresh.front()
            && now_ms.saturating_sub(*since) >= after_ms
        {
            self.fresh.pop_front();
        }
        let immature = self.immature();
        let payer = self.channel.as_ref()?;
        // What is owed beside the channel is the newest.
        let matured = payer.spent().saturating_sub(immature.saturating_sub(self.owed));
        let is_new = matured > self.told_matured;
        self.told_matured = self.told_matured.max(matured);
        is_new.then_some(matured)
    }

    /// What the channel knows nothing of: it takes in what it has room for, and says that there is more.
    pub(super) fn tell_what_is_beside(&mut self, purse: &mut Purse) {
        if let Some(payer) = &mut self.channel {
            payer.beside(purse, self.owed, self.under_way);
        }
    }

    /// Whether a channel is due: enough has matured, and there is none.
    pub(super) fn is_due(&self, open_above: Nano) -> bool {
        let is_due = self.channel.is_none() && !self.is_quarantined && !self.links.is_empty() && self.offer.is_some();
        is_due && self.matured_beside() >= open_above
    }

    fn matured_beside(&self) -> Nano {
        self.owed.saturating_sub(self.immature())
    }

    /// Opens a channel, where one [is due](Self::is_due); says whether it did.
    pub(super) fn open(
        &mut self,
        purse: &mut Purse,
        opening: &Opening<'_>,
        now_ms: i64,
    ) -> Result<Option<ChannelId>, OpeningError> {
        let Some(offer) = self.offer else {
            return Ok(None);
        };
        if self.rests(now_ms) {
            return Ok(None);
        }
        let terms = Terms {
            network: offer.network,
            close_delay_s: offer.close_delay_s,
            fee_bps: offer.fee_bps,
            salt: opening.salt,
            payer: opening.wallet,
            payee: offer.payout,
            fee_dest: offer.fee_dest,
        };
        contract::check_terms(&terms)?;
        let keys = Keys {
            payer: opening.signer.public(),
            payee: offer.payee_key.0,
        };
        let account = contract::account(&terms, &keys);
        let id = ChannelId {
            network: terms.network,
            account,
        };
        let policy = PayerPolicy {
            trust: self.trust,
            // What it took on other channels counts.
            tolerance: Slack {
                amount: opening.policy.tolerance.amount.saturating_sub(self.lost),
                ..opening.policy.tolerance
            },
            ..opening.policy
        };
        let opened = Payer::open(
            Channel { id, keys, terms },
            opening.signer.clone(),
            policy,
            opening.deposit,
            self.matured_beside(),
            self.buried.contains(&account),
            purse,
            now_ms,
        );
        match opened {
            Ok(payer) => {
                self.channel = Some(payer);
                self.told_matured = Nano::ZERO;
                self.settling = Settling::default();
                self.declined = None;
                self.refused = None;
                Ok(Some(id))
            }
            // Told once: it is tried again and again.
            Err(OpenRefusal::Fund(refusal)) if self.refused == Some(refusal) => Ok(None),
            Err(error) => {
                if let OpenRefusal::Fund(refusal) = error {
                    self.refused = Some(refusal);
                }
                Err(error.into())
            }
        }
    }

    /// What the worker says now of its terms.
    pub(super) fn take_offer(&mut self, offer: PayOffer, trust: Trust) -> Vec<Event> {
        let mut events = Vec::new();
        if self.trust != trust {
            self.trust = trust;
            events.push(Event::Trust(trust));
        }
        self.offer = Some(offer);
        events.push(Event::Connected);
        events
    }

    /// One event for its channel.
    pub(super) fn step(&mut self, purse: &mut Purse, event: Event, now_ms: i64) -> Vec<Effect> {
        self.tell_what_is_beside(purse);
        let Some(payer) = &mut self.channel else {
            return Vec::new();
        };
        let was = payer.phase();
        let effects = payer.step(purse, event, now_ms);
        let is_refused = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alert(Alert::Refused { .. })));
        match payer.phase() {
            Phase::Open => self.refusals = 0,
            _ if was == Phase::Offered && is_refused => self.refusals = self.refusals.saturating_add(1),
            _ => {}
        }
        self.rests_until_ms = None;
        effects
    }

    /// Whether its refusal of the last channel is not long ago, counted from when that one was over.
    fn rests(&mut self, now_ms: i64) -> bool {
        if self.refusals == 0 {
            return false;
        }
        let rest_ms = REST_MS.saturating_mul(2_i64.saturating_pow(self.refusals.saturating_sub(1)));
        let rest_ms = rest_ms.min(LAST_REST_MS);
        let until = *self.rests_until_ms.get_or_insert(now_ms.saturating_add(rest_ms));
        // A clock that was set back makes nothing wait for years.
        (0..rest_ms).contains(&until.saturating_sub(now_ms).saturating_sub(1))
    }

    /// What calls between events have caused.
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        self.channel.as_mut().map(Payer::effects).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use attestation::Hex;
    use billing::channel::Network;

    use super::*;
    use crate::control::Prices;

    fn offer(payout: u8) -> PayOffer {
        let account = |byte| Account {
            workchain: 0,
            hash: [byte; 32],
        };
        PayOffer {
            network: Network::TESTNET,
            payee_key: Hex([7; 32]),
            payout: account(payout),
            fee_bps: 0,
            fee_dest: account(payout),
            close_delay_s: 86_400,
            price: Prices {
                prompt: 1,
                cached: 1,
                completion: 1,
                request: 1,
            },
        }
    }

    #[test]
    fn who_names_another_s_key_is_another() {
        let place = |name: &str| Arc::<str>::from(name);
        let (one, other) = (place("gpu/one"), place("gpu/other"));
        let honest = id(Some(&one), &offer(1));
        assert_eq!(honest, id(Some(&one), &offer(1)));
        assert_ne!(honest, id(Some(&one), &offer(2)), "another address");
        assert_ne!(honest, id(Some(&other), &offer(1)), "another place");
        assert_ne!(honest, id(None, &offer(1)), "nobody named it");
        let fee = PayOffer { fee_bps: 1, ..offer(1) };
        assert_ne!(honest, id(Some(&one), &fee));
        let price = PayOffer {
            close_delay_s: 172_800,
            ..offer(1)
        };
        assert_eq!(
            honest,
            id(Some(&one), &price),
            "terms of the next channel change nothing"
        );
    }

    #[test]
    fn what_was_earned_matures_in_its_time() {
        let mut payee = Payee::new([1; 32]);
        let nano = Nano::saturating;
        let after = Duration::from_secs(10);
        for (amount, at_ms) in [(3, 0), (4, 900), (5, 5_000)] {
            payee.note(nano(amount), at_ms);
            payee.owed = payee.owed.saturating_add(nano(amount));
        }
        payee.mature(after, 9_999);
        assert_eq!(payee.immature(), nano(12));
        // What comes within a second goes together.
        payee.mature(after, 10_000);
        assert_eq!(payee.immature(), nano(5));
        // A clock that was set back makes nothing wait for years.
        payee.mature(after, 1_000);
        payee.mature(after, 11_000);
        assert_eq!(payee.immature(), Nano::ZERO);
    }

    #[test]
    fn who_refused_a_channel_gets_the_next_one_late() {
        let mut payee = Payee::new([1; 32]);
        assert!(!payee.rests(0));
        payee.refusals = 1;
        assert!(payee.rests(1_000));
        assert!(payee.rests(1_000 + REST_MS - 1));
        assert!(!payee.rests(1_000 + REST_MS));
        payee.rests_until_ms = None;
        payee.refusals = 2;
        assert!(payee.rests(0) && payee.rests(REST_MS) && !payee.rests(2 * REST_MS));
        payee.rests_until_ms = None;
        payee.refusals = 60;
        assert!(payee.rests(0) && !payee.rests(LAST_REST_MS));
    }

    #[test]
    fn a_worker_is_away_for_good_after_a_week() {
        let mut payee = Payee::new([1; 32]);
        assert!(!payee.is_away_for_good(0));
        assert!(!payee.is_away_for_good(AWAY_MS - 1));
        assert!(payee.is_away_for_good(AWAY_MS));
        let (notices, _waiting) = crate::control::notices();
        payee.links.push((1, notices));
        assert!(!payee.is_away_for_good(2 * AWAY_MS));
        payee.links.clear();
        assert!(!payee.is_away_for_good(2 * AWAY_MS), "counted anew");
    }
}
