//! Google's errors: `{"error": {"code", "message", "status", "details"}}`, in a list where no events were asked for.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::object::{self, Object, Path, Wrong};
use crate::error::ErrorBody;

/// The status by which OpenAI's clients know the error, and the envelope.
pub(in super::super) fn error(status: u16, body: &[u8]) -> Option<(u16, ErrorBody)> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let value: &RawValue = serde_json::from_str(text).ok()?;
    let value = match object::list(value) {
        Some(list) => *list.first()?,
        None => value,
    };
    let error = ErrorBody::from_upstream(value.get().as_bytes())?;
    Some(named(error, value, Some(status)))
}

/// The error of an event, which has no status but its own.
pub(super) fn of_event(data: &[u8]) -> ErrorBody {
    let error = ErrorBody::from_error(data);
    let value = std::str::from_utf8(data)
        .ok()
        .and_then(|text| serde_json::from_str(text).ok());
    match value {
        Some(value) => named(error, value, None).1,
        None => error,
    }
}

fn named(mut error: ErrorBody, value: &RawValue, status: Option<u16>) -> (u16, ErrorBody) {
    let (name, is_key) = cause(value).unwrap_or_default();
    let (known, kind, code) = match &*name {
        // A wrong API key is an invalid argument to Google.
        _ if is_key => (401, "invalid_request_error", Some("invalid_api_key")),
        "INVALID_ARGUMENT" if error.message.contains("token count") && error.message.contains("exceeds") => {
            (400, "invalid_request_error", Some("context_length_exceeded"))
        }
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => (400, "invalid_request_error", None),
        "UNAUTHENTICATED" => (401, "invalid_request_error", Some("invalid_api_key")),
        "PERMISSION_DENIED" => (403, "permission_error", Some("permission_denied")),
        "NOT_FOUND" => (404, "invalid_request_error", Some("model_not_found")),
        "RESOURCE_EXHAUSTED" => (429, "rate_limit_error", Some("rate_limit_exceeded")),
        "UNAVAILABLE" => (503, "server_error", Some("overloaded")),
        "DEADLINE_EXCEEDED" => (504, "server_error", Some("upstream_timeout")),
        _ => (status.unwrap_or(500), "server_error", Some("upstream_error")),
    };
    error.kind = Cow::Borrowed(kind);
    error.code = code.map(Cow::Borrowed);
    (known, error)
}

/// The name of the status, and whether our API key is at fault.
fn cause(value: &RawValue) -> Option<(Cow<'_, str>, bool)> {
    let body = Object::read(value, Path::ROOT).ok()?;
    let found = body.object("error", |error| {
        let mut is_key = false;
        for detail in error.list("details")? {
            let detail = Object::read(detail, error.path)?;
            is_key |= detail.kind("reason") == "API_KEY_INVALID";
        }
        Ok::<_, Wrong>((error.kind("status"), is_key))
    });
    found.ok().flatten()
}
