//! One typed event of Anthropic's Messages API, as <https://docs.anthropic.com/en/api/messages-streaming> has them.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Facts, Fate, Fault, Last, Outcome, chunk::malformed};
use crate::{
    dialect,
    error::ErrorBody,
    json::{self, TextLen},
    response::usage_of,
    sse::Event,
    usage::WireUsage,
};

/// The end, as it is written.
const STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The prompt's side of usage comes with `message_start`, the answer's with `message_delta`.
    begun: WireUsage,
    /// Whether a frame has passed.
    is_begun: bool,
    /// Whether the reason to stop has passed.
    is_ending: bool,
    /// The content block that has begun and not ended.
    open_block: Option<u64>,
}

#[derive(Deserialize)]
struct TypedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    delta: Option<Delta>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    text: TextLen,
    #[serde(default)]
    thinking: TextLen,
    #[serde(default)]
    partial_json: TextLen,
}

/// Bytes of what a model writes around a call of a tool, beside its name and input.
const MARKUP: u64 = 64;

impl State {
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn open_block(&self) -> Option<u64> {
        self.open_block
    }

    /// Events pass if they are JSON: the API adds kinds of them, and clients leave out those they do not know.
    pub(super) fn read(&mut self, event: &Event<'_>, data: &[u8], facts: &mut Facts) -> Fate {
        if event.name == Some(b"error") {
            return failed(data);
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return malformed();
        };
        let Ok(typed) = serde_json::from_str::<TypedEvent<'_>>(text) else {
            if serde_json::from_str::<IgnoredAny>(text).is_err() {
                return malformed();
            }
            if ErrorBody::from_upstream(data).is_some() {
                return failed(data);
            }
            return self.keep(facts);
        };
        let kind = typed.kind.and_then(json::string).unwrap_or_default();
        match &*kind {
            "error" => return failed(data),
            // It says no more than a comment does.
            "ping" => return Fate::Keep,
            "message_start" => {
                let usage = typed.message.and_then(|message| message.usage);
                facts.so_far = usage.and_then(usage_of);
                self.begun = facts.so_far.unwrap_or_default();
            }
            "content_block_start" => {
                self.open_block = typed.index.and_then(|index| index.get().parse().ok());
                let name = typed.content_block.and_then(|block| block.name);
                facts.markup_len += name.map_or(0, |name| name.get().len() as u64 + MARKUP);
            }
            "content_block_stop" => self.open_block = None,
            "content_block_delta" => {
                let len = typed.delta.as_ref();
                let len = len.map_or(0, |delta| delta.text.0 + delta.thinking.0 + delta.partial_json.0);
                facts.reasoning_len += typed.delta.map_or(0, |delta| delta.thinking.0);
                facts.text_len += len;
                facts.deltas += u64::from(len > 0);
            }
            "message_delta" => {
                let usage = typed.usage.and_then(usage_of).map(|usage| self.whole(usage));
                facts.usage = usage.or(facts.usage);
                self.is_ending = true;
            }
            "message_stop" if self.is_begun => {
                facts.frames += 1;
                let last = if event.is_clean {
                    Last::Keep
                } else {
                    Last::Replace(STOP)
                };
                return Fate::End(Outcome::Complete, last);
            }
            // An end without a beginning.
            "message_stop" => return Fate::End(Outcome::Failed(Fault::Truncated), Last::Drop),
            _ => {}
        }
        self.keep(facts)
    }

    fn keep(&mut self, facts: &mut Facts) -> Fate {
        self.is_begun = true;
        facts.frames += 1;
        Fate::Keep
    }

    /// Usage at the end. Its counts are totals, and those of the prompt are in it or in the beginning alone.
    fn whole(&self, end: WireUsage) -> WireUsage {
        let prompt = if end.prompt >= self.begun.prompt {
            end
        } else {
            self.begun
        };
        WireUsage {
            prompt: prompt.prompt,
            cached: prompt.cached,
            completion: end.completion.max(self.begun.completion),
            reasoning: end.reasoning,
        }
    }
}

/// By our codes, so that the record and the client's error name what it was.
fn failed(data: &[u8]) -> Fate {
    Fate::End(
        Outcome::Failed(Fault::Upstream(dialect::error_of_event(data))),
        Last::Drop,
    )
}
