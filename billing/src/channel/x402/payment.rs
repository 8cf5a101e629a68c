//! What the payer says with a request: by which channel it pays, and that it is the payer.

use serde::{Deserialize, Serialize};

use super::super::{Account, ClaimedAccess, ClaimedVoucher, Keys, Network, PublicKey, Terms, decimal};
use super::{Asset, Kind, Offer, Version};

/// `PAYMENT-SIGNATURE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payment {
    pub x402_version: Version,
    /// One of the offers of a [`Required`](super::Required), as it was. What an older one says of the channel's state
    /// is not looked at.
    pub accepted: Offer,
    pub payload: Payload,
}

/// What is paid with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payload {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub channel_config: ChannelConfig,
    /// May be left out where access is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<ClaimedVoucher>,
    /// May be left out where the voucher is higher than any before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ClaimedAccess>,
}

/// What the channel was born with: with the contract's code it gives the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelConfig {
    /// Where the rest goes at the end.
    pub payer: Account,
    #[serde(with = "decimal::hex")]
    pub payer_authorizer: PublicKey,
    /// Where what is taken goes.
    pub receiver: Account,
    #[serde(with = "decimal::hex")]
    pub receiver_authorizer: PublicKey,
    pub token: Asset,
    /// Seconds.
    pub withdraw_delay: u32,
    /// Sixteen bytes.
    #[serde(with = "decimal::hex")]
    pub salt: [u8; 16],
    pub fee_bps: u16,
    pub fee_dest: Account,
}

/// Why a payment is none, whatever its signatures are. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    #[error("the payment is for {named}, and this payee is on {expected}")]
    OtherNetwork { named: Network, expected: Network },
    #[error("the payment accepts an offer to pay {named}, and the channel pays {paid}")]
    OtherPayee { named: Account, paid: Account },
    #[error("the payment shows neither a voucher nor an access proof")]
    Nothing,
}

impl Payment {
    /// The channel's terms and keys, where the parts of the payment fit each other and the network.
    pub fn check(&self, network: Network) -> Result<(Terms, Keys), PaymentRefusal> {
        if self.accepted.network != network {
            return Err(PaymentRefusal::OtherNetwork {
                named: self.accepted.network,
                expected: network,
            });
        }
        let config = &self.payload.channel_config;
        if self.accepted.pay_to != config.receiver {
            return Err(PaymentRefusal::OtherPayee {
                named: self.accepted.pay_to,
                paid: config.receiver,
            });
        }
        if self.payload.voucher.is_none() && self.payload.access.is_none() {
            return Err(PaymentRefusal::Nothing);
        }
        Ok(config.split(network))
    }
}

impl ChannelConfig {
    #[must_use]
    pub fn new(terms: &Terms, keys: &Keys) -> Self {
        Self {
            payer: terms.payer,
            payer_authorizer: keys.payer,
            receiver: terms.payee,
            receiver_authorizer: keys.payee,
            token: Asset,
            withdraw_delay: terms.close_delay_s,
            salt: terms.salt.to_be_bytes(),
            fee_bps: terms.fee_bps,
            fee_dest: terms.fee_dest,
        }
    }

    #[must_use]
    pub fn split(&self, network: Network) -> (Terms, Keys) {
        let terms = Terms {
            network,
            close_delay_s: self.withdraw_delay,
            fee_bps: self.fee_bps,
            salt: u128::from_be_bytes(self.salt),
            payer: self.payer,
            payee: self.receiver,
            fee_dest: self.fee_dest,
        };
        let keys = Keys {
            payer: self.payer_authorizer,
            payee: self.receiver_authorizer,
        };
        (terms, keys)
    }
}
