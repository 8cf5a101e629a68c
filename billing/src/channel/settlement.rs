//! What the contract is shown: a take, and the voucher that covers it.

use serde::{Deserialize, Serialize};

use super::{ChannelId, ClaimedTake, ClaimedVoucher, Keys, Network, Take, TakeRefusal, Voucher, VoucherRefusal};
use crate::Nano;

/// A take with what covers it. Anybody may hand it to the contract, which pays nobody but the payee and `fee_dest`.
///
/// Proves: both signatures are good for one channel and one pair of keys, and the take is within the voucher.
/// Does not prove: that the contract will pay it. It may have paid it before, hold less, or be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    take: Take,
    voucher: Option<Voucher>,
}

/// A settlement as it is sent to and kept by a watchtower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blob {
    pub network: Network,
    pub take: ClaimedTake,
    /// Absent where nothing is taken: to close a channel that was not used needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<ClaimedVoucher>,
}

/// Why a take and a voucher are no settlement. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementRefusal {
    #[error("it is for {named}, and the channel is on {expected}")]
    OtherNetwork { named: Network, expected: Network },
    #[error(transparent)]
    Take(#[from] TakeRefusal),
    #[error(transparent)]
    Voucher(#[from] VoucherRefusal),
    #[error("take and voucher are of different channels")]
    Apart,
    #[error("take and voucher were checked by different keys")]
    Keys,
    #[error("{take} is taken, and no voucher says that it may be")]
    Uncovered { take: Nano },
    #[error("{take} is taken, and the voucher allows {max}")]
    AboveVoucher { take: Nano, max: Nano },
}

impl Settlement {
    pub fn new(take: Take, voucher: Option<Voucher>) -> Result<Self, SettlementRefusal> {
        match &voucher {
            Some(voucher) if voucher.channel() != take.channel() => return Err(SettlementRefusal::Apart),
            Some(voucher) if voucher.keys() != take.keys() => return Err(SettlementRefusal::Keys),
            Some(voucher) if take.amount() > voucher.max() => {
                return Err(SettlementRefusal::AboveVoucher {
                    take: take.amount(),
                    max: voucher.max(),
                });
            }
            None if !take.amount().is_zero() => return Err(SettlementRefusal::Uncovered { take: take.amount() }),
            _ => {}
        }
        Ok(Self { take, voucher })
    }

    pub const fn take(&self) -> &Take {
        &self.take
    }

    pub const fn voucher(&self) -> Option<&Voucher> {
        self.voucher.as_ref()
    }

    pub const fn channel(&self) -> &ChannelId {
        self.take.channel()
    }

    /// To be sent or kept.
    pub fn claim(&self) -> Blob {
        Blob {
            network: self.channel().network,
            take: self.take.claim(),
            voucher: self.voucher.as_ref().map(Voucher::claim),
        }
    }
}

impl Blob {
    pub fn verify(&self, keys: &Keys, channel: &ChannelId) -> Result<Settlement, SettlementRefusal> {
        if self.network != channel.network {
            return Err(SettlementRefusal::OtherNetwork {
                named: self.network,
                expected: channel.network,
            });
        }
        let take = self.take.verify(keys, channel)?;
        let voucher = match &self.voucher {
            Some(voucher) => Some(voucher.verify(keys, channel)?),
            None => None,
        };
        Settlement::new(take, voucher)
    }
}
