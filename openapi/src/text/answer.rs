//! The words of an answer, from the bytes that the client got.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::lenient::members;
use crate::{
    endpoint::Protocol,
    sse::{Event, Splitter},
};

/// What a stretch of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the client shows: content, a refusal.
    Visible,
    Reasoning,
    /// The name and the arguments of a tool call.
    Call,
}

/// Texts that were generated in one piece stand in one piece: tokens do not end where deltas do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    choice: u64,
    kind: Kind,
    /// Of several of a kind in one choice: tool calls, content blocks.
    part: u64,
}

/// What a model said in one answer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    texts: BTreeMap<Place, String>,
    has_other: bool,
}

/// Places of one answer; a liar's map must not grow without end.
const MAX_PLACES: usize = 1024;

impl Said {
    /// Reads a whole answer. `None` for what is no answer of this protocol.
    pub fn of_answer(protocol: Protocol, body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut said = Self::default();
        match protocol {
            Protocol::Chat => {
                let [choices] = members(text, ["choices"])?;
                said.add_choices(&choices?, "message");
            }
            Protocol::Responses => {
                let [output] = members(text, ["output"])?;
                for (item, at) in elements(&output?).zip(0..) {
                    said.item(item, at);
                }
            }
            Protocol::Messages => {
                let [content] = members(text, ["content"])?;
                for (block, at) in elements(&content?).zip(0..) {
                    said.block(block, at);
                }
            }
            Protocol::Opaque => return None,
        }
        Some(said)
    }

    /// Reads a stream as it was delivered, to wherever it came. An event that cannot be read said nothing.
    pub fn of_stream(protocol: Protocol, bytes: &[u8]) -> Option<Self> {
        if protocol == Protocol::Opaque {
            return None;
        }
        let mut said = Self::default();
        let mut splitter = Splitter::new(bytes.len());
        let mut ends = Vec::new();
        let block = splitter.feed(bytes.to_vec().into(), &mut ends).ok()?;
        let mut start = 0;
        for end in ends {
            let event = Event::parse(&block[start..end]);
            if let Some(data) = event.data.as_deref().and_then(|data| std::str::from_utf8(data).ok()) {
                // `[DONE]` is no object, and says nothing.
                let _: Option<()> = said.event(protocol, data);
            }
            start = end;
        }
        Some(said)
    }

    /// Each text that stood in one piece. Not empty ones.
    pub fn texts(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.texts.iter().map(|(place, text)| (place.kind, text.as_str()))
    }

    /// How many answers there are.
    pub fn choices(&self) -> u64 {
        let mut choices: Vec<u64> = self.texts.keys().map(|place| place.choice).collect();
        choices.dedup();
        choices.len() as u64
    }

    /// How many tools were called.
    pub fn calls(&self) -> u64 {
        self.texts.keys().filter(|place| place.kind == Kind::Call).count() as u64
    }

    /// Whether all that was generated is text: no sound and no image.
    pub fn is_text(&self) -> bool {
        !self.has_other
    }

    fn add(&mut self, choice: u64, kind: Kind, part: u64, text: &str) {
        let place = Place { choice, kind, part };
        if !text.is_empty() && (self.texts.len() < MAX_PLACES || self.texts.contains_key(&place)) {
            self.texts.entry(place).or_default().push_str(text);
        }
    }

    fn event(&mut self, protocol: Protocol, data: &str) -> Option<()> {
        match protocol {
            Protocol::Chat => {
                let [choices] = members(data, ["choices"])?;
                self.add_choices(&choices?, "delta");
            }
            Protocol::Responses => {
                let names = ["type", "output_index", "content_index", "delta", "item"];
                let [kind, output, content, delta, item] = members(data, names)?;
                let output = index(output.as_ref());
                let part = index(content.as_ref());
                let delta = delta.as_ref().and_then(Value::as_str).unwrap_or_default();
                match kind?.as_str()? {
                    "response.output_text.delta" | "response.refusal.delta" => {
                        self.add(output, Kind::Visible, part, delta);
                    }
                    "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                        self.add(output, Kind::Reasoning, part, delta);
                    }
                    "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                        self.add(output, Kind::Call, part, delta);
                    }
                    "response.output_item.added" => {
                        let name = item.as_ref().and_then(|item| item.get("name")?.as_str());
                        self.add(output, Kind::Call, part, name.unwrap_or_default());
                        self.has_other |= item.as_ref().is_some_and(is_other_item);
                    }
                    _ => {}
                }
            }
            Protocol::Messages => {
                let [kind, at, block, delta] = members(data, ["type", "index", "content_block", "delta"])?;
                let at = index(at.as_ref());
                match kind?.as_str()? {
                    "content_block_start" => self.block(&block?, at),
                    "content_block_delta" => {
                        let delta = delta?;
                        let said = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
                        self.add(0, Kind::Visible, at, said("text"));
                        self.add(0, Kind::Reasoning, at, said("thinking"));
                        self.add(0, Kind::Call, at, said("partial_json"));
                    }
                    _ => {}
                }
            }
            Protocol::Opaque => {}
        }
        Some(())
    }

    /// The choices of chat and of completions: whole ones have a `message`, pieces a `delta`.
    fn add_choices(&mut self, choices: &Value, name: &str) {
        for (choice, at) in elements(choices).zip(0..) {
            let number = choice.get("index").and_then(Value::as_u64).unwrap_or(at);
            if let Some(text) = choice.get("text").and_then(Value::as_str) {
                self.add(number, Kind::Visible, 0, text);
            }
            let Some(message) = choice.get(name) else { continue };
            if let Some(content) = message.get("content") {
                self.content(number, content);
            }
            let refusal = message.get("refusal").and_then(Value::as_str);
            self.add(number, Kind::Visible, 1, refusal.unwrap_or_default());
            // Engines that mirror reasoning under both names have written it once.
            let reasoning = ["reasoning_content", "reasoning"].map(|name| message.get(name).and_then(Value::as_str));
            let longest = reasoning.into_iter().flatten().max_by_key(|text| text.len());
            self.add(number, Kind::Reasoning, 0, longest.unwrap_or_default());
            self.has_other |= ["audio", "images"]
                .iter()
                .any(|name| message.get(name).is_some_and(|other| !other.is_null()));
            let calls = message.get("tool_calls").into_iter().flat_map(elements);
            for (call, at) in calls.zip(0..) {
                let part = call.get("index").and_then(Value::as_u64).unwrap_or(at);
                self.function(number, part, call.get("function").or_else(|| call.get("custom")));
            }
            // The name before tools.
            self.function(number, u64::MAX, message.get("function_call"));
        }
    }

    /// Text, or parts of it: some servers give their reasoning as a part of the content.
    fn content(&mut self, choice: u64, content: &Value) {
        if let Some(text) = content.as_str() {
            self.add(choice, Kind::Visible, 0, text);
        }
        for part in elements(content) {
            if let Some(text) = part.get("text").and_then(Value::as_str) {
                self.add(choice, Kind::Visible, 0, text);
            }
            match part.get("thinking") {
                Some(Value::String(text)) => self.add(choice, Kind::Reasoning, 0, text),
                Some(thoughts) => {
                    for text in elements(thoughts).filter_map(|thought| thought.get("text")?.as_str()) {
                        self.add(choice, Kind::Reasoning, 0, text);
                    }
                }
                None => {}
            }
        }
    }

    fn function(&mut self, choice: u64, part: u64, function: Option<&Value>) {
        for name in ["name", "arguments", "input"] {
            match function.and_then(|function| function.get(name)) {
                Some(Value::String(text)) => self.add(choice, Kind::Call, part, text),
                // Some servers give the arguments as an object.
                Some(object @ Value::Object(_)) => self.add(choice, Kind::Call, part, &object.to_string()),
                _ => {}
            }
        }
    }

    /// An item of a response.
    fn item(&mut self, item: &Value, at: u64) {
        self.has_other |= is_other_item(item);
        let named = |name: &str| item.get(name).into_iter().flat_map(elements);
        for part in named("content").chain(named("summary")) {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            let kind = if kind.contains("reasoning") || kind.contains("summary") {
                Kind::Reasoning
            } else {
                Kind::Visible
            };
            for name in ["text", "refusal"] {
                self.add(at, kind, 0, part.get(name).and_then(Value::as_str).unwrap_or_default());
            }
        }
        self.function(at, 0, Some(item));
    }

    /// A block of a message of Anthropic's.
    fn block(&mut self, block: &Value, at: u64) {
        let said = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        self.add(0, Kind::Visible, at, said("text"));
        self.add(0, Kind::Reasoning, at, said("thinking"));
        self.add(0, Kind::Call, at, said("name"));
        match block.get("input") {
            Some(Value::Object(input)) if input.is_empty() => {}
            Some(input @ Value::Object(_)) => self.add(0, Kind::Call, at, &input.to_string()),
            _ => {}
        }
        let is_known = matches!(said("type"), "text" | "thinking" | "redacted_thinking" | "tool_use");
        self.has_other |= !is_known;
    }
}

/// Prints how much was said, and nothing of it.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len: usize = self.texts.values().map(String::len).sum();
        write!(f, "Said({} texts, {len} bytes)", self.texts.len())
    }
}

/// What the server itself did on the way (searches, images): it is in the usage, and not in the text.
fn is_other_item(item: &Value) -> bool {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    !matches!(kind, "message" | "reasoning" | "function_call" | "custom_tool_call")
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn index(value: Option<&Value>) -> u64 {
    value.and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
