//! Why a connection was cut.

use attestation::Refusal;

/// In no order: a connection ends for the first reason that comes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    #[error("the peer's evidence is not accepted: {0}")]
    Refused(Refusal),
    #[error("the peer's signature is not over this connection; it was relayed, or the peer has another key")]
    Statement,
    #[error("the peer did not answer the first question within {} s", super::FIRST_ANSWER.as_secs())]
    Unanswered,
    #[error("the peer's verdict ended and it gave no new evidence")]
    Late,
    #[error("the peer's certificate or claims ended")]
    Ended,
    #[error("our certificate or claims ended")]
    OurEnd,
    #[error("the peer does not accept us: {code}")]
    Unwelcome { code: String },
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the peer asks more often than evidence can be made")]
    Flood,
    #[error("the peer does not read what it is sent")]
    Stalled,
    #[error("this machine made no evidence of itself")]
    NoProof,
    #[error("no nonce could be drawn, or the connection has no exporter")]
    NoSecret,
    #[error("the connection's control stream ended")]
    Closed,
}

impl Cut {
    /// For metrics, logs and the peer. A refusal has its own.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Statement => "binding_mismatch",
            Self::Unanswered => "channel_unanswered",
            Self::Late => "channel_late",
            Self::Ended => "claims_expired",
            Self::OurEnd => "own_claims_expired",
            Self::Unwelcome { code } => code,
            Self::Protocol(_) => "channel_protocol",
            Self::Flood => "channel_flood",
            Self::Stalled => "channel_stalled",
            Self::NoProof => "own_evidence",
            Self::NoSecret => "channel_secret",
            Self::Closed => "channel_closed",
        }
    }
}
