//! What the two sides say to each other: one JSON document each, in any order, any number of times.
//!
//! Every notice is absolute ("in all"), so that one that comes twice, late or not at all does no harm. Nothing here is
//! believed for being said: vouchers and takes are verified, numbers are bounded by what was signed.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Account, Channel, ChannelId, ClaimedTake, ClaimedVoucher, Keys, NamedTerms, Network, decimal};
use crate::Nano;

/// A notice with the channel that it is about, as it crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    v: One,
    network: Network,
    #[serde(rename = "channelId")]
    account: Account,
    pub notice: Notice,
}

/// Amounts are nanoton over the life of the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Notice {
    /// Payer: I opened this channel to you; look it up.
    Offer { keys: Keys, terms: NamedTerms },
    /// Payee: I serve against it.
    Accept {},
    /// Payee: I do not, and why, by a code that never changes and in words.
    Refuse { code: String, text: String },
    /// Payer: you may take up to so much. `spent` is what by my books you have earned, `open` what may be on top of it
    /// when all that is under way has ended.
    Voucher {
        voucher: ClaimedVoucher,
        #[serde(with = "decimal::nano")]
        spent: Nano,
        #[serde(with = "decimal::nano")]
        open: Nano,
    },
    /// Payer: so much have you earned.
    Tally {
        #[serde(with = "decimal::nano")]
        spent: Nano,
        #[serde(with = "decimal::nano")]
        open: Nano,
    },
    /// Payee: to go on I need a voucher of at least `max`; by my books I have earned `spent`.
    Raise {
        #[serde(with = "decimal::nano")]
        max: Nano,
        #[serde(with = "decimal::nano")]
        spent: Nano,
    },
    /// Payee: I signed this, and may show it to the contract.
    Take { take: ClaimedTake },
    /// Payer: I am done; sign your last take.
    Close {
        #[serde(with = "decimal::nano")]
        spent: Nano,
    },
    /// Either, after a crash, a new connection or a dispute: my highest signed state, and my books. Where do you stand?
    Reestablish { question: u64, standing: Standing },
    /// The answer to that question; what it says was so after the question was asked.
    Established { question: u64, standing: Standing },
}

/// Where one side stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standing {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<ClaimedVoucher>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<ClaimedTake>,
    #[serde(with = "decimal::nano")]
    pub spent: Nano,
    /// What may be on top of it when all that is under way has ended.
    #[serde(with = "decimal::nano")]
    pub open: Nano,
}

/// Why bytes are no notice. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the notice has {length} bytes; {} are allowed", Envelope::MOST_BYTES)]
    TooLong { length: usize },
    #[error("the notice cannot be read")]
    Malformed(#[source] serde_json::Error),
}

impl Envelope {
    /// No honest notice comes near.
    pub const MOST_BYTES: usize = 4096;

    pub const fn new(channel: &ChannelId, notice: Notice) -> Self {
        Self {
            v: One,
            network: channel.network,
            account: channel.account,
            notice,
        }
    }

    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(Unreadable::TooLong { length: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(Unreadable::Malformed)
    }

    pub const fn channel(&self) -> ChannelId {
        ChannelId {
            network: self.network,
            account: self.account,
        }
    }

    /// What an offer says of the channel; whether it is so is on the chain. `None` for other notices.
    pub const fn offered(&self) -> Option<Channel> {
        match &self.notice {
            Notice::Offer { keys, terms } => Some(Channel {
                id: self.channel(),
                keys: *keys,
                terms: terms.on(self.network),
            }),
            _ => None,
        }
    }
}

impl Notice {
    pub const fn offer(channel: &Channel) -> Self {
        Self::Offer {
            keys: channel.keys,
            terms: NamedTerms::of(&channel.terms),
        }
    }
}

/// The version of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct One;

impl Serialize for One {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            v => Err(D::Error::custom(format_args!(
                "version {v} of notices is not known here; 1 is"
            ))),
        }
    }
}
