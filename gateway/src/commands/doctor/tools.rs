//! Tool calls in a stream: each piece says which call it is of, and names it once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    finding::{Consequence, Finding},
    probe::Probe,
};

const CHECK: &str = "tool calls";

pub(super) async fn examine(probe: &Probe) -> Vec<Finding> {
    let tool = json!({
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] },
        },
    });
    let asked = json!({
        "messages": [{ "role": "user", "content": "What is the weather in Paris? Use the tool." }],
        "tools": [tool],
        "tool_choice": "required",
        "stream": true,
        probe.bound: 128,
    });
    let finding = match probe.post_chat(asked).await {
        Ok(reply) if reply.status == 200 => {
            let text = String::from_utf8_lossy(&reply.body);
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            let chunks: Vec<Value> = data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect();
            judged(&chunks)
        }
        Ok(reply) => Finding::skipped(CHECK, format!("refused with {}", reply.status.as_u16())),
        Err(why) => Finding::skipped(CHECK, why),
    };
    vec![finding]
}

fn judged(chunks: &[Value]) -> Finding {
    let mut faults = Vec::new();
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    let mut reason = None;
    for choice in chunks.iter().map(|chunk| &chunk["choices"][0]) {
        reason = choice["finish_reason"].as_str().or(reason);
        for piece in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = piece["index"].as_u64();
            if index.is_none() {
                faults.push("a piece has no `index`".to_owned());
            }
            let call = calls.entry(index.unwrap_or(0)).or_default();
            call.ids += usize::from(piece["id"].as_str().is_some_and(|id| !id.is_empty()));
            let function = &piece["function"];
            call.names += usize::from(function["name"].as_str().is_some_and(|name| !name.is_empty()));
            call.arguments
                .push_str(function["arguments"].as_str().unwrap_or_default());
        }
    }
    if calls.is_empty() {
        return Finding::skipped(CHECK, "the model called none");
    }
    // A bound that was reached cuts the last one short.
    let is_cut = reason == Some("length");
    for call in calls.values() {
        if call.ids != 1 {
            faults.push(format!("a call has its `id` {} times", call.ids));
        }
        if call.names != 1 {
            faults.push(format!("a call has its name {} times", call.names));
        }
        if !is_cut && serde_json::from_str::<Value>(&call.arguments).is_err() {
            faults.push("the arguments are not JSON".to_owned());
        }
    }
    faults.dedup();
    let follows = Consequence {
        means: "clients join a name that comes twice, and cannot place a piece without an index",
        mulberry: "`index` is added, `id` and name are kept once; arguments pass as they came",
    };
    Finding::of(
        CHECK,
        &faults,
        &format!("{} called, in good order", calls.len()),
        follows,
    )
}

/// What was told of one call.
#[derive(Debug, Default)]
struct Call {
    ids: usize,
    names: usize,
    arguments: String,
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[track_caller]
    fn check(pieces: &[Value], grade: Grade, expect: &str) {
        let mut chunks: Vec<Value> = pieces
            .iter()
            .map(|piece| json!({ "choices": [{ "delta": { "tool_calls": [piece] } }] }))
            .collect();
        chunks.push(json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] }));
        let finding = judged(&chunks);
        assert_eq!((finding.grade, finding.found.as_str()), (grade, expect));
    }

    #[test]
    fn each_piece_has_its_place() {
        let first = json!({ "index": 0, "id": "c", "function": { "name": "f", "arguments": "{\"a\"" } });
        let second = json!({ "index": 0, "function": { "arguments": ":1}" } });
        check(&[first.clone(), second.clone()], Grade::Ok, "1 called, in good order");
        check(std::slice::from_ref(&first), Grade::Fault, "the arguments are not JSON");
        let unplaced = json!({ "function": { "arguments": ":1}" } });
        check(&[first.clone(), unplaced], Grade::Fault, "a piece has no `index`");
        let again = json!({ "index": 0, "id": "c", "function": { "name": "f", "arguments": ":1}" } });
        check(
            &[first, again],
            Grade::Fault,
            "a call has its `id` 2 times; a call has its name 2 times",
        );
        check(
            &[second],
            Grade::Fault,
            "a call has its `id` 0 times; a call has its name 0 times; the arguments are not JSON",
        );
        assert_eq!(judged(&[json!({ "choices": [] })]).grade, Grade::Skipped);
    }
}
