//! What an answer cost, spliced into its `usage`.
//!
//! The members are Cocoon's: `prompt_total_cost`, `completion_total_cost` and `total_cost`, in billionths of the
//! account's currency. Everything else stays to the byte.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::{
    json,
    splice::{self, Splice},
};

/// What an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    pub prompt: u64,
    pub completion: u64,
    pub total: u64,
}

impl Costs {
    fn members(&self) -> String {
        format!(
            r#""prompt_total_cost":{},"completion_total_cost":{},"total_cost":{}"#,
            self.prompt, self.completion, self.total
        )
    }
}

/// A whole answer with its costs in `usage`; as it is where there is no such object.
pub fn with_costs(body: &Bytes, costs: Costs) -> Bytes {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let splice = splice_into(text, costs, false);
    splice::apply(body, splice.into_iter().collect())
}

/// The last events of a stream with the costs in the last `usage` that they hold: of a chunk, of a response or of a
/// `message_delta`.
pub fn events_with_costs(events: &Bytes, costs: Costs) -> Bytes {
    let Ok(text) = std::str::from_utf8(events) else {
        return events.clone();
    };
    let mut last = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(data) = line.strip_prefix("data: ") {
            let found = splice_into(data.trim_end(), costs, true);
            let at = start + "data: ".len();
            last = found
                .map(|splice| Splice::insert(at + splice.range.start, splice.with))
                .or(last);
        }
        start += line.len();
    }
    splice::apply(events, last.into_iter().collect())
}

/// The events with a comment that tells the cost, before the last of them.
pub fn with_comment(events: &Bytes, comment: &str) -> Bytes {
    let body = events.strip_suffix(b"\n\n").unwrap_or(events);
    let last = body.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |at| at + 2);
    let mut out = BytesMut::with_capacity(events.len() + comment.len() + 4);
    out.extend_from_slice(&events[..last]);
    out.extend_from_slice(b": ");
    out.extend_from_slice(comment.as_bytes());
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(&events[last..]);
    out.freeze()
}

/// Where the costs go in a JSON object: the end of its `usage`, or in an event that of its `response`.
fn splice_into(object: &str, costs: Costs, is_event: bool) -> Option<Splice> {
    // Most events have none, and are not worth a parse.
    memchr::memmem::find(object.as_bytes(), b"usage")?;
    let usage = member(object, "usage").or_else(|| {
        let response = member(object, "response").filter(|_| is_event)?;
        member(response.get(), "usage")
    })?;
    let written = usage.get();
    let inner = written.strip_prefix('{')?.strip_suffix('}')?;
    let comma = if inner.trim().is_empty() { "" } else { "," };
    // Borrowed from `object`, so that it has a place in it.
    let place = (written.as_ptr() as usize).wrapping_sub(object.as_ptr() as usize);
    let end = place.checked_add(written.len())?.checked_sub(1)?;
    (end < object.len()).then(|| Splice::insert(end, format!("{comma}{}", costs.members())))
}

fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    json::for_members(object, |member, value| {
        if member == name && value.get().starts_with('{') {
            found = Some(value);
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        prompt: 12_000,
        completion: 60_000,
        total: 72_000,
    };
    const MEMBERS: &str = r#""prompt_total_cost":12000,"completion_total_cost":60000,"total_cost":72000"#;

    #[test]
    fn a_whole_answer_keeps_its_bytes() {
        let check = |body: &'static str, expect: &str| {
            assert_eq!(
                with_costs(&Bytes::from_static(body.as_bytes()), COSTS),
                expect.replace('#', MEMBERS)
            );
        };
        check(
            r#"{ "usage" : {"prompt_tokens":1 } , "n":1e999}"#,
            r#"{ "usage" : {"prompt_tokens":1 ,#} , "n":1e999}"#,
        );
        check(r#"{"usage":{}}"#, r#"{"usage":{#}}"#);
        check(r#"{"usage":null}"#, r#"{"usage":null}"#);
        check(r#"{"response":{"usage":{"a":1}}}"#, r#"{"response":{"usage":{"a":1}}}"#);
        check(r#"["usage"]"#, r#"["usage"]"#);
    }

    #[test]
    fn the_last_usage_of_a_stream_has_them() {
        let check = |events: &'static str, expect: &str| {
            let found = events_with_costs(&Bytes::from_static(events.as_bytes()), COSTS);
            assert_eq!(found, expect.replace('#', MEMBERS));
        };
        check(
            "data: {\"usage\":{\"a\":1}}\n\ndata: {\"choices\":[],\"usage\":{\"a\":2}}\n\ndata: [DONE]\n\n",
            "data: {\"usage\":{\"a\":1}}\n\ndata: {\"choices\":[],\"usage\":{\"a\":2,#}}\n\ndata: [DONE]\n\n",
        );
        check(
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"a\":1}}}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"a\":1,#}}}\n\n",
        );
        check(
            "data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
            "data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
        );
    }

    #[test]
    fn a_comment_stands_before_the_last_event() {
        let check = |events: &'static str, expect: &str| {
            assert_eq!(
                with_comment(&Bytes::from_static(events.as_bytes()), "cost 1 TON"),
                expect
            );
        };
        check(
            "data: {}\n\ndata: [DONE]\n\n",
            "data: {}\n\n: cost 1 TON\n\ndata: [DONE]\n\n",
        );
        check("data: [DONE]\n\n", ": cost 1 TON\n\ndata: [DONE]\n\n");
        check(
            "event: a\ndata: {}\n\nevent: b\ndata: {}\n\n",
            "event: a\ndata: {}\n\n: cost 1 TON\n\nevent: b\ndata: {}\n\n",
        );
    }
}
