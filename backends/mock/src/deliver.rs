//! A reply on its way out: headers, and the faults of its plan.

use std::future;
use std::io;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::connection::Peer;
use crate::fault::whole::{Other, Whole};
use crate::fault::{Fault, Plan, stream};
use crate::journal::Exchange;
use crate::refusal::Refusal;
use crate::script::{Script, Step};
use crate::sse::Events;
use crate::wire::Wire;

/// What an endpoint answers.
pub(crate) enum Reply {
    Json(Value),
    Events(Events),
    /// A content-type and a body.
    Bytes(&'static str, Bytes),
}

const HUGE_HEADERS: usize = 40;
const HUGE_HEADER_BYTES: usize = 8 << 10;
const ENDLESS_PIECE: &[u8] = &[b'a'; 16 << 10];

/// One request's way back to its client.
pub(crate) struct Return {
    pub(crate) peer: Arc<Peer>,
    pub(crate) exchange: Exchange,
    pub(crate) id: u64,
    pub(crate) wire: Wire,
    /// HTTP/1.1: the socket is this request's alone.
    pub(crate) whole_socket: bool,
    pub(crate) chunk_delay: Duration,
}

impl Return {
    pub(crate) fn refusal(self, refusal: &Refusal) -> Response<Body> {
        let envelope = refusal.envelope(self.wire);
        self.other(Other {
            status: refusal.status,
            content_type: "application/json",
            headers: Vec::new(),
            body: envelope.to_string().into_bytes(),
        })
    }

    pub(crate) async fn whole(mut self, whole: Whole) -> io::Result<Response<Body>> {
        match whole {
            Whole::Other(other) => Ok(self.other(other)),
            Whole::Socket(steps) if self.whole_socket => self.raw(steps).await,
            Whole::Socket(steps) if matches!(steps[..], [Step::Hang]) => future::pending().await,
            Whole::Socket(_) => {
                self.exchange.complete();
                Err(io::Error::other("scripted reset"))
            }
        }
    }

    pub(crate) fn other(self, other: Other) -> Response<Body> {
        let mut response = self.response(other.content_type, Some(other.body.len()), [Step::write(other.body)]);
        *response.status_mut() = other.status;
        for (name, value) in other.headers {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    pub(crate) async fn reply(mut self, reply: Reply, plan: &Plan) -> io::Result<Response<Body>> {
        let nth = self.peer.requests();
        if self.whole_socket && plan.close_after.is_some_and(|most| nth >= most) {
            self.exchange.close_after(self.peer.clone());
        }
        let content_type = match () {
            () if plan.has(Fault::BadContentType) => "text/plain",
            () => reply.content_type(),
        };
        if plan.has(Fault::EarlyHints) && self.whole_socket {
            let head = format!(
                "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n\
                 HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
            );
            let body = reply.into_bytes(plan);
            return self.raw(vec![Step::write(head), Step::write(body), Step::Close]).await;
        }
        let mut response = match () {
            () if plan.has(Fault::HangAfterHeaders) => self.response(content_type, None, [Step::Hang]),
            () if plan.has(Fault::EndlessBody) => {
                let piece = iter::repeat_with(|| Step::write(ENDLESS_PIECE));
                let steps = iter::once(Step::write("{\"id\":\"")).chain(piece);
                self.response(content_type, None, steps)
            }
            () if plan.has(Fault::Gzip) => {
                let body = gzip(&reply.into_bytes(plan))?;
                let mut response = self.response(content_type, Some(body.len()), [Step::write(body)]);
                response
                    .headers_mut()
                    .insert("content-encoding", HeaderValue::from_static("gzip"));
                response
            }
            () => match reply {
                Reply::Events(events) => {
                    let delay = self.chunk_delay;
                    let steps = stream::steps(events, plan.clone(), delay);
                    self.response(content_type, None, steps)
                }
                unary => {
                    let body = unary.into_bytes(plan);
                    let length = body.len();
                    self.response(content_type, Some(length), stream::unary(body, plan))
                }
            },
        };
        decorate(&mut response, plan);
        Ok(response)
    }

    /// Leaves hyper behind: the steps are all that the client will see.
    async fn raw(self, steps: Vec<Step>) -> io::Result<Response<Body>> {
        self.peer.take_over(Script::new(steps), self.exchange);
        future::pending().await
    }

    fn response<I>(self, content_type: &'static str, length: Option<usize>, steps: I) -> Response<Body>
    where
        I: IntoIterator<Item = Step>,
        I::IntoIter: Send + 'static,
    {
        let body = Script::new(steps).into_body(self.peer, self.whole_socket, self.exchange);
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if content_type.starts_with("text/event-stream") {
            headers.insert("cache-control", HeaderValue::from_static("no-cache"));
        }
        let id = HeaderValue::try_from(format!("req-mock-{}", self.id));
        headers.insert(
            "x-request-id",
            id.expect("letters, dashes and digits make a header value"),
        );
        headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
        response
    }
}

impl Reply {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Events(_) => "text/event-stream; charset=utf-8",
            Self::Bytes(content_type, _) => content_type,
        }
    }

    fn into_bytes(self, plan: &Plan) -> Vec<u8> {
        match self {
            Self::Json(value) => value.to_string().into_bytes(),
            Self::Events(events) => stream::whole(events, plan.clone()),
            Self::Bytes(_, bytes) => bytes.to_vec(),
        }
    }
}

fn decorate(response: &mut Response<Body>, plan: &Plan) {
    let headers = response.headers_mut();
    if plan.has(Fault::HugeHeaders) {
        let value = HeaderValue::try_from("h".repeat(HUGE_HEADER_BYTES));
        let value = value.expect("letters make a header value");
        for nth in 0..HUGE_HEADERS {
            let name = HeaderName::try_from(format!("x-huge-{nth}"));
            headers.insert(
                name.expect("letters, dashes and digits make a header name"),
                value.clone(),
            );
        }
    }
    if plan.has(Fault::HopHeaders) {
        for (name, value) in [
            ("keep-alive", "timeout=99"),
            ("proxy-authenticate", "Basic realm=mock"),
            ("set-cookie", "session=mock"),
            ("server", "mock"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, body)?;
    encoder.finish()
}
