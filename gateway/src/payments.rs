//! Payments: clients that pay by payment channel, and what we do to be paid.
//!
//! A channel that a client names in `PAYMENT-SIGNATURE` is accepted once: the chain must show it with our code and our
//! terms, never ended before. From then on it is an account of the ledger, whose money is what its vouchers and its
//! deposit cover, and a request that shows an access proof is charged to it like one with a key.
//!
//! - [`Payments::speak`] says for which channel a request speaks; [`channel`] is a channel as this gateway knows it.
//! - [`known`] keeps channels and proofs in memory, bounded; [`accept`] asks the chain about a new one.
//! - [`follow`] asks the chain about those that are open, and signs what is to be taken.
//! - [`settling`] brings what was signed to the chain, where there is a wallet for it.
//! - [`parley`] is what payers say beside their requests.
//! - [`offer`] is what a refusal says that we accept, and [`look`] what the page at `/pay` is told.
//!
//! A voucher that is higher than any before is durable before its request goes on; what the access proof alone lets in
//! waits for nothing. Where the chain cannot be reached, channels that are known go on up to what is known, and new
//! ones are refused. What the chain and payers say is never asserted.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, atomic::AtomicU32},
};

use billing::{
    Nano,
    channel::{
        Access, ChannelId, Keys, Settlement, Signer, Terms, Voucher,
        x402::{self, Payment},
    },
};
use billing_store::{
    By, ChannelStore,
    ledger::{ChannelQuery, RaiseError, Side, Stage, StoredChannel},
};
use billing_ton::{contract, sources::Sources};
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::{
    config,
    ledger::Ledger,
    limiter::Limiters,
    wall_clock::{unix_ms, unix_seconds},
};

pub(crate) mod accept;
mod channel;
mod error;
mod follow;
mod hear;
pub(crate) mod heard;
pub(crate) mod key;
mod known;
mod look;
mod offer;
mod open;
mod parley;
mod refused;
pub(crate) mod senders;
mod settling;

pub(crate) use channel::{Channel, Held, PAYMENT_RESPONSE};
pub(crate) use error::PaymentError;
pub(crate) use known::Spoken;
pub(crate) use look::{Look, Standing};
pub(crate) use offer::PaymentRequired;
pub(crate) use open::OpenError;

use known::Known;
use look::Looks;
use offer::Terms as Offered;
use refused::Refused;
use senders::Senders;
use settling::Settling;

/// Who changes channels here, in the audit log.
const ACTOR: &str = "payments";

/// How this gateway is paid. Cheap to clone; off where there is no section `payments`.
#[derive(Clone, Default)]
pub(crate) struct Payments(Option<Arc<Shared>>);

struct Shared {
    offered: Offered,
    signer: Signer,
    sources: Sources,
    /// The same, for what anybody can make us ask.
    for_strangers: Sources,
    senders: Senders,
    refused: Refused,
    store: ChannelStore,
    ledger: Ledger,
    limiters: Arc<Limiters>,
    known: Known,
    looks: Looks,
    settings: config::Payments,
    /// Closed here, with a last take that the chain has not shown to be paid.
    parting: Mutex<HashSet<billing::channel::Account>>,
    /// Open, and not followed, for there are too many.
    unplaced: Mutex<HashSet<billing::channel::Account>>,
    /// The time of the newest block that a source told of, in Unix seconds.
    newest: AtomicU32,
    /// Until it runs.
    settling: Mutex<Option<Settling>>,
}

/// What a header of a payer says, as far as its own keys bear it out.
struct Presented {
    id: ChannelId,
    voucher: Option<Voucher>,
    access: Option<Access>,
}

/// A channel for an administrator.
pub(crate) struct Shown {
    pub(crate) stored: StoredChannel,
    /// What anybody may hand to the contract.
    pub(crate) settlement: Option<Settlement>,
}

impl Payments {
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// For which channel a request speaks that shows this header, and the account that is charged. Waits where the
    /// channel is not known yet, and until a voucher that is higher than any before is durable.
    pub(crate) async fn speak(&self, header: &HeaderValue) -> Result<Spoken, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        shared.speak(header).await
    }

    /// What a request without credentials is told.
    pub(crate) fn required(&self, path: &str) -> Option<PaymentRequired> {
        let shared = self.0.as_ref()?;
        Some(shared.offered.of_nobody(path))
    }

    /// What a channel is told whose money does not suffice.
    pub(crate) fn short(&self, channel: &Channel, path: &str, missing: Nano) -> Option<PaymentRequired> {
        let shared = self.0.as_ref()?;
        Some(shared.offered.of_channel(channel, path, missing))
    }

    /// Channels that pay us, by address.
    pub(crate) async fn list(&self, query: &ChannelQuery) -> Result<Vec<StoredChannel>, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        Ok(shared.store.channels(query).await?)
    }

    /// One of them.
    pub(crate) async fn show(&self, account: billing::channel::Account) -> Result<Shown, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        shared.show(account).await
    }

    /// Signs what was spent, and says what to hand to the contract.
    pub(crate) async fn settle(&self, account: billing::channel::Account) -> Result<Shown, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        shared.store.take(&shared.id(account), &shared.signer).await?;
        shared.show(account).await
    }

    /// Takes no new work for the channel, and signs the last take when none runs. Waits some seconds for what runs.
    pub(crate) async fn close(&self, account: billing::channel::Account, actor: &str) -> Result<Shown, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        shared.close(account, actor).await
    }
}

impl Shared {
    fn id(&self, account: billing::channel::Account) -> ChannelId {
        ChannelId {
            network: self.offered.wanted.network,
            account,
        }
    }

    async fn speak(&self, header: &HeaderValue) -> Result<Spoken, PaymentError> {
        let hash: [u8; 32] = Sha256::digest(header.as_bytes()).into();
        let now_s = unix_seconds();
        if let Some(spoken) = self.known.remembered(&hash, now_s) {
            spoken.channel.refuse_ended()?;
            return Ok(spoken);
        }
        let (payment, terms, keys) = self.read_header(header)?;
        // Those that are known have the terms that we took then.
        if self.known.find(&contract::account(&terms, &keys)).is_none() {
            self.offered.check(&terms, &keys)?;
        }
        let Presented { id, voucher, access } = self.verify(&payment, &terms, &keys, now_s)?;
        let channel = self.find(&id, &terms, &keys).await?;
        channel.refuse_others(&terms, &keys)?;
        channel.refuse_ended()?;
        let is_raised = match &voucher {
            Some(voucher) => self.raise(&channel, voucher).await?,
            None => false,
        };
        let spoken = Spoken {
            account: channel.account(&self.limiters),
            channel,
        };
        match access {
            Some(access) => self
                .known
                .remember(hash, &spoken, access.at_s().saturating_add(self.window_s()), now_s),
            // It is on the chain once it was settled, for everybody to copy.
            None if !is_raised => return Err(PaymentError::Known),
            None => {}
        }
        Ok(spoken)
    }

    /// What a header says, whoever wrote it.
    fn read_header(&self, header: &HeaderValue) -> Result<(Payment, Terms, Keys), PaymentError> {
        let text = header.to_str().map_err(|_| x402::DecodeError::Base64)?;
        let payment: Payment = x402::decode(text)?;
        let (terms, keys) = payment.check(self.offered.wanted.network)?;
        Ok((payment, terms, keys))
    }

    /// Signatures come before questions: nobody makes us ask the chain about a channel that is another's. The keys are the
    /// header's own so far, and only the address binds them; who knows the channel compares.
    fn verify(&self, payment: &Payment, terms: &Terms, keys: &Keys, now_s: u64) -> Result<Presented, PaymentError> {
        let id = self.id(contract::account(terms, keys));
        let payload = &payment.payload;
        let voucher = payload.voucher.map(|voucher| voucher.verify(keys, &id)).transpose()?;
        let access = payload
            .access
            .map(|access| access.verify(keys, &id, now_s, self.window_s()))
            .transpose()?;
        Ok(Presented { id, voucher, access })
    }

    fn window_s(&self) -> u64 {
        self.settings.access_window.as_secs()
    }

    /// Takes a voucher; says whether it is higher than any before, here or at another gateway.
    async fn raise(&self, channel: &Arc<Channel>, voucher: &Voucher) -> Result<bool, PaymentError> {
        if voucher.max() <= channel.voucher_max() {
            return Ok(false);
        }
        let raised = self.store.raise(voucher, by(ACTOR)).await?;
        self.take_in(channel, &raised.channel);
        Ok(raised.is_new)
    }

    /// What the database says now; where there is more money, whoever waits for it asks again.
    fn take_in(&self, channel: &Channel, stored: &StoredChannel) {
        if channel.take_in(stored) {
            self.ledger.forget_refusals(channel.organisation());
        }
    }

    /// The channel from memory, the database, or the chain.
    async fn find(&self, id: &ChannelId, terms: &Terms, keys: &Keys) -> Result<Arc<Channel>, PaymentError> {
        if let Some(channel) = self.known.find(&id.account) {
            return Ok(channel);
        }
        self.refused.check(&id.account)?;
        if let Some(stored) = self.store.channel(id).await? {
            return self.keep(stored);
        }
        let _turn = self.refused.turn().await?;
        // Whoever had the turn before may have brought it, or learnt that there is nothing to bring.
        if let Some(channel) = self.known.find(&id.account) {
            return Ok(channel);
        }
        self.refused.check(&id.account)?;
        let wanted = &self.offered.wanted_of(terms.fee_bps);
        let least = self.settings.min_deposit;
        let asked = accept::accept(&self.for_strangers, &self.senders, wanted, least, id).await;
        let new = asked.map_err(|why| self.refused.note(id.account, why))?;
        if (&new.terms, &new.keys) != (terms, keys) {
            // The address follows from both, so that this is never reached by who found no collision.
            return Err(accept::AcceptError::Moved.into());
        }
        let stored = self.store.add(&new, by(ACTOR)).await?;
        tracing::info!(channel = %id.account, deposited = %stored.facts.on_chain.deposited, "a channel was accepted");
        self.keep(stored)
    }

    fn keep(&self, stored: StoredChannel) -> Result<Arc<Channel>, PaymentError> {
        if stored.side != Side::Payee || stored.stage == Stage::Closed {
            return Err(PaymentError::Ended);
        }
        self.known.keep(Channel::new(&stored)).ok_or(PaymentError::Busy)
    }

    async fn show(&self, account: billing::channel::Account) -> Result<Shown, PaymentError> {
        let stored = self.store.channel(&self.id(account)).await?;
        let stored = stored.filter(|stored| stored.side == Side::Payee);
        let stored = stored.ok_or(PaymentError::NotFound)?;
        Ok(Shown {
            settlement: settlement(&stored),
            stored,
        })
    }

    async fn close(&self, account: billing::channel::Account, actor: &str) -> Result<Shown, PaymentError> {
        let id = self.id(account);
        let by = By {
            actor,
            at_ms: unix_ms(),
        };
        match self.store.stop(&id, by).await {
            Ok(stopped) => {
                if let Some(channel) = self.known.find(&account) {
                    self.take_in(&channel, &stopped);
                }
            }
            // To close it again answers the same.
            Err(RaiseError::Closed(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // What this gateway holds for no request goes back; others hear of it within a second.
        self.ledger.give_up(&billing_store::ledger::channel_account(&id)).await;
        self.store.close(&id, &self.signer, by).await?;
        self.show(account).await
    }
}

/// What anybody may hand to the contract: the last take, with the voucher that covers it.
fn settlement(stored: &StoredChannel) -> Option<Settlement> {
    let take = stored.take?.verify(&stored.keys, &stored.id).ok()?;
    let voucher = match &stored.voucher {
        Some(voucher) => Some(voucher.verify(&stored.keys, &stored.id).ok()?),
        None => None,
    };
    Settlement::new(take, voucher).ok()
}

fn by(actor: &str) -> By<'_> {
    By {
        actor,
        at_ms: unix_ms(),
    }
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Payments(on)" } else { "Payments(off)" })
    }
}
