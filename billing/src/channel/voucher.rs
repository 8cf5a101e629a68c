//! What the payer signs: up to `max` in all may be taken.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Account, ChannelId, Keys, Network, NotTheSigner, PublicKey, Signature, Signer, Tag, decimal,
    signer::is_signed,
    take::{read_signed, write_signed},
};
use crate::Nano;

/// A voucher that the payer of its channel has signed.
///
/// Proves: the key that was named as the payer's signed `max` for this channel on this network.
/// Does not prove: that the channel exists, holds as much, or has that key on the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    channel: ChannelId,
    /// By which it was checked: the signed bytes do not name them.
    keys: Keys,
    max: Nano,
    signature: Signature,
}

/// What somebody says is a voucher; in JSON with the names of x402's `batch-settlement`.
///
/// ```
/// let text = format!(r#"{{"channelId":"0:{:064}","maxClaimableAmount":"5","signature":"{:0128}"}}"#, 7, 0);
/// let claimed: billing::channel::ClaimedVoucher = serde_json::from_str(&text).expect("a voucher");
/// assert_eq!(claimed.max.get(), 5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedVoucher {
    #[serde(rename = "channelId")]
    pub account: Account,
    /// In nanoton, over the life of the channel.
    #[serde(rename = "maxClaimableAmount", with = "decimal::nano")]
    pub max: Nano,
    #[serde(with = "decimal::hex")]
    pub signature: Signature,
}

/// Why it is no voucher of the channel. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoucherRefusal {
    #[error("the voucher is for the channel {named}, and this is {expected}")]
    OtherChannel { named: Account, expected: Account },
    /// The signed bytes do not name the workchain: elsewhere the same voucher would be good a second time.
    #[error("channels are accounts of workchain 0, and this is of {0}")]
    Workchain(i8),
    /// Another key, another amount, another network, another kind: they cannot be told apart.
    #[error("the payer's key did not sign this voucher for this channel on this network")]
    Signature,
}

impl Voucher {
    /// Bytes of [`ClaimedVoucher::to_bytes`].
    pub const BYTES: usize = 106;

    pub fn sign(signer: &Signer, keys: &Keys, channel: &ChannelId, max: Nano) -> Result<Self, NotTheSigner> {
        if signer.public() != keys.payer {
            return Err(NotTheSigner);
        }
        Ok(Self {
            channel: *channel,
            keys: *keys,
            max,
            signature: signer.sign(Tag::Voucher, channel, max),
        })
    }

    pub const fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// The keys that were said to be the channel's when it was checked. Who knows the channel by other means compares.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// In nanoton, over the life of the channel.
    pub const fn max(&self) -> Nano {
        self.max
    }

    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// To be sent or kept.
    pub const fn claim(&self) -> ClaimedVoucher {
        ClaimedVoucher {
            account: self.channel.account,
            max: self.max,
            signature: self.signature,
        }
    }
}

impl ClaimedVoucher {
    pub fn verify(&self, keys: &Keys, channel: &ChannelId) -> Result<Voucher, VoucherRefusal> {
        if self.account != channel.account {
            return Err(VoucherRefusal::OtherChannel {
                named: self.account,
                expected: channel.account,
            });
        }
        if channel.account.workchain != 0 {
            return Err(VoucherRefusal::Workchain(channel.account.workchain));
        }
        if !is_signed(&keys.payer, Tag::Voucher, channel, self.max, &self.signature) {
            return Err(VoucherRefusal::Signature);
        }
        Ok(Voucher {
            channel: *channel,
            keys: *keys,
            max: self.max,
            signature: self.signature,
        })
    }

    /// Whether this key signed it for its channel on a network. Whether it is the payer's, others say.
    pub(crate) fn is_signed_by(&self, key: &PublicKey, network: Network) -> bool {
        let channel = ChannelId {
            network,
            account: self.account,
        };
        self.account.workchain == 0 && is_signed(key, Tag::Voucher, &channel, self.max, &self.signature)
    }

    /// `V`, workchain, account, amount as `u64` big-endian, signature: 106 bytes.
    pub fn to_bytes(&self) -> [u8; Voucher::BYTES] {
        write_signed(b'V', &self.account, self.max, &self.signature)
    }

    /// `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, account, max, signature) = read_signed(bytes)?;
        (kind == b'V').then_some(Self {
            account,
            max,
            signature,
        })
    }
}

/// Without the signature: who holds it may cash it.
impl fmt::Debug for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Voucher({} of {})", self.max, self.channel.account)
    }
}

impl fmt::Debug for ClaimedVoucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimedVoucher({} of {})", self.max, self.account)
    }
}
