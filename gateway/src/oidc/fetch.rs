//! A GET of a small document from an identity provider, over connections of our own make.
//!
//! No redirect is followed. Plain http is for this machine only: whoever sits on the way could put in keys of theirs.

use std::{net::IpAddr, sync::Arc, time::Duration};

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, SendError, Target, TargetError},
    serve::BoxError,
};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use rustls::ClientConfig;

/// The largest document, in bytes.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;
/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// From the beginning to the last byte.
const TOTAL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the address is no URL")]
    NotUrl,
    #[error("the address cannot be used")]
    Target(#[source] TargetError),
    #[error("keys are fetched by https, or by http from this machine; use https, or a jwks_file")]
    Insecure,
    #[error("no answer")]
    Send(#[source] SendError),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer broke off, or is larger than {MAX_ANSWER} bytes")]
    Body(#[source] BoxError),
    #[error("not done within {0:?}")]
    Timeout(Duration),
}

/// Where a document is.
#[derive(Debug, Clone)]
pub(super) struct Url {
    target: Target,
    path: Uri,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let uri: Uri = text.parse().map_err(|_| FetchError::NotUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(FetchError::NotUrl);
        };
        // Without its path: a target's may not end in `/v1`, which an upstream's paths begin with.
        let target = Target::parse(&format!("{scheme}://{authority}")).map_err(FetchError::Target)?;
        if !target.is_https() && !is_this_machine(authority.host()) {
            return Err(FetchError::Insecure);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            target,
            path: path.parse().map_err(|_| FetchError::NotUrl)?,
        })
    }

    pub(super) fn is_https(&self) -> bool {
        self.target.is_https()
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

pub(super) struct Fetcher {
    tls: Arc<ClientConfig>,
}

impl Fetcher {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls }
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let got = tokio::time::timeout(TOTAL, self.get_untimed(url)).await;
        got.map_err(|_| FetchError::Timeout(TOTAL))?
    }

    async fn get_untimed(&self, url: &Url) -> Result<Bytes, FetchError> {
        let connector = Connector::new(url.target.clone(), HttpVersion::Auto, CONNECT, Some(&*self.tls));
        // Minutes lie between two requests: no connection is kept.
        let client = Client::new(connector, Duration::ZERO);
        let mut request = Request::new(Outgoing::Empty);
        *request.uri_mut() = url.path.clone();
        let host = HeaderValue::try_from(url.target.authority()).map_err(|_| FetchError::NotUrl)?;
        request.headers_mut().insert(header::HOST, host);
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = client.send(request, false).await.map_err(FetchError::Send)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(FetchError::Body)?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        let check = |url: &str, expect: bool| assert_eq!(Url::parse(url).is_ok(), expect, "for {url}");
        check("https://id.example/realms/x/keys?v=2", true);
        check("http://127.0.0.1:8080/keys", true);
        check("http://[::1]/keys", true);
        check("http://localhost/keys", true);
        check("http://id.example/keys", false);
        check("http://127.0.0.1.id.example/keys", false);
        check("http://10.0.0.1/keys", false);
        check("https://user:secret@id.example/keys", false);
        check("file:///keys", false);
        check("/keys", false);
        let with_version = Url::parse("https://id.example/oauth2/v1").expect("a URL");
        assert_eq!(with_version.path, "/oauth2/v1");
    }
}
