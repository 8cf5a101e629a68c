//! Why the teller does not pay, in words for who runs it.

use billing::{
    Nano,
    channel::{
        CommitRefusal, NotTheSigner,
        payer::{Alert, HoldRefusal, Phase, RestoreRefusal},
    },
};

use serde::{Deserialize, Serialize};

use super::Teller;
use crate::{frames::FramesError, payer::shelf::ShelfError};

/// Why nothing is paid, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellerError {
    #[error(transparent)]
    Journal(#[from] FramesError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("the channel's journal cannot be gone on with")]
    Restore(#[from] RestoreRefusal),
    #[error(transparent)]
    Signer(#[from] NotTheSigner),
    #[error("the channel '{0}' is closing or closed; open another one")]
    Leaving(String),
    #[error("The channel's records could not be written, so that nothing is signed. Free the disk, and start again.")]
    Broken,
    #[error("{0} Nothing is paid from this channel any more; close it with `mulberry channel close`.")]
    Halted(Halt),
    #[error("The channel is not ready: {}.", unready(*.0))]
    Unready(Phase),
    #[error("The channel {name} is {}. Open another one with `mulberry channel open`.", over(*.phase))]
    Over { name: String, phase: Phase },
    #[error("What the chain says of the channel contradicts itself. Nothing is paid until it does not.")]
    Doubted,
    #[error(
        "The channel {name} has {missing} GRAM (TON) too little for this request. Pay in with `mulberry channel topup {name} AMOUNT`."
    )]
    Empty { name: String, missing: Nano },
    #[error(
        "Of the {most} GRAM (TON) that may be spent in a day {left} are left, too little for this request. Raise --budget-day, or wait for the next day (UTC)."
    )]
    Budget { most: Nano, left: Nano },
    #[error(
        "Requests under way need all of the {most} GRAM (TON) that may be at risk. Wait until one has ended, or raise --exposure."
    )]
    Busy { most: Nano },
    #[error(
        "The gateway is to be asked what {lost} GRAM (TON) of answers that broke off have cost, which takes a moment without requests under way. Send it again."
    )]
    Asking { lost: Nano },
    #[error(
        "The gateway wants {asked} GRAM (TON) for this request, and at most {most} may be at risk. Raise --exposure, or ask for less."
    )]
    Dear { asked: Nano, most: Nano },
    #[error("The gateway does not say how much it wants for this request, though a channel pays for it.")]
    Unheard,
    #[error("The payment cannot be kept in the channel's books.")]
    Hold(#[source] HoldRefusal),
    #[error("What a request cost cannot be booked.")]
    Commit(#[from] CommitRefusal),
}

/// What a gateway did after which nothing is paid to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Halt {
    #[error("The gateway charged {charged} GRAM (TON) for a request, and asked for at most {most}.")]
    Overcharged { charged: Nano, most: Nano },
    #[error("The gateway charged {charged} GRAM (TON) for a request, more than was signed for.")]
    Unsigned { charged: Nano },
    #[error("The gateway charged {more} GRAM (TON) more than its answers stated and it had asked for.")]
    Unstated { more: Nano },
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    #[error(transparent)]
    Payer(#[from] Alert),
    #[error(transparent)]
    Halted(#[from] Halt),
    #[error("the gateway says that {says} was charged in all, and has said {said} before")]
    Regressed { says: Nano, said: Nano },
    #[error(
        "for answers that did not say their cost the gateway charged {more}, and {set_aside} was set aside for them"
    )]
    Unstated { more: Nano, set_aside: Nano },
    #[error("the gateway answers for another channel")]
    OtherChannel,
}

impl Teller {
    pub(super) fn is_open(&self) -> Result<(), TellerError> {
        match self.payer.phase() {
            Phase::Open => Ok(()),
            phase @ (Phase::Opening | Phase::Offered | Phase::Waking) => Err(TellerError::Unready(phase)),
            phase => Err(TellerError::Over {
                name: self.kept.name.clone(),
                phase,
            }),
        }
    }

    pub(super) fn refusal(&self, refusal: HoldRefusal, amount: Nano, others: Nano) -> TellerError {
        match refusal {
            HoldRefusal::Doubted => TellerError::Doubted,
            HoldRefusal::Deposit { missing } => TellerError::Empty {
                name: self.kept.name.clone(),
                missing,
            },
            HoldRefusal::Exposure { .. } => self.too_much(amount, others),
            HoldRefusal::TooMany => TellerError::Busy {
                most: self.limits.exposure,
            },
            refusal @ (HoldRefusal::NotOpen(_)
            | HoldRefusal::Closing
            | HoldRefusal::KeptElsewhere
            | HoldRefusal::Resolved) => TellerError::Hold(refusal),
        }
    }

    /// What keeps us from signing for so much, where others have set aside so much.
    pub(super) fn too_much(&self, asked: Nano, others: Nano) -> TellerError {
        let (most, left) = (self.limits.exposure, self.left_today());
        let need = self.payer.spent().saturating_add(asked);
        let missing = need.saturating_sub(self.deposited());
        if !missing.is_zero() && asked <= most {
            let name = self.kept.name.clone();
            TellerError::Empty { name, missing }
        } else if !others.is_zero() {
            TellerError::Busy { most: most.min(left) }
        } else if left < most {
            let most = self.limits.day;
            TellerError::Budget { most, left }
        } else {
            TellerError::Dear { asked, most }
        }
    }
}

/// In words that follow "the channel is not ready".
pub(crate) const fn unready(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "the chain does not show it yet",
        Phase::Offered => "the gateway has not looked it up yet",
        _ => "the gateway is being asked what it was charged",
    }
}

/// In words that follow "the channel is".
const fn over(phase: Phase) -> &'static str {
    match phase {
        Phase::Leaving => "refused by the gateway, or closing",
        Phase::Quarantined => "not paid from any more, since the gateway took more than it charged",
        Phase::Signed => "about to close",
        _ => "closed",
    }
}
