//! A running gateway, asked through its admin API.

use std::{net::SocketAddr, time::Duration};

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, SendError, Target},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use super::{Change, Outcome};

/// How long a connection may take, and an answer.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(30);
/// A list of keys has a few hundred bytes for each.
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

#[derive(Debug, thiserror::Error)]
#[error("the gateway at {address} was asked and did not answer; look with `mulberry key list` whether it was done")]
pub(super) struct LostError {
    address: SocketAddr,
}

pub(super) struct Remote {
    client: Client,
    address: SocketAddr,
    token: HeaderValue,
}

impl Remote {
    pub(super) fn new(address: SocketAddr, token: &str) -> Result<Self, Unreached> {
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
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn list(&self) -> Result<Vec<Value>, RemoteError> {
        let mut answer = self.ask(Method::GET, "keys", None).await?;
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(keys)) => Ok(keys),
            _ => Err(self.stranger()),
        }
    }

    pub(super) async fn change(&self, change: &Change) -> Result<Outcome, RemoteError> {
        let answer = match change {
            Change::Create { name, edit, sha256 } => {
                let mut body = json!(edit);
                body["name"] = name.as_str().into();
                if let Some(sha256) = sha256 {
                    let hex: String = sha256.0.iter().map(|byte| format!("{byte:02x}")).collect();
                    body["sha256"] = hex.into();
                }
                self.ask(Method::POST, "keys", Some(body)).await?
            }
            Change::Update { name, edit } => {
                let key = self.ask(Method::PATCH, &path(name), Some(json!(edit))).await?;
                json!({"key": key})
            }
            Change::Rotate { name, grace } => {
                let body = json!({"grace": format!("{}ms", grace.as_millis())});
                self.ask(Method::POST, &format!("{}/rotate", path(name)), Some(body))
                    .await?
            }
            Change::Revoke { name } => {
                let key = self.ask(Method::DELETE, &path(name), None).await?;
                json!({"key": key})
            }
        };
        if !is_answer_to(change, &answer) {
            return Err(self.stranger());
        }
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Ok(Outcome {
            secret: text("secret"),
            old_valid_until: text("old_valid_until"),
            key: answer["key"].clone(),
        })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, RemoteError> {
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
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
        let body = tokio::time::timeout(ANSWER, body).await;
        let body = body.map_err(|_| self.lost())?.map_err(|_| self.lost())?.to_bytes();
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let code = answer.as_ref().map(|answer| answer["error"]["code"].clone());
        match (status, answer) {
            (status, Some(answer)) if status.is_success() => Ok(answer),
            // Another gateway, another program, or a token that was changed.
            (StatusCode::UNAUTHORIZED, _) => Err(self.stranger()),
            (_, Some(answer)) if code.is_some_and(|code| code.is_string()) => {
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                Err(RemoteError::Refused(message.to_owned()))
            }
            (status, _) if status.is_client_error() => Err(self.stranger()),
            _ => Err(self.lost()),
        }
    }

    fn stranger(&self) -> RemoteError {
        RemoteError::Unreached(Unreached::Stranger(self.address))
    }

    fn lost(&self) -> RemoteError {
        RemoteError::Lost(LostError { address: self.address })
    }
}

/// Whether this says that the change was made: any other program may answer 200 to whatever it is asked.
fn is_answer_to(change: &Change, answer: &Value) -> bool {
    let (name, has_secret, is_over) = match change {
        Change::Create { name, sha256, .. } => (name, sha256.is_none(), false),
        Change::Update { name, .. } => (name, false, false),
        Change::Rotate { name, .. } => (name, true, false),
        Change::Revoke { name } => (name, false, true),
    };
    let key = &answer["key"];
    key["name"] == name.as_str()
        && answer["secret"].is_string() == has_secret
        && key["revoked_at"].is_string() == is_over
}

/// The path of a key: everything but letters, digits and a few signs is percent-encoded.
fn path(name: &str) -> String {
    let encoded = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    format!("keys/{}", encoded.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_gateway_says_of_this_key_is_an_answer() {
        let revoke = Change::Revoke {
            name: "alice".to_owned(),
        };
        let rotate = Change::Rotate {
            name: "alice".to_owned(),
            grace: Duration::ZERO,
        };
        let check = |change: &Change, answer: Value, expect: bool| {
            assert_eq!(is_answer_to(change, &answer), expect, "{answer}");
        };
        for nothing in [json!(null), json!([]), json!("ok"), json!({}), json!({"key": null})] {
            check(&revoke, nothing.clone(), false);
            check(&rotate, nothing, false);
        }
        let at = "2026-01-01T00:00:00Z";
        check(&revoke, json!({"key": {"name": "alice", "revoked_at": at}}), true);
        check(&revoke, json!({"key": {"name": "alice", "revoked_at": null}}), false);
        check(&revoke, json!({"key": {"name": "bob", "revoked_at": at}}), false);
        let alice = json!({"name": "alice", "revoked_at": null});
        check(&rotate, json!({"key": alice, "secret": "sk-mb-1"}), true);
        check(&rotate, json!({"key": alice}), false);
    }

    #[test]
    fn names_stand_in_paths() {
        assert_eq!(super::path("a b\u{fc}?"), "keys/a%20b%C3%BC%3F");
    }
}
