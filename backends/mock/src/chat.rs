//! `/v1/chat/completions`.

mod chunks;
mod logprobs;

use serde_json::{Value, json};

use crate::fault::{Fault, Plan};
use crate::journal::now_ms;
use crate::refusal::Refusal;
use crate::schema;
use crate::sse::Events;
use crate::text::{self, Limits};
use crate::tools::{self, Call};

pub(crate) use logprobs::surprise;

const MOST_CHOICES: u64 = 128;

/// A whole answer, before it is either one JSON object or a stream of chunks.
struct Answer {
    id: String,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    reasoning: Option<&'static str>,
    usage: Option<Value>,
    /// How many alternatives each token shows, where log probabilities were asked for.
    alternatives: Option<usize>,
}

struct Choice {
    text: String,
    calls: Vec<Call>,
    finish: &'static str,
}

const REASONING: &str = "The words are known beforehand.";

pub(crate) fn unary(body: &Value, plan: &Plan, id: u64) -> Result<Value, Refusal> {
    let answer = answer(body, plan, id)?;
    let choices: Vec<_> = answer
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let mut message = json!({"role": "assistant", "content": choice.text, "refusal": null, "annotations": []});
            if !choice.calls.is_empty() {
                message["content"] = Value::Null;
                message["tool_calls"] = choice
                    .calls
                    .iter()
                    .map(|call| {
                        json!({
                            "id": call.id, "type": "function",
                            "function": {"name": call.name, "arguments": call.arguments},
                        })
                    })
                    .collect();
            }
            if let Some(reasoning) = answer.reasoning {
                message["reasoning_content"] = reasoning.into();
            }
            if plan.has(Fault::Unknown) {
                message["zzz_vendor"] = json!({"a": 1});
            }
            let logprobs = answer.alternatives.map(|count| logprobs::of_text(&choice.text, count));
            json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish})
        })
        .collect();
    let mut whole = answer.envelope("chat.completion");
    whole["choices"] = choices.into();
    if let Some(usage) = answer.usage {
        whole["usage"] = usage;
    }
    Ok(whole)
}

pub(crate) fn stream(body: &Value, plan: &Plan, id: u64) -> Result<Events, Refusal> {
    let include_usage = include_usage(body)?;
    Ok(chunks::events(answer(body, plan, id)?, plan, include_usage))
}

/// `stream_options.include_usage` of a request that streams.
pub(crate) fn include_usage(body: &Value) -> Result<bool, Refusal> {
    match &body["stream_options"]["include_usage"] {
        Value::Null => Ok(false),
        Value::Bool(wanted) => Ok(*wanted),
        _ => Err(Refusal::param("stream_options", "`include_usage` must be a boolean.")),
    }
}

/// `n`, between 1 and 128.
pub(crate) fn choice_count(body: &Value) -> Result<usize, Refusal> {
    match &body["n"] {
        Value::Null => Ok(1),
        n => n
            .as_u64()
            .filter(|n| (1..=MOST_CHOICES).contains(n))
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| Refusal::param("n", "`n` must be between 1 and 128.")),
    }
}

fn answer(body: &Value, plan: &Plan, id: u64) -> Result<Answer, Refusal> {
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    let messages =
        messages.ok_or_else(|| Refusal::param("messages", "`messages` must be a list that is not empty."))?;
    if body["temperature"]
        .as_f64()
        .is_some_and(|heat| !(0.0..=2.0).contains(&heat))
    {
        return Err(Refusal::param("temperature", "`temperature` must be between 0 and 2."));
    }
    let alternatives = logprobs::wanted(body)?;
    let limits = Limits::of_request(body, &["max_completion_tokens", "max_tokens"])?;
    let choices = choices(body, messages, plan, &limits)?;
    let prompt: u64 = messages
        .iter()
        .map(|message| text::count(&text::of_content(&message["content"])))
        .sum();
    let written = |choice: &Choice| {
        let calls = choice.calls.iter().map(|call| 1 + text::count(&call.arguments));
        text::count(&choice.text) + calls.sum::<u64>()
    };
    let completion = choices.iter().map(written).sum();
    let reasoning = plan.has(Fault::Reasoning).then_some(REASONING);
    let thought = reasoning.map_or(0, text::count) * choices.len() as u64;
    Ok(Answer {
        id: format!("chatcmpl-mock-{id}"),
        created: now_ms() / 1000,
        model: body["model"].as_str().unwrap_or("mock").to_owned(),
        choices,
        reasoning,
        usage: usage(prompt, completion, thought, plan),
        alternatives,
    })
}

fn choices(body: &Value, messages: &[Value], plan: &Plan, limits: &Limits) -> Result<Vec<Choice>, Refusal> {
    let count = choice_count(body)?;
    let scripted = match () {
        () if plan.has(Fault::Tools) => Some(tools::scripted(2)),
        () if plan.has(Fault::ToolsNoIndex) || plan.has(Fault::ToolsRepeat) => Some(tools::scripted(1)),
        () => None,
    };
    let calls = |nth: usize| -> Result<Option<Choice>, Refusal> {
        let calls = match &scripted {
            Some(scripted) => Some(tools::scripted(scripted.calls.len())),
            None => tools::calls(body)?,
        };
        Ok(calls.map(|mut called| {
            if nth > 0 {
                called
                    .calls
                    .iter_mut()
                    .for_each(|call| call.id = format!("{}_{nth}", call.id));
            }
            Choice {
                text: String::new(),
                calls: called.calls,
                finish: called.finish,
            }
        }))
    };
    let words = words(body, messages, plan)?;
    text::check_size(words.len().saturating_mul(count), body["logprobs"] == true)?;
    (0..count)
        .map(|nth| {
            if let Some(choice) = calls(nth)? {
                return Ok(choice);
            }
            let (text, finish) = limits.cut(words.clone());
            Ok(Choice {
                text,
                calls: Vec::new(),
                finish,
            })
        })
        .collect()
}

fn words(body: &Value, messages: &[Value], plan: &Plan) -> Result<String, Refusal> {
    if let Some(sized) = text::sized(plan) {
        return Ok(sized);
    }
    let spoken = messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user" || message["role"] == "tool");
    let reply = text::reply(
        &spoken
            .map(|message| text::of_content(&message["content"]))
            .unwrap_or_default(),
    );
    match body["response_format"]["type"].as_str() {
        None | Some("text") => Ok(reply),
        Some("json_object") => Ok(json!({"answer": reply}).to_string()),
        Some("json_schema") => Ok(schema::instance(&body["response_format"]["json_schema"]["schema"]).to_string()),
        Some(_) => Err(Refusal::param("response_format", "Unknown `response_format.type`.")),
    }
}

/// Usage as the plan tells it; `thought` is a part of what the completion is said to hold.
pub(crate) fn usage(prompt: u64, written: u64, thought: u64, plan: &Plan) -> Option<Value> {
    if plan.has(Fault::NoUsage) {
        return None;
    }
    let completion = written + thought;
    let claimed = match () {
        () if plan.has(Fault::UsageInflated) => Value::from(completion * 10),
        () if plan.has(Fault::UsageOverflow) => Value::from(u64::MAX),
        () if plan.has(Fault::UsageNegative) => Value::from(-5),
        () => Value::from(completion),
    };
    let total = claimed
        .as_u64()
        .map_or(Value::from(prompt), |claimed| prompt.saturating_add(claimed).into());
    let cached = if plan.has(Fault::Cached) { prompt / 2 } else { 0 };
    Some(json!({
        "prompt_tokens": prompt,
        "completion_tokens": claimed,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": thought, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }))
}

impl Answer {
    fn envelope(&self, object: &str) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_mock",
            "service_tier": "default",
        })
    }
}
