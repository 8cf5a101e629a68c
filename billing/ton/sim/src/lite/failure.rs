//! Why a lite-server front has no answer, with TON's numbers.

use billing_ton::chain::ChainError;
use billing_ton::lite::tl::ServerError;
use tycho_types::error::Error;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot parse the query")]
    Query,
    #[error("this front does not know the query {0:#010x}")]
    Unknown(u32),
    #[error("block is not in db")]
    NoBlock,
    #[error("there are the workchains -1 and 0")]
    Workchain,
    #[error("no such transaction in the account's history")]
    NoTransaction,
    #[error("the answer cannot be made: {0}")]
    Cells(#[from] Error),
    #[error("{0}")]
    Method(#[from] crate::machine::GetError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("timeout")]
    Late,
}

impl Failure {
    pub(super) fn told(&self) -> ServerError {
        let code = match self {
            Self::Query | Self::Unknown(_) => 621,
            Self::NoBlock | Self::NoTransaction => 651,
            Self::Late => 652,
            Self::Chain(ChainError::Limited) => 228,
            Self::Chain(ChainError::Refused(_)) => 0,
            Self::Workchain | Self::Cells(_) | Self::Method(_) | Self::Chain(_) => 601,
        };
        let message = match self {
            Self::Chain(ChainError::Refused(reason)) => {
                format!("cannot apply external message to current state : {reason}")
            }
            other => other.to_string(),
        };
        ServerError {
            code,
            message: message.into_bytes(),
        }
    }
}
