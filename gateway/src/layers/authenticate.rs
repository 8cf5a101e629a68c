//! Authenticate: who asks. Before the body is read, for we do not parse for strangers.
//!
//! Reads `authorization: Bearer`, `api-key` (Azure's clients) and `x-api-key` (Anthropic's).

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderMap, Response, header};
use tower_layer::Layer;

use crate::{
    accounts::{Account, Accounts},
    call::{Authenticated, Inbound},
};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthenticateError {
    #[error("You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.")]
    Missing,
    #[error("Incorrect API key provided. Ask the operator of this gateway for one.")]
    Unknown,
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
        let account = authenticate(&self.accounts.load(), inbound.named.request.headers())?;
        self.inner.call(Authenticated { inbound, account }).await
    }
}

/// The account that these headers speak for.
pub(crate) fn authenticate(accounts: &Accounts, headers: &HeaderMap) -> Result<Arc<Account>, AuthenticateError> {
    if let Some(anonymous) = accounts.anonymous() {
        return Ok(anonymous.clone());
    }
    let key = presented(headers).ok_or(AuthenticateError::Missing)?;
    accounts.find(key).cloned().ok_or(AuthenticateError::Unknown)
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
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::{Key, KeyHash};

    fn check(name: &'static str, value: &'static str, expect: Result<&str, AuthenticateError>) {
        let key = Key {
            name: "alice".to_owned(),
            sha256: KeyHash::of("sk-alice"),
            models: vec!["*".to_owned()],
            disabled: false,
        };
        let off = Key {
            name: "bob".to_owned(),
            sha256: KeyHash::of("sk-bob"),
            disabled: true,
            ..key.clone()
        };
        let accounts = Accounts::new(&[key, off]);
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        let found = authenticate(&accounts, &headers);
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
        check("authorization", "Basic c2s=", Err(AuthenticateError::Missing));
        check("accept", "*/*", Err(AuthenticateError::Missing));
    }
}
