//! What a channel is from its birth on: its address, its keys and its terms, and how they are written.

use serde::{Deserialize, Serialize};

use super::{Account, ChannelId, Keys, Network, Terms, decimal};

/// A channel's address with what that is computed from. Whether it is so is checked by who reads it on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Channel {
    pub id: ChannelId,
    pub keys: Keys,
    pub terms: Terms,
}

/// [`Terms`] in JSON; the network stands beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedTerms {
    #[serde(rename = "closeDelay")]
    close_delay_s: u32,
    fee_bps: u16,
    #[serde(with = "decimal::hex")]
    salt: [u8; 16],
    payer: Account,
    payee: Account,
    fee_dest: Account,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    network: Network,
    #[serde(rename = "channelId")]
    account: Account,
    keys: Keys,
    terms: NamedTerms,
}

impl NamedTerms {
    pub const fn of(terms: &Terms) -> Self {
        Self {
            close_delay_s: terms.close_delay_s,
            fee_bps: terms.fee_bps,
            salt: terms.salt.to_be_bytes(),
            payer: terms.payer,
            payee: terms.payee,
            fee_dest: terms.fee_dest,
        }
    }

    pub const fn on(&self, network: Network) -> Terms {
        Terms {
            network,
            close_delay_s: self.close_delay_s,
            fee_bps: self.fee_bps,
            salt: u128::from_be_bytes(self.salt),
            payer: self.payer,
            payee: self.payee,
            fee_dest: self.fee_dest,
        }
    }
}

impl From<Written> for Channel {
    fn from(written: Written) -> Self {
        Self {
            id: ChannelId {
                network: written.network,
                account: written.account,
            },
            keys: written.keys,
            terms: written.terms.on(written.network),
        }
    }
}

impl From<Channel> for Written {
    fn from(channel: Channel) -> Self {
        Self {
            network: channel.id.network,
            account: channel.id.account,
            keys: channel.keys,
            terms: NamedTerms::of(&channel.terms),
        }
    }
}

/// A [`ChannelId`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "ChannelId", deny_unknown_fields)]
pub(super) struct Id {
    network: Network,
    #[serde(rename = "channelId")]
    account: Account,
}
