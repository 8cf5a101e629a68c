//! What we accept, and how a refusal says it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use billing::{
    Nano,
    channel::{
        Account, Keys, Network, PublicKey, Terms as ChannelTerms,
        x402::{self, Asset, Offer, OfferExtra, Required, Resource, Scheme, Version},
    },
};
use billing_ton::{
    contract::{self, BadTerms, Wanted},
    registry::Fee,
};
use http::HeaderValue;

use super::Channel;
use crate::registrar::Registrar;

/// Seconds that a payer has to repeat its request with a payment.
const PATIENCE_S: u32 = 60;

/// Who was offered terms may take so long to open a channel.
const OPENS_WITHIN: Duration = Duration::from_secs(3600);

/// What a channel to us must be.
pub(super) struct Terms {
    /// As the operator says.
    pub(super) wanted: Wanted,
    /// What takes away from the fee.
    pub(super) registrar: Registrar,
    /// The fees that were offered lately: who opened a channel on one has it taken, though another holds since.
    pub(super) fees: Fees,
}

/// Fees, and until when a channel that has one is taken.
#[derive(Default)]
pub(super) struct Fees(Mutex<BTreeMap<u16, Instant>>);

impl Fees {
    fn offered(&self, bps: u16) {
        let until = Instant::now() + OPENS_WITHIN;
        let mut fees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fees.insert(bps, until);
        fees.retain(|_, until| *until > Instant::now());
    }

    fn was_offered(&self, bps: u16) -> bool {
        let fees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fees.get(&bps).is_some_and(|until| *until > Instant::now())
    }
}

/// Terms that are not ours. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwanted {
    #[error("it is on {found}, and this gateway is paid on {wanted}")]
    Network { wanted: Network, found: Network },
    #[error("it names another key than this gateway's as the payee's")]
    PayeeKey,
    #[error("it pays {found}, and this gateway is paid at {wanted}")]
    Payee { wanted: Account, found: Account },
    #[error("its fee is {found} parts of 10000, and this gateway's is {wanted}")]
    FeeBps { wanted: u16, found: u16 },
    #[error("its fee goes to {found}, and this gateway's to {wanted}")]
    FeeDest { wanted: Account, found: Account },
    #[error("its close delay is {found} s, and this gateway needs {wanted} s")]
    CloseDelay { wanted: u32, found: u32 },
    #[error(transparent)]
    Terms(#[from] BadTerms),
}

/// A refusal that says what would be accepted: 402 with `PAYMENT-REQUIRED`.
#[derive(Debug, thiserror::Error)]
#[error("{}", required.error)]
pub(crate) struct PaymentRequired {
    required: Box<Required>,
}

impl PaymentRequired {
    /// Without an offer.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            required: Box::new(Required {
                x402_version: Version,
                error: "missing".to_owned(),
                resource: Resource {
                    url: "/v1/models".to_owned(),
                    description: String::new(),
                    mime_type: String::new(),
                },
                accepts: Vec::new(),
            }),
        }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&x402::encode(&*self.required)).ok()
    }
}

impl Terms {
    /// What a channel that comes now must be. Those that were taken keep the terms that they have on the chain.
    pub(super) fn wanted(&self) -> Wanted {
        let Wanted { fee_bps, fee_dest, .. } = self.wanted;
        let asked = Fee {
            bps: fee_bps,
            dest: fee_dest,
        };
        Wanted {
            fee_bps: self.registrar.fee(asked).bps,
            ..self.wanted
        }
    }

    /// The same for a channel with this fee, which may have been offered before the registry changed what may be asked.
    pub(super) fn wanted_of(&self, fee_bps: u16) -> Wanted {
        let wanted = self.wanted();
        match self.fees.was_offered(fee_bps) {
            true => Wanted { fee_bps, ..wanted },
            false => wanted,
        }
    }

    /// Whether a channel's terms are ours, before anybody is asked about it. The chain has the last word.
    pub(super) fn check(&self, terms: &ChannelTerms, keys: &Keys) -> Result<(), Unwanted> {
        let wanted = &self.wanted_of(terms.fee_bps);
        if terms.network != wanted.network {
            return Err(Unwanted::Network {
                wanted: wanted.network,
                found: terms.network,
            });
        }
        if keys.payee != wanted.payee_key {
            return Err(Unwanted::PayeeKey);
        }
        if terms.payee != wanted.payee {
            return Err(Unwanted::Payee {
                wanted: wanted.payee,
                found: terms.payee,
            });
        }
        if terms.fee_bps != wanted.fee_bps {
            return Err(Unwanted::FeeBps {
                wanted: wanted.fee_bps,
                found: terms.fee_bps,
            });
        }
        if terms.fee_dest != wanted.fee_dest {
            return Err(Unwanted::FeeDest {
                wanted: wanted.fee_dest,
                found: terms.fee_dest,
            });
        }
        if terms.close_delay_s < wanted.close_delay_s {
            return Err(Unwanted::CloseDelay {
                wanted: wanted.close_delay_s,
                found: terms.close_delay_s,
            });
        }
        Ok(contract::check_terms(terms)?)
    }

    pub(super) fn of_nobody(&self, path: &str) -> PaymentRequired {
        let error = "This request is not paid for. Send an API key, or pay by channel: PAYMENT-REQUIRED says how.";
        self.required(path, error.to_owned(), self.offer(Nano::ZERO))
    }

    pub(super) fn of_channel(&self, channel: &Channel, path: &str, missing: Nano) -> PaymentRequired {
        let needed = channel.credited().saturating_add(missing);
        let deposited = channel.on_chain().deposited;
        let error = if needed > deposited {
            format!(
                "The channel has {missing} GRAM (TON) too little for this request: pay {} into it, and sign a voucher up to {needed}.",
                needed.saturating_sub(deposited),
            )
        } else {
            format!(
                "The channel's voucher is {missing} GRAM (TON) too low for this request: sign one up to {needed}, or ask for less."
            )
        };
        let mut offer = self.offer(missing);
        let (state, voucher) = channel.state();
        offer.extra.channel_state = Some(state);
        offer.extra.voucher_state = voucher;
        offer.extra.required_cumulative = Some(needed);
        self.required(path, error, offer)
    }

    fn required(&self, path: &str, error: String, offer: Offer) -> PaymentRequired {
        PaymentRequired {
            required: Box::new(Required {
                x402_version: Version,
                error,
                resource: Resource {
                    url: path.chars().take(200).collect(),
                    description: "Inference, charged for what is used".to_owned(),
                    mime_type: "application/json".to_owned(),
                },
                accepts: vec![offer],
            }),
        }
    }

    pub(super) fn offer(&self, amount: Nano) -> Offer {
        let wanted = &self.wanted();
        self.fees.offered(wanted.fee_bps);
        let key: PublicKey = wanted.payee_key;
        Offer {
            scheme: Scheme,
            network: wanted.network,
            asset: Asset,
            amount,
            pay_to: wanted.payee,
            max_timeout_seconds: PATIENCE_S,
            extra: OfferExtra {
                code_hash: contract::CODE_HASH,
                receiver_authorizer: key,
                withdraw_delay: wanted.close_delay_s,
                fee_bps: wanted.fee_bps,
                fee_dest: wanted.fee_dest,
                channel_state: None,
                voucher_state: None,
                required_cumulative: None,
            },
        }
    }
}
