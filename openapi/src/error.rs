//! The error envelope: `{"error": {"message", "type", "param", "code"}}`.
//!
//! OpenAI's document requires all four keys, with `param` and `code` a string or null (`openapi.yaml`, schema `Error`).
//! Upstreams disagree (llama.cpp and vLLM send a number as code, Cocoon a bare string, FastAPI a `detail`), so
//! [`ErrorBody::from_upstream`] makes theirs into ours.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

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
        }
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
        let value: Value = serde_json::from_slice(body).ok()?;
        Self::from_value(&value)
    }

    /// [`from_upstream`](Self::from_upstream) for JSON that is already parsed.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        match object.get("error") {
            // OpenAI and nearly everyone: {"error": {"message", "type", "param", "code"}}.
            Some(Value::Object(error)) => {
                let message = text(error.get("message")).or_else(|| text(error.get("error")));
                let mut body = Self {
                    message: clip(message.unwrap_or(Cow::Borrowed("The upstream gave no message."))),
                    kind: word(error.get("type")).unwrap_or(Cow::Borrowed("server_error")),
                    param: word(error.get("param")),
                    code: word(error.get("code")),
                };
                body.name_context_overflow();
                Some(body)
            }
            // Cocoon, Ollama, TGI: {"error": "sentence", "error_type"?: "..."}.
            Some(Value::String(message)) => Some(Self {
                message: clip(Cow::Owned(message.clone())),
                kind: word(object.get("error_type")).unwrap_or(Cow::Borrowed("server_error")),
                param: None,
                code: None,
            }),
            Some(Value::Null) | None => {
                // Old vLLM: {"object": "error", "message", "type", "code"}. FastAPI: {"detail": ...}.
                let is_error = object.get("object").and_then(Value::as_str) == Some("error")
                    || object.contains_key("detail")
                    || object.get("type").and_then(Value::as_str) == Some("error");
                let message = text(object.get("message")).or_else(|| match object.get("detail") {
                    Some(Value::String(detail)) => Some(Cow::Owned(detail.clone())),
                    Some(detail @ (Value::Array(_) | Value::Object(_))) => Some(Cow::Owned(detail.to_string())),
                    _ => None,
                });
                let (true, Some(message)) = (is_error, message) else {
                    return None;
                };
                Some(Self {
                    message: clip(message),
                    kind: word(object.get("type"))
                        .filter(|kind| kind != "error")
                        .unwrap_or(Cow::Borrowed("server_error")),
                    param: word(object.get("param")),
                    code: word(object.get("code")),
                })
            }
            Some(_) => Some(Self {
                message: Cow::Borrowed("The upstream reported an error without a message."),
                kind: Cow::Borrowed("server_error"),
                param: None,
                code: None,
            }),
        }
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

/// A string, or a number as a string; null and the rest are nothing.
fn text(value: Option<&Value>) -> Option<Cow<'static, str>> {
    match value? {
        Value::String(text) => Some(Cow::Owned(text.clone())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// A name such as a code: short and of few characters, for it goes to logs and records, where an upstream must not be
/// able to put a piece of the prompt.
fn word(value: Option<&Value>) -> Option<Cow<'static, str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
    text(value).filter(|word| (1..=64).contains(&word.len()) && word.bytes().all(is_plain))
}

fn clip(message: Cow<'static, str>) -> Cow<'static, str> {
    if message.len() <= MAX_MESSAGE {
        return message;
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
}
