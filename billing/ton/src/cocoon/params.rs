//! Cocoon's parameters: prices, delays, stakes and the code of its contracts.
//!
//! ```text
//! form:uint8 params_version:uint32 unique_id:uint32 is_test:Bool price_per_token:Coins worker_fee_per_token:Coins
//! prompt:uint32 (form 3)  cached:uint32 (form 2 and 3)  completion:uint32 (form 3)  reasoning:uint32 (form 2 and 3)
//! proxy_delay:uint32 client_delay:uint32  min_proxy_stake:Coins min_client_stake:Coins (form 1 to 3)
//! proxy_code:(Maybe ^Cell) worker_code:(Maybe ^Cell) client_code:(Maybe ^Cell)
//! ```
//!
//! They are copied by value into every contract when it is born, so that whoever knows them knows its address.

use billing::Nano;
use tycho_types::{
    cell::{Cell, CellBuilder, CellFamily as _, CellSlice, Load as _, Store as _},
    error::Error,
};

use super::NotCocoon;
use crate::contract::wire::{begin, cell, end, load_amount, store_amount};

const NEWEST_FORM: u8 = 3;
/// What stakes are where the form does not say: a coin.
const STAKE_OF_OLD: Nano = Nano::saturating(Nano::UNIT);

/// Prices and rules, all of them the network's and none a worker's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// How they are written: 0 to 3. What a form does not have, has its default here.
    pub form: u8,
    /// Grows with each change; contracts of former versions are other contracts.
    pub version: u32,
    /// Tells networks of Cocoon apart: 239 is the public one.
    pub unique_id: u32,
    pub is_test: bool,
    /// Nanoton that a client pays for an adjusted token.
    pub price: Nano,
    /// Nanoton of it that the worker gets.
    pub worker_fee: Nano,
    pub multipliers: Multipliers,
    /// Seconds from a proxy's word that it closes until it can take what is left.
    pub proxy_delay_s: u32,
    /// Seconds from a client's wish for a refund until it can take it by itself.
    pub client_delay_s: u32,
    pub least_proxy_stake: Nano,
    pub least_client_stake: Nano,
    pub proxy_code: Option<Cell>,
    pub worker_code: Option<Cell>,
    pub client_code: Option<Cell>,
}

/// How many adjusted tokens a token is, by kind, in ten thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multipliers {
    pub prompt: u32,
    pub cached: u32,
    pub completion: u32,
    pub reasoning: u32,
}

impl Multipliers {
    /// Each token is one.
    pub const ONE: Self = Self {
        prompt: 10_000,
        cached: 10_000,
        completion: 10_000,
        reasoning: 10_000,
    };
}

/// Which contracts' code a copy of the parameters has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// The registry's own.
    All,
    /// A proxy's: of its workers and clients.
    OfChildren,
    /// A worker's or a client's.
    None,
}

impl Params {
    #[must_use]
    pub fn encode(&self, codes: Codes) -> Cell {
        let (proxy, children) = match codes {
            Codes::All => (true, true),
            Codes::OfChildren => (false, true),
            Codes::None => (false, false),
        };
        cell(|to| {
            to.store_u8(self.form)?;
            to.store_u32(self.version)?;
            to.store_u32(self.unique_id)?;
            to.store_bit(self.is_test)?;
            store_amount(to, self.price)?;
            store_amount(to, self.worker_fee)?;
            self.store_multipliers(to)?;
            to.store_u32(self.proxy_delay_s)?;
            to.store_u32(self.client_delay_s)?;
            if self.form >= 1 {
                store_amount(to, self.least_proxy_stake)?;
                store_amount(to, self.least_client_stake)?;
            }
            store_code(to, self.proxy_code.as_ref().filter(|_| proxy))?;
            store_code(to, self.worker_code.as_ref().filter(|_| children))?;
            store_code(to, self.client_code.as_ref().filter(|_| children))
        })
    }

    pub fn decode(params: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(params)?;
        let form = from.load_u8()?;
        if form > NEWEST_FORM {
            return Err(NotCocoon::Form(form));
        }
        let params = Self {
            form,
            version: from.load_u32()?,
            unique_id: from.load_u32()?,
            is_test: from.load_bit()?,
            price: load_amount(&mut from, "the price of a token")?,
            worker_fee: load_amount(&mut from, "the worker's part of a token's price")?,
            multipliers: Multipliers::load(&mut from, form)?,
            proxy_delay_s: from.load_u32()?,
            client_delay_s: from.load_u32()?,
            least_proxy_stake: load_stake(&mut from, form, "a proxy's stake")?,
            least_client_stake: load_stake(&mut from, form, "a client's stake")?,
            proxy_code: Option::<Cell>::load_from(&mut from)?,
            worker_code: Option::<Cell>::load_from(&mut from)?,
            client_code: Option::<Cell>::load_from(&mut from)?,
        };
        end(&from)?;
        Ok(params)
    }

    fn store_multipliers(&self, to: &mut CellBuilder) -> Result<(), Error> {
        let Multipliers {
            prompt,
            cached,
            completion,
            reasoning,
        } = self.multipliers;
        if self.form >= 3 {
            to.store_u32(prompt)?;
        }
        if self.form >= 2 {
            to.store_u32(cached)?;
        }
        if self.form >= 3 {
            to.store_u32(completion)?;
        }
        if self.form >= 2 {
            to.store_u32(reasoning)?;
        }
        Ok(())
    }
}

impl Multipliers {
    fn load(from: &mut CellSlice<'_>, form: u8) -> Result<Self, Error> {
        let mut since = |first: u8| if form >= first { from.load_u32() } else { Ok(10_000) };
        Ok(Self {
            prompt: since(3)?,
            cached: since(2)?,
            completion: since(3)?,
            reasoning: since(2)?,
        })
    }
}

fn load_stake(from: &mut CellSlice<'_>, form: u8, field: &'static str) -> Result<Nano, NotCocoon> {
    if form == 0 {
        return Ok(STAKE_OF_OLD);
    }
    Ok(load_amount(from, field)?)
}

fn store_code(to: &mut CellBuilder, code: Option<&Cell>) -> Result<(), Error> {
    code.cloned().store_into(to, Cell::empty_context())
}
