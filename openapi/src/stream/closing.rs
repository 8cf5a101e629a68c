//! The events that end a stream which we cut: in the client's protocol, as an answer that has reached its length.
//!
//! A comment says why, for who looks: clients show none.

use std::borrow::Cow;

use super::{Facts, Most, Reader};
use crate::{endpoint::Protocol, json, sse};

/// Why it ended, for people.
const WHY: &str = ": x_budget_exhausted\n\n";

/// The end of a stream of which `all` has passed.
pub(super) fn close(reader: &Reader, all: &Facts, most: Most) -> Vec<u8> {
    let mut out = WHY.to_owned();
    let prompt = all.so_far.map_or(most.prompt, |so_far| so_far.prompt);
    let completion = all.completion().min(most.completion);
    match reader.protocol {
        Protocol::Chat => chunks(reader, prompt, completion, &mut out),
        Protocol::Responses => response(reader, prompt, completion, &mut out),
        Protocol::Messages => message(reader, completion, &mut out),
        Protocol::Opaque => {}
    }
    out.into_bytes()
}

fn chunks(reader: &Reader, prompt: u64, completion: u64, out: &mut String) {
    let head = reader.chunks.head().cloned().unwrap_or_default();
    let mut members = String::new();
    for (name, value) in [
        ("id", head.id.as_str()),
        ("object", head.object.as_str()),
        ("created", head.created.as_str()),
        ("model", head.model.as_str()),
    ] {
        if !value.is_empty() {
            members.push_str(&format!(r#""{name}":{value},"#));
        }
    }
    let nothing = if head.object.contains("text_completion") {
        r#""text":"""#
    } else {
        r#""delta":{}"#
    };
    for index in reader.chunks.open_choices() {
        out.push_str(&format!(
            "data: {{{members}\"choices\":[{{\"index\":{index},{nothing},\"finish_reason\":\"length\"}}],\"x_budget_exhausted\":true}}\n\n"
        ));
    }
    if !reader.hide_usage {
        let total = prompt.saturating_add(completion);
        out.push_str(&format!(
            "data: {{{members}\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{total}}}}}\n\n"
        ));
    }
    out.push_str(std::str::from_utf8(sse::DONE).unwrap_or_default());
}

fn message(reader: &Reader, completion: u64, out: &mut String) {
    if let Some(index) = reader.messages.open_block() {
        out.push_str(&format!(
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        ));
    }
    out.push_str(&format!(
        "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{completion}}}}}\n\n"
    ));
    out.push_str("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/// The response as it was created, with what its end changes. What was said of it is in the events before.
fn response(reader: &Reader, prompt: u64, completion: u64, out: &mut String) {
    let total = prompt.saturating_add(completion);
    let mut members = String::new();
    let created = reader.events.created().unwrap_or("{}");
    json::for_members(created, |name, value| {
        if !matches!(&*name, "status" | "incomplete_details" | "usage") {
            let name = serde_json::to_string(&name).map_or(Cow::Borrowed("\"\""), Cow::Owned);
            members.push_str(&format!("{name}:{},", value.get()));
        }
    });
    // That of the event in whose place it stands.
    let number = reader.events.sequence_number();
    out.push_str(&format!(
        "event: response.incomplete\ndata: {{\"type\":\"response.incomplete\",\"sequence_number\":{number},\"response\":{{{members}\"status\":\"incomplete\",\"incomplete_details\":{{\"reason\":\"max_output_tokens\"}},\"usage\":{{\"input_tokens\":{prompt},\"input_tokens_details\":{{\"cached_tokens\":0}},\"output_tokens\":{completion},\"output_tokens_details\":{{\"reasoning_tokens\":0}},\"total_tokens\":{total}}}}}}}\n\n"
    ));
}
