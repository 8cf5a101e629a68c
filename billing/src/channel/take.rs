//! What the payee signs: so much in all is taken; and, to close, that no more will be.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Account, ChannelId, Keys, NotTheSigner, Signature, Signer, Tag, decimal, signer::is_signed};
use crate::Nano;

/// A take that the payee of its channel has signed.
///
/// Proves: the key that was named as the payee's signed `amount` for this channel on this network, and whether it frees
/// the rest.
/// Does not prove: that the payer owes it. A voucher must cover it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Take {
    channel: ChannelId,
    /// By which it was checked: the signed bytes do not name them.
    keys: Keys,
    amount: Nano,
    is_last: bool,
    signature: Signature,
}

/// What somebody says is a take; in JSON with the names of x402's `batch-settlement` where it has them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedTake {
    #[serde(rename = "channelId")]
    pub account: Account,
    /// In nanoton, over the life of the channel.
    #[serde(rename = "totalClaimed", with = "decimal::nano")]
    pub amount: Nano,
    /// It closes the channel: `CLS1`.
    #[serde(rename = "close")]
    pub is_last: bool,
    #[serde(with = "decimal::hex")]
    pub signature: Signature,
}

/// Why it is no take of the channel. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeRefusal {
    #[error("the take is for the channel {named}, and this is {expected}")]
    OtherChannel { named: Account, expected: Account },
    #[error("channels are accounts of workchain 0, and this is of {0}")]
    Workchain(i8),
    #[error("the payee's key did not sign this take for this channel on this network")]
    Signature,
}

const fn tag(is_last: bool) -> Tag {
    if is_last { Tag::Close } else { Tag::Take }
}

impl Take {
    /// Bytes of [`ClaimedTake::to_bytes`].
    pub const BYTES: usize = 106;

    /// So much is taken, and more may be later.
    pub fn sign(signer: &Signer, keys: &Keys, channel: &ChannelId, amount: Nano) -> Result<Self, NotTheSigner> {
        Self::of(signer, keys, channel, amount, false)
    }

    /// So much is taken, and the rest is the payer's. Whoever has this may close the channel with it, at any time: it
    /// is the last that a payee signs.
    pub fn sign_last(signer: &Signer, keys: &Keys, channel: &ChannelId, amount: Nano) -> Result<Self, NotTheSigner> {
        Self::of(signer, keys, channel, amount, true)
    }

    fn of(
        signer: &Signer,
        keys: &Keys,
        channel: &ChannelId,
        amount: Nano,
        is_last: bool,
    ) -> Result<Self, NotTheSigner> {
        if signer.public() != keys.payee {
            return Err(NotTheSigner);
        }
        Ok(Self {
            channel: *channel,
            keys: *keys,
            amount,
            is_last,
            signature: signer.sign(tag(is_last), channel, amount),
        })
    }

    pub const fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// The keys that were said to be the channel's when it was checked.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// In nanoton, over the life of the channel.
    pub const fn amount(&self) -> Nano {
        self.amount
    }

    /// It closes the channel.
    pub const fn is_last(&self) -> bool {
        self.is_last
    }

    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// To be sent or kept.
    pub const fn claim(&self) -> ClaimedTake {
        ClaimedTake {
            account: self.channel.account,
            amount: self.amount,
            is_last: self.is_last,
            signature: self.signature,
        }
    }
}

impl ClaimedTake {
    pub fn verify(&self, keys: &Keys, channel: &ChannelId) -> Result<Take, TakeRefusal> {
        if self.account != channel.account {
            return Err(TakeRefusal::OtherChannel {
                named: self.account,
                expected: channel.account,
            });
        }
        if channel.account.workchain != 0 {
            return Err(TakeRefusal::Workchain(channel.account.workchain));
        }
        if !is_signed(&keys.payee, tag(self.is_last), channel, self.amount, &self.signature) {
            return Err(TakeRefusal::Signature);
        }
        Ok(Take {
            channel: *channel,
            keys: *keys,
            amount: self.amount,
            is_last: self.is_last,
            signature: self.signature,
        })
    }

    /// `T`, or `C` where it closes, workchain, account, amount as `u64` big-endian, signature: 106 bytes.
    pub fn to_bytes(&self) -> [u8; Take::BYTES] {
        let kind = if self.is_last { b'C' } else { b'T' };
        write_signed(kind, &self.account, self.amount, &self.signature)
    }

    /// `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, account, amount, signature) = read_signed(bytes)?;
        let is_last = match kind {
            b'T' => false,
            b'C' => true,
            _ => return None,
        };
        Some(Self {
            account,
            amount,
            is_last,
            signature,
        })
    }
}

pub(super) fn write_signed(kind: u8, account: &Account, amount: Nano, signature: &Signature) -> [u8; 106] {
    let mut bytes = [0; 106];
    let parts = [kind]
        .into_iter()
        .chain(account.workchain.to_be_bytes())
        .chain(account.hash)
        .chain(amount.get().to_be_bytes())
        .chain(*signature);
    for (byte, from) in bytes.iter_mut().zip(parts) {
        *byte = from;
    }
    bytes
}

pub(super) fn read_signed(bytes: &[u8]) -> Option<(u8, Account, Nano, Signature)> {
    let (kind, rest) = bytes.split_first()?;
    let (workchain, rest) = rest.split_first_chunk::<1>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let (amount, rest) = rest.split_first_chunk::<8>()?;
    let (signature, rest) = rest.split_first_chunk::<64>()?;
    let account = Account {
        workchain: i8::from_be_bytes(*workchain),
        hash: *hash,
    };
    let amount = Nano::new(u64::from_be_bytes(*amount))?;
    rest.is_empty().then_some((*kind, account, amount, *signature))
}

/// Without the signature.
impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.claim().fmt(f)
    }
}

impl fmt::Debug for ClaimedTake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = if self.is_last { ", the last" } else { "" };
        write!(f, "Take({} of {}{last})", self.amount, self.account)
    }
}
