//! What a channel sends.

use billing::Nano;
use billing::channel::OnChain;
use tycho_types::cell::Cell;

use super::wire::{Malformed, begin, cell, end, load_amount, store_amount};

/// The body of a message from a channel.
///
/// Anybody can send such a body: it is a channel's only if the message came from the channel's account.
/// `query_id` is that of the request that it follows.
///
/// ```text
/// payout#70637061        query_id:uint64 cumulative:Coins
/// fee_payout#70636665    query_id:uint64
/// refund#70637266        query_id:uint64
/// channel_event#70636576 query_id:uint64 close_at:uint32 deposited:Coins claimed:Coins
/// excesses#d53276db      query_id:uint64
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remittance {
    /// To the payee, with what it took less the fee. `cumulative` is what was claimed in all, fees with it.
    Payout { query_id: u64, cumulative: Nano },
    /// To the fee's destination.
    FeePayout { query_id: u64 },
    /// To the payer, with the rest: the channel is no more.
    Refund { query_id: u64 },
    /// To the payee, with one nanoton: something was paid in, or the clock was started.
    Event { query_id: u64, on_chain: OnChain },
    /// To whoever sent the request: what it brought and did not need.
    Excesses { query_id: u64 },
}

const PAYOUT: u32 = 0x7063_7061;
const FEE_PAYOUT: u32 = 0x7063_6665;
const REFUND: u32 = 0x7063_7266;
const EVENT: u32 = 0x7063_6576;
const EXCESSES: u32 = 0xd532_76db;

impl Remittance {
    #[must_use]
    pub fn query_id(&self) -> u64 {
        match self {
            Self::Payout { query_id, .. }
            | Self::FeePayout { query_id }
            | Self::Refund { query_id }
            | Self::Event { query_id, .. }
            | Self::Excesses { query_id } => *query_id,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Cell {
        let operation = match self {
            Self::Payout { .. } => PAYOUT,
            Self::FeePayout { .. } => FEE_PAYOUT,
            Self::Refund { .. } => REFUND,
            Self::Event { .. } => EVENT,
            Self::Excesses { .. } => EXCESSES,
        };
        cell(|to| {
            to.store_u32(operation)?;
            to.store_u64(self.query_id())?;
            match self {
                Self::Payout { cumulative, .. } => store_amount(to, *cumulative),
                Self::Event { on_chain, .. } => {
                    to.store_u32(on_chain.close_at.unwrap_or(0))?;
                    store_amount(to, on_chain.deposited)?;
                    store_amount(to, on_chain.claimed)
                }
                Self::FeePayout { .. } | Self::Refund { .. } | Self::Excesses { .. } => Ok(()),
            }
        })
    }

    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        let operation = from.load_u32()?;
        if ![PAYOUT, FEE_PAYOUT, REFUND, EVENT, EXCESSES].contains(&operation) {
            return Err(Malformed::UnknownOperation(operation));
        }
        let query_id = from.load_u64()?;
        let notice = match operation {
            PAYOUT => Self::Payout {
                query_id,
                cumulative: load_amount(&mut from, "the payout")?,
            },
            FEE_PAYOUT => Self::FeePayout { query_id },
            REFUND => Self::Refund { query_id },
            EXCESSES => Self::Excesses { query_id },
            _ => {
                let close_at = from.load_u32()?;
                Self::Event {
                    query_id,
                    on_chain: OnChain {
                        close_at: (close_at != 0).then_some(close_at),
                        deposited: load_amount(&mut from, "the deposit")?,
                        claimed: load_amount(&mut from, "what was claimed")?,
                    },
                }
            }
        };
        end(&from)?;
        Ok(notice)
    }
}
