//! Anthropic's errors: `{"type": "error", "error": {"type", "message"}}`, as an answer and as an event.

use std::borrow::Cow;

use crate::error::ErrorBody;

/// The status by which OpenAI's clients know the error, and the envelope. Anthropic's 529 is 503 here.
pub(in super::super) fn error(status: u16, body: &[u8]) -> Option<(u16, ErrorBody)> {
    let error = ErrorBody::from_upstream(body)?;
    let status = if status == 529 { 503 } else { status };
    Some((status, named(error)))
}

/// The error of an `error` event, which has no status.
pub(in super::super) fn of_event(data: &[u8]) -> ErrorBody {
    named(ErrorBody::from_error(data))
}

/// Anthropic has types where OpenAI has types and codes.
fn named(mut error: ErrorBody) -> ErrorBody {
    if error.kind == "invalid_request_error" && error.message.contains("prompt is too long") {
        error.code = Some(Cow::Borrowed("context_length_exceeded"));
        return error;
    }
    let (kind, code) = match &*error.kind {
        "invalid_request_error" => ("invalid_request_error", None),
        "request_too_large" => ("invalid_request_error", Some("request_too_large")),
        "authentication_error" => ("invalid_request_error", Some("invalid_api_key")),
        "billing_error" => ("insufficient_quota", Some("insufficient_quota")),
        "permission_error" => ("permission_error", Some("permission_denied")),
        "not_found_error" => ("invalid_request_error", Some("model_not_found")),
        "rate_limit_error" => ("rate_limit_error", Some("rate_limit_exceeded")),
        "overloaded_error" => ("server_error", Some("overloaded")),
        "timeout_error" => ("server_error", Some("upstream_timeout")),
        _ => ("server_error", Some("upstream_error")),
    };
    error.kind = Cow::Borrowed(kind);
    error.code = code.map(Cow::Borrowed);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_become_codes() {
        let check = |status: u16, kind: &str, message: &str, expect: (u16, &str, Option<&str>)| {
            let body =
                format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"r"}}"#);
            let (status, error) = error(status, body.as_bytes()).expect("an error");
            assert_eq!((status, &*error.kind, error.code.as_deref()), expect, "for {kind}");
            assert_eq!(error.message, message);
        };
        check(
            529,
            "overloaded_error",
            "Overloaded",
            (503, "server_error", Some("overloaded")),
        );
        check(
            429,
            "rate_limit_error",
            "slow",
            (429, "rate_limit_error", Some("rate_limit_exceeded")),
        );
        check(
            400,
            "invalid_request_error",
            "bad",
            (400, "invalid_request_error", None),
        );
        check(
            400,
            "invalid_request_error",
            "prompt is too long: 3 tokens > 2 maximum",
            (400, "invalid_request_error", Some("context_length_exceeded")),
        );
        check(500, "api_error", "oops", (500, "server_error", Some("upstream_error")));
        assert_eq!(super::error(500, b"<html>"), None);
    }
}
