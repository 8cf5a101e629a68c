//! Anthropic's `/v1/messages` and `/v1/messages/count_tokens`.
//!
//! It holds requests to the rules of the true one, so that a translator that breaks them is told: `max_tokens` is
//! required, members that the API does not know are refused, roles are `user` and `assistant`, and each `tool_use` is
//! answered by a `tool_result` in the very next message.

use std::iter;

use serde_json::{Value, json};

use crate::fault::{Fault, Plan};
use crate::refusal::Refusal;
use crate::schema;
use crate::sse::{Event, Events, Part};
use crate::text::{self, Limits};

/// Every member that a request may have.
const MEMBERS: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "system",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "tools",
    "tool_choice",
    "thinking",
    "service_tier",
    "container",
    "mcp_servers",
    "context_management",
    "output_config",
    "output_format",
    "cache_control",
    "inference_geo",
    "diagnostics",
    "speed",
    "user_profile_id",
    "workspace_id",
];
const LEAST_THINKING: u64 = 1024;
const THOUGHT: &str = "The words are known beforehand.";
/// Stands for what proves that a thought is the model's own. A replay must bring it back.
const SIGNATURE: &str = "bW9jay1zaWduYXR1cmU=";

struct Answer {
    id: String,
    model: Value,
    blocks: Vec<Block>,
    stop_reason: &'static str,
    stop_sequence: Option<String>,
    usage: Usage,
}

enum Block {
    Thinking,
    Text(String),
    Tool { id: String, name: String, input: Value },
}

/// `input` leaves out what came from the cache, as the true API's does.
struct Usage {
    input: u64,
    cached: u64,
    output: u64,
    /// A part of `output`.
    thought: u64,
}

pub(crate) fn unary(body: &Value, plan: &Plan, id: u64) -> Result<Value, Refusal> {
    let answer = answer(body, plan, id)?;
    let mut message = answer.envelope();
    message["content"] = answer.blocks.iter().map(Block::whole).collect();
    message["stop_reason"] = answer.stop_reason.into();
    message["stop_sequence"] = json!(answer.stop_sequence);
    message["usage"] = answer.usage.whole();
    if plan.has(Fault::NoUsage) {
        message["usage"] = Value::Null;
    }
    Ok(message)
}

pub(crate) fn count_tokens(body: &Value) -> Result<Value, Refusal> {
    check_messages(body)?;
    Ok(json!({"input_tokens": prompt(body)}))
}

pub(crate) fn stream(body: &Value, plan: &Plan, id: u64) -> Result<Events, Refusal> {
    let answer = answer(body, plan, id)?;
    let mut start = answer.envelope();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["stop_sequence"] = Value::Null;
    start["usage"] = answer.usage.at_start();
    let mut counted = json!({
        "output_tokens": answer.usage.output,
        "output_tokens_details": {"thinking_tokens": answer.usage.thought},
    });
    if plan.has(Fault::NoUsage) {
        start["usage"] = Value::Null;
        counted = Value::Null;
    }
    let start = Event::typed(
        Part::Head,
        "message_start",
        &json!({"type": "message_start", "message": start}),
    );
    let ping = Event::typed(Part::Head, "ping", &json!({"type": "ping"}));
    let delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence},
        "usage": counted,
    });
    let end = [
        Event::typed(Part::Finish, "message_delta", &delta),
        Event::typed(Part::Done, "message_stop", &json!({"type": "message_stop"})),
    ];
    let blocks = answer.blocks.into_iter().enumerate();
    let blocks = blocks.flat_map(|(index, block)| block.events(index));
    Ok(Box::new(
        iter::once(start).chain(iter::once(ping)).chain(blocks).chain(end),
    ))
}

fn answer(body: &Value, plan: &Plan, id: u64) -> Result<Answer, Refusal> {
    check(body)?;
    let limits = Limits {
        most_tokens: body["max_tokens"].as_u64().and_then(|most| usize::try_from(most).ok()),
        stop: strings(&body["stop_sequences"]),
    };
    let mut blocks = Vec::new();
    let thinks = ["enabled", "adaptive"]
        .map(Value::from)
        .contains(&body["thinking"]["type"]);
    if thinks || plan.has(Fault::Reasoning) {
        blocks.push(Block::Thinking);
    }
    let tools = tools(body, plan)?;
    let stop_reason;
    let mut stop_sequence = None;
    if tools.is_empty() {
        let words = text::sized(plan).unwrap_or_else(|| text::reply(&last_words(body)));
        text::check_size(words.len(), false)?;
        stop_sequence = limits.stop.iter().find(|stop| words.contains(stop.as_str())).cloned();
        let (words, finish) = limits.cut(words);
        stop_reason = match finish {
            "length" => "max_tokens",
            _ if stop_sequence.is_some() => "stop_sequence",
            _ => "end_turn",
        };
        blocks.push(Block::Text(words));
    } else {
        blocks.extend(tools);
        stop_reason = "tool_use";
    }
    let prompt = prompt(body);
    let cached = if plan.has(Fault::Cached) { prompt / 2 } else { 0 };
    Ok(Answer {
        id: format!("msg_mock_{id}"),
        model: body["model"].clone(),
        usage: Usage {
            input: prompt - cached,
            cached,
            output: blocks.iter().map(Block::tokens).sum(),
            thought: blocks
                .iter()
                .filter(|block| matches!(block, Block::Thinking))
                .map(Block::tokens)
                .sum(),
        },
        blocks,
        stop_reason,
        stop_sequence,
    })
}

fn check(body: &Value) -> Result<(), Refusal> {
    let members = body.as_object().into_iter().flatten();
    for (name, _) in members {
        if !MEMBERS.contains(&name.as_str()) {
            return Err(Refusal::bad(format!("{name}: Extra inputs are not permitted")));
        }
    }
    if body["max_tokens"].as_u64().is_none_or(|most| most == 0) {
        return Err(Refusal::bad("max_tokens: Field required"));
    }
    if body["temperature"]
        .as_f64()
        .is_some_and(|heat| !(0.0..=1.0).contains(&heat))
    {
        return Err(Refusal::bad("temperature: range: 0..1"));
    }
    if body["thinking"]["type"] == "enabled" {
        let budget = body["thinking"]["budget_tokens"].as_u64().unwrap_or(0);
        if budget < LEAST_THINKING {
            return Err(Refusal::bad(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            ));
        }
        if Some(budget) >= body["max_tokens"].as_u64() {
            return Err(Refusal::bad(
                "`max_tokens` must be greater than `thinking.budget_tokens`.",
            ));
        }
    }
    check_messages(body)
}

fn check_messages(body: &Value) -> Result<(), Refusal> {
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Refusal::bad("messages: at least one message is required"))?;
    let mut asked: Vec<&str> = Vec::new();
    for (nth, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role != "user" && role != "assistant" {
            return Err(Refusal::bad(format!(
                "messages.{nth}.role: Input should be 'user' or 'assistant'"
            )));
        }
        if nth == 0 && role != "user" {
            return Err(Refusal::bad("messages: first message must use the \"user\" role"));
        }
        let answered = ids(message, "tool_result", "tool_use_id");
        if answered.iter().any(|id| !asked.contains(id)) {
            return Err(Refusal::bad(format!(
                "messages.{nth}: `tool_result` without its `tool_use` in the previous message"
            )));
        }
        if asked.iter().any(|id| !answered.contains(id)) {
            return Err(Refusal::bad(format!(
                "messages.{nth}: `tool_use` ids were found without `tool_result` blocks immediately after"
            )));
        }
        let blocks = message["content"].as_array().into_iter().flatten();
        for block in blocks {
            if block["type"] == "thinking" && block["signature"] != SIGNATURE {
                return Err(Refusal::bad(format!(
                    "messages.{nth}: Invalid `signature` in `thinking` block"
                )));
            }
        }
        asked = ids(message, "tool_use", "id");
    }
    Ok(())
}

/// The ids of a message's blocks of one kind.
fn ids<'a>(message: &'a Value, kind: &str, name: &str) -> Vec<&'a str> {
    let blocks = message["content"].as_array().into_iter().flatten();
    let blocks = blocks.filter(|block| block["type"] == kind);
    blocks.filter_map(|block| block[name].as_str()).collect()
}

/// The calls that a request gets: one of the first tool, or of two; none right after a result, else an agent would
/// never end.
fn tools(body: &Value, plan: &Plan) -> Result<Vec<Block>, Refusal> {
    if plan.has(Fault::Tools) {
        return Ok(vec![call(0, "f", json!({"x": 1})), call(1, "g", json!({"y": 2}))]);
    }
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let choice = &body["tool_choice"];
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let is_answered = last.is_some_and(|message| !ids(message, "tool_result", "tool_use_id").is_empty());
    let is_forced = choice["type"] == "any" || choice["type"] == "tool";
    if tools.is_empty() || choice["type"] == "none" || is_answered && !is_forced {
        return Ok(Vec::new());
    }
    let wanted = choice["name"].as_str();
    let most = if choice["disable_parallel_tool_use"] == true || wanted.is_some() {
        1
    } else {
        2
    };
    let called = tools
        .iter()
        .filter(|tool| wanted.is_none_or(|name| tool["name"] == name));
    let calls: Vec<_> = called
        .take(most)
        .enumerate()
        .map(|(nth, tool)| {
            let name = tool["name"]
                .as_str()
                .ok_or_else(|| Refusal::bad("tools.0.name: Field required"))?;
            let input = match schema::instance(&tool["input_schema"]) {
                object @ Value::Object(_) => object,
                _ => json!({}),
            };
            Ok(call(nth, name, input))
        })
        .collect::<Result<_, Refusal>>()?;
    if calls.is_empty() {
        return Err(Refusal::bad("tool_choice: Tool not found in provided tools"));
    }
    Ok(calls)
}

fn call(nth: usize, name: &str, input: Value) -> Block {
    Block::Tool {
        id: format!("toolu_mock_{nth}"),
        name: name.to_owned(),
        input,
    }
}

/// What the last message says, a tool's result included.
fn last_words(body: &Value) -> String {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    last.map(|message| words(&message["content"])).unwrap_or_default()
}

fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let said = blocks.iter().map(|block| match block["type"].as_str() {
                Some("tool_result") => words(&block["content"]),
                _ => block["text"].as_str().unwrap_or_default().to_owned(),
            });
            said.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn prompt(body: &Value) -> u64 {
    let messages = body["messages"].as_array().into_iter().flatten();
    let said: u64 = messages.map(|message| text::count(&words(&message["content"]))).sum();
    said + text::count(&words(&body["system"]))
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

impl Answer {
    fn envelope(&self) -> Value {
        json!({"id": self.id, "type": "message", "role": "assistant", "model": self.model})
    }
}

impl Block {
    fn tokens(&self) -> u64 {
        match self {
            Self::Thinking => text::count(THOUGHT),
            Self::Text(words) => text::count(words),
            Self::Tool { input, .. } => 1 + text::count(&input.to_string()),
        }
    }

    fn whole(&self) -> Value {
        match self {
            Self::Thinking => json!({"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}),
            Self::Text(words) => json!({"type": "text", "text": words}),
            Self::Tool { id, name, input } => json!({"type": "tool_use", "id": id, "name": name, "input": input}),
        }
    }

    fn events(self, index: usize) -> Events {
        let start = match &self {
            Self::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Self::Text(_) => json!({"type": "text", "text": ""}),
            Self::Tool { id, name, .. } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        };
        let deltas: Vec<Value> = match &self {
            Self::Thinking => text::pieces(THOUGHT)
                .into_iter()
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
                .chain([json!({"type": "signature_delta", "signature": SIGNATURE})])
                .collect(),
            Self::Text(words) => text::pieces(words)
                .into_iter()
                .map(|piece| json!({"type": "text_delta", "text": piece}))
                .collect(),
            Self::Tool { input, .. } => {
                let written = input.to_string();
                let middle = (0..=written.len() / 2).rev().find(|at| written.is_char_boundary(*at));
                let (first, second) = written.split_at(middle.unwrap_or(0));
                ["", first, second]
                    .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                    .into()
            }
        };
        let start = json!({"type": "content_block_start", "index": index, "content_block": start});
        let stop = json!({"type": "content_block_stop", "index": index});
        let deltas = deltas.into_iter().map(move |delta| {
            let delta = json!({"type": "content_block_delta", "index": index, "delta": delta});
            Event::typed(Part::Content, "content_block_delta", &delta)
        });
        Box::new(
            iter::once(Event::typed(Part::Head, "content_block_start", &start))
                .chain(deltas)
                .chain(iter::once(Event::typed(Part::Head, "content_block_stop", &stop))),
        )
    }
}

impl Usage {
    fn whole(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self.cached,
            "output_tokens": self.output,
            "output_tokens_details": {"thinking_tokens": self.thought},
            "service_tier": "standard",
        })
    }

    fn at_start(&self) -> Value {
        let mut usage = self.whole();
        usage["output_tokens"] = 1.into();
        usage
    }
}
