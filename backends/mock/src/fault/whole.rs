//! Faults that replace the whole answer: the connection's, HTTP's, and errors as servers word them.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Fault, Plan, Refuse};
use crate::script::Step;
use crate::wire::Wire;

/// What stands in for the answer.
pub(crate) enum Whole {
    /// An ordinary HTTP response with another content.
    Other(Other),
    /// Steps on the bare socket; over HTTP/2 a reset of the stream.
    Socket(Vec<Step>),
}

pub(crate) struct Other {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
}

/// What the plan puts in the place of the answer; `nth` counts the requests of the connection.
pub(crate) fn of_plan(plan: &Plan, nth: usize) -> Option<Whole> {
    let other = |status, content_type, body: &str| {
        let body = body.as_bytes().to_vec();
        Some(Whole::Other(Other {
            status,
            content_type,
            headers: Vec::new(),
            body,
        }))
    };
    let error = |status, body: Value| other(status, "application/json", &body.to_string());
    match () {
        () if plan.has(Fault::CutBefore) => socket([Step::Close]),
        () if plan.has(Fault::Reset) => socket([Step::Reset]),
        () if plan.has(Fault::CloseOnReuse) && nth > 1 => socket([Step::Close]),
        () if plan.has(Fault::Hang) => socket([Step::Hang]),
        () if plan.has(Fault::Err200) && plan.wire == Wire::OpenAi => error(
            StatusCode::OK,
            json!({"error": {"message": "Upstream error", "code": 502}}),
        ),
        () if plan.has(Fault::Err200) => error(
            StatusCode::OK,
            plan.wire
                .error(StatusCode::BAD_GATEWAY, "Upstream error", "server_error", None),
        ),
        () if plan.has(Fault::Html502) => other(
            StatusCode::BAD_GATEWAY,
            "text/html",
            "<html><body><h1>502 Bad Gateway</h1></body></html>",
        ),
        () if plan.has(Fault::Html200) => other(StatusCode::OK, "text/html", "<html><body>Sign in</body></html>"),
        () if plan.has(Fault::Text500) => {
            other(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "Internal Server Error")
        }
        () if plan.has(Fault::NumericCode) => error(
            StatusCode::BAD_REQUEST,
            json!({"error": {"code": 400, "message": "bad value", "type": "invalid_request_error"}}),
        ),
        () if plan.has(Fault::StringError) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "worker is gone"}))
        }
        () if plan.has(Fault::ContextOverflow) => error(
            StatusCode::BAD_REQUEST,
            json!({"error": {
                "code": 400, "type": "exceed_context_size_error",
                "message": "the request exceeds the available context size, try increasing it",
                "n_prompt_tokens": 1500, "n_ctx": 1024,
            }}),
        ),
        () if plan.has(Fault::Overloaded) => Some(Whole::Other(Other {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: "application/json",
            headers: vec![("retry-after", "1")],
            body: envelope(
                plan.wire,
                StatusCode::SERVICE_UNAVAILABLE,
                "The engine is overloaded",
                ("server_error", "overloaded"),
            ),
        })),
        () if plan.has(Fault::Redirect) => Some(Whole::Other(Other {
            status: StatusCode::TEMPORARY_REDIRECT,
            content_type: "text/plain",
            headers: vec![("location", "http://127.0.0.1:1/v1/chat/completions")],
            body: b"moved".to_vec(),
        })),
        () => framing(plan),
    }
}

/// Answers that are wrong as HTTP/1.1.
fn framing(plan: &Plan) -> Option<Whole> {
    const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let size = chunk.len();
    let text = match () {
        () if plan.has(Fault::BadChunked) => {
            format!("{SSE}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{chunk}\r\nZZ\r\n{chunk}\r\n")
        }
        () if plan.has(Fault::TruncatedLength) => {
            format!("{JSON}content-length: 1000\r\n\r\n{{\"id\":\"chatcmpl-mock\",\"choices\":[")
        }
        () if plan.has(Fault::DoubleLength) => {
            format!("{JSON}content-length: 2\r\ncontent-length: 20\r\n\r\n{{\"id\":\"chatcmpl-mock\"}}")
        }
        () if plan.has(Fault::BadStatusLine) => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        () if plan.has(Fault::ExtraBytes) => {
            let response = |body: &str| format!("{JSON}content-length: {}\r\n\r\n{body}", body.len());
            let both = response("{\"mine\":true}") + &response("{\"stolen\":true}");
            return socket([Step::write(both), Step::Hang]);
        }
        () => return None,
    };
    socket([Step::write(text), Step::Close])
}

fn socket<const N: usize>(steps: [Step; N]) -> Option<Whole> {
    Some(Whole::Socket(steps.into()))
}

impl Refuse {
    pub(crate) fn answer(&self, wire: Wire) -> Other {
        let (kind, code) = match self.status.as_u16() {
            429 => ("rate_limit_error", "rate_limit_exceeded"),
            400..=499 => ("invalid_request_error", "scripted"),
            _ => ("server_error", "scripted"),
        };
        let mut headers: Vec<_> = self.retry_after.into_iter().collect();
        headers.extend(self.should_retry.map(|value| ("x-should-retry", value)));
        Other {
            status: self.status,
            content_type: "application/json",
            headers,
            body: envelope(
                wire,
                self.status,
                &format!("scripted {}", self.status.as_u16()),
                (kind, code),
            ),
        }
    }
}

fn envelope(wire: Wire, status: StatusCode, message: &str, (kind, code): (&str, &str)) -> Vec<u8> {
    wire.error(status, message, kind, Some(code)).to_string().into_bytes()
}
