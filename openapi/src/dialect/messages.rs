//! Anthropic's Messages API for clients, in front of an upstream that speaks OpenAI's chat completions.
//!
//! Refuses what a chat completion cannot say: tools that run at Anthropic's, PDFs, files by their id, containers.
//! A signature of a thought is kept in `reasoning_details`, so that it survives where an upstream knows it.

use bytes::{Bytes, BytesMut};

use super::{Malformed, Translate, Untranslatable, completion::Used, object::Object, value::Members};
use crate::error::ErrorBody;

mod answer;
mod request;
mod stream;

/// A Messages body becomes a chat completion's.
pub fn request(messages: &[u8]) -> Result<Bytes, Untranslatable> {
    request::request(&Object::parse(messages)?)
}

/// A chat completion becomes a Message.
pub fn answer(chat: &[u8]) -> Result<Bytes, Malformed> {
    Ok(answer::answer(&Object::parse(chat)?)?)
}

/// A stream of chunks becomes Anthropic's events; comments become pings.
pub fn stream(model: &str) -> Box<dyn Translate> {
    stream::stream(model)
}

/// The whole body of an error.
pub fn error(status: u16, error: &ErrorBody, request_id: &str) -> Bytes {
    let inner = Members::new()
        .with("type", kind_of_status(status))
        .with("message", &*error.message);
    Members::new()
        .with("type", "error")
        .with("error", inner)
        .with("request_id", request_id)
        .to_bytes()
}

/// The event that ends a stream in mid-air.
pub fn error_event(error: &ErrorBody) -> Bytes {
    let mut out = BytesMut::new();
    let inner = Members::new()
        .with("type", kind_of_error(error))
        .with("message", &*error.message);
    let event = Members::new().with("type", "error").with("error", inner);
    event.write_named_event("error", &mut out);
    out.freeze()
}

fn kind_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// An error in a stream has no status of its own.
fn kind_of_error(error: &ErrorBody) -> &'static str {
    match error.code.as_deref() {
        Some("overloaded" | "no_available_backend" | "shutting_down") => return "overloaded_error",
        Some("rate_limit_exceeded") => return "rate_limit_error",
        Some("upstream_timeout" | "request_timeout") => return "timeout_error",
        Some("insufficient_quota") => return "billing_error",
        _ => {}
    }
    match &*error.kind {
        "invalid_request_error" => "invalid_request_error",
        "permission_error" => "permission_error",
        "rate_limit_error" => "rate_limit_error",
        _ => "api_error",
    }
}

/// Usage with the cache taken out of the input, as Anthropic counts.
fn usage(used: Used) -> Members<'static> {
    let cache = used.cached.saturating_add(used.cache_write);
    let mut usage = Members::new()
        .with("input_tokens", used.prompt.saturating_sub(cache))
        .with("cache_creation_input_tokens", used.cache_write)
        .with("cache_read_input_tokens", used.cached)
        .with("output_tokens", used.completion);
    if used.reasoning > 0 {
        let details = Members::new().with("thinking_tokens", used.reasoning);
        usage.put("output_tokens_details", details);
    }
    usage
}

/// The usage of a chat completion.
fn used(usage: &Object<'_, '_>) -> Used {
    let detail = |of: &str, name: &str| {
        let found = usage.object(of, |details| Ok::<_, super::Wrong>(details.tokens(name)));
        found.ok().flatten().unwrap_or(0)
    };
    Used {
        prompt: usage.tokens("prompt_tokens"),
        cached: detail("prompt_tokens_details", "cached_tokens"),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
        completion: usage.tokens("completion_tokens"),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    }
}

/// `has_stop` tells that the upstream named a stop sequence.
fn stop_reason(finish_reason: &str, has_stop: bool) -> &'static str {
    match finish_reason {
        "length" => "max_tokens",
        "tool_calls" | "function_call" => "tool_use",
        "content_filter" => "refusal",
        _ if has_stop => "stop_sequence",
        _ => "end_turn",
    }
}

/// Anthropic's ids begin with `msg_`.
fn message_id(id: &str) -> String {
    if id.starts_with("msg_") {
        return id.to_owned();
    }
    format!("msg_{}", id.strip_prefix("chatcmpl-").unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_anthropics_shape() {
        let slow = ErrorBody::new("rate_limit_error", "rate_limit_exceeded", "slow \"down\"");
        assert_eq!(
            error(429, &slow, "req-1"),
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow \"down\""},"request_id":"req-1"}"#
        );
        assert_eq!(
            error_event(&slow),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow \\\"down\\\"\"}}\n\n"
        );
        let kinds = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529].map(kind_of_status);
        assert_eq!(
            kinds,
            [
                "invalid_request_error",
                "authentication_error",
                "billing_error",
                "permission_error",
                "not_found_error",
                "invalid_request_error",
                "request_too_large",
                "invalid_request_error",
                "rate_limit_error",
                "api_error",
                "api_error",
                "overloaded_error",
                "timeout_error",
                "overloaded_error",
            ]
        );
    }
}
