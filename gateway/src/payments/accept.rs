//! Whether the chain shows a channel that we take, and what it says of one that we took.

use billing::{
    Nano,
    channel::{Account, ChannelId},
};
use billing_store::ledger::{Facts, NewChannel, Side, Word};
use billing_ton::{
    chain::{AccountState, Status},
    contract::{Accepted, Malformed, State, Unacceptable, Wanted},
    inquiry::{self, InquiryError, Looked},
    sources::{Sources, SourcesError},
};

use super::senders::{Senders, SendersError};
use crate::wall_clock::unix_seconds;

/// Why a channel is not taken. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
    #[error("whether its address was used before is not known yet: {0}")]
    Senders(#[from] SendersError),
    #[error("the chain's sources give no answer that can be believed; try again, or tell the gateway's operator")]
    Sources(#[from] SourcesError),
    #[error("the channel has {deposited} GRAM (TON), and this gateway takes those with {least} or more; pay in more")]
    Small { deposited: Nano, least: Nano },
    #[error("the chain's sources show the channel at different times; try again")]
    Moving,
    #[error("the chain shows other terms at its address than the payment has")]
    Moved,
}

impl AcceptError {
    /// Whether the same may be taken later: the chain says nothing, or does not show the channel yet.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Inquiry(InquiryError::Unacceptable(why)) => may_come(why),
            Self::Inquiry(InquiryError::LongHistory) | Self::Moved => false,
            // The operator can do something about a busy payee's account; the channel is as good as any.
            Self::Inquiry(
                InquiryError::Chain(_) | InquiryError::Stale { .. } | InquiryError::Payee(_) | InquiryError::BusyPayee,
            )
            | Self::Senders(_)
            | Self::Sources(_)
            // More may be paid in.
            | Self::Small { .. }
            | Self::Moving => true,
        }
    }
}

/// Whether a source that is asked again may show a channel that is taken: it shows none yet, or not all that belongs to it.
/// The payee hears of an opening a block later than the channel is there.
fn may_come(why: &Unacceptable) -> bool {
    match why {
        Unacceptable::NotThere
        | Unacceptable::History
        | Unacceptable::Transaction { .. }
        | Unacceptable::PayeeHistory
        | Unacceptable::PayeeTransaction { .. }
        | Unacceptable::Unheard => true,
        Unacceptable::Network { .. }
        | Unacceptable::Workchain { .. }
        | Unacceptable::Frozen
        | Unacceptable::Code
        | Unacceptable::Data(_)
        | Unacceptable::Address
        | Unacceptable::TermsNetwork { .. }
        | Unacceptable::PayeeKey
        | Unacceptable::Payee
        | Unacceptable::FeeBps { .. }
        | Unacceptable::FeeDest
        | Unacceptable::CloseDelay { .. }
        | Unacceptable::Terms(_)
        | Unacceptable::Closing { .. }
        | Unacceptable::Redeployed { .. }
        | Unacceptable::HeardBefore { .. } => false,
    }
}

/// Asks the chain about a channel that nobody here knows, and says what of it is kept.
pub(super) async fn accept(
    sources: &Sources,
    senders: &Senders,
    wanted: &Wanted,
    least: Nano,
    id: &ChannelId,
) -> Result<NewChannel, AcceptError> {
    let accepted = ask(sources, senders, wanted, &id.account).await?;
    let deposited = accepted.on_chain().deposited;
    if deposited < least {
        return Err(AcceptError::Small { deposited, least });
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

/// Asks the chain about a channel that nobody here knows.
pub(crate) async fn ask(
    sources: &Sources,
    senders: &Senders,
    wanted: &Wanted,
    account: &Account,
) -> Result<Accepted, AcceptError> {
    let accepted = match inquiry::look(&**sources.first(), *account, wanted, unix_seconds()).await? {
        Looked::Accepted(accepted) => accepted,
        Looked::Pending(pending) => pending.first_heard(senders.first(account).await?)?,
    };
    // What one source alone says is believed for so much.
    let deposited = accepted.on_chain().deposited;
    let agreed = sources.account(*account, deposited).await?;
    if read(&agreed).map(|state| state.on_chain) != Some(accepted.on_chain()) {
        // What one source said before is not what was agreed on.
        return Err(AcceptError::Moving);
    }
    Ok(accepted)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A payer that is told "never" closes its channel, and its deposit waits for a day.
    #[test]
    fn what_the_chain_does_not_show_yet_is_not_refused_for_good() {
        let check = |error: InquiryError, expect| {
            let error = AcceptError::Inquiry(error);
            assert_eq!(error.may_pass(), expect, "{error}");
        };
        let unacceptable = InquiryError::Unacceptable;
        check(unacceptable(Unacceptable::NotThere), true);
        check(unacceptable(Unacceptable::Unheard), true);
        check(unacceptable(Unacceptable::PayeeHistory), true);
        check(InquiryError::BusyPayee, true);
        check(InquiryError::Stale { age_s: 600 }, true);
        check(unacceptable(Unacceptable::Closing { close_at: 1 }), false);
        check(unacceptable(Unacceptable::HeardBefore { lt: 1 }), false);
        check(InquiryError::LongHistory, false);
        let (deposited, least) = (Nano::ZERO, Nano::UNIT);
        let least = Nano::saturating(least);
        assert!(
            AcceptError::Small { deposited, least }.may_pass(),
            "more may be paid in"
        );
    }
}
