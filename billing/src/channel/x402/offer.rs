//! What the payee says: what it accepts, where a channel stands, and what was charged.

use serde::{Deserialize, Serialize};

use super::super::{Account, ChannelId, ClaimedVoucher, Network, OnChain, PublicKey, Signature, Terms, decimal};
use super::{Asset, Scheme, Version};
use crate::Nano;

/// `PAYMENT-REQUIRED`: why a request was not served, and what would be accepted for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Required {
    pub x402_version: Version,
    /// A sentence.
    pub error: String,
    pub resource: Resource,
    pub accepts: Vec<Offer>,
}

/// What is sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    pub url: String,
    pub description: String,
    pub mime_type: String,
}

/// A way to pay; x402 calls it `PaymentRequirements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    pub scheme: Scheme,
    pub network: Network,
    pub asset: Asset,
    /// By how much vouchers are to be raised for this request, in nanoton; zero where nobody asked for anything yet.
    #[serde(with = "decimal::nano")]
    pub amount: Nano,
    /// The account that is paid.
    pub pay_to: Account,
    pub max_timeout_seconds: u32,
    pub extra: OfferExtra,
}

/// What a channel must have to be accepted, and where the one that asked stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfferExtra {
    /// The hash of the contract's code.
    #[serde(with = "decimal::hex")]
    pub code_hash: [u8; 32],
    /// The payee's key.
    #[serde(with = "decimal::hex")]
    pub receiver_authorizer: PublicKey,
    /// The least, in seconds.
    pub withdraw_delay: u32,
    pub fee_bps: u16,
    pub fee_dest: Account,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_state: Option<ChannelState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher_state: Option<VoucherState>,
    /// The voucher that would do for this request, in nanoton.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "decimal::maybe_nano")]
    pub required_cumulative: Option<Nano>,
}

/// Where a channel stands, as the payee knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelState {
    pub channel_id: Account,
    /// All that was ever paid in.
    #[serde(with = "decimal::nano")]
    pub balance: Nano,
    /// All that was ever paid out to the payee and for the fee.
    #[serde(with = "decimal::nano")]
    pub total_claimed: Nano,
    /// Unix seconds; zero while the payer did not ask to close.
    pub withdraw_requested_at: u32,
    /// All that requests were charged.
    #[serde(with = "decimal::nano")]
    pub charged_cumulative_amount: Nano,
    /// What is held for requests that run now: more than they will be charged, or as much.
    #[serde(with = "decimal::nano")]
    pub held_amount: Nano,
}

/// The highest voucher that the payee has.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VoucherState {
    #[serde(with = "decimal::nano")]
    pub signed_max_claimable: Nano,
    #[serde(with = "decimal::hex")]
    pub signature: Signature,
}

/// `PAYMENT-RESPONSE`: what an answer cost; x402 calls it `SettlementResponse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    pub success: bool,
    /// Empty: channels are settled later.
    pub transaction: String,
    pub network: Network,
    pub payer: Account,
    pub extra: ReceiptExtra,
}

/// What was charged, and where the channel stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptExtra {
    #[serde(with = "decimal::nano")]
    pub charged_amount: Nano,
    pub channel_state: ChannelState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher_state: Option<VoucherState>,
}

impl ChannelState {
    /// `charged` is what requests were charged in all; nothing runs.
    #[must_use]
    pub fn new(channel: &ChannelId, terms: &Terms, on_chain: &OnChain, charged: Nano) -> Self {
        Self {
            channel_id: channel.account,
            balance: on_chain.deposited,
            total_claimed: on_chain.claimed,
            withdraw_requested_at: on_chain
                .close_at
                .map_or(0, |close_at| close_at.saturating_sub(terms.close_delay_s)),
            charged_cumulative_amount: charged,
            held_amount: Nano::ZERO,
        }
    }

    /// The same while so much is held.
    #[must_use]
    pub fn holding(self, held: Nano) -> Self {
        Self {
            held_amount: held,
            ..self
        }
    }
}

impl From<&ClaimedVoucher> for VoucherState {
    fn from(voucher: &ClaimedVoucher) -> Self {
        Self {
            signed_max_claimable: voucher.max,
            signature: voucher.signature,
        }
    }
}

/// Without the signature: who holds it may cash it.
impl std::fmt::Debug for VoucherState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VoucherState({})", self.signed_max_claimable)
    }
}
