//! One chunk of a chat or text completion.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Facts, Fate, Fault, Last, Outcome, tools};
use crate::{error::ErrorBody, response::TextLen, sse::Event, usage::WireUsage};

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Choices seen, and choices that gave a finish reason; one bit for each index.
    begun: u128,
    finished: u128,
    tools: tools::State,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<WireUsage>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// Legacy completions have text where chat has a delta.
    #[serde(default)]
    text: TextLen,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
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

impl State {
    /// Whether every choice that began has given its reason to stop.
    pub(super) fn is_finished(&self) -> bool {
        self.finished != 0 && self.begun & !self.finished == 0
    }

    pub(super) fn read(&mut self, event: &Event<'_>, data: &[u8], hide_usage: bool, facts: &mut Facts) -> Fate {
        let chunk: Chunk<'_> = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            // JSON of a shape we do not know is the client's business, what is no JSON would break its parser.
            Err(error) if error.is_data() => {
                facts.frames += 1;
                return Fate::Keep;
            }
            Err(_) => return Fate::End(Outcome::Failed(Fault::Malformed), Last::Drop),
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            return Fate::End(Outcome::Failed(Fault::Upstream(upstream_error(error))), Last::Drop);
        }
        let Some(choices) = chunk.choices else {
            // `event: ping` and its like: SDKs take every event with data for a chunk.
            let is_noise = chunk.usage.is_none() && (event.name.is_some() || chunk.kind.as_deref() == Some("ping"));
            if is_noise {
                return Fate::Drop;
            }
            facts.frames += 1;
            facts.usage = chunk.usage.or(facts.usage);
            return Fate::Keep;
        };
        facts.usage = chunk.usage.or(facts.usage);
        if choices.is_empty() && chunk.usage.is_some() && hide_usage {
            return Fate::Drop;
        }
        facts.frames += 1;

        let mut has_tools = false;
        for choice in &choices {
            let bit = 1u128 << choice.index.min(127);
            self.begun |= bit;
            match choice.finish_reason.as_deref() {
                None => {}
                Some("error") => {
                    let error = ErrorBody::new(
                        "server_error",
                        "upstream_error",
                        "The upstream ended the answer with an error.",
                    );
                    return Fate::End(Outcome::Failed(Fault::Upstream(error)), Last::Drop);
                }
                Some(_) => self.finished |= bit,
            }
            let (text_len, tools) = choice.delta.as_ref().map_or((0, None), Delta::measure);
            let text_len = text_len + choice.text.0;
            facts.text_len += text_len;
            facts.deltas += u64::from(text_len > 0);
            has_tools |= tools.is_some();
        }
        if has_tools {
            return self.tools.read(data, facts).map_or(Fate::Keep, Fate::Replace);
        }
        Fate::Keep
    }
}

impl Delta<'_> {
    /// Bytes of text, and the tool calls if there are any.
    fn measure(&self) -> (u64, Option<&RawValue>) {
        // Engines that mirror reasoning under both names have written it once.
        let reasoning = self.reasoning_content.0.max(self.reasoning.0);
        let tools = self
            .tool_calls
            .filter(|tools| tools.get() != "null" && tools.get() != "[]");
        (self.content.0 + reasoning + self.refusal.0, tools)
    }
}

fn upstream_error(error: &RawValue) -> ErrorBody {
    let wrapped = format!(r#"{{"error":{}}}"#, error.get());
    ErrorBody::from_upstream(wrapped.as_bytes())
        .unwrap_or_else(|| ErrorBody::new("server_error", "upstream_error", "The upstream reported an error."))
}
