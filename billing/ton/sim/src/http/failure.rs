//! What went wrong, as toncenter says it.

use billing_ton::chain::ChainError;
use hyper::StatusCode;

use crate::simulated::TickError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("Not Found")]
    NotFound,
    #[error("Unknown method")]
    NoSuchMethod,
    #[error("Validation error: {0}")]
    Parameter(String),
    #[error("Incorrect address")]
    Address,
    /// A client's library looks for these words.
    #[error("LITE_SERVER_UNKNOWN: cannot apply external message to current state : {0}")]
    Refused(String),
    #[error("LITE_SERVER_UNKNOWN: {0}")]
    Absent(String),
    #[error("Ratelimit exceeded")]
    Limited,
    #[error("LITE_SERVER_NETWORK: {0}")]
    Unavailable(String),
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NoSuchMethod | Self::Parameter(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Address => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Refused(_) | Self::Absent(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Refused(reason) => Self::Refused(reason),
            ChainError::Limited => Self::Limited,
            ChainError::Contradiction(reason) => Self::Absent(reason),
            ChainError::Unreachable(reason) | ChainError::Unreadable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<TickError> for Failure {
    fn from(error: TickError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
