//! Whether a channel that a chain shows is one to serve for, paid in a jetton.
//!
//! 1. the chain is ours, and the account is in the basic workchain;
//! 2. the account is active, and its code is ours;
//! 3. its data are of the scheme, with amounts that we can hold;
//! 4. its address follows from its terms, keys and jetton: it was born without a wallet and with no deposit, so that its
//!    wallet is the one that the master named;
//! 5. the jetton is the one that we take: a master of the same name is not;
//! 6. the terms are for our network, pay us, with our key, at our fee, and work out;
//! 7. the master has named the wallet, nobody is closing, and it has not ended.
//!
//! There is no step about former lives: such an account stays when the channel has ended.

use billing::Nano;
use billing::channel::{Account, ChannelId, Keys, Network, OnChain, Terms};

use super::state::State;
use super::{CODE_HASH, account};
use crate::chain::{AccountState, Head};
use crate::contract::accept as channel;

/// What a payee wants of a channel to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub channel: crate::contract::Wanted,
    /// The master of the jetton that we take, by its address.
    pub master: Account,
}

/// What one source says of an account. It is a claim: for much money ask another one, too.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub network: Network,
    pub account: Account,
    pub state: &'a AccountState,
}

/// A channel that we take.
///
/// Proves: as the source tells it, at [`Accepted::head`] the account ran our code with these terms and keys, held the jetton
/// that we want in the wallet that its master named, paid us, and was not closing.
/// Does not prove: that the source tells the truth, that the payer's key signed anything, that the jetton's issuer keeps its
/// word, or that our own jetton wallet takes what is paid to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    id: ChannelId,
    state: State,
    wallet: Account,
    head: Head,
}

impl Accepted {
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.id
    }

    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.state.terms
    }

    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.state.keys
    }

    #[must_use]
    pub fn on_chain(&self) -> OnChain {
        self.state.on_chain
    }

    /// The jetton wallet that holds the deposit.
    #[must_use]
    pub fn wallet(&self) -> Account {
        self.wallet
    }

    /// What can be claimed yet, in the jetton's smallest unit. What is due since a transfer failed is not in it.
    #[must_use]
    pub fn payable(&self) -> Nano {
        let OnChain { deposited, claimed, .. } = self.state.on_chain;
        deposited.saturating_sub(claimed)
    }

    /// The block that it was seen in.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }
}

/// Why a channel is not taken; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    #[error("the channel holds another jetton than the one that we take; open one with ours")]
    Master { wanted: Account, found: Account },
    #[error("the channel does not know its jetton wallet yet; send it open, or wait for the master's answer")]
    NotOpen,
    #[error("the channel has ended; open a new one")]
    Ended,
    /// What any channel may be refused for.
    #[error(transparent)]
    Channel(#[from] crate::contract::Unacceptable),
}

/// Whether we serve for this channel.
pub fn accept(seen: &Seen<'_>, wanted: &Wanted) -> Result<Accepted, Unacceptable> {
    channel::place(seen.network, &seen.account, &wanted.channel)?;
    let data = channel::data(seen.state, &CODE_HASH)?;
    let state = State::decode_boc(data).map_err(crate::contract::Unacceptable::Data)?;
    if account(&state.terms, &state.keys, &state.held.master) != seen.account {
        return Err(crate::contract::Unacceptable::Address.into());
    }
    if state.held.master != wanted.master {
        return Err(Unacceptable::Master {
            wanted: wanted.master,
            found: state.held.master,
        });
    }
    channel::terms(&state.terms, &state.keys, &wanted.channel)?;
    let wallet = state.held.wallet.ok_or(Unacceptable::NotOpen)?;
    if state.held.ended {
        return Err(Unacceptable::Ended);
    }
    if let Some(close_at) = state.on_chain.close_at {
        return Err(crate::contract::Unacceptable::Closing { close_at }.into());
    }
    Ok(Accepted {
        id: ChannelId {
            network: seen.network,
            account: seen.account,
        },
        state,
        wallet,
        head: seen.state.head,
    })
}
