//! What is sent to a channel that holds a jetton.

use billing::Nano;
use billing::channel::Account;
use tycho_types::cell::{Cell, CellFamily};

use crate::contract::request::{COMMENT, FINISH_CLOSE, REQUEST_CLOSE, SETTLE};
use crate::contract::wire::{begin, cell, end, load_amount, load_maybe_account, store_amount, store_maybe_account};
use crate::contract::{Malformed, Settle};

/// The body of a message to a channel.
///
/// ```text
/// open#70636f70                query_id:uint64
/// take_wallet_address#d1735400 query_id:uint64 wallet:MsgAddress owner:(Maybe ^MsgAddress)        (TEP-89)
/// transfer_notification#7362d09c query_id:uint64 amount:Coins sender:MsgAddress payload:Any        (TEP-74)
/// settle#7063736c, request_close#70637271, finish_close#70636663                       as for a channel of TON
/// retry#70637279               query_id:uint64 who:uint2
/// sweep#70637377               query_id:uint64 amount:Coins
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// From anybody, with the state init: asks the master which wallet is the channel's.
    Open { query_id: u64 },
    /// From the master only.
    TakeWallet { query_id: u64, wallet: Option<Account> },
    /// From the channel's own wallet: credits `amount`. From anybody else it has no effect but that `amount` is sent back.
    Notification {
        query_id: u64,
        amount: Nano,
        sender: Option<Account>,
    },
    /// From anybody, without a body or with a comment: TON for rent.
    Rent,
    /// From anybody.
    Settle(Settle),
    /// From the payer's account only: starts the clock.
    RequestClose { query_id: u64 },
    /// From anybody, once the delay is over: the rest goes to the payer.
    FinishClose { query_id: u64 },
    /// From anybody: pays what is due since a transfer failed. Goes with all the TON that the message brings.
    Retry { query_id: u64, who: Who },
    /// From the payer, a week after all was paid: what the wallet has beyond, and the TON.
    Sweep { query_id: u64, amount: Nano },
}

/// Whom a transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Payee,
    Fee,
    Payer,
}

const OPEN: u32 = 0x7063_6f70;
const TAKE_WALLET: u32 = 0xd173_5400;
const NOTIFICATION: u32 = 0x7362_d09c;
const RETRY: u32 = 0x7063_7279;
const SWEEP: u32 = 0x7063_7377;

impl Who {
    pub(super) const ALL: [Self; 3] = [Self::Payee, Self::Fee, Self::Payer];

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Payee => 1,
            Self::Fee => 2,
            Self::Payer => 3,
        }
    }

    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.number() == number)
    }
}

impl Request {
    #[must_use]
    pub fn encode(&self) -> Cell {
        let (operation, query_id) = match *self {
            Self::Rent => return Cell::empty_cell(),
            Self::Settle(settle) => return settle.encode(),
            Self::Open { query_id } => (OPEN, query_id),
            Self::TakeWallet { query_id, .. } => (TAKE_WALLET, query_id),
            Self::Notification { query_id, .. } => (NOTIFICATION, query_id),
            Self::RequestClose { query_id } => (REQUEST_CLOSE, query_id),
            Self::FinishClose { query_id } => (FINISH_CLOSE, query_id),
            Self::Retry { query_id, .. } => (RETRY, query_id),
            Self::Sweep { query_id, .. } => (SWEEP, query_id),
        };
        cell(|to| {
            to.store_u32(operation)?;
            to.store_u64(query_id)?;
            match self {
                Self::TakeWallet { wallet, .. } => {
                    store_maybe_account(to, wallet.as_ref())?;
                    to.store_bit_zero()
                }
                Self::Notification { amount, sender, .. } => {
                    store_amount(to, *amount)?;
                    store_maybe_account(to, sender.as_ref())?;
                    to.store_bit_zero()
                }
                Self::Retry { who, .. } => to.store_small_uint(who.number(), 2),
                Self::Sweep { amount, .. } => store_amount(to, *amount),
                Self::Open { .. }
                | Self::Rent
                | Self::Settle(_)
                | Self::RequestClose { .. }
                | Self::FinishClose { .. } => Ok(()),
            }
        })
    }

    /// Reads as the contract does, but for amounts that are too large for us.
    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        if from.is_empty() {
            return Ok(Self::Rent);
        }
        let operation = from.load_u32()?;
        if operation == COMMENT {
            return Ok(Self::Rent);
        }
        let known = [
            OPEN,
            TAKE_WALLET,
            NOTIFICATION,
            SETTLE,
            REQUEST_CLOSE,
            FINISH_CLOSE,
            RETRY,
            SWEEP,
        ];
        if !known.contains(&operation) {
            return Err(Malformed::UnknownOperation(operation));
        }
        let query_id = from.load_u64()?;
        let request = match operation {
            OPEN => Self::Open { query_id },
            TAKE_WALLET => {
                let wallet = load_maybe_account(&mut from, "the jetton wallet")?;
                if from.load_bit()? {
                    from.load_reference()?;
                }
                Self::TakeWallet { query_id, wallet }
            }
            NOTIFICATION => {
                // What follows is the sender's own.
                return Ok(Self::Notification {
                    query_id,
                    amount: load_amount(&mut from, "the amount")?,
                    sender: load_maybe_account(&mut from, "the sender")?,
                });
            }
            REQUEST_CLOSE => Self::RequestClose { query_id },
            FINISH_CLOSE => Self::FinishClose { query_id },
            RETRY => Self::Retry {
                query_id,
                who: Who::numbered(from.load_small_uint(2)?).ok_or(Malformed::Nobody)?,
            },
            SWEEP => Self::Sweep {
                query_id,
                amount: load_amount(&mut from, "the amount")?,
            },
            _ => Self::Settle(Settle::load(&mut from, query_id)?),
        };
        end(&from)?;
        Ok(request)
    }
}
