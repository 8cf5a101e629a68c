//! `GET /v1/receipts/…`: a receipt for who paid, the public keys for everyone, and where an organisation's chains stand.

use backends::{body::BoxBody, serve::BoxError};
use billing_store::ledger::StoredReceipt;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use openapi::endpoint::percent_decode;

use crate::{
    layers::{authenticate::Authenticator, route::RouteError},
    receipts::{Receipts, keys::key_set},
    rescue::full,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Keys,
    Checkpoint,
    Request(String),
}

impl Asked {
    /// `None` for the path of something else. `/v1` and the slash at the end are optional, as everywhere.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let rest = rest.strip_prefix("v1/").unwrap_or(rest);
        let rest = rest.strip_prefix("receipts/")?;
        match rest.strip_suffix('/').unwrap_or(rest) {
            "keys" => Some(Self::Keys),
            "checkpoint" => Some(Self::Checkpoint),
            id if id.is_empty() || id.contains('/') => None,
            id => percent_decode(id).map(Self::Request),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) authenticator: Authenticator,
    pub(crate) receipts: Receipts,
}

impl Counter {
    pub(crate) async fn call(&self, asked: Asked, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        if *request.method() != Method::GET {
            return Err(RouteError::Method {
                method: request.method().clone(),
                path: request.uri().path().chars().take(200).collect(),
                allow: "GET",
            }
            .into());
        }
        match asked {
            // Public keys are for everyone whom somebody shows a receipt.
            Asked::Keys => {
                let keys = self.receipts.keys().await?;
                Ok(json(serde_json::to_vec(&key_set(keys))?, "public, max-age=60"))
            }
            Asked::Checkpoint => {
                let account = self.authenticator.authenticate(&request).await?;
                let checkpoint = self.receipts.checkpoint(account.payer.as_deref()).await?;
                Ok(json(String::from(checkpoint), "no-store"))
            }
            Asked::Request(id) => {
                let account = self.authenticator.authenticate(&request).await?;
                let receipts = self.receipts.of_account(&id, &account).await?;
                Ok(json(list(&receipts), "no-store"))
            }
        }
    }
}

/// Each receipt as it was signed, byte for byte.
pub(crate) fn list(receipts: &[StoredReceipt]) -> String {
    let all: Vec<&str> = receipts.iter().map(|receipt| &*receipt.receipt).collect();
    format!("{{\"data\":[{}],\"object\":\"list\"}}", all.join(","))
}

/// JSON that may be kept so long.
pub(super) fn json(body: impl Into<Bytes>, caching: &'static str) -> Response<BoxBody> {
    let mut response = Response::new(full(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path: &str, expect: Option<Asked>| assert_eq!(Asked::of(path), expect, "for {path}");
        check("/v1/receipts/keys", Some(Asked::Keys));
        check("/receipts/checkpoint/", Some(Asked::Checkpoint));
        check("/v1/receipts/req_1", Some(Asked::Request("req_1".to_owned())));
        check("/v1/receipts/a%3Ab", Some(Asked::Request("a:b".to_owned())));
        for other in [
            "/v1/receipts",
            "/v1/receipts/",
            "/v1/receipts/a/b",
            "/v1/receipts/%ff",
            "/v1/receiptsx/a",
            "/v1/models",
        ] {
            check(other, None);
        }
    }
}
