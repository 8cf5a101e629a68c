//! A chat answer as chunks: role, reasoning, content or calls, finish, usage, `[DONE]`.

use std::iter;

use serde_json::{Value, json};

use super::{Answer, Choice, logprobs};
use crate::fault::{Fault, Plan};
use crate::sse::{Event, Events, Part};
use crate::text;
use crate::tools::Call;

/// Makes chunks one at a time: an answer of a million tokens is never a million chunks at once.
pub(super) fn events(answer: Answer, plan: &Plan, include_usage: bool) -> Events {
    let chunks = Chunks {
        envelope: answer.envelope("chat.completion.chunk"),
        null_usage: include_usage && !plan.has(Fault::NoUsage),
        obfuscate: plan.has(Fault::Obfuscation),
        vendor: plan.has(Fault::Unknown),
    };
    let last_usage = answer.usage.clone().filter(|_| plan.has(Fault::UsageInLast));
    let mut tail = Vec::new();
    if let Some(usage) = answer.usage.filter(|_| include_usage && last_usage.is_none()) {
        tail.push(chunks.usage(&usage));
        if plan.has(Fault::UsageNullLast) {
            tail.push(chunks.usage(&Value::Null));
        }
    }
    tail.push(Event::done());
    let reasoning = answer.reasoning;
    let alternatives = answer.alternatives;
    let style = CallStyle::of_plan(plan);
    let choices = answer.choices.into_iter().enumerate();
    let body = choices.flat_map(move |(index, choice)| {
        let chunks = chunks.clone();
        let head = chunks.delta(
            Part::Head,
            index,
            json!({"role": "assistant", "content": "", "refusal": null}),
        );
        let thoughts: Vec<_> = text::pieces(reasoning.unwrap_or_default())
            .into_iter()
            .map(|piece| chunks.delta(Part::Content, index, json!({"reasoning_content": piece})))
            .collect();
        let finish = chunks.finish(index, choice.finish, last_usage.as_ref());
        let content = content(chunks, index, choice, style, alternatives);
        iter::once(head)
            .chain(thoughts)
            .chain(content)
            .chain(iter::once(finish))
    });
    Box::new(body.chain(tail))
}

fn content(chunks: Chunks, index: usize, choice: Choice, style: CallStyle, alternatives: Option<usize>) -> Events {
    if !choice.calls.is_empty() {
        let deltas = style.deltas(&choice.calls);
        return Box::new(
            deltas
                .into_iter()
                .map(move |delta| chunks.delta(Part::Content, index, json!({"tool_calls": [delta]}))),
        );
    }
    let mut left = choice.text;
    // From the back of a reversed list a piece is taken in constant time.
    let mut ends: Vec<_> = text::pieces(&left).iter().rev().map(|piece| piece.len()).collect();
    let mut start = 0;
    Box::new(iter::from_fn(move || {
        let Some(length) = ends.pop() else {
            left = String::new();
            return None;
        };
        let piece = &left[start..start + length];
        start += length;
        let logprobs = alternatives.map(|count| logprobs::of_text(piece, count));
        Some(chunks.piece(index, piece, logprobs))
    }))
}

#[derive(Clone)]
struct Chunks {
    envelope: Value,
    /// Whether every chunk but the last says `usage: null`, as OpenAI's do when usage is asked for.
    null_usage: bool,
    obfuscate: bool,
    vendor: bool,
}

impl Chunks {
    fn delta(&self, part: Part, index: usize, delta: Value) -> Event {
        self.chunk(
            part,
            json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}),
        )
    }

    fn piece(&self, index: usize, piece: &str, logprobs: Option<Value>) -> Event {
        let mut delta = json!({"content": piece});
        if self.vendor {
            delta["zzz_vendor"] = json!({"a": 1});
        }
        let choice = json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null});
        self.chunk(Part::Content, choice)
    }

    fn finish(&self, index: usize, reason: &str, usage: Option<&Value>) -> Event {
        let choice = json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason});
        let mut chunk = self.with_choices(vec![choice]);
        if let Some(usage) = usage {
            chunk["usage"] = usage.clone();
        }
        Event::new(Part::Finish, &chunk)
    }

    fn usage(&self, usage: &Value) -> Event {
        let mut chunk = self.with_choices(Vec::new());
        chunk["usage"] = usage.clone();
        Event::new(Part::Usage, &chunk)
    }

    fn chunk(&self, part: Part, choice: Value) -> Event {
        Event::new(part, &self.with_choices(vec![choice]))
    }

    fn with_choices(&self, choices: Vec<Value>) -> Value {
        let mut chunk = self.envelope.clone();
        chunk["choices"] = choices.into();
        if self.null_usage {
            chunk["usage"] = Value::Null;
        }
        if self.obfuscate {
            chunk["obfuscation"] = "xxxxx".into();
        }
        chunk
    }
}

/// How calls are cut into deltas.
#[derive(Clone, Copy)]
enum CallStyle {
    /// Each call in turn: its name, then its arguments in two halves.
    InTurn,
    Interleaved,
    NoIndex,
    Repeat,
}

impl CallStyle {
    fn of_plan(plan: &Plan) -> Self {
        match () {
            () if plan.has(Fault::Tools) => Self::Interleaved,
            () if plan.has(Fault::ToolsNoIndex) => Self::NoIndex,
            () if plan.has(Fault::ToolsRepeat) => Self::Repeat,
            () => Self::InTurn,
        }
    }

    fn deltas(self, calls: &[Call]) -> Vec<Value> {
        let full = |index: usize, call: &Call, arguments: &str| {
            json!({
                "index": index, "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            })
        };
        let more = |index: usize, arguments: &str| json!({"index": index, "function": {"arguments": arguments}});
        let numbered = calls.iter().enumerate();
        match self {
            Self::InTurn => numbered
                .flat_map(|(index, call)| {
                    let (first, second) = halves(&call.arguments);
                    [full(index, call, ""), more(index, first), more(index, second)]
                })
                .collect(),
            Self::Interleaved => {
                let heads = numbered.clone().map(|(index, call)| full(index, call, ""));
                let firsts = numbered
                    .clone()
                    .map(|(index, call)| more(index, halves(&call.arguments).0));
                let seconds = numbered.map(|(index, call)| more(index, halves(&call.arguments).1));
                heads.chain(firsts).chain(seconds).collect()
            }
            Self::NoIndex => calls
                .iter()
                .map(|call| {
                    json!({
                        "id": call.id, "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    })
                })
                .collect(),
            Self::Repeat => numbered
                .flat_map(|(index, call)| {
                    let (first, second) = halves(&call.arguments);
                    [full(index, call, first), full(index, call, second)]
                })
                .collect(),
        }
    }
}

fn halves(text: &str) -> (&str, &str) {
    let middle = (text.len() / 2..=text.len()).find(|at| text.is_char_boundary(*at));
    text.split_at(middle.unwrap_or(0))
}
