//! What lets a request speak for a channel.
//!
//! A voucher is public once it was settled on the chain, so that it proves nothing about who shows it. An access proof
//! is signed by the payer's key for one channel and one moment, no contract takes it, and it is good for a short time
//! around that moment. Whoever sees one may use the channel's headroom until then, as with any bearer token: it is for
//! encrypted connections.

use serde::{Deserialize, Serialize};

use super::{ChannelId, Keys, NotTheSigner, Signature, Signer, Tag, decimal, signer::is_signed};
use crate::Nano;

/// The payer said, at a moment near ours, that this request is its own.
///
/// Proves: the key that was named as the payer's signed this channel, this network and `at_s`, which was near our clock.
/// Does not prove: who sent it. It may be shown again while it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    channel: ChannelId,
    at_s: u64,
}

/// What somebody says is an access proof.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimedAccess {
    /// Unix seconds.
    #[serde(rename = "at")]
    pub at_s: u64,
    #[serde(with = "decimal::hex")]
    pub signature: Signature,
}

/// Why it lets nobody in. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefusal {
    #[error("channels are accounts of workchain 0, and this is of {0}")]
    Workchain(i8),
    #[error("the access proof is {ago_s} s old, and good for {window_s} s; sign a new one")]
    Old { ago_s: u64, window_s: u64 },
    #[error("the access proof is of {ahead_s} s from now, and at most {window_s} s are accepted; set your clock")]
    Early { ahead_s: u64, window_s: u64 },
    #[error("the payer's key did not sign this access proof for this channel on this network")]
    Signature,
}

/// Access proofs of this moment. Seconds beyond what an amount can be are of no clock.
fn amount(at_s: u64) -> Nano {
    Nano::saturating(at_s)
}

impl Access {
    pub fn sign(signer: &Signer, keys: &Keys, channel: &ChannelId, at_s: u64) -> Result<ClaimedAccess, NotTheSigner> {
        if signer.public() != keys.payer {
            return Err(NotTheSigner);
        }
        Ok(ClaimedAccess {
            at_s,
            signature: signer.sign(Tag::Access, channel, amount(at_s)),
        })
    }

    pub const fn channel(&self) -> &ChannelId {
        &self.channel
    }

    pub const fn at_s(&self) -> u64 {
        self.at_s
    }
}

impl ClaimedAccess {
    /// `window_s` is how far `at_s` may be from `now_s`, before and after.
    pub fn verify(&self, keys: &Keys, channel: &ChannelId, now_s: u64, window_s: u64) -> Result<Access, AccessRefusal> {
        if channel.account.workchain != 0 {
            return Err(AccessRefusal::Workchain(channel.account.workchain));
        }
        let ago_s = now_s.saturating_sub(self.at_s);
        if ago_s > window_s {
            return Err(AccessRefusal::Old { ago_s, window_s });
        }
        let ahead_s = self.at_s.saturating_sub(now_s);
        if ahead_s > window_s {
            return Err(AccessRefusal::Early { ahead_s, window_s });
        }
        if !is_signed(&keys.payer, Tag::Access, channel, amount(self.at_s), &self.signature) {
            return Err(AccessRefusal::Signature);
        }
        Ok(Access {
            channel: *channel,
            at_s: self.at_s,
        })
    }
}

/// Without the signature: who holds it may use the channel.
impl std::fmt::Debug for ClaimedAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClaimedAccess(at {})", self.at_s)
    }
}
