//! Whose API a path belongs to, and how that one words its errors and asks for its key.

use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    #[default]
    OpenAi,
    Anthropic,
    Gemini,
}

/// What Anthropic's clients send, the older and the newer.
const ANTHROPIC_VERSIONS: [&[u8]; 2] = [b"2023-06-01", b"2026-10-21"];

impl Wire {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/v1/messages" | "/v1/messages/count_tokens" => Self::Anthropic,
            path if path.starts_with("/v1beta/") => Self::Gemini,
            _ => Self::OpenAi,
        }
    }

    /// The credential that a request carries where this API looks for it.
    pub(crate) fn key(self, parts: &Parts) -> Option<&[u8]> {
        let bare = |name: &str| Some(parts.headers.get(name)?.as_bytes());
        match self {
            Self::Anthropic => bare("x-api-key"),
            Self::Gemini => bare("x-goog-api-key"),
            Self::OpenAi => bare("authorization")
                .and_then(|value| value.strip_prefix(b"Bearer "))
                .or_else(|| bare("x-api-key"))
                .or_else(|| bare("api-key")),
        }
    }

    /// What it demands of a request beside its body, if that is missing.
    pub(crate) fn missing(self, parts: &Parts) -> Option<&'static str> {
        match self {
            Self::Anthropic => {
                let version = parts.headers.get("anthropic-version").map(http::HeaderValue::as_bytes);
                let is_known = version.is_some_and(|version| ANTHROPIC_VERSIONS.contains(&version));
                (!is_known).then_some("anthropic-version: header is required and must name a known version")
            }
            Self::Gemini => {
                let streams = parts.uri.path().ends_with(":streamGenerateContent");
                let is_sse = parts.uri.query().is_some_and(|query| query.contains("alt=sse"));
                (streams && !is_sse).then_some("streamGenerateContent is scripted with alt=sse only")
            }
            Self::OpenAi => None,
        }
    }

    /// An error in its words. `kind` and `code` are OpenAI's.
    pub(crate) fn error(self, status: StatusCode, message: &str, kind: &str, code: Option<&str>) -> Value {
        match self {
            Self::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
            Self::Anthropic => json!({
                "type": "error",
                "error": {"type": anthropic_kind(status), "message": message},
                "request_id": "req_mock",
            }),
            Self::Gemini => {
                let (code, status) = gemini_status(status);
                json!({"error": {"code": code, "message": message, "status": status}})
            }
        }
    }
}

/// <https://docs.anthropic.com/en/api/errors>
fn anthropic_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

/// <https://ai.google.dev/gemini-api/docs/troubleshooting>
fn gemini_status(status: StatusCode) -> (u16, &'static str) {
    let name = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500..=599 => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    (status.as_u16(), name)
}
