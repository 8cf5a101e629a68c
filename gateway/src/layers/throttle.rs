//! Throttle: requests a minute and requests at a time, of one account. Before the body is read.
//!
//! Its mark is on every answer below it, refusals included: what is left of the account's limits, as OpenAI's
//! clients read it. What an upstream says of *our* account with it is no concern of the client's then, and goes.

use std::fmt;

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tower_layer::Layer;

use crate::{
    call::{Allowed, Authenticated},
    limiter::{GoDuration, Reading, Remainder},
};

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// How upstreams name what they say of our account; the second is Anthropic's.
const THEIRS: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

#[derive(Debug, Clone, Copy)]
pub(crate) struct ThrottleLayer;

impl<S> Layer<S> for ThrottleLayer {
    type Service = Throttle<S>;

    fn layer(&self, inner: S) -> Throttle<S> {
        Throttle { inner }
    }
}

#[derive(Debug)]
pub(crate) struct Throttle<S> {
    inner: S,
}

impl<S> Serve<Authenticated> for Throttle<S>
where
    S: Serve<Allowed, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, request: Authenticated) -> Result<Response<BoxBody>, BoxError> {
        let Authenticated { inbound, account } = request;
        let answer = match account.begin().await {
            Ok(allowance) => {
                let account = account.clone();
                let allowed = Allowed {
                    inbound,
                    account,
                    allowance,
                };
                self.inner.call(allowed).await
            }
            Err(refused) => Err(refused.into()),
        };
        // Read now: what the request reserved counts.
        let Some(remainder) = account.remainder() else {
            return answer;
        };
        match answer {
            Ok(mut response) => {
                mark(response.headers_mut(), &remainder);
                Ok(response)
            }
            Err(error) => Err(Limited { remainder, error }.into()),
        }
    }
}

/// An error of a request whose account has limits. It is told as the error alone would be, with the mark.
pub(crate) struct Limited {
    remainder: Remainder,
    pub(crate) error: BoxError,
}

impl Limited {
    /// Marks the refusal that the error became.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        mark(headers, &self.remainder);
    }

    /// What went wrong, whether or not the account has limits.
    pub(crate) fn cause(error: &BoxError) -> &BoxError {
        error.downcast_ref::<Self>().map_or(error, |limited| &limited.error)
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Limited {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

fn mark(headers: &mut HeaderMap, remainder: &Remainder) {
    let theirs: Vec<HeaderName> = headers
        .keys()
        .filter(|name| THEIRS.iter().any(|prefix| name.as_str().starts_with(prefix)))
        .cloned()
        .collect();
    for name in theirs {
        while headers.remove(&name).is_some() {}
    }
    for (names, reading) in [(REQUESTS, &remainder.requests), (TOKENS, &remainder.tokens)] {
        let Some(Reading {
            limit,
            remaining,
            reset,
        }) = reading
        else {
            continue;
        };
        let [limit_name, remaining_name, reset_name] = names;
        headers.insert(limit_name, HeaderValue::from(*limit));
        headers.insert(remaining_name, HeaderValue::from(*remaining));
        let reset = GoDuration(*reset).to_string();
        headers.insert(
            reset_name,
            HeaderValue::try_from(reset).expect("digits and units stand in a header"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_account_sees_its_own_limits_and_not_those_of_our_key() {
        let mut headers = HeaderMap::new();
        headers.append("x-ratelimit-limit-requests", HeaderValue::from_static("10000"));
        headers.append("x-ratelimit-limit-tokens", HeaderValue::from_static("1000000"));
        headers.append("x-ratelimit-limit-tokens", HeaderValue::from_static("2000000"));
        headers.append("anthropic-ratelimit-requests-remaining", HeaderValue::from_static("4"));
        headers.append("retry-after", HeaderValue::from_static("3"));
        let remainder = Remainder {
            requests: Some(Reading {
                limit: 60,
                remaining: 59,
                reset: Duration::from_millis(59_999),
            }),
            tokens: None,
        };
        mark(&mut headers, &remainder);
        let mut seen: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        seen.sort_unstable();
        let expect: [(&str, &[u8]); 4] = [
            ("retry-after", b"3"),
            ("x-ratelimit-limit-requests", b"60"),
            ("x-ratelimit-remaining-requests", b"59"),
            ("x-ratelimit-reset-requests", b"59.999s"),
        ];
        assert_eq!(seen, expect);
    }
}
