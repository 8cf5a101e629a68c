//! Authenticate: who asks. Before the body is read, for we do not parse for strangers.
//!
//! Reads `authorization: Bearer`, `api-key` (Azure's clients) and `x-api-key` (Anthropic's).
//! What is there is an API key; or, if it is none that we know and has the shape of one, a token of an issuer.
//! `payment-signature` speaks for a payment channel where there is neither; beside them, its voucher is taken and the
//! key or token pays.

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use billing::channel::x402;
use http::{HeaderMap, HeaderValue, Request, Response, header, uri::Authority};
use tower_layer::Layer;

use crate::{
    accounts::{Account, Accounts, Anonymous, Foreign},
    call::{Authenticated, Inbound},
    config::{KeyHash, Timestamp},
    oidc::{Issuers, TokenError},
    payments::{PaymentError, PaymentRequired, Payments},
    wall_clock::unix_seconds,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthenticateError {
    #[error("You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.")]
    Missing,
    #[error("Incorrect API key provided. Ask the operator of this gateway for one.")]
    Unknown,
    #[error("This API key expired on {at}. Ask the operator of this gateway for a new one.")]
    Expired { at: Timestamp },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Payment(#[from] PaymentError),
    #[error(transparent)]
    Unpaid(#[from] PaymentRequired),
    #[error("The gateway is taking a new configuration, so that this request cannot be charged yet. Retry.")]
    Changing,
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
    pub(crate) authenticator: Authenticator,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            authenticator: self.authenticator.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Authenticate<S> {
    authenticator: Authenticator,
    inner: S,
}

impl<S> Serve<Inbound> for Authenticate<S>
where
    S: Serve<Authenticated, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, inbound: Inbound) -> Result<Response<BoxBody>, BoxError> {
        let account = self.authenticator.authenticate(&inbound.request).await?;
        self.inner.call(Authenticated { inbound, account }).await
    }
}

/// All who may be let in.
#[derive(Debug, Clone)]
pub(crate) struct Authenticator {
    pub(crate) accounts: Arc<ArcSwap<Accounts>>,
    pub(crate) issuers: Arc<ArcSwap<Issuers>>,
    pub(crate) payments: Payments,
}

/// What a request presents, as far as that can be said without waiting.
enum Presented {
    Account(Arc<Account>),
    /// A token that was not verified before.
    Token {
        text: String,
        hash: KeyHash,
    },
}

impl Authenticator {
    /// The account that a request speaks for.
    pub(crate) fn authenticate<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Result<Arc<Account>, AuthenticateError>> + Send + use<B> {
        let presented = self.look(request);
        let payment = match self.payments.is_on() {
            true => request.headers().get(x402::SIGNATURE).cloned(),
            false => None,
        };
        let payments = self.payments.clone();
        let unpaid = match &presented {
            Err(AuthenticateError::Missing) if payment.is_none() => payments.required(request.uri().path()),
            _ => None,
        };
        // A reload must not exchange the issuers under a token that is being verified.
        let issuers = match &presented {
            Ok(Presented::Token { .. }) => Some(self.issuers.load_full()),
            _ => None,
        };
        let accounts = self.accounts.clone();
        async move {
            if let Some(unpaid) = unpaid {
                return Err(unpaid.into());
            }
            if let Some(payment) = payment {
                // A key that is not known is not made good by a payment: whoever sends both means the key.
                let is_alone = matches!(presented, Err(AuthenticateError::Missing));
                let spoken = payments.speak(&payment).await?;
                if is_alone {
                    return Ok(spoken.account);
                }
            }
            let account = match (presented?, issuers) {
                (Presented::Token { text, hash }, Some(issuers)) => {
                    issuers.verify(&text, *hash.as_bytes(), unix_seconds()).await?
                }
                (Presented::Token { .. }, None) => return Err(AuthenticateError::Unknown),
                (Presented::Account(account), _) => account,
            };
            // After all waiting, so that it is who pays now.
            accounts.load().with_payer(account).ok_or(AuthenticateError::Changing)
        }
    }

    fn look<B>(&self, request: &Request<B>) -> Result<Presented, AuthenticateError> {
        let headers = request.headers();
        let accounts = self.accounts.load();
        let issuers = self.issuers.load();
        if let Some(anonymous) = accounts.anonymous().filter(|_| issuers.is_empty()) {
            return admit(anonymous, request).map(Presented::Account);
        }
        let key = presented(headers).ok_or(AuthenticateError::Missing)?;
        let hash = KeyHash::of(key);
        if let Some(account) = accounts.find(&hash) {
            return match account.expires {
                Some(at) if at.unix_seconds() <= unix_seconds() => Err(AuthenticateError::Expired { at }),
                _ => Ok(Presented::Account(account.clone())),
            };
        }
        if !issuers.may_verify(key) {
            return Err(AuthenticateError::Unknown);
        }
        Ok(match issuers.remembered(hash.as_bytes(), unix_seconds()) {
            Some(account) => Presented::Account(account),
            None => Presented::Token {
                text: key.to_owned(),
                hash,
            },
        })
    }
}

/// For a gateway that asks for no key.
fn admit<B>(anonymous: &Anonymous, request: &Request<B>) -> Result<Arc<Account>, AuthenticateError> {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // HTTP/2 names the host in the request's target.
    let authority = request.uri().authority().map(Authority::as_str);
    let host = authority.or_else(|| text(header::HOST)).unwrap_or_default();
    let admitted = anonymous.admit(host, text(header::ORIGIN));
    admitted.cloned().map_err(|foreign| match foreign {
        Foreign::Host => AuthenticateError::ForeignHost,
        Foreign::Origin => AuthenticateError::ForeignOrigin,
    })
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    let bearer = text(header::AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let key = match bearer {
        Some((_, key)) => Some(key.trim()),
        None => text("api-key").or_else(|| text("x-api-key")),
    };
    // An empty text is no key, whatever hashes are in the database.
    key.filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::{config::Key, limiter::Limiters};

    async fn check(name: &'static str, value: &'static str, expect: Result<&str, AuthenticateError>) {
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
        // As an older program may have left it in the database.
        let nothing = Key::named("nobody", "");
        let accounts = Accounts::new(
            &[key, off, old, new, nothing],
            &[],
            &Limiters::default(),
            &crate::ledger::Payers::default(),
        );
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        let issuers = Issuers::new(&[], &Arc::default(), None).expect("nothing to set up");
        let authenticator = Authenticator {
            accounts: Arc::new(ArcSwap::from_pointee(accounts)),
            issuers: Arc::new(ArcSwap::from_pointee(issuers)),
            payments: Payments::default(),
        };
        let found = authenticator.authenticate(&request).await;
        let found = found
            .as_ref()
            .map(|account| account.name.as_deref().unwrap_or_default());
        // Errors are compared by what they say.
        let (found, expect) = (
            found.map_err(ToString::to_string),
            expect.map_err(|error| error.to_string()),
        );
        assert_eq!(found, expect, "for {name}: {value}");
    }

    #[tokio::test]
    async fn keys_in_every_header_that_clients_use() {
        check("authorization", "Bearer sk-alice", Ok("alice")).await;
        check("authorization", "bearer  sk-alice ", Ok("alice")).await;
        check("api-key", "sk-alice", Ok("alice")).await;
        check("x-api-key", "sk-alice", Ok("alice")).await;
        check("authorization", "Bearer sk-alic", Err(AuthenticateError::Unknown)).await;
        check("authorization", "Bearer sk-bob", Err(AuthenticateError::Unknown)).await;
        let at = Timestamp::from_unix_seconds(1_000_000_000);
        check(
            "authorization",
            "Bearer sk-carol",
            Err(AuthenticateError::Expired { at }),
        )
        .await;
        check("authorization", "Bearer sk-dave", Ok("dave")).await;
        check("api-key", "", Err(AuthenticateError::Missing)).await;
        check("authorization", "Bearer  ", Err(AuthenticateError::Missing)).await;
        check("authorization", "Basic c2s=", Err(AuthenticateError::Missing)).await;
        check("accept", "*/*", Err(AuthenticateError::Missing)).await;
    }
}
