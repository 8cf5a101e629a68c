//! What a request has become. The type tells where it is: a layer in the wrong place does not compile.
//!
//! `http::Request` → [`Named`] → [`Inbound`] → [`Authenticated`] → [`Allowed`] → [`Call`] → [`Resolved`] →
//! [`Allotted`] → [`Job`] → `Attempt`

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::attempt::{Hooks, Outbound, Trail};
use http::{Extensions, HeaderValue};
use hyper::body::Incoming;
use openapi::{
    endpoint::{Operation, Unroutable},
    stream::Watch,
};

use crate::{
    accounts::Account,
    catalog::{Catalog, Offer},
    layers::{idempotency::Ending, reserve::Coverage},
    limiter::Allowance,
    receipts::Witness,
    telemetry::RequestSpan,
    wages::Errand,
};

/// How a request came here: what whoever sent it knows of us. The listener marks it; without a mark it is plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Via {
    /// Over HTTP, or HTTPS: our certificate names a host, and nothing that we run.
    #[default]
    Plain,
    /// Through `mulberry connect`, which verified us and goes on doing so.
    Attested,
}

impl Via {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// A request with its name; all that follows is named by it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: RequestId,
    pub(crate) arrived: Instant,
    pub(crate) request: http::Request<Incoming>,
    /// What its method and path ask for: read once, for Observe and Router.
    pub(crate) operation: Result<Operation, Unroutable>,
    /// Of a request that is traced.
    pub(crate) span: Option<Arc<RequestSpan>>,
}

/// A request that is a known operation.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) id: RequestId,
    pub(crate) arrived: Instant,
    pub(crate) request: http::Request<Incoming>,
    pub(crate) operation: Operation,
    pub(crate) span: Option<Arc<RequestSpan>>,
}

/// A request whose account is known. Its body is still unread: we do not parse for strangers.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) inbound: Inbound,
    pub(crate) account: Arc<Account>,
}

/// A request that is counted, within the account's limits.
#[derive(Debug)]
pub(crate) struct Allowed {
    pub(crate) inbound: Inbound,
    pub(crate) account: Arc<Account>,
    pub(crate) allowance: Allowance,
}

/// A decoded request. Nothing later parses it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) arrived: Instant,
    pub(crate) account: Arc<Account>,
    pub(crate) allowance: Allowance,
    pub(crate) span: Option<Arc<RequestSpan>>,
    pub(crate) outbound: Outbound,
    /// How long the client's body was waited for.
    pub(crate) awaited: Duration,
    /// When the client stops waiting, where it said so.
    pub(crate) deadline: Option<Instant>,
    /// Whether the client reads what comes behind the body.
    pub(crate) takes_trailers: bool,
    /// Where somebody must know whether the answer was whole: Meter says it.
    pub(crate) ending: Option<Arc<Ending>>,
    /// Of who is charged, for the receipt.
    pub(crate) witness: Option<Box<Witness>>,
}

/// A call with who may serve it.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) call: Call,
    pub(crate) offer: Arc<Offer>,
    /// The catalog that the offer is of: one snapshot from beginning to end.
    pub(crate) catalog: Arc<Catalog>,
}

/// A resolved call for whose tokens the account's limit has room.
#[derive(Debug)]
pub(crate) struct Allotted(pub(crate) Resolved);

/// A call whose worst case is covered. May be attempted, several times.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: RequestId,
    pub(crate) arrived: Instant,
    pub(crate) account: Arc<Account>,
    /// Meter takes it, and settles it when the job ends.
    pub(crate) allowance: Allowance,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) awaited: Duration,
    pub(crate) deadline: Option<Instant>,
    pub(crate) takes_trailers: bool,
    pub(crate) ending: Option<Arc<Ending>>,
    /// Meter takes it, and hashes what the client is given.
    pub(crate) witness: Option<Box<Witness>>,
    pub(crate) offer: Arc<Offer>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) hooks: Arc<dyn Hooks>,
    /// Where workers are paid for it. Meter takes it, and says what was earned.
    pub(crate) errand: Option<Arc<Errand>>,
    /// What is held for it, where somebody pays. Meter takes it, and captures when the job ends.
    pub(crate) coverage: Option<Box<Coverage>>,
    /// What its stream is watched for.
    pub(crate) watch: Watch,
    /// Where it has been; Meter reads it when the job ends, however it ends.
    pub(crate) trail: Arc<Trail>,
    pub(crate) span: Option<Arc<RequestSpan>>,
}

/// The name of a request: the client's where it gave a sane one, else ours.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Letters, digits and `-_.:`, at most 128 of them: it is logged and sent on.
    pub(crate) fn from_client(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        ((1..=128).contains(&bytes.len()) && bytes.iter().all(is_sane)).then(|| Self(value.clone()))
    }

    /// Ours begin with the time, so that an index by name grows at its end.
    pub(crate) fn generate(unix_ms: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"req_0000000000000000000000000000";
        let (time, random) = text[4..].split_at_mut(12);
        let put = |digits: &mut [u8], mut value: u64| {
            for digit in digits.iter_mut().rev() {
                *digit = HEX[(value & 15) as usize];
                value >>= 4;
            }
        };
        put(time, unix_ms);
        put(random, fastrand::u64(..));
        Self(HeaderValue::from_bytes(&text).expect("hexadecimal digits stand in a header"))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_only_when_it_can_stand_in_a_log() {
        let from = |text: &'static str| RequestId::from_client(&HeaderValue::from_static(text)).is_some();
        assert!(from("req-1_a.b:c"));
        assert!(!from("") && !from("two words") && !from("a\"b"));
        let long: &'static str = Box::leak("x".repeat(129).into_boxed_str());
        assert!(!from(long));
    }

    #[test]
    fn our_names_sort_by_time() {
        let early = RequestId::generate(1_700_000_000_000);
        let late = RequestId::generate(1_700_000_000_001);
        assert!(early.as_str() < late.as_str());
        assert_eq!(early.as_str().len(), 32);
    }
}
