//! An HTTP client that hides nothing: no retries, no redirects, no decompression.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response};
use serde_json::Value;

use crate::wait::SOON;

/// A client with connections of its own: one must not outlive the runtime of its test.
#[must_use]
pub fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(SOON)
        .build()
        .expect("a client without TLS needs nothing of the system")
}

/// A POST of JSON as these very bytes, to be given headers and sent.
pub fn request(url: &str, body: impl Into<Body>) -> RequestBuilder {
    client().post(url).header("content-type", "application/json").body(body)
}

/// Sends a JSON body as these very bytes.
pub async fn post(url: &str, body: impl Into<Body>) -> Response {
    send(request(url, body)).await
}

pub async fn get(url: &str) -> Response {
    send(client().get(url)).await
}

/// Sends a request that must be answered, in whatever way.
pub async fn send(request: RequestBuilder) -> Response {
    let sent = request.send().await;
    sent.unwrap_or_else(|error| panic!("no answer: {error:?}"))
}

/// The body of a chat request.
#[must_use]
pub fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Say hello to me"}}]}}"#)
}

/// The body of a chat request that asks for a stream.
#[must_use]
pub fn chat_stream(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Say hello to me"}}],"stream":true}}"#)
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Reads the answer to its end, which must be a clean one.
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await;
        let body = body.unwrap_or_else(|error| panic!("the body of a {status} broke off: {error:?}"));
        Self { status, headers, body }
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let value = serde_json::from_slice(&self.body);
        value.unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// A header that is text; empty if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| {
            value
                .to_str()
                .unwrap_or_else(|_| panic!("the header {name} is not text"))
        })
    }

    /// The error, which must be a whole one.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text());
        Envelope::of(self.status.as_u16(), &self.json())
    }
}

/// What an OpenAI client reads from an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// That of the answer; 0 for an error in a stream.
    pub status: u16,
    pub kind: String,
    pub code: Option<String>,
    pub param: Option<String>,
    pub message: String,
}

impl Envelope {
    /// Reads `{"error": {message, type, param, code}}`: exactly these, each of its type, and `reasons` with the code that has them.
    #[must_use]
    pub fn of(status: u16, value: &Value) -> Self {
        let outer = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
        assert!(outer.keys().eq(["error"]), "`error` is not the only key: {value}");
        let error = value["error"].as_object();
        let error = error.unwrap_or_else(|| panic!("`error` is not an object: {value}"));
        let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys.retain(|key| *key != "reasons" || error["code"] != "no_attested_upstream");
        assert_eq!(keys, ["code", "message", "param", "type"], "{value}");
        let text = |name: &str| {
            let text = error[name].as_str();
            text.unwrap_or_else(|| panic!("`{name}` is not a string: {value}"))
                .to_owned()
        };
        let text_or_null = |name: &str| (!error[name].is_null()).then(|| text(name));
        Self {
            status,
            kind: text("type"),
            code: text_or_null("code"),
            param: text_or_null("param"),
            message: text("message"),
        }
    }

    /// Status, type and code: what a client may decide upon.
    #[must_use]
    pub fn is(&self, status: u16, kind: &str, code: &str) -> bool {
        self.status == status && self.kind == kind && self.code.as_deref() == Some(code)
    }
}
