//! Why a transaction of a channel that holds a jetton changed nothing.

use crate::contract;

/// What such a channel had against a message. `docs/contract.md` has the codes as a table, and a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("only the jetton's master says which wallet is the channel's")]
    NotMaster,
    #[error("the channel is open already: its wallet is known")]
    Open,
    #[error("the channel has no jetton wallet; its master has none for it, or was not asked yet: send open")]
    NoWallet,
    #[error("the channel has ended; open a new one")]
    Ended,
    #[error("the channel has not ended; close it first")]
    NotEnded,
    #[error("nothing is due to whom you named")]
    NothingDue,
    #[error("somebody is still due something, or a payout is not a week old")]
    Unsettled,
    /// What any channel may have against a message.
    #[error(transparent)]
    Channel(#[from] contract::Failure),
}

impl Failure {
    /// Those that a channel of TON does not have.
    pub const OWN: [Self; 7] = [
        Self::NotMaster,
        Self::Open,
        Self::NoWallet,
        Self::Ended,
        Self::NotEnded,
        Self::NothingDue,
        Self::Unsettled,
    ];

    /// From the exit code of the compute phase; `None` for success.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<Self> {
        Self::OWN
            .into_iter()
            .find(|failure| failure.code() == code)
            .or_else(|| contract::Failure::from_exit_code(code).map(Self::Channel))
    }

    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::NotMaster => 210,
            Self::Open => 211,
            Self::NoWallet => 212,
            Self::Ended => 213,
            Self::NotEnded => 214,
            Self::NothingDue => 215,
            Self::Unsettled => 216,
            Self::Channel(failure) => failure.code(),
        }
    }
}
