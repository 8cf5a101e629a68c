//! Reads a registry from a chain, and says what it takes away.
//!
//! 1. the chain is the one that we are on, and the account is in the basic workchain;
//! 2. the account is active, and its code is ours, which nobody can change: so what it says went through its owners and the
//!    delay, from the first owners on, whom the address names;
//! 3. its data are of the scheme, for this network.

use billing::channel::{Account, Network, PublicKey};
use tycho_types::boc::Boc;

use super::CODE_HASH;
use super::charter::{Charter, Digest};
use super::state::{Pending, State};
use crate::chain::{AccountState, Chain, ChainError, Head, Status};
use crate::contract::{BASECHAIN, Malformed};
use crate::reconciler::STALE_S;

/// What one source says that a registry holds.
///
/// Proves: as the source tells it, at [`Registry::head`] the account ran the registry's code and held this charter.
/// Does not prove: that the source tells the truth, that nothing newer was there, or that the owners meant well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    account: Account,
    state: State,
    head: Head,
}

/// A network fee: so many parts of 10,000 to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    pub bps: u16,
    pub dest: Account,
}

/// A registry that is older than one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source shows the registry at change {found}, and change {seen} was seen before; ask another source")]
pub struct Older {
    pub seen: u64,
    pub found: u64,
}

/// Why an account is not the registry that was named; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistry {
    #[error("the registry is in workchain {workchain}; only one in workchain 0 is read")]
    Workchain { workchain: i8 },
    #[error("there is no registry at this address yet; open it, or correct the address")]
    NotThere,
    #[error("the registry is frozen: it owes rent; send it some TON with the state that froze")]
    Frozen,
    #[error("the account has another code than the registry that we know; correct the address, or use a newer version")]
    Code,
    #[error("the registry's data cannot be taken: {0}")]
    Data(#[source] Malformed),
    #[error("the registry is for {found}, and we are on {wanted}; name one of this network")]
    Network { wanted: Network, found: Network },
}

/// Why no registry was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the chain's source gave no answer about the registry; ask again")]
    Chain(#[source] ChainError),
    /// Seconds.
    #[error("the source's newest block is {age_s} s old: it is stuck, or our clock is wrong; ask another source")]
    Stale { age_s: u64 },
    #[error("the account is no registry to read: {0}")]
    Not(#[source] NotRegistry),
}

/// Reads the registry at `account`. `now_s` are Unix seconds by our own clock.
pub async fn read(chain: &dyn Chain, account: Account, now_s: u64) -> Result<Registry, ReadError> {
    let state = chain.account(account).await.map_err(ReadError::Chain)?;
    heard(chain.network(), account, &state, now_s)
}

/// The same of what a source, or two that agree, said just now.
pub fn heard(network: Network, account: Account, state: &AccountState, now_s: u64) -> Result<Registry, ReadError> {
    let age_s = now_s.saturating_sub(state.head.time.into());
    if age_s > STALE_S {
        return Err(ReadError::Stale { age_s });
    }
    judge(network, account, state).map_err(ReadError::Not)
}

/// The same of what a source said already.
pub fn judge(network: Network, account: Account, state: &AccountState) -> Result<Registry, NotRegistry> {
    if account.workchain != BASECHAIN {
        return Err(NotRegistry::Workchain {
            workchain: account.workchain,
        });
    }
    let (code, data) = match &state.status {
        Status::Active { code, data } => (code, data),
        Status::Frozen => return Err(NotRegistry::Frozen),
        Status::Nonexistent | Status::Uninitialised => return Err(NotRegistry::NotThere),
    };
    let code = Boc::decode(code).map_err(|_| NotRegistry::Code)?;
    if code.repr_hash().0 != CODE_HASH {
        return Err(NotRegistry::Code);
    }
    Registry::restore(network, account, state.head, data)
}

impl Registry {
    /// From what was kept of one that was read: its block, and [`Registry::data`]. Nobody is asked whether it is so:
    /// whoever can write what is kept decides.
    pub fn restore(network: Network, account: Account, head: Head, data: &[u8]) -> Result<Self, NotRegistry> {
        let state = State::decode_boc(data).map_err(NotRegistry::Data)?;
        if state.network != network {
            return Err(NotRegistry::Network {
                wanted: network,
                found: state.network,
            });
        }
        Ok(Self { account, state, head })
    }

    /// Its data as a bag of cells.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        Boc::encode(self.state.encode())
    }

    #[must_use]
    pub fn account(&self) -> Account {
        self.account
    }

    #[must_use]
    pub fn charter(&self) -> &Charter {
        &self.state.charter
    }

    /// What will be in force from its time on, unless it is taken back: an operator that disagrees has until then.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.state.pending.as_ref()
    }

    /// How many changes there were: it only grows.
    #[must_use]
    pub fn seqno(&self) -> u64 {
        self.state.seqno
    }

    /// The block that it was seen in.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether both hold the same, in whatever block. At one number of changes a registry can hold one thing only.
    #[must_use]
    pub fn says_as(&self, other: &Self) -> bool {
        self.account == other.account && self.state == other.state
    }

    /// Whether it may take the place of one that was seen at change `seen`.
    pub fn follows(&self, seen: u64) -> Result<(), Older> {
        match self.state.seqno < seen {
            true => Err(Older {
                seen,
                found: self.state.seqno,
            }),
            false => Ok(()),
        }
    }

    /// The roles that an image with this digest may have here, of those that it may have by `local` policy: a bit each.
    #[must_use]
    pub fn roles(&self, image: &Digest, local: u8) -> u8 {
        match &self.state.charter.lists.images {
            None => local,
            Some(images) => local & images.get(image).copied().unwrap_or(0),
        }
    }

    /// Whether it leaves a gateway with this key as it is.
    #[must_use]
    pub fn allows_gateway(&self, key: &PublicKey) -> bool {
        let gateways = &self.state.charter.lists.gateways;
        gateways.as_ref().is_none_or(|listed| listed.contains(key))
    }

    /// The same of a model, by the digest of what it is loaded from.
    #[must_use]
    pub fn allows_model(&self, digest: &Digest) -> bool {
        let models = &self.state.charter.lists.models;
        models.as_ref().is_none_or(|listed| listed.contains(digest))
    }

    /// The fee to ask for: never more than the operator said, nor than the registry allows, and none to an account that
    /// the two do not agree on.
    #[must_use]
    pub fn fee(&self, local: Fee) -> Fee {
        let charter = &self.state.charter;
        let bps = match local.dest == charter.fee_dest {
            true => local.bps.min(charter.most_fee_bps),
            false => 0,
        };
        Fee { bps, ..local }
    }
}
