//! What a model was asked, as text.

use std::fmt;

use serde_json::Value;

use super::lenient::value;
use crate::{endpoint::Endpoint, json};

/// What a request gives a model to read, and what it lets us see of the answer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Each text of a message or of a prompt.
    texts: Vec<String>,
    /// What a template may write out beside the messages, as JSON: tools, a schema, documents.
    around: Vec<String>,
    /// Prompts that came as numbers of tokens.
    tokens: u64,
    /// Messages, or prompts.
    messages: u64,
    /// Each that ends the answer and is not in it.
    stops: Vec<String>,
    has_other_prompt: bool,
    has_hidden_answer: bool,
}

/// Members that some template writes into the prompt.
const AROUND: [&str; 10] = [
    "tools",
    "functions",
    "response_format",
    "text",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "structured_outputs",
    "guided_json",
    "json_schema",
];
/// Members whose prompt lies elsewhere.
const ELSEWHERE: [&str; 5] = [
    "previous_response_id",
    "conversation",
    "prompt_template",
    "web_search_options",
    "container",
];

impl Asked {
    /// Reads the body of a request to the root of `endpoint`. `None` for what is no such request.
    pub fn of(endpoint: Endpoint, body: &[u8]) -> Option<Self> {
        if !endpoint.is_inference() {
            return None;
        }
        let text = std::str::from_utf8(body).ok()?;
        let mut asked = Self::default();
        let (mut n, mut best_of) = (1, 1);
        let is_object = json::for_members(text, |name, written| {
            let is_null = written.get() == "null";
            match &*name {
                _ if is_null => {}
                "messages" => asked.with(written.get(), Self::add_messages),
                // A template of OpenAI's, not a prompt.
                "prompt" if endpoint == Endpoint::Responses => asked.has_other_prompt = true,
                "prompt" => asked.with(written.get(), Self::prompts),
                "input" if endpoint == Endpoint::Embeddings => asked.with(written.get(), Self::prompts),
                "input" => asked.with(written.get(), Self::input),
                "system" | "instructions" | "suffix" => asked.with(written.get(), |asked, said| {
                    asked.messages = asked.messages.saturating_add(1);
                    asked.content(said);
                }),
                "stop" | "stop_sequences" => asked.with(written.get(), |asked, stops| {
                    let single = stops.as_str().into_iter();
                    let several = stops.as_array().into_iter().flatten().filter_map(Value::as_str);
                    asked.stops.extend(single.chain(several).map(str::to_owned));
                }),
                "n" => n = written.get().parse().unwrap_or(1),
                "best_of" => best_of = written.get().parse().unwrap_or(1),
                // What was predicted and not said is paid for like what was said.
                "prediction" => asked.has_hidden_answer = true,
                name if ELSEWHERE.contains(&name) => asked.has_other_prompt = true,
                name if AROUND.contains(&name) => {
                    if name == "tools" {
                        asked.with(written.get(), Self::tools);
                    }
                    asked.around.push(written.get().to_owned());
                }
                _ => {}
            }
        });
        asked.has_hidden_answer |= best_of > n;
        is_object.then_some(asked)
    }

    /// Each text that the model read.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// JSON that a template may have written out beside them.
    pub fn around(&self) -> impl Iterator<Item = &str> {
        self.around.iter().map(String::as_str)
    }

    /// What ends the answer, and was generated without being delivered.
    pub fn stops(&self) -> impl Iterator<Item = &str> {
        self.stops.iter().map(String::as_str)
    }

    /// Tokens that the client gave by number.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Messages, or prompts: each has something around it.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the whole prompt is text in this body.
    pub fn is_text(&self) -> bool {
        !self.has_other_prompt
    }

    /// Whether all that is generated is delivered.
    pub fn is_answer_visible(&self) -> bool {
        !self.has_hidden_answer
    }

    /// Reads a member, or holds the prompt for one that cannot be counted.
    fn with(&mut self, written: &str, read: impl FnOnce(&mut Self, &Value)) {
        match value(written) {
            Some(value) => read(self, &value),
            None => self.has_other_prompt = true,
        }
    }

    fn push(&mut self, text: &str) {
        if !text.is_empty() {
            self.texts.push(text.to_owned());
        }
    }

    /// Prompts and inputs: a text, several, a list of numbers, several.
    fn prompts(&mut self, prompts: &Value) {
        match prompts {
            Value::String(text) => {
                self.messages = self.messages.saturating_add(1);
                self.push(text);
            }
            Value::Array(several) if several.iter().all(Value::is_number) => {
                self.messages = self.messages.saturating_add(1);
                self.tokens = self.tokens.saturating_add(several.len() as u64);
            }
            Value::Array(several) => several.iter().for_each(|prompt| self.prompts(prompt)),
            _ => self.has_other_prompt = true,
        }
    }

    /// What the Responses API reads: a text, or messages and other items.
    fn input(&mut self, input: &Value) {
        match input {
            Value::String(_) => self.prompts(input),
            Value::Array(items) => items.iter().for_each(|item| self.item(item)),
            _ => self.has_other_prompt = true,
        }
    }

    fn item(&mut self, item: &Value) {
        self.messages = self.messages.saturating_add(1);
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => self.message_parts(item),
            "function_call" | "custom_tool_call" => self.named(item, &["name", "arguments", "input"]),
            "function_call_output" | "custom_tool_call_output" => match item.get("output") {
                Some(output) => self.content(output),
                None => self.has_other_prompt = true,
            },
            _ => self.has_other_prompt = true,
        }
    }

    fn add_messages(&mut self, messages: &Value) {
        for message in messages.as_array().into_iter().flatten() {
            self.messages = self.messages.saturating_add(1);
            self.message_parts(message);
        }
    }

    fn message_parts(&mut self, message: &Value) {
        self.named(
            message,
            &["name", "refusal", "reasoning_content", "reasoning", "tool_call_id"],
        );
        if let Some(content) = message.get("content") {
            self.content(content);
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.messages = self.messages.saturating_add(1);
            self.named(call, &["id"]);
            for function in [call.get("function"), call.get("custom")].into_iter().flatten() {
                self.named(function, &["name", "arguments", "input"]);
            }
        }
        if let Some(call) = message.get("function_call") {
            self.named(call, &["name", "arguments"]);
        }
        self.has_other_prompt |= message.get("audio").is_some_and(|audio| !audio.is_null());
    }

    /// A text, or parts of which each must be text.
    fn content(&mut self, content: &Value) {
        match content {
            Value::Null => {}
            Value::String(text) => self.push(text),
            Value::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            _ => self.has_other_prompt = true,
        }
    }

    fn part(&mut self, part: &Value) {
        if let Some(text) = part.as_str() {
            return self.push(text);
        }
        match part.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" | "input_text" | "output_text" => self.named(part, &["text"]),
            "refusal" => self.named(part, &["refusal"]),
            "thinking" => self.named(part, &["thinking"]),
            "tool_use" => self.named(part, &["name", "input"]),
            "tool_result" => {
                if let Some(content) = part.get("content") {
                    self.content(content);
                }
            }
            _ => self.has_other_prompt = true,
        }
    }

    /// Members that are text, or JSON that is written out.
    fn named(&mut self, object: &Value, names: &[&str]) {
        for name in names {
            match object.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => self.push(text),
                Some(other) => self.push(&other.to_string()),
            }
        }
    }

    /// A tool that runs at the provider reads and writes what we do not see.
    fn tools(&mut self, tools: &Value) {
        for tool in tools.as_array().into_iter().flatten() {
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or("function");
            if !matches!(kind, "function" | "custom") {
                self.has_other_prompt = true;
                self.has_hidden_answer = true;
            }
        }
    }
}

/// Prints how much was asked, and nothing of it.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len: usize = self.texts.iter().map(String::len).sum();
        write!(f, "Asked({} texts, {len} bytes)", self.texts.len())
    }
}

#[cfg(test)]
mod tests;
