//! Transfers of a jetton (TEP-74): what an owner orders its jetton wallet, and what comes back if it cannot be done.

use billing::Nano;
use billing::channel::Account;
use tycho_types::cell::{Cell, CellBuilder};

use super::FORWARD;
use super::request::Who;
use crate::contract::wire::{begin, cell, end, load_account, load_amount, store_account, store_amount};
use crate::contract::{Malformed, Remittance};

/// ```text
/// transfer#0f8a7ea5 query_id:uint64 amount:(VarUInteger 16) destination:MsgAddress response_destination:MsgAddress
///                   custom_payload:(Maybe ^Cell) forward_ton_amount:(VarUInteger 16) forward_payload:(Either Cell ^Cell)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub query_id: u64,
    /// In the jetton's smallest unit.
    pub amount: Nano,
    /// The owner that gets it, not its jetton wallet.
    pub to: Account,
    /// Who gets the TON that was not needed.
    pub excess_to: Account,
    /// Nanoton for the recipient, with the note.
    pub forward: Nano,
    /// What the recipient is told: a channel says what the transfer is.
    pub note: Option<Remittance>,
}

/// A transfer of a channel that its wallet returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpaid {
    /// `None` for what a channel sent back or the payer swept: nobody is due it.
    pub who: Option<Who>,
    pub amount: Nano,
}

const TRANSFER: u32 = 0x0f8a_7ea5;
const BOUNCED: u32 = 0xffff_ffff;

impl Transfer {
    /// A payer pays into `channel`: to be sent to the payer's own jetton wallet, with [`FORWARD`] and some 0.1 TON more.
    #[must_use]
    pub const fn deposit(amount: Nano, channel: Account, payer: Account, query_id: u64) -> Self {
        Self {
            query_id,
            amount,
            to: channel,
            excess_to: payer,
            forward: FORWARD,
            note: None,
        }
    }

    /// Whom a channel means with it: the two highest bits of its query id.
    #[must_use]
    pub fn who(&self) -> Option<Who> {
        who(self.query_id)
    }

    #[must_use]
    pub fn encode(&self) -> Cell {
        cell(|to| {
            to.store_u32(TRANSFER)?;
            to.store_u64(self.query_id)?;
            store_amount(to, self.amount)?;
            store_account(to, &self.to)?;
            store_account(to, &self.excess_to)?;
            to.store_bit_zero()?;
            store_amount(to, self.forward)?;
            to.store_bit(self.note.is_some())?;
            match self.note {
                Some(note) => to.store_reference(note.encode()),
                None => Ok(()),
            }
        })
    }

    /// Of those without a custom payload, whose note is a channel's or empty.
    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        let operation = from.load_u32()?;
        if operation != TRANSFER {
            return Err(Malformed::UnknownOperation(operation));
        }
        let query_id = from.load_u64()?;
        let amount = load_amount(&mut from, "the amount")?;
        let to = load_account(&mut from, "the recipient")?;
        let excess_to = load_account(&mut from, "who gets the rest")?;
        if from.load_bit()? {
            return Err(Malformed::Long);
        }
        let forward = load_amount(&mut from, "what is forwarded")?;
        let note = match from.load_bit()? {
            true => Some(Remittance::decode(&from.load_reference_cloned()?)?),
            false => None,
        };
        end(&from)?;
        Ok(Self {
            query_id,
            amount,
            to,
            excess_to,
            forward,
            note,
        })
    }
}

impl Unpaid {
    /// From the body of a message that bounced.
    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        let mark = from.load_u32()?;
        if mark != BOUNCED {
            return Err(Malformed::UnknownOperation(mark));
        }
        let operation = from.load_u32()?;
        if operation != TRANSFER {
            return Err(Malformed::UnknownOperation(operation));
        }
        Ok(Self {
            who: who(from.load_u64()?),
            amount: load_amount(&mut from, "the amount")?,
        })
    }

    /// As a wallet returns it.
    #[must_use]
    pub fn encode(&self) -> Cell {
        let query_id = u64::from(self.who.map_or(0, Who::number)) << 62;
        cell(|to: &mut CellBuilder| {
            to.store_u32(BOUNCED)?;
            to.store_u32(TRANSFER)?;
            to.store_u64(query_id)?;
            store_amount(to, self.amount)
        })
    }
}

fn who(query_id: u64) -> Option<Who> {
    Who::ALL
        .into_iter()
        .find(|who| u64::from(who.number()) == query_id >> 62)
}
