//! Whether the chain shows a channel that we take, and what it says of one that we took.

use billing::{Nano, channel::ChannelId};
use billing_store::ledger::{Facts, NewChannel, Side, Word};
use billing_ton::{
    chain::{AccountState, Status},
    contract::{Malformed, State, Unacceptable, Wanted},
    inquiry::{self, InquiryError},
    sources::{Sources, SourcesError},
};

use crate::wall_clock::unix_seconds;

/// Why a channel is not taken. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
    #[error("the chain's sources give no answer that can be believed; try again, or tell the gateway's operator")]
    Sources(#[from] SourcesError),
    #[error("the chain's sources show the channel at different times; try again")]
    Moving,
    #[error("the chain shows other terms at its address than the payment has")]
    Moved,
}

impl AcceptError {
    /// Whether the same may be taken later: the chain says nothing, or does not show the channel yet.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Inquiry(InquiryError::Unacceptable(why)) => matches!(
                why,
                Unacceptable::NotThere | Unacceptable::History | Unacceptable::Transaction { .. }
            ),
            Self::Inquiry(InquiryError::LongHistory | InquiryError::BusyPayee) | Self::Moved => false,
            Self::Inquiry(_) | Self::Sources(_) | Self::Moving => true,
        }
    }
}

/// Asks the chain about a channel that nobody here knows.
pub(super) async fn accept(sources: &Sources, wanted: &Wanted, id: &ChannelId) -> Result<NewChannel, AcceptError> {
    let accepted = inquiry::channel(&**sources.first(), id.account, wanted, None, unix_seconds()).await?;
    // What one source alone says is believed for so much.
    let deposited = accepted.on_chain().deposited;
    let agreed = sources.account(id.account, deposited).await?;
    if read(&agreed).map(|state| state.on_chain) != Some(accepted.on_chain()) {
        // What one source said before is not what was agreed on.
        return Err(AcceptError::Moving);
    }
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
