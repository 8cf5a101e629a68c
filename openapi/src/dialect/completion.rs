//! Chat completions as OpenAI writes them: the whole answer, and the chunks of a stream.

use bytes::{Bytes, BytesMut};

use super::{
    Asked,
    value::{Json, Members},
};
use crate::{error::ErrorBody, sse, usage::WireUsage};

/// What was used. `cached` and `cache_write` are part of `prompt`, `reasoning` is part of `completion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) prompt: u64,
    pub(super) cached: u64,
    pub(super) cache_write: u64,
    pub(super) completion: u64,
    pub(super) reasoning: u64,
}

impl Used {
    pub(super) fn wire(self) -> WireUsage {
        WireUsage {
            prompt: self.prompt,
            cached: self.cached,
            completion: self.completion,
            reasoning: self.reasoning,
        }
    }

    fn members(self) -> Members<'static> {
        let mut prompt = Members::new().with("cached_tokens", self.cached);
        if self.cache_write > 0 {
            prompt.put("cache_write_tokens", self.cache_write);
        }
        Members::new()
            .with("prompt_tokens", self.prompt)
            .with("completion_tokens", self.completion)
            .with("total_tokens", self.prompt.saturating_add(self.completion))
            .with("prompt_tokens_details", prompt)
            .with(
                "completion_tokens_details",
                Members::new().with("reasoning_tokens", self.reasoning),
            )
    }
}

/// One choice of a whole answer.
#[derive(Default)]
pub(super) struct Choice<'a> {
    pub(super) content: Option<Json<'a>>,
    pub(super) reasoning: Option<String>,
    /// What must come back in the next turn for the reasoning to count.
    pub(super) reasoning_details: Vec<Json<'a>>,
    pub(super) tool_calls: Vec<Json<'a>>,
    pub(super) extra_content: Option<Json<'a>>,
    pub(super) logprobs: Option<Json<'a>>,
    pub(super) finish_reason: &'static str,
    /// The stop sequence that was met, as vLLM tells it.
    pub(super) stop_reason: Option<Json<'a>>,
}

impl<'a> Choice<'a> {
    fn members(self, index: u64) -> Members<'a> {
        let mut message = Members::new()
            .with("role", "assistant")
            .with("content", self.content.unwrap_or(Json::Null))
            .with("refusal", Json::Null);
        message.put_some("reasoning_content", self.reasoning);
        put_list(&mut message, "reasoning_details", self.reasoning_details);
        put_list(&mut message, "tool_calls", self.tool_calls);
        message.put_some("extra_content", self.extra_content);
        Members::new()
            .with("index", index)
            .with("message", message)
            .with("logprobs", self.logprobs.unwrap_or(Json::Null))
            .with("finish_reason", self.finish_reason)
            .with_some("stop_reason", self.stop_reason)
    }
}

fn put_list<'a>(members: &mut Members<'a>, name: &'static str, list: Vec<Json<'a>>) {
    if !list.is_empty() {
        members.put(name, list);
    }
}

/// A whole answer.
pub(super) fn whole(id: &str, asked: &Asked, choices: Vec<(u64, Choice<'_>)>, used: Option<Used>) -> Bytes {
    let choices: Vec<Json<'_>> = choices
        .into_iter()
        .map(|(index, choice)| choice.members(index).into())
        .collect();
    Members::new()
        .with("id", id)
        .with("object", "chat.completion")
        .with("created", asked.created)
        .with("model", &*asked.model)
        .with("choices", choices)
        .with_some("usage", used.map(Used::members))
        .to_bytes()
}

/// A tool call: whole, or the first piece of one.
pub(super) fn tool_call<'a>(id: Json<'a>, name: Json<'a>, arguments: Json<'a>) -> Members<'a> {
    Members::new().with("id", id).with("type", "function").with(
        "function",
        Members::new().with("name", name).with("arguments", arguments),
    )
}

/// Writes the chunks of one stream.
#[derive(Debug)]
pub(super) struct Chunks {
    asked: Asked,
}

impl Chunks {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked }
    }

    /// From now on the chunks have the id that the upstream gave.
    pub(super) fn adopt_id(&mut self, id: &str) {
        self.asked.id.clear();
        self.asked.id.push_str(id);
    }

    pub(super) fn id(&self) -> &str {
        &self.asked.id
    }

    pub(super) fn role(&self, index: u64, out: &mut BytesMut) {
        let delta = Members::new().with("role", "assistant").with("content", "");
        self.delta(index, delta, out);
    }

    pub(super) fn delta(&self, index: u64, delta: Members<'_>, out: &mut BytesMut) {
        self.choice(delta, index, Json::Null, out, |choice| choice);
    }

    /// A delta with the log probabilities of its tokens.
    pub(super) fn delta_with_logprobs<'a>(
        &'a self,
        index: u64,
        delta: Members<'a>,
        logprobs: Option<Json<'a>>,
        out: &mut BytesMut,
    ) {
        self.choice(delta, index, Json::Null, out, |choice| {
            choice.with_some("logprobs", logprobs)
        });
    }

    pub(super) fn finish(&self, index: u64, reason: &'static str, stop: Option<&str>, out: &mut BytesMut) {
        self.choice(Members::new(), index, reason.into(), out, |choice| {
            choice.with_some("stop_reason", stop)
        });
    }

    fn choice<'a>(
        &'a self,
        delta: Members<'a>,
        index: u64,
        finish_reason: Json<'a>,
        out: &mut BytesMut,
        more: impl FnOnce(Members<'a>) -> Members<'a>,
    ) {
        let choice = Members::new()
            .with("index", index)
            .with("delta", delta)
            .with("finish_reason", finish_reason);
        let mut chunk = self.chunk(vec![more(choice).into()]);
        if self.asked.include_usage {
            chunk.put("usage", Json::Null);
        }
        chunk.write_event(out);
    }

    /// The last chunk but `[DONE]`. It is written whether or not it was asked for: the reader behind us hides it.
    /// What nobody counted is not told: zeros would pass for a count.
    pub(super) fn usage(&self, used: Option<Used>, out: &mut BytesMut) {
        if let Some(used) = used {
            self.chunk(Vec::new()).with("usage", used.members()).write_event(out);
        }
    }

    pub(super) fn done(&self, out: &mut BytesMut) {
        out.extend_from_slice(sse::DONE);
    }

    pub(super) fn error(&self, error: &ErrorBody, out: &mut BytesMut) {
        out.extend_from_slice(&error.to_event());
    }

    fn chunk<'a>(&'a self, choices: Vec<Json<'a>>) -> Members<'a> {
        Members::new()
            .with("id", &*self.asked.id)
            .with("object", "chat.completion.chunk")
            .with("created", self.asked.created)
            .with("model", &*self.asked.model)
            .with("choices", choices)
    }
}
