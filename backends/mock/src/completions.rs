//! `/v1/completions`: the prompt answered in plain text, once per prompt and `n`.

use serde_json::{Value, json};

use crate::chat::{self, choice_count, include_usage};
use crate::fault::{Fault, Plan};
use crate::journal::now_ms;
use crate::refusal::Refusal;
use crate::sse::{Event, Events, Part};
use crate::text::{self, Limits};

struct Answer {
    envelope: Value,
    /// Text and finish reason.
    choices: Vec<(String, &'static str)>,
    usage: Option<Value>,
    logprobs: bool,
}

pub(crate) fn unary(body: &Value, plan: &Plan, id: u64) -> Result<Value, Refusal> {
    let answer = answer(body, plan, id)?;
    let choices = answer.choices.iter().enumerate();
    let choices: Vec<_> = choices
        .map(|(index, (text, finish))| {
            let logprobs = answer.logprobs.then(|| logprobs(text, 0));
            json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
        })
        .collect();
    let mut whole = answer.envelope;
    whole["choices"] = choices.into();
    if let Some(usage) = answer.usage {
        whole["usage"] = usage;
    }
    Ok(whole)
}

pub(crate) fn stream(body: &Value, plan: &Plan, id: u64) -> Result<Events, Refusal> {
    let include_usage = include_usage(body)?;
    let answer = answer(body, plan, id)?;
    let mut envelope = answer.envelope;
    if include_usage && !plan.has(Fault::NoUsage) {
        envelope["usage"] = Value::Null;
    }
    let mut tail = Vec::new();
    if let Some(usage) = answer.usage.filter(|_| include_usage) {
        let mut chunk = envelope.clone();
        chunk["choices"] = json!([]);
        chunk["usage"] = usage;
        tail.push(Event::new(Part::Usage, &chunk));
    }
    tail.push(Event::done());
    let with_logprobs = answer.logprobs;
    let choices = answer.choices.into_iter().enumerate();
    let body = choices.flat_map(move |(index, (text, finish))| {
        let chunk = |part, text: &str, logprobs: Option<Value>, finish: Option<&str>| {
            let mut chunk = envelope.clone();
            chunk["choices"] = json!([
                {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
            ]);
            Event::new(part, &chunk)
        };
        let mut offset = 0;
        let mut events = Vec::new();
        for piece in text::pieces(&text) {
            let logprobs = with_logprobs.then(|| logprobs(piece, offset));
            offset += piece.len();
            events.push(chunk(Part::Content, piece, logprobs, None));
        }
        events.push(chunk(Part::Finish, "", None, Some(finish)));
        events
    });
    Ok(Box::new(body.chain(tail)))
}

fn answer(body: &Value, plan: &Plan, id: u64) -> Result<Answer, Refusal> {
    let prompts = prompts(&body["prompt"])?;
    let limits = Limits::of_request(body, &["max_tokens"])?;
    let count = choice_count(body)?;
    let echo = body["echo"] == true;
    let logprobs = body["logprobs"].is_u64();
    text::check_inputs(prompts.len(), "prompt")?;
    let mut bytes = 0_usize;
    let mut choices = Vec::new();
    for prompt in &prompts {
        let words = text::sized(plan).unwrap_or_else(|| text::reply(prompt));
        let (text, finish) = limits.cut(words);
        let text = if echo { format!("{prompt}{text}") } else { text };
        bytes = bytes.saturating_add(text.len().saturating_mul(count));
        text::check_size(bytes, logprobs)?;
        choices.extend(std::iter::repeat_n((text, finish), count));
    }
    let asked = prompts.iter().map(|prompt| text::count(prompt)).sum();
    let written = choices.iter().map(|(text, _)| text::count(text)).sum();
    Ok(Answer {
        envelope: json!({
            "id": format!("cmpl-mock-{id}"),
            "object": "text_completion",
            "created": now_ms() / 1000,
            "model": body["model"],
            "system_fingerprint": "fp_mock",
        }),
        choices,
        usage: chat::usage(asked, written, 0, plan),
        logprobs,
    })
}

/// One text, several, token ids, or several lists of them.
fn prompts(prompt: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::param("prompt", "`prompt` must be text, token ids, or a list of either.");
    let one = |prompt: &Value| match prompt {
        Value::String(text) => Ok(text.clone()),
        Value::Array(ids) if ids.iter().all(Value::is_u64) => {
            Ok(ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        _ => Err(wrong()),
    };
    match prompt {
        Value::Array(several) if several.is_empty() => Err(wrong()),
        Value::Array(several) if !several.iter().all(Value::is_u64) => several.iter().map(one).collect(),
        _ => Ok(vec![one(prompt)?]),
    }
}

fn logprobs(text: &str, mut offset: usize) -> Value {
    let mut tokens = Vec::new();
    let mut token_logprobs = Vec::new();
    let mut top_logprobs = Vec::new();
    let mut text_offset = Vec::new();
    for piece in text::pieces(text) {
        let logprob = chat::surprise(piece);
        tokens.push(piece);
        token_logprobs.push(logprob);
        top_logprobs.push(json!({piece: logprob}));
        text_offset.push(offset);
        offset += piece.len();
    }
    json!({
        "tokens": tokens, "token_logprobs": token_logprobs,
        "top_logprobs": top_logprobs, "text_offset": text_offset,
    })
}
