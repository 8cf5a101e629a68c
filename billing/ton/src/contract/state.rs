//! What a channel keeps.

use billing::Nano;
use billing::channel::{Keys, Network, OnChain, Terms};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, HashBytes};

use super::wire::{Malformed, begin, cell, end, load_account, load_amount, store_account, store_amount};

/// A channel's data, whole:
///
/// ```text
/// storage#_ close_at:uint32 deposited:Coins claimed:Coins payer_key:uint256 payee_key:uint256 terms:^Terms = Storage;
/// terms#_   network_id:int32 close_delay:uint32 fee_bps:uint16 salt:uint128
///           payer:MsgAddressInt payee:MsgAddressInt fee_dest:MsgAddressInt = Terms;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub terms: Terms,
    pub keys: Keys,
    pub on_chain: OnChain,
}

impl State {
    /// As it is born: nothing paid in, nothing taken, nobody closing.
    #[must_use]
    pub const fn newborn(terms: Terms, keys: Keys) -> Self {
        Self {
            terms,
            keys,
            on_chain: OnChain {
                close_at: None,
                deposited: Nano::ZERO,
                claimed: Nano::ZERO,
            },
        }
    }

    #[must_use]
    pub fn encode(&self) -> Cell {
        cell(|to| {
            to.store_u32(self.on_chain.close_at.unwrap_or(0))?;
            store_amount(to, self.on_chain.deposited)?;
            store_amount(to, self.on_chain.claimed)?;
            to.store_u256(&HashBytes(self.keys.payer))?;
            to.store_u256(&HashBytes(self.keys.payee))?;
            to.store_reference(encode_terms(&self.terms))
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
        let terms = from.load_reference_cloned()?;
        end(&from)?;
        Ok(Self {
            terms: decode_terms(&terms)?,
            keys,
            on_chain,
        })
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, Malformed> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

pub(crate) fn encode_terms(terms: &Terms) -> Cell {
    cell(|to| {
        to.store_u32(terms.network.0.cast_unsigned())?;
        to.store_u32(terms.close_delay_s)?;
        to.store_u16(terms.fee_bps)?;
        to.store_u128(terms.salt)?;
        store_account(to, &terms.payer)?;
        store_account(to, &terms.payee)?;
        store_account(to, &terms.fee_dest)
    })
}

pub(crate) fn decode_terms(terms: &Cell) -> Result<Terms, Malformed> {
    let mut from = begin(terms)?;
    let terms = Terms {
        network: Network(from.load_u32()?.cast_signed()),
        close_delay_s: from.load_u32()?,
        fee_bps: from.load_u16()?,
        salt: from.load_u128()?,
        payer: load_account(&mut from, "the payer")?,
        payee: load_account(&mut from, "the payee")?,
        fee_dest: load_account(&mut from, "the fee's destination")?,
    };
    end(&from)?;
    Ok(terms)
}
