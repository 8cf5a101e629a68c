//! What a channel that holds a jetton keeps.

use billing::Nano;
use billing::channel::{Account, Keys, OnChain, Terms};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, HashBytes};

use crate::contract::Malformed;
use crate::contract::state::{decode_terms, encode_terms};
use crate::contract::wire::{
    begin, cell, end, load_account, load_amount, load_maybe_account, store_account, store_amount, store_maybe_account,
};

/// A channel's data, whole; the terms are those of any channel:
///
/// ```text
/// storage#_ close_at:uint32 deposited:Coins claimed:Coins payer_key:uint256 payee_key:uint256
///           terms:^Terms jetton:^Jetton = Storage;
/// jetton#_  master:MsgAddressInt wallet:MsgAddress ended:Bool ordered_at:uint32
///           payee_due:Coins fee_due:Coins payer_due:Coins = Jetton;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub terms: Terms,
    pub keys: Keys,
    pub on_chain: OnChain,
    pub held: Held,
}

/// What is different from a channel of TON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose jettons these are; never changes.
    pub master: Account,
    /// The channel's own jetton wallet, once the master has said which.
    pub wallet: Option<Account>,
    /// Nothing more can be claimed; the account stays.
    pub ended: bool,
    /// Unix seconds of the last transfer that was ordered for one of the parties; 0 before the first.
    pub ordered_at: u32,
    /// Claimed for the payee, and returned by the wallet: [`Request::Retry`](super::Request::Retry) has it paid.
    pub payee_due: Nano,
    /// The same of the fee.
    pub fee_due: Nano,
    /// The same of what is the payer's at the end.
    pub payer_due: Nano,
}

impl State {
    /// As it is born: no wallet, nothing paid in, nothing taken, nobody closing.
    #[must_use]
    pub const fn newborn(terms: Terms, keys: Keys, master: Account) -> Self {
        Self {
            terms,
            keys,
            on_chain: OnChain {
                close_at: None,
                deposited: Nano::ZERO,
                claimed: Nano::ZERO,
            },
            held: Held {
                master,
                wallet: None,
                ended: false,
                ordered_at: 0,
                payee_due: Nano::ZERO,
                fee_due: Nano::ZERO,
                payer_due: Nano::ZERO,
            },
        }
    }

    #[must_use]
    pub fn encode(&self) -> Cell {
        let held = cell(|to| {
            store_account(to, &self.held.master)?;
            store_maybe_account(to, self.held.wallet.as_ref())?;
            to.store_bit(self.held.ended)?;
            to.store_u32(self.held.ordered_at)?;
            store_amount(to, self.held.payee_due)?;
            store_amount(to, self.held.fee_due)?;
            store_amount(to, self.held.payer_due)
        });
        cell(|to| {
            to.store_u32(self.on_chain.close_at.unwrap_or(0))?;
            store_amount(to, self.on_chain.deposited)?;
            store_amount(to, self.on_chain.claimed)?;
            to.store_u256(&HashBytes(self.keys.payer))?;
            to.store_u256(&HashBytes(self.keys.payee))?;
            to.store_reference(encode_terms(&self.terms))?;
            to.store_reference(held)
        })
    }

    pub fn decode(data: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(data)?;
        let close_at = from.load_u32()?;
        let on_chain = OnChain {
            close_at: (close_at != 0).then_some(close_at),
            deposited: load_amount(&mut from, "the deposit")?,
            claimed: load_amount(&mut from, "what was claimed")?,
        };
        let keys = Keys {
            payer: from.load_u256()?.0,
            payee: from.load_u256()?.0,
        };
        let (terms, held) = (from.load_reference_cloned()?, from.load_reference_cloned()?);
        end(&from)?;
        Ok(Self {
            terms: decode_terms(&terms)?,
            keys,
            on_chain,
            held: Held::decode(&held)?,
        })
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, Malformed> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

impl Held {
    fn decode(held: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(held)?;
        let held = Self {
            master: load_account(&mut from, "the jetton's master")?,
            wallet: load_maybe_account(&mut from, "the jetton wallet")?,
            ended: from.load_bit()?,
            ordered_at: from.load_u32()?,
            payee_due: load_amount(&mut from, "what the payee is due")?,
            fee_due: load_amount(&mut from, "the fee that is due")?,
            payer_due: load_amount(&mut from, "what the payer is due")?,
        };
        end(&from)?;
        Ok(held)
    }
}
