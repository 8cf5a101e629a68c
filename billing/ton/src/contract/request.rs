//! What is sent to a channel.

use billing::Nano;
use billing::channel::Settlement;
use tycho_types::cell::{Cell, CellFamily, CellSlice};

use super::wire::{Malformed, Signature, begin, cell, end, load_amount, load_signature, store_amount};

/// The body of a message to a channel. `query_id` is the sender's own number and comes back in what follows.
///
/// ```text
/// top_up#70637470        query_id:uint64 amount:Coins
/// settle#7063736c        query_id:uint64 close:Bool take:Coins max:Coins payee_sig:bits512 voucher_sig:(Maybe ^[bits512])
/// request_close#70637271 query_id:uint64
/// finish_close#70636663  query_id:uint64
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// From anybody. Credits `amount`; what the message brought beyond it and its cost comes back.
    TopUp { query_id: u64, amount: Nano },
    /// From anybody, without a body or with a comment: credits all that it brought, less cost and reserve.
    Transfer,
    /// From anybody.
    Settle(Settle),
    /// From the payer's account only: starts the clock.
    RequestClose { query_id: u64 },
    /// From anybody, once the delay is over: the rest goes to the payer, and the channel is no more.
    FinishClose { query_id: u64 },
}

/// Pays what the payee took and the payer allowed. With `close` the rest goes to the payer at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    pub query_id: u64,
    pub close: bool,
    /// In all, over the channel's life.
    pub take: Nano,
    /// In all, what the voucher allows; at least `take`.
    pub max: Nano,
    /// Of the payee's key over `take`, tagged [`Take`](billing::channel::Tag::Take), or
    /// [`Close`](billing::channel::Tag::Close) with `close`.
    pub payee_signature: Signature,
    /// Of the payer's key over `max`. Only a close at what was claimed already needs none.
    pub voucher_signature: Option<Signature>,
}

/// Whoever has the signatures can settle: a log need not hold them.
impl std::fmt::Debug for Settle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settle")
            .field("query_id", &self.query_id)
            .field("close", &self.close)
            .field("take", &self.take)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

const TOP_UP: u32 = 0x7063_7470;
pub(crate) const SETTLE: u32 = 0x7063_736c;
pub(crate) const REQUEST_CLOSE: u32 = 0x7063_7271;
pub(crate) const FINISH_CLOSE: u32 = 0x7063_6663;
/// Of a message in words.
pub(crate) const COMMENT: u32 = 0;

impl Request {
    #[must_use]
    pub fn encode(&self) -> Cell {
        let bare = |operation: u32, query_id: u64| {
            cell(|to| {
                to.store_u32(operation)?;
                to.store_u64(query_id)
            })
        };
        match self {
            Self::TopUp { query_id, amount } => cell(|to| {
                to.store_u32(TOP_UP)?;
                to.store_u64(*query_id)?;
                store_amount(to, *amount)
            }),
            Self::Transfer => Cell::empty_cell(),
            Self::Settle(settle) => settle.encode(),
            Self::RequestClose { query_id } => bare(REQUEST_CLOSE, *query_id),
            Self::FinishClose { query_id } => bare(FINISH_CLOSE, *query_id),
        }
    }

    /// Reads as the contract does: what this refuses has no effect there. But for amounts that are too large for us, and for
    /// a voucher that a close does not need, which the contract does not look at.
    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        if from.is_empty() {
            return Ok(Self::Transfer);
        }
        let operation = from.load_u32()?;
        if operation == COMMENT {
            return Ok(Self::Transfer);
        }
        if ![TOP_UP, SETTLE, REQUEST_CLOSE, FINISH_CLOSE].contains(&operation) {
            return Err(Malformed::UnknownOperation(operation));
        }
        let query_id = from.load_u64()?;
        let request = match operation {
            TOP_UP => Self::TopUp {
                query_id,
                amount: load_amount(&mut from, "the amount")?,
            },
            REQUEST_CLOSE => Self::RequestClose { query_id },
            FINISH_CLOSE => Self::FinishClose { query_id },
            _ => Self::Settle(Settle::load(&mut from, query_id)?),
        };
        end(&from)?;
        Ok(request)
    }
}

impl Settle {
    /// What was verified, for the contract: it will find the same signatures good.
    #[must_use]
    pub fn of(settlement: &Settlement, query_id: u64) -> Self {
        let (take, voucher) = (settlement.take(), settlement.voucher());
        Self {
            query_id,
            close: take.is_last(),
            take: take.amount(),
            max: voucher.map_or(take.amount(), |voucher| voucher.max()),
            payee_signature: *take.signature(),
            voucher_signature: voucher.map(|voucher| *voucher.signature()),
        }
    }

    /// What follows the operation and its number.
    pub(crate) fn load(from: &mut CellSlice<'_>, query_id: u64) -> Result<Self, Malformed> {
        let close = from.load_bit()?;
        let take = load_amount(from, "the take")?;
        let max = load_amount(from, "the voucher")?;
        let payee_signature = load_signature(from)?;
        let voucher_signature = if from.load_bit()? {
            let mut voucher = from.load_reference_as_slice()?;
            let signature = load_signature(&mut voucher)?;
            end(&voucher)?;
            Some(signature)
        } else {
            None
        };
        Ok(Self {
            query_id,
            close,
            take,
            max,
            payee_signature,
            voucher_signature,
        })
    }

    pub(crate) fn encode(&self) -> Cell {
        let voucher = self
            .voucher_signature
            .map(|signature| cell(|to| to.store_raw(&signature, 512)));
        cell(|to| {
            to.store_u32(SETTLE)?;
            to.store_u64(self.query_id)?;
            to.store_bit(self.close)?;
            store_amount(to, self.take)?;
            store_amount(to, self.max)?;
            to.store_raw(&self.payee_signature, 512)?;
            to.store_bit(voucher.is_some())?;
            match voucher {
                Some(voucher) => to.store_reference(voucher),
                None => Ok(()),
            }
        })
    }
}
