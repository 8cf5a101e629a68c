//! The voucher that stands behind a charge, where a payment channel pays.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{facts::Facts, verify::Refused, writer::Object};
use crate::{
    Currency, Nano,
    channel::{Account, ClaimedVoucher, Network, PublicKey, Signature, decimal},
};

/// Which channel pays, and what its payer had signed when the charge was made.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaidBy {
    pub network: Network,
    pub channel: Account,
    /// The payer's key, by which the voucher is signed.
    #[serde(with = "decimal::hex")]
    pub payer: PublicKey,
    /// Up to so much in all may be taken.
    #[serde(with = "decimal::nano")]
    pub max: Nano,
    #[serde(with = "decimal::hex")]
    pub signature: Signature,
    /// What the channel was charged in all with this charge, as far as the node knew.
    #[serde(with = "decimal::nano")]
    pub charged: Nano,
}

impl PaidBy {
    fn voucher(&self) -> ClaimedVoucher {
        ClaimedVoucher {
            account: self.channel,
            max: self.max,
            signature: self.signature,
        }
    }

    pub(super) fn write(&self, o: &mut Object<'_>) {
        o.text("channel", &self.channel.to_string());
        o.amount("charged", self.charged);
        o.amount("max", self.max);
        o.text("network", &self.network.to_string());
        o.text("payer", &super::to_hex(&self.payer));
        o.text("signature", &super::to_hex(&self.signature));
    }

    /// Whether the payer signed it, for the account that was charged, and for as much. Whose key that is, the chain says.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), Refused> {
        let refused = |name: &str, why: &str| Err(Refused::new(format!("voucher.{name}"), why));
        if facts.account.organisation != self.channel.organisation() {
            return refused("channel", "is not the account that was charged");
        }
        if facts.amounts.currency != Currency::TON {
            return refused("channel", "pays in TON, and the charge is in something else");
        }
        if !self.voucher().is_signed_by(&self.payer, self.network) {
            return refused("signature", "is not the payer's, for this channel on this network");
        }
        if self.charged > self.max {
            return refused("charged", "is more than the voucher says");
        }
        if facts.amounts.total > self.charged {
            return refused("charged", "is less than this charge alone");
        }
        Ok(())
    }
}

/// Without the signature: a contract takes it.
impl fmt::Debug for PaidBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaidBy({} of {} on {})", self.max, self.channel, self.network)
    }
}
