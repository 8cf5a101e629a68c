//! Jobs of the channel contract, with what their messages must bring at the chain's prices of now.

use billing::{
    Nano,
    channel::{Account, Keys, OnChain, Terms},
};
use tycho_types::boc::Boc;

use super::{Goal, Job, Seen};
use crate::{
    chain::{AccountState, Status},
    contract::{self, CODE_HASH, Operation, Prices, RENT_RESERVE, Request, Settle, State},
};

impl Job {
    /// Brings a channel into being, with a deposit. The reserve for rent goes along, and comes back at the end.
    ///
    /// `None` where the amounts are beyond what there can be.
    pub fn open(terms: &Terms, keys: &Keys, deposit: Nano, prices: &Prices) -> Option<Self> {
        let amount = deposit
            .checked_add(RENT_RESERVE)?
            .checked_add(prices.bring(Operation::TopUp))?;
        Some(Self {
            channel: contract::account(terms, keys),
            goal: Goal::Deposited(deposit),
            amount,
            body: Request::TopUp {
                query_id: 0,
                amount: deposit,
            }
            .encode(),
            init: Some(contract::state_init(terms, keys)),
        })
    }

    /// Pays `more` into a channel that was seen with `on_chain`.
    ///
    /// `None` where the amounts are beyond what there can be.
    pub fn top_up(channel: Account, on_chain: &OnChain, more: Nano, prices: &Prices) -> Option<Self> {
        Some(Self {
            channel,
            goal: Goal::Deposited(on_chain.deposited.checked_add(more)?),
            amount: more.checked_add(prices.bring(Operation::TopUp))?,
            body: Request::TopUp {
                query_id: 0,
                amount: more,
            }
            .encode(),
            init: None,
        })
    }

    /// Hands over a take and its voucher; with `close`, the last ones.
    pub fn settle(channel: Account, settle: &Settle, prices: &Prices) -> Self {
        let (goal, operation) = if settle.close {
            (Goal::Gone, Operation::Close)
        } else {
            (Goal::Claimed(settle.take), Operation::Settle)
        };
        Self {
            channel,
            goal,
            amount: prices.bring(operation),
            body: Request::Settle(*settle).encode(),
            init: None,
        }
    }

    /// Starts the clock. The wallet must be the channel's payer.
    pub fn request_close(channel: Account, prices: &Prices) -> Self {
        Self {
            channel,
            goal: Goal::Closing,
            amount: prices.bring(Operation::RequestClose),
            body: Request::RequestClose { query_id: 0 }.encode(),
            init: None,
        }
    }

    /// Takes back the rest, once the delay is over. Before that it comes to nothing.
    pub fn finish_close(channel: Account, prices: &Prices) -> Self {
        Self {
            channel,
            goal: Goal::Gone,
            amount: prices.bring(Operation::FinishClose),
            body: Request::FinishClose { query_id: 0 }.encode(),
            init: None,
        }
    }
}

impl Seen {
    /// What an account's state says of the channel that should be there. That it says the truth is the source's word.
    pub fn read(account: &Account, state: &AccountState) -> Self {
        match &state.status {
            Status::Nonexistent | Status::Uninitialised => Self::Absent,
            // It cannot be paid out before somebody unfreezes it.
            Status::Frozen => Self::Foreign,
            Status::Active { code, data } => read(account, code, data).map_or(Self::Foreign, Self::Open),
        }
    }
}

fn read(account: &Account, code: &[u8], data: &[u8]) -> Option<OnChain> {
    let code = Boc::decode(code).ok()?;
    let state = State::decode_boc(data).ok()?;
    let is_ours = code.repr_hash().0 == CODE_HASH && contract::account(&state.terms, &state.keys) == *account;
    is_ours.then_some(state.on_chain)
}
