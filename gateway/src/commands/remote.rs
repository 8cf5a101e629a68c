//! A running gateway, asked through its admin API.

use std::{net::SocketAddr, time::Duration};

use backends::{
    body::Outgoing,
    client::{Answering, Client, Connector, HttpVersion, SendError, Target},
    serve::BoxError,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

/// How long a connection may take, and an answer.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(30);
/// A list of keys or accounts has a few hundred bytes for each.
const MAX_ANSWER: usize = 64 << 20;

/// Why no gateway was asked; the database is changed instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreached {
    #[error("no gateway was asked, since a database was named")]
    Named,
    #[error("no gateway was asked, since admin_listen names no port")]
    Off,
    #[error(
        "no gateway was asked, since there is no admin token: neither MULBERRY_ADMIN_TOKEN nor admin.token in data_dir"
    )]
    NoToken,
    #[error("no gateway was asked, since the admin token cannot be sent")]
    BadToken,
    #[error("no gateway answers at {0}")]
    Silent(SocketAddr),
    #[error("what answers at {0} is no gateway, or one that does not know our admin token")]
    Stranger(SocketAddr),
}

/// Why a gateway made no change.
pub(super) enum RemoteError {
    Unreached(Unreached),
    /// It said no, and why.
    Refused(String),
    /// It was asked, and whether it did it is not known.
    Lost(LostError),
}

impl RemoteError {
    /// Why no gateway was asked; whatever else went wrong is the end.
    pub(super) fn unless_unreached(self) -> Result<Unreached, BoxError> {
        match self {
            Self::Unreached(why) => Ok(why),
            Self::Refused(message) => Err(message.into()),
            Self::Lost(error) => Err(error.into()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the gateway at {address} was asked and did not answer; look with `mulberry {look}` whether it was done")]
pub(super) struct LostError {
    address: SocketAddr,
    look: &'static str,
}

pub(super) struct Remote {
    client: Client,
    address: SocketAddr,
    token: HeaderValue,
    /// The command that shows what was changed.
    look: &'static str,
}

impl Remote {
    pub(super) fn new(address: SocketAddr, token: &str, look: &'static str) -> Result<Self, Unreached> {
        let mut token = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Unreached::BadToken)?;
        token.set_sensitive(true);
        // An address of every interface is reached over loopback.
        let mut reached = address;
        if address.ip().is_unspecified() {
            let loopback = match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            reached.set_ip(loopback);
        }
        let target = Target::parse(&format!("http://{reached}")).map_err(|_| Unreached::Off)?;
        let connector = Connector::new(target, HttpVersion::Http1, CONNECT, None);
        Ok(Self {
            client: Client::new(connector, CONNECT),
            address: reached,
            token,
            look,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers to this, read whole. `path` stands below `/admin/v1/`.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, RemoteError> {
        let response = self.open(method, path, body).await?;
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
        let body = tokio::time::timeout(ANSWER, body).await;
        let body = body.map_err(|_| self.lost())?.map_err(|_| self.lost())?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| self.lost())
    }

    /// The answer whose body is still to come, where it is one of success.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response<Answering>, RemoteError> {
        let whole = body.map(|body| Outgoing::whole(Bytes::from(body.to_string())));
        let request = Request::builder()
            .method(method)
            .uri(format!("/admin/v1/{path}"))
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(whole.unwrap_or(Outgoing::Empty))
            .map_err(|_| self.lost())?;
        let sent = tokio::time::timeout(ANSWER, self.client.send(request, false)).await;
        let response = match sent.map_err(|_| self.lost())? {
            Ok(response) => response,
            Err(SendError::Connect(_)) => return Err(RemoteError::Unreached(Unreached::Silent(self.address))),
            Err(_) => return Err(self.lost()),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
        let body = tokio::time::timeout(ANSWER, body).await;
        let body = body.map_err(|_| self.lost())?.map_err(|_| self.lost())?.to_bytes();
        // Another gateway, another program, or a token that was changed.
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.stranger());
        }
        match refusal(&body) {
            Some(message) => Err(RemoteError::Refused(message)),
            None if status.is_client_error() => Err(self.stranger()),
            None => Err(self.lost()),
        }
    }

    pub(super) fn stranger(&self) -> RemoteError {
        RemoteError::Unreached(Unreached::Stranger(self.address))
    }

    fn lost(&self) -> RemoteError {
        RemoteError::Lost(LostError {
            address: self.address,
            look: self.look,
        })
    }
}

/// What an error of the admin API says.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let error = &answer["error"];
    error["code"].as_str()?;
    Some(error["message"].as_str().unwrap_or_default().to_owned())
}

/// A name as one segment of a path: everything but letters, digits and a few signs is percent-encoded.
pub(super) fn segment(name: &str) -> String {
    let encoded = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_stand_in_paths() {
        assert_eq!(super::segment("a b\u{fc}?"), "a%20b%C3%BC%3F");
        assert_eq!(super::segment("team:acme/research"), "team%3Aacme%2Fresearch");
    }

    #[test]
    fn only_an_envelope_is_a_refusal() {
        let check = |body: &str, expect: Option<&str>| assert_eq!(super::refusal(body.as_bytes()).as_deref(), expect);
        check(r#"{"error": {"code": "x", "message": "no"}}"#, Some("no"));
        check(r#"{"error": {"message": "no"}}"#, None);
        check("no", None);
    }
}
