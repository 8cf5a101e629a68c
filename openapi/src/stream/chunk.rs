//! One chunk of a chat or text completion.
//!
//! What is kept of a chunk does not grow with it: choices are added up as they are read, and a chunk of more than
//! [`MAX_CHOICES`] is refused.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Facts, Fate, Fault, Last, Outcome, tools};
use crate::{error::ErrorBody, json::TextLen, response::usage_of, sse::Event};

/// OpenAI's document: `n` is at most 128.
const MAX_CHOICES: u32 = 128;

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether a frame has passed.
    is_begun: bool,
    /// Choices seen, and choices that gave a finish reason; one bit for each index.
    begun: u128,
    finished: u128,
    tools: tools::State,
}

/// Members are taken as they are written where serde_json may refuse what clients do not: a lone surrogate, `1e999`.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Choices<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// Legacy completions have text where chat has a delta.
    #[serde(default)]
    text: TextLen,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default)]
    content: TextLen,
    #[serde(default)]
    reasoning_content: TextLen,
    #[serde(default)]
    reasoning: TextLen,
    #[serde(default)]
    refusal: TextLen,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// The choices of one chunk, added up.
#[derive(Default)]
struct Choices<'a> {
    len: u32,
    begun: u128,
    finished: u128,
    has_failed: bool,
    text_len: u64,
    deltas: u64,
    /// The tool calls, with the index of their choice.
    tools: Vec<(u32, &'a RawValue)>,
}

impl State {
    /// Whether every choice that began has given its reason to stop.
    pub(super) fn is_finished(&self) -> bool {
        self.finished != 0 && self.begun & !self.finished == 0
    }

    /// Whether the stream has said anything, so that `[DONE]` may end it.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn read(&mut self, event: &Event<'_>, data: &[u8], hide_usage: bool, facts: &mut Facts) -> Fate {
        if event.name == Some(b"error") {
            return failed(ErrorBody::from_error(data));
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return malformed();
        };
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(text) else {
            return self.read_unknown(text, facts);
        };
        if chunk.error.is_some() {
            return failed(ErrorBody::from_error(data));
        }
        let usage = chunk.usage.and_then(usage_of);
        let Some(choices) = chunk.choices else {
            if let Some(error) = ErrorBody::from_upstream(data) {
                return failed(error);
            }
            // `event: ping` and its like: SDKs take every event with data for a chunk.
            let is_ping = chunk.kind.is_some_and(|kind| kind.get() == r#""ping""#);
            if usage.is_none() && (event.name.is_some() || is_ping) {
                return Fate::Drop;
            }
            facts.usage = usage.or(facts.usage);
            return self.keep(facts);
        };
        facts.usage = usage.or(facts.usage);
        if choices.len == 0 && usage.is_some() && hide_usage {
            return Fate::Drop;
        }
        if choices.len > MAX_CHOICES {
            return malformed();
        }
        if choices.has_failed {
            return failed(ErrorBody::new(
                "server_error",
                "upstream_error",
                "The upstream ended the answer with an error.",
            ));
        }
        let mut said = Facts {
            text_len: choices.text_len,
            deltas: choices.deltas,
            ..Facts::default()
        };
        let fate = if choices.tools.is_empty() {
            Fate::Keep
        } else {
            self.tools.read(text, &choices.tools, &mut said)
        };
        if !matches!(fate, Fate::End(..)) {
            self.begun |= choices.begun;
            self.finished |= choices.finished;
            facts.add(&said);
            self.keep(facts);
        }
        fate
    }

    /// JSON of a shape we do not know is the client's business, what is no JSON would break its parser.
    fn read_unknown(&mut self, text: &str, facts: &mut Facts) -> Fate {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return malformed();
        }
        match ErrorBody::from_upstream(text.as_bytes()) {
            Some(error) => failed(error),
            None => self.keep(facts),
        }
    }

    fn keep(&mut self, facts: &mut Facts) -> Fate {
        self.is_begun = true;
        facts.frames += 1;
        Fate::Keep
    }
}

impl<'a> Choices<'a> {
    fn add(&mut self, choice: &Choice<'a>) {
        let index = choice.index.and_then(|index| index.get().parse().ok()).unwrap_or(0u32);
        let bit = 1u128 << index.min(127);
        self.len += 1;
        self.begun |= bit;
        match choice.finish_reason.map(RawValue::get) {
            Some(r#""error""#) => self.has_failed = true,
            // Some servers write an empty reason in every chunk.
            Some(reason) if reason.starts_with('"') && reason.len() > 2 => self.finished |= bit,
            _ => {}
        }
        let (text_len, tools) = choice.delta.as_ref().map_or((0, None), Delta::measure);
        let text_len = text_len + choice.text.0;
        self.text_len += text_len;
        self.deltas += u64::from(text_len > 0);
        self.tools.extend(tools.map(|tools| (index, tools)));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Choices<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("choices")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Choices<'de>, A::Error> {
                let mut choices = Choices::default();
                while choices.len <= MAX_CHOICES {
                    match seq.next_element()? {
                        Some(choice) => choices.add(&choice),
                        None => return Ok(choices),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(choices)
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}

impl<'a> Delta<'a> {
    /// Bytes of text, and the tool calls if there are any.
    fn measure(&self) -> (u64, Option<&'a RawValue>) {
        // Engines that mirror reasoning under both names have written it once.
        let reasoning = self.reasoning_content.0.max(self.reasoning.0);
        let tools = self
            .tool_calls
            .filter(|tools| tools.get() != "null" && tools.get() != "[]");
        (self.content.0 + reasoning + self.refusal.0, tools)
    }
}

fn failed(error: ErrorBody) -> Fate {
    Fate::End(Outcome::Failed(Fault::Upstream(error)), Last::Drop)
}

pub(super) fn malformed() -> Fate {
    Fate::End(Outcome::Failed(Fault::Malformed), Last::Drop)
}
