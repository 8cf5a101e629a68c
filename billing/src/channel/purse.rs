//! What a payer risks and has paid in over all of its channels, and the bounds of both.

use std::collections::BTreeMap;

use super::{Account, ChannelId};
use crate::Nano;

/// Shared by all channels of a payer: every voucher takes from it, and everything earned gives back.
///
/// What one payee could run away with is bounded by its channel's policy; what all of them could at once is bounded
/// here. So is what lies in contracts, of one owner and in all.
#[derive(Debug)]
pub struct Purse {
    caps: Caps,
    channels: BTreeMap<ChannelId, Entry>,
    /// Of all entries. Each is at most 2^63, and there are fewer than 2^64.
    exposure: u128,
    capital: u128,
}

/// In nanoton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Signed and not earned, over all channels.
    pub exposure: Nano,
    /// Paid in and not claimed, over all channels.
    pub capital: Nano,
    /// The same of the channels to one payee's account.
    pub capital_of_owner: Nano,
    /// Earnings of an owner before a channel to it is opened at all.
    pub open_above: Nano,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    owner: Account,
    exposure: Nano,
    capital: Nano,
}

/// Why no money goes into a channel. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FundRefusal {
    #[error("the payee has earned {matured} so far; channels are opened above {least}")]
    NotEarned { matured: Nano, least: Nano },
    #[error("{room} more may lie in channels to this owner; raise the cap of an owner, or pay in less")]
    OwnerCap { room: Nano },
    #[error("{room} more may lie in channels; raise the cap, close a channel, or pay in less")]
    Cap { room: Nano },
}

impl Purse {
    pub const fn new(caps: Caps) -> Self {
        Self {
            caps,
            channels: BTreeMap::new(),
            exposure: 0,
            capital: 0,
        }
    }

    /// Signed and not earned, over all channels.
    pub fn exposure(&self) -> Nano {
        amount(self.exposure)
    }

    /// Paid in and not claimed, over all channels.
    pub fn capital(&self) -> Nano {
        amount(self.capital)
    }

    /// Whether `amount` may be paid in to open a channel to an owner who has earned `matured`.
    pub fn allows_opening(&self, owner: &Account, matured: Nano, amount: Nano) -> Result<(), FundRefusal> {
        let least = self.caps.open_above;
        if matured < least {
            return Err(FundRefusal::NotEarned { matured, least });
        }
        self.allows_funding(owner, amount)
    }

    /// Whether `amount` may be paid in to a channel to this owner.
    pub fn allows_funding(&self, owner: &Account, amount: Nano) -> Result<(), FundRefusal> {
        let theirs = self.channels.values().filter(|entry| entry.owner == *owner);
        let of_owner = theirs.fold(Nano::ZERO, |sum, entry| sum.saturating_add(entry.capital));
        let room = self.caps.capital_of_owner.saturating_sub(of_owner);
        if amount > room {
            return Err(FundRefusal::OwnerCap { room });
        }
        let room = self.caps.capital.saturating_sub(self.capital());
        if amount > room {
            return Err(FundRefusal::Cap { room });
        }
        Ok(())
    }

    /// The most that may be at risk in this channel as the others stand.
    pub(super) fn room(&self, channel: &ChannelId) -> Nano {
        let own = self.channels.get(channel).map_or(Nano::ZERO, |entry| entry.exposure);
        let others = self.exposure.saturating_sub(own.get().into());
        self.caps.exposure.saturating_sub(amount(others))
    }

    pub(super) fn set(&mut self, channel: &ChannelId, owner: &Account, exposure: Nano, capital: Nano) {
        let entry = Entry {
            owner: *owner,
            exposure,
            capital,
        };
        self.remove(channel);
        self.exposure = self.exposure.saturating_add(exposure.get().into());
        self.capital = self.capital.saturating_add(capital.get().into());
        self.channels.insert(*channel, entry);
    }

    pub(super) fn remove(&mut self, channel: &ChannelId) {
        if let Some(entry) = self.channels.remove(channel) {
            self.exposure = self.exposure.saturating_sub(entry.exposure.get().into());
            self.capital = self.capital.saturating_sub(entry.capital.get().into());
        }
    }
}

fn amount(sum: u128) -> Nano {
    Nano::saturating(u64::try_from(sum).unwrap_or(u64::MAX))
}
