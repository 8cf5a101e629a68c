//! The error envelope: `{"error": {"message", "type", "param", "code"}}`.
//!
//! OpenAI's document requires all four keys, with `param` and `code` a string or null (`openapi.yaml`, schema `Error`).
//! Upstreams disagree (llama.cpp and vLLM send a number as code, Cocoon a bare string, FastAPI a `detail`), so
//! [`ErrorBody::from_upstream`] makes theirs into ours.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::json;

/// The longest upstream message that we repeat, in bytes.
const MAX_MESSAGE: usize = 4096;

/// What is inside the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// A sentence for the person who reads the client's log.
    pub message: Cow<'static, str>,
    /// The class that SDKs show, e.g. `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The request parameter at fault, if one is.
    pub param: Option<Cow<'static, str>>,
    /// The code that programs compare, e.g. `model_not_found`.
    pub code: Option<Cow<'static, str>>,
    /// How often each of several reasons holds, where an error has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Box<BTreeMap<&'static str, u32>>>,
}

impl ErrorBody {
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            message: message.into(),
            kind: kind.into(),
            param: None,
            code: Some(code.into()),
            reasons: None,
        }
    }

    pub fn with_reasons(mut self, reasons: BTreeMap<&'static str, u32>) -> Self {
        self.reasons = Some(Box::new(reasons));
        self
    }

    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The whole envelope as a JSON body.
    pub fn to_json(&self) -> Bytes {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: &'a ErrorBody,
        }
        Bytes::from(serde_json::to_vec(&Envelope { error: self }).expect("strings serialise"))
    }

    /// The event that ends a stream in mid-air: `data:` only, for a named event breaks clients that parse each one.
    pub fn to_event(&self) -> Bytes {
        let json = self.to_json();
        let mut event = Vec::with_capacity(json.len() + 8);
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&json);
        event.extend_from_slice(b"\n\n");
        Bytes::from(event)
    }

    /// The event that ends a Responses API stream, whose events are typed.
    pub fn to_response_event(&self, sequence_number: u64) -> Bytes {
        #[derive(Serialize)]
        struct Event<'a> {
            r#type: &'static str,
            code: &'a Option<Cow<'static, str>>,
            message: &'a str,
            param: &'a Option<Cow<'static, str>>,
            sequence_number: u64,
        }
        let event = Event {
            r#type: "error",
            code: &self.code,
            message: &self.message,
            param: &self.param,
            sequence_number,
        };
        let json = serde_json::to_string(&event).expect("strings serialise");
        Bytes::from(format!("event: error\ndata: {json}\n\n"))
    }

    /// Reads an upstream's error body in any of the shapes seen in the field.
    ///
    /// `None` when the bytes are not JSON or say nothing of an error; the caller then has only the status.
    pub fn from_upstream(body: &[u8]) -> Option<Self> {
        Shape::read(body)?.error()
    }

    /// [`from_upstream`](Self::from_upstream) for JSON that is already parsed.
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::from_upstream(value.to_string().as_bytes())
    }

    /// Reads what is known to be an error, such as the data of `event: error`: what cannot be read gets a general text.
    pub fn from_error(body: &[u8]) -> Self {
        let shape = Shape::read(body);
        let error = shape.and_then(|shape| shape.error().or_else(|| shape.bare()));
        error.unwrap_or_else(Self::general)
    }

    /// All that can be said of an error that says nothing.
    fn general() -> Self {
        Self::new("server_error", "upstream_error", "The upstream reported an error.")
    }

    /// llama.cpp says `exceed_context_size_error`, OpenAI's clients look for `context_length_exceeded`.
    fn name_context_overflow(&mut self) {
        let overflows = self.kind == "exceed_context_size_error"
            || (self.message.contains("maximum context length")
                && self.code.as_deref() != Some("context_length_exceeded"));
        if overflows {
            self.kind = Cow::Borrowed("invalid_request_error");
            self.code = Some(Cow::Borrowed("context_length_exceeded"));
        }
    }
}

/// The members that errors are made of, each as written: an upstream's body is up to 64 MiB of anything.
///
/// A member that cannot be read, such as `1e999`, is lost alone.
#[derive(Debug, Clone, Copy, Default)]
struct Shape<'a> {
    error: Option<&'a RawValue>,
    error_type: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    detail: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
    param: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

impl<'a> Shape<'a> {
    /// `None` for what is no JSON object.
    fn read(body: &'a [u8]) -> Option<Self> {
        Self::of(std::str::from_utf8(body).ok()?)
    }

    fn of(json: &'a str) -> Option<Self> {
        let mut shape = Self::default();
        let is_object = json::for_members(json, |name, value| {
            let member = match &*name {
                "error" => &mut shape.error,
                "error_type" => &mut shape.error_type,
                "object" => &mut shape.object,
                "detail" => &mut shape.detail,
                "message" => &mut shape.message,
                "type" => &mut shape.kind,
                "param" => &mut shape.param,
                "code" => &mut shape.code,
                _ => return,
            };
            // A null says nothing, nor does it unsay.
            if value.get() != "null" {
                *member = Some(value);
            }
        });
        is_object.then_some(shape)
    }

    fn error(&self) -> Option<ErrorBody> {
        let Some(error) = self.error else {
            // Old vLLM: {"object": "error", "message", "type", "code"}. FastAPI: {"detail": ...}.
            let says_error = |member: Option<&RawValue>| member.is_some_and(|value| value.get() == r#""error""#);
            if says_error(self.object) || says_error(self.kind) {
                return Some(self.bare().unwrap_or_else(ErrorBody::general));
            }
            return self.detail.and_then(|_| self.bare());
        };
        // OpenAI and nearly everyone: {"error": {"message", "type", "param", "code"}}.
        if let Some(inner) = Self::of(error.get()) {
            let message = text(inner.message).or_else(|| text(inner.error));
            let mut body = ErrorBody {
                message: message.unwrap_or(Cow::Borrowed("The upstream gave no message.")),
                kind: word(inner.kind).unwrap_or(Cow::Borrowed("server_error")),
                param: word(inner.param),
                code: word(inner.code),
                reasons: None,
            };
            body.name_context_overflow();
            return Some(body);
        }
        // Cocoon, Ollama, TGI: {"error": "sentence", "error_type"?: "..."}.
        let message = json::string(error).map(clip);
        Some(ErrorBody {
            message: message.unwrap_or(Cow::Borrowed("The upstream reported an error without a message.")),
            kind: word(self.error_type).unwrap_or(Cow::Borrowed("server_error")),
            param: None,
            code: None,
            reasons: None,
        })
    }

    /// The members of an error that stand in no `error` object. `None` when they have no message.
    fn bare(&self) -> Option<ErrorBody> {
        let detail = || {
            let detail = self.detail?;
            let is_nested = detail.get().starts_with(['[', '{']);
            let written = is_nested.then(|| clip(Cow::Borrowed(detail.get())));
            written.or_else(|| json::string(detail).map(clip))
        };
        Some(ErrorBody {
            message: text(self.message).or_else(detail)?,
            kind: word(self.kind)
                .filter(|kind| kind != "error")
                .unwrap_or(Cow::Borrowed("server_error")),
            param: word(self.param),
            code: word(self.code),
            reasons: None,
        })
    }
}

/// A string, or a number as it is written; the rest is nothing.
fn text(value: Option<&RawValue>) -> Option<Cow<'static, str>> {
    let value = value?;
    let is_number = value
        .get()
        .starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let written = is_number.then(|| Cow::Borrowed(value.get()));
    written.or_else(|| json::string(value)).map(clip)
}

/// A name such as a code: short and of few characters, for it goes to logs and records, where an upstream must not be
/// able to put a piece of the prompt.
fn word(value: Option<&RawValue>) -> Option<Cow<'static, str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
    text(value).filter(|word| (1..=64).contains(&word.len()) && word.bytes().all(is_plain))
}

fn clip(message: Cow<'_, str>) -> Cow<'static, str> {
    if message.len() <= MAX_MESSAGE {
        return Cow::Owned(message.into_owned());
    }
    let mut end = MAX_MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &message[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(upstream: &str, expect: &str) {
        let body = ErrorBody::from_upstream(upstream.as_bytes());
        let shown = body.map_or_else(
            || "none".to_owned(),
            |body| String::from_utf8(body.to_json().to_vec()).expect("JSON is UTF-8"),
        );
        assert_eq!(shown, expect, "for {upstream}");
    }

    #[test]
    fn every_shape_becomes_the_envelope() {
        check(
            r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#,
            r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#,
        );
        check(
            r#"{"error":{"code":400,"message":"m","type":"invalid_request_error"}}"#,
            r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"400"}}"#,
        );
        check(
            r#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_ctx":10}}"#,
            r#"{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#,
        );
        check(
            r#"{"error":"plain"}"#,
            r#"{"error":{"message":"plain","type":"server_error","param":null,"code":null}}"#,
        );
        check(
            r#"{"object":"error","message":"m","type":"NotFoundError","code":404}"#,
            r#"{"error":{"message":"m","type":"NotFoundError","param":null,"code":"404"}}"#,
        );
        check(
            r#"{"detail":"Not Found"}"#,
            r#"{"error":{"message":"Not Found","type":"server_error","param":null,"code":null}}"#,
        );
    }

    #[test]
    fn a_code_that_is_a_sentence_is_dropped() {
        check(
            r#"{"error":{"message":"m","type":"tell nobody","param":"messages[0].content","code":"the prompt was"}}"#,
            r#"{"error":{"message":"m","type":"server_error","param":"messages[0].content","code":null}}"#,
        );
    }

    #[test]
    fn an_answer_is_not_an_error() {
        check(r#"{"object":"chat.completion","choices":[]}"#, "none");
        check(r#"{"error":null,"message":"fine"}"#, "none");
        check("<html>", "none");
        check("[1]", "none");
    }

    #[test]
    fn a_novel_is_clipped_at_a_character() {
        let long = "é".repeat(5000);
        let body = ErrorBody::from_value(&serde_json::json!({"error": long})).expect("an error");
        assert!(body.message.len() <= MAX_MESSAGE + 4);
        assert!(body.message.ends_with('…'));
    }

    #[test]
    fn what_cannot_be_read_is_lost_alone() {
        check(
            r#"{"error":{"message":"bad","type":"x","limit":1e999,"code":"context_length_exceeded"},"n":-1e999}"#,
            r#"{"error":{"message":"bad","type":"x","param":null,"code":"context_length_exceeded"}}"#,
        );
        check(
            r#"{"error":{"message":"bad \ud83d","type":"\udead","code":500},"\ud83d":1}"#,
            &r#"{"error":{"message":"bad ???","type":"server_error","param":null,"code":"500"}}"#
                .replace('?', "\u{fffd}"),
        );
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        check(
            &format!(r#"{{"error":{{"d":{deep},"message":"m","code":{deep}}}}}"#),
            r#"{"error":{"message":"m","type":"server_error","param":null,"code":null}}"#,
        );
        check(
            &format!(r#"{{"error":{deep}}}"#),
            r#"{"error":{"message":"The upstream reported an error without a message.","type":"server_error","param":null,"code":null}}"#,
        );
        check(
            r#"{"error":{"message":"m","code":7},"error":null}"#,
            r#"{"error":{"message":"m","type":"server_error","param":null,"code":"7"}}"#,
        );
    }

    #[test]
    fn megabytes_are_not_decoded() {
        let long = r"\u0061".repeat(100_000);
        check(
            &format!(r#"{{"error":{{"message":"{long}","code":"c"}}}}"#),
            r#"{"error":{"message":"The upstream gave no message.","type":"server_error","param":null,"code":"c"}}"#,
        );
        let list = format!(r#"{{"detail":[{}0]}}"#, "0,".repeat(1_000_000));
        let body = ErrorBody::from_upstream(list.as_bytes()).expect("an error");
        assert!(body.message.len() <= MAX_MESSAGE + 4 && body.message.starts_with("[0,0,"));
    }

    #[test]
    fn a_known_error_needs_no_shape() {
        let read = |body: &str| {
            let error = ErrorBody::from_error(body.as_bytes());
            (error.message.into_owned(), error.code.map(Cow::into_owned))
        };
        let expect = |message: &str, code: &str| (message.to_owned(), Some(code.to_owned()));
        assert_eq!(read(r#"{"message":"boom","code":500}"#), expect("boom", "500"));
        let general = expect("The upstream reported an error.", "upstream_error");
        for body in ["boom", "", "[1]", "{}", r#"{"object":"error"}"#] {
            assert_eq!(read(body), general, "for {body}");
        }
    }
}
