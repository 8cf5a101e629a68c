//! `/v1/responses`: one text message, whole or as typed events.
//!
//! Nothing is stored: `previous_response_id` and the routes that read responses are not served.

use serde_json::{Value, json};

use crate::fault::{Fault, Plan};
use crate::journal::now_ms;
use crate::refusal::Refusal;
use crate::schema;
use crate::sse::{Event, Events, Part};
use crate::text::{self, Limits};

struct Answer {
    id: u64,
    text: String,
    /// `incomplete` where the limit cut it.
    status: &'static str,
    response: Value,
}

pub(crate) fn unary(body: &Value, plan: &Plan, id: u64) -> Result<Value, Refusal> {
    Ok(answer(body, plan, id)?.finished())
}

pub(crate) fn stream(body: &Value, plan: &Plan, id: u64) -> Result<Events, Refusal> {
    let answer = answer(body, plan, id)?;
    let mut sequence = 0;
    let mut events = Vec::new();
    let mut push = |part, name: &'static str, mut data: Value| {
        data["type"] = name.into();
        data["sequence_number"] = sequence.into();
        sequence += 1;
        events.push(Event::typed(part, name, &data));
    };
    let started = answer.started();
    let item = format!("msg_mock_{id}");
    push(Part::Head, "response.created", json!({"response": started}));
    push(Part::Head, "response.in_progress", json!({"response": started}));
    let empty = json!({
        "id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": [],
    });
    push(
        Part::Head,
        "response.output_item.added",
        json!({"output_index": 0, "item": empty}),
    );
    let place = || json!({"item_id": item, "output_index": 0, "content_index": 0});
    let with = |name: &str, value: Value| {
        let mut data = place();
        data[name] = value;
        data
    };
    push(Part::Head, "response.content_part.added", with("part", part("")));
    for piece in text::pieces(&answer.text) {
        let mut delta = with("delta", piece.into());
        delta["logprobs"] = json!([]);
        push(Part::Content, "response.output_text.delta", delta);
    }
    let mut whole = with("text", answer.text.clone().into());
    whole["logprobs"] = json!([]);
    push(Part::Finish, "response.output_text.done", whole);
    push(
        Part::Finish,
        "response.content_part.done",
        with("part", part(&answer.text)),
    );
    let message = answer.message();
    push(
        Part::Finish,
        "response.output_item.done",
        json!({"output_index": 0, "item": message}),
    );
    let last = if answer.status == "completed" {
        "response.completed"
    } else {
        "response.incomplete"
    };
    push(Part::Usage, last, json!({"response": answer.finished()}));
    Ok(Box::new(events.into_iter()))
}

fn answer(body: &Value, plan: &Plan, id: u64) -> Result<Answer, Refusal> {
    let prompt = last_input(&body["input"])?;
    let limits = Limits::of_request(body, &["max_output_tokens"])?;
    let words = match body["text"]["format"]["type"].as_str() {
        Some("json_schema") => schema::instance(&body["text"]["format"]["schema"]).to_string(),
        Some("json_object") => json!({"answer": text::reply(&prompt)}).to_string(),
        _ => text::sized(plan).unwrap_or_else(|| text::reply(&prompt)),
    };
    let (text, finish) = limits.cut(words);
    let status = if finish == "length" { "incomplete" } else { "completed" };
    let incomplete = (finish == "length").then(|| json!({"reason": "max_output_tokens"}));
    let instructions = body["instructions"].as_str();
    let asked = text::count(&all_input(&body["input"])) + instructions.map_or(0, text::count);
    let written = text::count(&text);
    let usage = json!({
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": if plan.has(Fault::Cached) { asked / 2 } else { 0 }},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + written,
    });
    let response = json!({
        "id": format!("resp_mock_{id}"),
        "object": "response",
        "created_at": now_ms() / 1000,
        "status": status,
        "error": null,
        "incomplete_details": incomplete,
        "instructions": instructions,
        "max_output_tokens": body["max_output_tokens"],
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "store": false,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": if plan.has(Fault::NoUsage) { Value::Null } else { usage },
    });
    Ok(Answer {
        id,
        text,
        status,
        response,
    })
}

impl Answer {
    fn started(&self) -> Value {
        let mut started = self.response.clone();
        started["status"] = "in_progress".into();
        started["incomplete_details"] = Value::Null;
        started["usage"] = Value::Null;
        started
    }

    fn finished(&self) -> Value {
        let mut finished = self.response.clone();
        finished["output"] = json!([self.message()]);
        finished
    }

    fn message(&self) -> Value {
        json!({
            "id": format!("msg_mock_{}", self.id),
            "type": "message",
            "role": "assistant",
            "status": self.status,
            "content": [part(&self.text)],
        })
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn last_input(input: &Value) -> Result<String, Refusal> {
    match input {
        Value::String(text) => Ok(text.clone()),
        Value::Array(items) if !items.is_empty() => {
            let last = items.iter().rev().find(|item| item["role"] == "user");
            Ok(last.map(|item| text::of_content(&item["content"])).unwrap_or_default())
        }
        _ => Err(Refusal::param("input", "`input` must be text or a list of items.")),
    }
}

fn all_input(input: &Value) -> String {
    match input {
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().map(|item| text::of_content(&item["content"])).collect();
            texts.join(" ")
        }
        other => text::of_content(other),
    }
}
