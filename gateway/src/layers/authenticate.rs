//! Authenticate: who asks. Before the body is read, for we do not parse for strangers.
//!
//! Reads `authorization: Bearer`, `api-key` (Azure's clients) and `x-api-key` (Anthropic's).

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderValue, Request, Response, header, uri::Authority};
use tower_layer::Layer;

use crate::{
    accounts::{Account, Accounts, Foreign},
    call::{Authenticated, Inbound},
    config::Timestamp,
};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthenticateError {
    #[error("You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.")]
    Missing,
    #[error("Incorrect API key provided. Ask the operator of this gateway for one.")]
    Unknown,
    #[error("This API key expired on {at}. Ask the operator of this gateway for a new one.")]
    Expired { at: Timestamp },
    #[error(
        "This gateway has no API keys and serves its own machine only. Call it by address or as localhost, or configure keys."
    )]
    ForeignHost,
    #[error(
        "This gateway has no API keys and does not answer web pages. Allow the page's origin under cors, or configure keys."
    )]
    ForeignOrigin,
}

#[derive(Debug, Clone)]
pub(crate) struct AuthenticateLayer {
    pub(crate) accounts: Arc<ArcSwap<Accounts>>,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            accounts: self.accounts.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Authenticate<S> {
    accounts: Arc<ArcSwap<Accounts>>,
    inner: S,
}

impl<S> Serve<Inbound> for Authenticate<S>
where
    S: Serve<Authenticated, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, inbound: Inbound) -> Result<Response<BoxBody>, BoxError> {
        let account = authenticate(&self.accounts.load(), &inbound.request)?;
        self.inner.call(Authenticated { inbound, account }).await
    }
}

/// The account that a request speaks for.
pub(crate) fn authenticate<B>(accounts: &Accounts, request: &Request<B>) -> Result<Arc<Account>, AuthenticateError> {
    let headers = request.headers();
    let authority = request.uri().authority().map(Authority::as_str);
    if let Some(anonymous) = accounts.anonymous() {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // HTTP/2 names the host in the request's target.
        let host = authority.or_else(|| text(header::HOST)).unwrap_or_default();
        return anonymous
            .admit(host, text(header::ORIGIN))
            .cloned()
            .map_err(|foreign| match foreign {
                Foreign::Host => AuthenticateError::ForeignHost,
                Foreign::Origin => AuthenticateError::ForeignOrigin,
            });
    }
    let key = presented(headers).ok_or(AuthenticateError::Missing)?;
    let account = accounts.find(key).ok_or(AuthenticateError::Unknown)?;
    match account.expires {
        Some(at) if at.unix_seconds() <= unix_seconds() => Err(AuthenticateError::Expired { at }),
        _ => Ok(account.clone()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a key expires at a time of day")]
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(value) = text(header::AUTHORIZATION.as_str())
        && let Some((scheme, key)) = value.split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(key.trim());
    }
    text("api-key").or_else(|| text("x-api-key"))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::{config::Key, limiter::Limiters};

    fn check(name: &'static str, value: &'static str, expect: Result<&str, AuthenticateError>) {
        let key = Key::named("alice", "sk-alice");
        let off = Key {
            disabled: true,
            ..Key::named("bob", "sk-bob")
        };
        let old = Key {
            expires: Some(Timestamp::from_unix_seconds(1_000_000_000)),
            ..Key::named("carol", "sk-carol")
        };
        let new = Key {
            expires: Some(Timestamp::from_unix_seconds(4_000_000_000)),
            ..Key::named("dave", "sk-dave")
        };
        let accounts = Accounts::new(&[key, off, old, new], &[], &Limiters::default());
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        let found = authenticate(&accounts, &request);
        let found = found
            .as_ref()
            .map(|account| account.name.as_deref().unwrap_or_default());
        assert_eq!(found, expect.as_ref().copied(), "for {name}: {value}");
    }

    #[test]
    fn keys_in_every_header_that_clients_use() {
        check("authorization", "Bearer sk-alice", Ok("alice"));
        check("authorization", "bearer  sk-alice ", Ok("alice"));
        check("api-key", "sk-alice", Ok("alice"));
        check("x-api-key", "sk-alice", Ok("alice"));
        check("authorization", "Bearer sk-alic", Err(AuthenticateError::Unknown));
        check("authorization", "Bearer sk-bob", Err(AuthenticateError::Unknown));
        let at = Timestamp::from_unix_seconds(1_000_000_000);
        check(
            "authorization",
            "Bearer sk-carol",
            Err(AuthenticateError::Expired { at }),
        );
        check("authorization", "Bearer sk-dave", Ok("dave"));
        check("authorization", "Basic c2s=", Err(AuthenticateError::Missing));
        check("accept", "*/*", Err(AuthenticateError::Missing));
    }
}
