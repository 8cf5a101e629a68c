//! Anthropic's Messages API for an upstream (platform.claude.com/docs, "Messages").

mod answer;
pub(super) mod error;
mod request;
mod stream;

pub(super) use answer::{answer, redacted, thought};
pub(super) use error::error;
pub(super) use request::request;
pub(super) use stream::stream;

use super::{completion::Used, object::Object};

/// How its reasoning is marked in `reasoning_details`, so that only it gets it back.
const FORMAT: &str = "anthropic-claude-v1";

/// `input_tokens` leaves out what the cache gave and took.
fn used(usage: &Object<'_, '_>) -> Used {
    let cached = usage.tokens("cache_read_input_tokens");
    let cache_write = usage.tokens("cache_creation_input_tokens");
    let input = usage.tokens("input_tokens");
    let reasoning = usage.object("output_tokens_details", |details| {
        Ok::<_, super::Wrong>(details.tokens("thinking_tokens"))
    });
    Used {
        prompt: input.saturating_add(cached).saturating_add(cache_write),
        cached,
        cache_write,
        completion: usage.tokens("output_tokens"),
        reasoning: reasoning.ok().flatten().unwrap_or(0),
    }
}

fn finish_reason(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        // end_turn, stop_sequence, pause_turn, and what is new.
        _ => "stop",
    }
}
