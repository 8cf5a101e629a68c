//! Asking a server as an ordinary client does, and keeping all that came back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backends::{
    body::Outgoing,
    client::{Answering, Client, Connector, HttpVersion, Target},
    serve::BoxError,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use rustls::ClientConfig;
use serde_json::{Value, json};

/// No answer that is looked at is larger.
const LARGEST: usize = 8 << 20;
/// What a stream has to end once it has said that it is done.
const AFTER_DONE: Duration = Duration::from_millis(1500);

pub(super) struct Probe {
    pub(super) target: Target,
    tls: Option<Arc<ClientConfig>>,
    key: Option<String>,
    timeout: Duration,
    pub(super) model: String,
    /// The name under which the server takes a bound on what it generates.
    pub(super) bound: &'static str,
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// Not by its own rules: cut, or never begun as announced.
    Broken,
    /// Open after `[DONE]`, or beyond the patience of a client.
    Held,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How many pieces the body came in.
    pub(super) frames: usize,
    pub(super) ending: Ending,
}

impl Reply {
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// A header as text; empty where it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

impl Probe {
    pub(super) fn new(target: Target, key: Option<String>, timeout: Duration) -> Result<Self, BoxError> {
        let tls = target.is_https().then(|| crate::tls::client(None)).transpose()?;
        Ok(Self {
            target,
            tls,
            key,
            timeout,
            model: String::new(),
            bound: "max_tokens",
        })
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// A small chat request, with these members over its own; a member that is null is left out.
    pub(super) fn chat(&self, more: Value) -> String {
        let mut body = json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": "Say hello." }],
            self.bound: 16,
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            for (name, value) in more {
                if value.is_null() {
                    body.shift_remove(&name);
                } else {
                    body.insert(name, value);
                }
            }
        }
        body.to_string()
    }

    pub(super) async fn post_chat(&self, more: Value) -> Result<Reply, String> {
        self.post("chat/completions", self.chat(more)).await
    }

    /// A POST of JSON below `/v1`.
    pub(super) async fn post(&self, path: &str, body: String) -> Result<Reply, String> {
        let body = Outgoing::whole(Bytes::from(body));
        self.ask(self.request(Method::POST, &format!("/v1/{path}"), body)?)
            .await
    }

    /// A GET below `/v1`.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, String> {
        self.ask(self.request(Method::GET, &format!("/v1/{path}"), Outgoing::Empty)?)
            .await
    }

    /// A request with the key, to be changed and asked.
    pub(super) fn request(&self, method: Method, path: &str, body: Outgoing) -> Result<Request<Outgoing>, String> {
        let is_empty = matches!(body, Outgoing::Empty);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let uri = format!("{}{path}", self.target.base_path());
        *request.uri_mut() = uri.parse().map_err(|_| format!("{uri} is no path"))?;
        let headers = request.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|_| format!("{name} cannot be sent"))?;
            headers.insert(name, value);
            Ok::<(), String>(())
        };
        set(header::HOST, &self.target.authority())?;
        set(
            header::USER_AGENT,
            concat!("mulberry-doctor/", env!("CARGO_PKG_VERSION")),
        )?;
        if !is_empty {
            set(header::CONTENT_TYPE, "application/json")?;
        }
        if let Some(key) = &self.key {
            set(header::AUTHORIZATION, &format!("Bearer {key}"))?;
        }
        Ok(request)
    }

    /// Asks on a connection of its own and reads to the end.
    pub(super) async fn ask(&self, request: Request<Outgoing>) -> Result<Reply, String> {
        let response = self.open(request, HttpVersion::Auto).await?;
        let (head, mut body) = response.into_parts();
        let mut whole: Vec<u8> = Vec::new();
        let mut frames = 0;
        let mut until = Instant::now() + self.timeout;
        let mut is_done = false;
        let ending = loop {
            let wait = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(wait, body.frame()).await {
                Err(_elapsed) => break Ending::Held,
                Ok(None) => break Ending::Whole,
                Ok(Some(Err(_))) => break Ending::Broken,
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        frames += 1;
                        whole.extend_from_slice(&data);
                    }
                    if whole.len() > LARGEST {
                        return Err(format!("its answer is larger than {LARGEST} bytes"));
                    }
                    let tail = &whole[whole.len().saturating_sub(64)..];
                    if !is_done && tail.windows(6).any(|window| window == b"[DONE]") {
                        is_done = true;
                        until = Instant::now() + AFTER_DONE;
                    }
                }
            }
        };
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: whole.into(),
            frames,
            ending,
        })
    }

    /// Asks and waits for the head alone. Dropping the body closes the connection.
    pub(super) async fn open(
        &self,
        request: Request<Outgoing>,
        version: HttpVersion,
    ) -> Result<Response<Answering>, String> {
        let connector = Connector::new(self.target.clone(), version, self.timeout, self.tls.as_deref());
        let client = Client::new(connector, Duration::ZERO);
        match tokio::time::timeout(self.timeout, client.send(request, false)).await {
            Err(_elapsed) => Err(format!("nothing came within {:?}", self.timeout)),
            Ok(Err(error)) => Err(crate::layers::rescue::Chain(&error).to_string()),
            Ok(Ok(response)) => Ok(response),
        }
    }
}
