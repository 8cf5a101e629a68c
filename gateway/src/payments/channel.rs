//! A channel as this gateway knows it: what never changes, and what the database said last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing::{
    AccountId, Currency, Nano, Payer, Span,
    channel::{
        ChannelId, ClaimedVoucher, Keys, OnChain, Terms,
        x402::{self, ChannelState, Receipt, ReceiptExtra, VoucherState},
    },
    receipt::PaidBy,
};
use billing_store::ledger::{Facts, Stage, StoredChannel, channel_account};
use http::{HeaderName, HeaderValue};

use super::PaymentError;
use crate::{accounts::Account, limiter::Limiters};

/// Of answers to who pays by channel: what was charged, and where the channel stands.
pub(crate) const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static(x402::RESPONSE);

pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) terms: Terms,
    pub(crate) keys: Keys,
    payer: Arc<Payer>,
    now: Mutex<Now>,
}

/// What changes.
#[derive(Clone, Copy)]
struct Now {
    /// Of stage and facts.
    revision: i64,
    stage: Stage,
    facts: Facts,
    voucher: Option<ClaimedVoucher>,
    /// What was put on its account.
    credited: Nano,
    /// What was charged, as far as it is known here: other gateways may have charged more.
    spent: Nano,
    /// What is held here for requests that run.
    held: Nano,
    /// Since when, by the chain's time, a source shows no contract.
    absent_since: Option<u32>,
}

impl Channel {
    pub(super) fn new(stored: &StoredChannel) -> Self {
        let organisation = channel_account(&stored.id);
        Self {
            id: stored.id,
            terms: stored.terms,
            keys: stored.keys,
            payer: Arc::new(Payer {
                bounds: vec![(organisation.clone(), Span::Total)],
                organisation,
                team: None,
                key: None,
                currency: Currency::TON,
            }),
            now: Mutex::new(Now {
                revision: stored.revision,
                stage: stored.stage,
                facts: stored.facts,
                voucher: stored.voucher,
                credited: stored.credited,
                spent: stored.spent,
                held: Nano::ZERO,
                absent_since: None,
            }),
        }
    }

    /// Who asks when the channel speaks.
    pub(super) fn account(self: &Arc<Self>, limiters: &Limiters) -> Arc<Account> {
        Arc::new(Account::of_channel(self.clone(), limiters))
    }

    pub(crate) fn payer(&self) -> &Arc<Payer> {
        &self.payer
    }

    /// Its account in the ledger.
    pub(super) fn organisation(&self) -> &AccountId {
        &self.payer.organisation
    }

    pub(super) fn voucher_max(&self) -> Nano {
        self.now().voucher.map_or(Nano::ZERO, |voucher| voucher.max)
    }

    pub(super) fn credited(&self) -> Nano {
        self.now().credited
    }

    /// Whether nothing is left of what its vouchers and its deposit cover.
    pub(crate) fn is_spent(&self) -> bool {
        let now = self.now();
        now.spent >= now.credited
    }

    /// What was earned and not claimed, as far as it is known here.
    pub(super) fn owed(&self) -> Nano {
        let now = self.now();
        let earned = now.spent.min(now.credited);
        earned.saturating_sub(now.facts.on_chain.claimed)
    }

    /// The newest block that something was taken of.
    pub(super) fn seqno(&self) -> u32 {
        self.now().facts.seqno
    }

    /// The chain shows it.
    pub(super) fn shown(&self) {
        self.now().absent_since = None;
    }

    /// The chain does not show it, at this time of its own; says whether it has not for so long.
    pub(super) fn is_gone(&self, time: u32, after_s: u32) -> bool {
        let since = *self.now().absent_since.get_or_insert(time);
        time.saturating_sub(since) >= after_s
    }

    pub(super) fn on_chain(&self) -> OnChain {
        self.now().facts.on_chain
    }

    /// What a request says of its channel lets nobody in where the channel that is known is another: signatures were
    /// checked by the request's own keys.
    pub(super) fn refuse_others(&self, terms: &Terms, keys: &Keys) -> Result<(), PaymentError> {
        if (terms, keys) == (&self.terms, &self.keys) {
            Ok(())
        } else {
            Err(PaymentError::Others)
        }
    }

    /// New work is taken for an open one only, and for none of which it is not known whether it is there.
    pub(super) fn refuse_ended(&self) -> Result<(), PaymentError> {
        let now = *self.now();
        match now.stage {
            Stage::Open if now.absent_since.is_some() => Err(PaymentError::Unseen),
            Stage::Open => Ok(()),
            Stage::Stopping | Stage::Closed => Err(PaymentError::Ended),
        }
    }

    /// Takes what the database says, which may be older than what is here; says whether there is more money.
    pub(super) fn take_in(&self, stored: &StoredChannel) -> bool {
        let mut now = self.now();
        now.stage = now.stage.max(stored.stage);
        if stored.revision >= now.revision {
            now.revision = stored.revision;
            now.facts = stored.facts;
        }
        if stored.voucher.map(|voucher| voucher.max) > now.voucher.map(|voucher| voucher.max) {
            now.voucher = stored.voucher;
        }
        // Charges on their way may be in there, and are added when this process hears that they are durable.
        now.spent = now.spent.max(stored.spent.saturating_sub(now.held));
        let is_more = stored.credited > now.credited;
        now.credited = now.credited.max(stored.credited);
        is_more
    }

    /// Where it stands, as far as is known here.
    pub(super) fn state(&self) -> (ChannelState, Option<VoucherState>) {
        let now = *self.now();
        let state = ChannelState::new(&self.id, &self.terms, &now.facts.on_chain, now.spent).holding(now.held);
        (state, now.voucher.as_ref().map(VoucherState::from))
    }

    /// What a receipt says of a charge of so much; `None` where the voucher that covers it came to another gateway, and
    /// was not heard of here.
    pub(crate) fn covers(&self, amount: Nano) -> Option<Box<PaidBy>> {
        let now = *self.now();
        let voucher = now.voucher?;
        let charged = now.spent.saturating_add(amount);
        (charged <= voucher.max).then(|| {
            Box::new(PaidBy {
                network: self.id.network,
                channel: self.id.account,
                payer: self.keys.payer,
                max: voucher.max,
                signature: voucher.signature,
                charged,
            })
        })
    }

    /// Notes what is held for a request that runs.
    pub(crate) fn hold(self: &Arc<Self>, amount: Nano) -> Held {
        let mut now = self.now();
        now.held = now.held.saturating_add(amount);
        drop(now);
        Held {
            channel: self.clone(),
            amount,
        }
    }

    /// What an answer says that cost so much.
    pub(crate) fn response(&self, charged_amount: Nano) -> Option<HeaderValue> {
        let (channel_state, voucher_state) = self.state();
        let receipt = Receipt {
            success: true,
            transaction: String::new(),
            network: self.id.network,
            payer: self.terms.payer,
            extra: ReceiptExtra {
                charged_amount,
                channel_state,
                voucher_state,
            },
        };
        HeaderValue::try_from(x402::encode(&receipt)).ok()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is held for a request of a channel. Dropped, nothing was charged.
#[derive(Debug)]
#[must_use = "what is dropped is held no more"]
pub(crate) struct Held {
    channel: Arc<Channel>,
    amount: Nano,
}

impl Held {
    /// The charge is durable.
    pub(crate) fn charged(self, amount: Nano) {
        let mut now = self.channel.now();
        now.spent = now.spent.saturating_add(amount);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut now = self.channel.now();
        now.held = now.held.saturating_sub(self.amount);
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({})", self.id.account)
    }
}

#[cfg(test)]
mod tests {
    use billing::channel::{Account, Network};

    use super::*;

    fn stored() -> StoredChannel {
        let account = |byte| Account {
            workchain: 0,
            hash: [byte; 32],
        };
        StoredChannel {
            side: billing_store::ledger::Side::Payee,
            id: ChannelId {
                network: Network::TESTNET,
                account: account(9),
            },
            terms: Terms {
                network: Network::TESTNET,
                close_delay_s: 86_400,
                fee_bps: 0,
                salt: 1,
                payer: account(1),
                payee: account(2),
                fee_dest: account(2),
            },
            keys: Keys {
                payer: [4; 32],
                payee: [5; 32],
            },
            facts: Facts {
                seqno: 1,
                on_chain: OnChain {
                    close_at: None,
                    deposited: Nano::ZERO,
                    claimed: Nano::ZERO,
                },
            },
            confirmed: Nano::ZERO,
            stage: Stage::Open,
            voucher: None,
            take: None,
            credited: Nano::ZERO,
            spent: Nano::ZERO,
            revision: 1,
            created_at_ms: 0,
            closed_at_ms: None,
        }
    }

    /// What was held is charged once, whoever tells of it first.
    #[test]
    fn a_charge_is_counted_once() {
        let nano = Nano::saturating;
        let mut stored = stored();
        let channel = Arc::new(Channel::new(&stored));
        let standing = |spent, held| {
            let state = channel.state().0;
            assert_eq!(
                (state.charged_cumulative_amount, state.held_amount),
                (nano(spent), nano(held))
            );
        };
        let (first, second) = (channel.hold(nano(50)), channel.hold(nano(30)));
        standing(0, 80);
        // The database has it before we hear of it.
        stored.spent = nano(20);
        channel.take_in(&stored);
        first.charged(nano(20));
        standing(20, 30);
        drop(second);
        standing(20, 0);
        // Charges of others.
        stored.spent = nano(45);
        channel.take_in(&stored);
        standing(45, 0);
        stored.spent = nano(44);
        channel.take_in(&stored);
        standing(45, 0);
    }

    /// One read of "not there" ends nothing: many servers answer under one name, and not all know the same.
    #[test]
    fn a_channel_is_gone_when_it_is_absent_for_long() {
        let channel = Channel::new(&stored());
        assert!(!channel.is_gone(1000, 120));
        assert!(matches!(channel.refuse_ended(), Err(PaymentError::Unseen)));
        assert!(!channel.is_gone(1119, 120));
        channel.shown();
        assert!(channel.refuse_ended().is_ok());
        assert!(!channel.is_gone(1200, 120));
        assert!(channel.is_gone(1320, 120));
    }

    /// Whatever the address says: keys of a request are compared with those that are known.
    #[test]
    fn keys_of_a_request_are_those_that_are_known() {
        let channel = Channel::new(&stored());
        let (terms, keys) = (channel.terms, channel.keys);
        assert!(channel.refuse_others(&terms, &keys).is_ok());
        let theirs = Keys { payer: [6; 32], ..keys };
        assert!(matches!(
            channel.refuse_others(&terms, &theirs),
            Err(PaymentError::Others)
        ));
        let salted = Terms { salt: 2, ..terms };
        assert!(matches!(
            channel.refuse_others(&salted, &keys),
            Err(PaymentError::Others)
        ));
    }
}
