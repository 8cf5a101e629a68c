//! What is kept of one request after it ended.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Nano, Usage, UsageSource, channel::Account};

/// One request to the gateway, written once, when it ended.
///
/// It tells who asked which model, how it went and what it used.
/// It has no field for a prompt, a completion, a header or an API key; `key` is the *name* of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The id in the `x-request-id` header of the response.
    /// Clients may choose it, so it need not be unique.
    pub request_id: String,
    /// Unix time when the request arrived.
    pub started_at_ms: i64,
    /// The name of the API key, where one was accepted.
    pub key: Option<String>,
    /// The route, such as `/v1/chat/completions`.
    pub endpoint: Cow<'static, str>,
    /// The model as the client named it; empty where none was read.
    pub model: String,
    /// The upstream of the last attempt.
    pub upstream: Option<String>,
    pub backend: Option<String>,
    /// The HTTP status that the client got.
    pub status: u16,
    pub end: End,
    /// The client asked for a stream.
    pub stream: bool,
    /// Attempts made at upstreams; 0 where the gateway itself answered.
    pub attempts: u32,
    pub usage: Usage,
    pub source: UsageSource,
    /// From arrival to the first byte of the answer's body.
    pub ttft_ms: Option<u32>,
    /// From arrival to the end of the answer's body.
    pub duration_ms: u32,
    /// The `code` of the error that the client got.
    pub error_code: Option<String>,
    /// What the worker earned that answered, where it is paid. No client is told.
    pub wage: Option<Wage>,
}

/// What a worker earned by one request, and what it held then that pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wage {
    pub amount: Nano,
    /// The channel that it went into; none where it is owed.
    pub channel: Option<Account>,
    /// The highest voucher of that channel when the request ended.
    pub voucher_max: Nano,
}

/// How a request ended. It ends once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The client got the whole answer.
    Complete,
    /// The client left first.
    Cancelled,
    /// An upstream, or the gateway, did not deliver.
    Failed,
    /// The gateway declined before any attempt: no key, no such model, too many requests.
    Refused,
}

impl End {
    pub const ALL: [Self; 4] = [Self::Complete, Self::Cancelled, Self::Failed, Self::Refused];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl FromStr for End {
    type Err = UnknownEnd;

    fn from_str(word: &str) -> Result<Self, UnknownEnd> {
        Self::ALL.into_iter().find(|end| end.as_str() == word).ok_or(UnknownEnd)
    }
}

/// The word names no [`End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an end; the words are complete, cancelled, failed and refused")]
pub struct UnknownEnd;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for end in End::ALL {
            assert_eq!(end.as_str().parse(), Ok(end));
        }
        assert_eq!("done".parse::<End>(), Err(UnknownEnd));
    }
}
