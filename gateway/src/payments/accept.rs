//! Whether the chain shows a channel that we take, and what it says of one that we took.

use billing::{Nano, channel::ChannelId};
use billing_store::ledger::{Facts, NewChannel, Side, Word};
use billing_ton::{
    chain::{AccountState, ChainError, Status},
    contract::{self, Malformed, Seen, State, Unacceptable, Wanted},
    sources::{Sources, SourcesError},
};

/// Transactions that a channel may have had before we took it.
const MAX_HISTORY: usize = 128;
/// A transaction may come between the two questions.
const ATTEMPTS: u32 = 3;

/// Why a channel is not taken. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// It says nothing now.
    #[error("the chain gives no answer now; channels that are known are served, try again for this one")]
    Chain(#[from] ChainError),
    #[error("the chain's sources give no answer that can be believed; try again, or tell the gateway's operator")]
    Sources(#[from] SourcesError),
    #[error(transparent)]
    Unacceptable(Unacceptable),
    #[error("it had more than {MAX_HISTORY} transactions before; open a new one")]
    LongHistory,
    #[error("the chain shows other terms at its address than the payment has")]
    Moved,
}

impl AcceptError {
    /// Whether the same may be taken later: the chain says nothing, or does not show the channel yet.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Chain(_) | Self::Sources(_) => true,
            Self::Unacceptable(why) => matches!(
                why,
                Unacceptable::NotThere | Unacceptable::History | Unacceptable::Transaction { .. }
            ),
            Self::LongHistory | Self::Moved => false,
        }
    }
}

/// Asks the chain about a channel that nobody here knows.
pub(super) async fn accept(sources: &Sources, wanted: &Wanted, id: &ChannelId) -> Result<NewChannel, AcceptError> {
    let mut attempt = 1;
    loop {
        match look(sources, wanted, id).await {
            Err(AcceptError::Unacceptable(Unacceptable::History)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

async fn look(sources: &Sources, wanted: &Wanted, id: &ChannelId) -> Result<NewChannel, AcceptError> {
    let first = sources.first();
    let mut state = first.account(id.account).await?;
    let history = first.transactions(id.account, None, MAX_HISTORY).await?;
    if history.len() >= MAX_HISTORY {
        return Err(AcceptError::LongHistory);
    }
    // What one source alone says is believed for so much.
    let deposited = read(&state).map_or(Nano::ZERO, |state| state.on_chain.deposited);
    let agreed = sources.account(id.account, deposited).await?;
    if agreed.last != state.last {
        // What one source said before is not what was agreed on.
        return Err(AcceptError::Unacceptable(Unacceptable::History));
    }
    state = agreed;
    let seen = Seen {
        network: first.network(),
        account: id.account,
        state: &state,
        history: &history,
    };
    let accepted = contract::accept(&seen, wanted).map_err(AcceptError::Unacceptable)?;
    Ok(NewChannel {
        side: Side::Payee,
        id: accepted.id(),
        terms: *accepted.terms(),
        keys: *accepted.keys(),
        facts: Facts {
            seqno: accepted.head().seqno,
            on_chain: accepted.on_chain(),
        },
        word: word(sources, deposited),
    })
}

/// On whose word an answer is on which so much depends.
pub(super) fn word(sources: &Sources, at_stake: Nano) -> Word {
    let up_to = sources.above();
    if at_stake > up_to {
        Word::Agreed
    } else {
        Word::Alone { up_to }
    }
}

/// What the contract says of itself; `None` where there is no contract of ours.
pub(super) fn read(state: &AccountState) -> Option<State> {
    let Status::Active { data, .. } = &state.status else {
        return None;
    };
    let read: Result<State, Malformed> = State::decode_boc(data);
    read.ok()
}
