//! What Cocoon's other contracts keep, and where they are.
//!
//! Each is where its first data says, so that who knows the registry's parameters and the parties can say which account
//! a signed statement must be for, and asks nobody.

use billing::{
    Nano,
    channel::{Account, PublicKey},
};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellSlice, HashBytes},
    error::Error,
    models::StateInit,
};

use super::{Codes, NotCocoon, Params};
use crate::contract::{
    BASECHAIN, Malformed,
    wire::{begin, cell, end, load_account, load_amount, store_account, store_amount},
};

/// Whether a contract still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Normal,
    /// Until its time of unlocking.
    Closing,
    Closed,
}

impl Phase {
    fn load(from: &mut CellSlice<'_>) -> Result<Self, NotCocoon> {
        match from.load_small_uint(2)? {
            0 => Ok(Self::Normal),
            1 => Ok(Self::Closing),
            2 => Ok(Self::Closed),
            unknown => Err(NotCocoon::Phase(unknown)),
        }
    }

    fn store(self, to: &mut CellBuilder) -> Result<(), Error> {
        let number = match self {
            Self::Normal => 0,
            Self::Closing => 1,
            Self::Closed => 2,
        };
        to.store_small_uint(number, 2)
    }
}

/// A proxy's contract, which holds the coins of all its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyData {
    pub owner: Account,
    pub key: PublicKey,
    pub root: Account,
    pub phase: Phase,
    /// What the owner can take.
    pub profit: Nano,
    pub stake: Nano,
    /// Unix seconds; 0 while it does not close.
    pub unlock_at: u32,
    /// Hash of the parameters' cell.
    pub params: [u8; 32],
}

/// A client's contract at one proxy. It is a number in a ledger: the coins are with the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientData {
    pub phase: Phase,
    pub balance: Nano,
    pub stake: Nano,
    /// Adjusted tokens that were charged.
    pub tokens: u64,
    pub unlock_at: u32,
    /// SHA-256 of what the client proves itself with; zeros where there is nothing.
    pub secret_hash: [u8; 32],
    pub owner: Account,
    pub proxy: Account,
    pub key: PublicKey,
    pub params: [u8; 32],
}

/// A worker's contract at one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerData {
    pub owner: Account,
    pub proxy: Account,
    pub key: PublicKey,
    pub phase: Phase,
    /// Adjusted tokens that were paid out.
    pub tokens: u64,
    pub params: [u8; 32],
}

impl ProxyData {
    /// Where the contract of a proxy with this owner and key is; `None` where the parameters lack its code.
    #[must_use]
    pub fn account(params: &Params, root: Account, owner: Account, key: PublicKey) -> Option<Account> {
        let copy = params.encode(Codes::OfChildren);
        let newborn = Self {
            owner,
            key,
            root,
            phase: Phase::Normal,
            profit: Nano::ZERO,
            stake: Nano::ZERO,
            unlock_at: 0,
            params: copy.repr_hash().0,
        };
        born(params.proxy_code.as_ref()?, newborn.encode(copy))
    }

    fn encode(&self, params: Cell) -> Cell {
        cell(|to| {
            store_account(to, &self.owner)?;
            to.store_u256(&HashBytes(self.key))?;
            store_account(to, &self.root)?;
            self.phase.store(to)?;
            store_amount(to, self.profit)?;
            store_amount(to, self.stake)?;
            to.store_u32(self.unlock_at)?;
            to.store_reference(params)
        })
    }

    pub fn decode(data: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(data)?;
        let data = Self {
            owner: load_account(&mut from, "the proxy's owner")?,
            key: from.load_u256()?.0,
            root: load_account(&mut from, "the proxy's registry")?,
            phase: Phase::load(&mut from)?,
            profit: load_amount(&mut from, "the proxy's profit")?,
            stake: load_amount(&mut from, "the proxy's stake")?,
            unlock_at: from.load_u32()?,
            params: hash_of_reference(&mut from)?,
        };
        end(&from)?;
        Ok(data)
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, NotCocoon> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

impl ClientData {
    /// Where the contract of the client `owner` at `proxy` is; `None` where the parameters lack its code.
    #[must_use]
    pub fn account(params: &Params, proxy: Account, key: PublicKey, owner: Account) -> Option<Account> {
        let copy = params.encode(Codes::None);
        let newborn = Self {
            phase: Phase::Normal,
            balance: Nano::ZERO,
            stake: params.least_client_stake,
            tokens: 0,
            unlock_at: 0,
            secret_hash: [0; 32],
            owner,
            proxy,
            key,
            params: copy.repr_hash().0,
        };
        born(params.client_code.as_ref()?, newborn.encode(copy))
    }

    fn encode(&self, params: Cell) -> Cell {
        let parties = cell(|to| {
            store_account(to, &self.owner)?;
            store_account(to, &self.proxy)?;
            to.store_u256(&HashBytes(self.key))
        });
        cell(|to| {
            self.phase.store(to)?;
            store_amount(to, self.balance)?;
            store_amount(to, self.stake)?;
            to.store_u64(self.tokens)?;
            to.store_u32(self.unlock_at)?;
            to.store_u256(&HashBytes(self.secret_hash))?;
            to.store_reference(parties)?;
            to.store_reference(params)
        })
    }

    pub fn decode(data: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(data)?;
        let parties = from.load_reference_cloned()?;
        let mut of_parties = begin(&parties)?;
        let data = Self {
            phase: Phase::load(&mut from)?,
            balance: load_amount(&mut from, "the client's balance")?,
            stake: load_amount(&mut from, "the client's stake")?,
            tokens: from.load_u64()?,
            unlock_at: from.load_u32()?,
            secret_hash: from.load_u256()?.0,
            owner: load_account(&mut of_parties, "the client's owner")?,
            proxy: load_account(&mut of_parties, "the client's proxy")?,
            key: of_parties.load_u256()?.0,
            params: hash_of_reference(&mut from)?,
        };
        end(&of_parties)?;
        end(&from)?;
        Ok(data)
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, NotCocoon> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

impl WorkerData {
    /// Where the contract of the worker `owner` at `proxy` is; `None` where the parameters lack its code.
    #[must_use]
    pub fn account(params: &Params, proxy: Account, key: PublicKey, owner: Account) -> Option<Account> {
        let copy = params.encode(Codes::None);
        let newborn = Self {
            owner,
            proxy,
            key,
            phase: Phase::Normal,
            tokens: 0,
            params: copy.repr_hash().0,
        };
        born(params.worker_code.as_ref()?, newborn.encode(copy))
    }

    fn encode(&self, params: Cell) -> Cell {
        cell(|to| {
            store_account(to, &self.owner)?;
            store_account(to, &self.proxy)?;
            to.store_u256(&HashBytes(self.key))?;
            self.phase.store(to)?;
            to.store_u64(self.tokens)?;
            to.store_reference(params)
        })
    }

    pub fn decode(data: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(data)?;
        let data = Self {
            owner: load_account(&mut from, "the worker's owner")?,
            proxy: load_account(&mut from, "the worker's proxy")?,
            key: from.load_u256()?.0,
            phase: Phase::load(&mut from)?,
            tokens: from.load_u64()?,
            params: hash_of_reference(&mut from)?,
        };
        end(&from)?;
        Ok(data)
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, NotCocoon> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

fn hash_of_reference(from: &mut CellSlice<'_>) -> Result<[u8; 32], NotCocoon> {
    Ok(from.load_reference()?.repr_hash().0)
}

fn born(code: &Cell, data: Cell) -> Option<Account> {
    let init = StateInit {
        code: Some(code.clone()),
        data: Some(data),
        ..StateInit::default()
    };
    let init = CellBuilder::build_from(init).ok()?;
    Some(Account {
        workchain: BASECHAIN,
        hash: init.repr_hash().0,
    })
}
