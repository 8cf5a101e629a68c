//! Why an attempt brought no answer: whose fault, and may it be tried again?

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use openapi::{dialect::Untranslatable, error::ErrorBody, stream::Fault};

use crate::verdict::{Demand, Reason};

/// An attempt that failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("attempt at {place} failed")]
pub struct AttemptError {
    /// `backend/upstream`, or the backend alone when none was chosen.
    pub place: Arc<str>,
    #[source]
    pub failure: Failure,
}

/// What went wrong, in order of how far the attempt came.
#[derive(Debug)]
pub enum Failure {
    /// No upstream may serve this request: for each, why.
    NoUpstream(Vec<Exclusion>),
    /// None has shown what this request demands: for each, why.
    NoneQualifies(Vec<Exclusion>),
    /// What the chosen upstream had shown met the demand no more when bytes were to leave.
    Unverified(Reason),
    /// Every permitted upstream is at its limit and the queue is full.
    QueueFull,
    /// A place in the queue, but no turn in time.
    QueueTimeout(Duration),
    /// The request says something that the upstream's dialect has no word for.
    Untranslatable(Untranslatable),
    /// The upstream may not learn who asks, and the upload cannot be searched for that.
    Unreadable,
    /// The backend serves the family, and not this operation of it.
    Closed,
    /// A hook refused the chosen upstream.
    NotAdmitted(crate::serve::BoxError),
    /// No connection: refused, unreachable, no such host, bad certificate.
    Connect(crate::client::ConnectError),
    /// The connection ended before the first byte of an answer.
    Dropped(hyper::Error),
    /// What came back was not HTTP, or hostile.
    Protocol(hyper::Error),
    /// The request could not be sent on: the client's upload ended early or is too large.
    Upload(crate::serve::BoxError),
    /// The first frame of a stream, or the whole of an answer, did not come in time.
    Timeout(Clock),
    /// An error status with its envelope.
    Status {
        status: StatusCode,
        error: ErrorBody,
        /// `retry-after` and its kin, as the upstream sent them.
        headers: Box<HeaderMap>,
    },
    /// The upstream refused *our* credentials; never shown as the client's fault.
    Credentials(StatusCode),
    /// An error status or a success without an envelope: a page of HTML, an empty body.
    NotJson(StatusCode),
    /// A success status around an error.
    Disguised(ErrorBody),
    /// The answer grew past our limit.
    TooLarge { limit: usize },
    /// A stream that failed before its first data frame.
    Stream(Fault),
    /// The body of an answer broke off.
    Body(crate::serve::BoxError),
}

/// An upstream that was not a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub upstream: Arc<str>,
    pub reason: Reason,
}

/// Which clock ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Connect(Duration),
    FirstFrame(Duration),
    Idle(Duration),
    Total(Duration),
}

/// Where a failed attempt may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was sent: anywhere, and it costs no attempt.
    Free,
    /// At another upstream, or at the same one when there is no other.
    Anywhere,
    /// At another upstream only.
    Elsewhere,
    Never,
}

impl Failure {
    /// Nobody may serve what demands this.
    pub fn nobody(demand: &Demand, excluded: Vec<Exclusion>) -> Self {
        let is_of_demand = excluded.iter().any(|exclusion| exclusion.reason.is_of_demand());
        if demand.is_demanding() || is_of_demand {
            Self::NoneQualifies(excluded)
        } else {
            Self::NoUpstream(excluded)
        }
    }

    /// Whom it says nobody could be asked of, where that is what it says.
    pub fn excluded(&self) -> Option<&[Exclusion]> {
        match self {
            Self::NoUpstream(excluded) | Self::NoneQualifies(excluded) => Some(excluded),
            _ => None,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::Connect(_) | Self::Unverified(_) | Self::NotAdmitted(_) | Self::Timeout(Clock::Connect(_)) => {
                Retry::Free
            }
            Self::Dropped(_) => Retry::Anywhere,
            Self::Status { status, .. } => match status.as_u16() {
                408 | 429 | 500..=599 => Retry::Elsewhere,
                _ => Retry::Never,
            },
            Self::Credentials(_)
            | Self::NotJson(_)
            | Self::Disguised(_)
            | Self::Protocol(_)
            | Self::Stream(_)
            | Self::Body(_)
            | Self::Timeout(Clock::FirstFrame(_) | Clock::Idle(_))
            | Self::TooLarge { .. }
            // The next route may have room or an upstream where this one has none.
            | Self::NoUpstream(_)
            | Self::NoneQualifies(_)
            | Self::QueueFull
            | Self::QueueTimeout(_)
            // And another backend may speak what this one does not.
            | Self::Untranslatable(_)
            | Self::Unreadable
            | Self::Closed => Retry::Elsewhere,
            Self::Upload(_) | Self::Timeout(Clock::Total(_)) => Retry::Never,
        }
    }

    /// Whether the next backend must be asked rather than another upstream of this one, which nothing was sent to.
    pub fn is_of_backend(&self) -> bool {
        matches!(
            self,
            Self::NoUpstream(_)
                | Self::NoneQualifies(_)
                | Self::QueueFull
                | Self::QueueTimeout(_)
                | Self::Untranslatable(_)
                | Self::Unreadable
                | Self::Closed
        )
    }

    /// Whether it speaks against the upstream. A client's mistake, a full queue or a rate limit does not.
    pub fn blames_upstream(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::NotJson(status) => status.is_server_error() || status.is_success(),
            Self::Connect(_)
            | Self::Dropped(_)
            | Self::Protocol(_)
            | Self::Disguised(_)
            | Self::Stream(_)
            | Self::Body(_) => true,
            Self::Timeout(Clock::Total(_)) => false,
            Self::Timeout(_) => true,
            Self::NoUpstream(_)
            | Self::NoneQualifies(_)
            | Self::Unverified(_)
            | Self::QueueFull
            | Self::QueueTimeout(_)
            | Self::Untranslatable(_)
            | Self::Unreadable
            | Self::Closed
            | Self::NotAdmitted(_)
            | Self::Upload(_)
            | Self::Credentials(_)
            | Self::TooLarge { .. } => false,
        }
    }

    /// The status of the upstream's answer, where that was the failure.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } | Self::Credentials(status) | Self::NotJson(status) => Some(*status),
            _ => None,
        }
    }

    /// For a trace: one of few words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoUpstream(_) => "no_upstream",
            Self::NoneQualifies(_) => "none_qualifies",
            Self::Unverified(_) => "unverified",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout(_) => "queue_timeout",
            Self::Untranslatable(_) => "untranslatable",
            Self::Unreadable => "unreadable",
            Self::Closed => "no_operation",
            Self::NotAdmitted(_) => "not_admitted",
            Self::Connect(_) => "connect",
            Self::Dropped(_) => "dropped",
            Self::Protocol(_) => "protocol",
            Self::Upload(_) => "upload",
            Self::Timeout(_) => "timeout",
            Self::Status { .. } => "status",
            Self::Credentials(_) => "credentials",
            Self::NotJson(_) => "not_json",
            Self::Disguised(_) => "error_in_answer",
            Self::TooLarge { .. } => "too_large",
            Self::Stream(_) => "stream",
            Self::Body(_) => "body",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpstream(_) => f.write_str("no upstream is in use"),
            Self::NoneQualifies(_) => f.write_str("no upstream has shown what the request demands"),
            Self::Unverified(reason) => write!(f, "the upstream may not be asked: {reason}"),
            Self::QueueFull => f.write_str("the queue is full"),
            Self::QueueTimeout(after) => write!(f, "no free upstream within {after:?}"),
            Self::Untranslatable(_) => f.write_str("the upstream's dialect has no word for a part of the request"),
            Self::Unreadable => f.write_str("the upload may tell the upstream who asks"),
            Self::Closed => f.write_str("the upstream has no such operation"),
            Self::NotAdmitted(_) => f.write_str("the upstream was not admitted"),
            Self::Connect(_) => f.write_str("no connection"),
            Self::Dropped(_) => f.write_str("the connection ended before an answer began"),
            Self::Protocol(_) => f.write_str("the answer was not valid HTTP"),
            Self::Upload(_) => f.write_str("the request could not be sent on"),
            Self::Timeout(clock) => write!(f, "{clock}"),
            Self::Status { status, .. } => write!(f, "the upstream answered {status}"),
            Self::Credentials(status) => write!(f, "the upstream refused our credentials with {status}"),
            Self::NotJson(status) => write!(f, "the upstream answered {status} without a JSON body"),
            Self::Disguised(_) => f.write_str("the upstream answered 200 with an error inside"),
            Self::TooLarge { limit } => write!(f, "the answer is larger than {limit} bytes"),
            Self::Stream(fault) => match fault {
                Fault::Truncated => f.write_str("the stream ended without a finish reason"),
                Fault::Malformed => f.write_str("the stream holds data that is not JSON"),
                Fault::TooLong(_) => f.write_str("an event of the stream is too long"),
                Fault::Upstream(_) => f.write_str("the stream ended with an error of the upstream"),
            },
            Self::Body(_) => f.write_str("the answer broke off"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Dropped(error) | Self::Protocol(error) => Some(error),
            Self::NotAdmitted(error) | Self::Body(error) | Self::Upload(error) => Some(&**error),
            _ => None,
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(after) => write!(f, "no connection within {after:?}"),
            Self::FirstFrame(after) => write!(f, "no first frame within {after:?}"),
            Self::Idle(after) => write!(f, "nothing more within {after:?}"),
            Self::Total(after) => write!(f, "not done within {after:?}"),
        }
    }
}
