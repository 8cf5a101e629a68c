//! One typed event of the Responses API.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Facts, Fate, Watch, chunk::malformed};
use crate::{
    json::{self, TextLen},
    response::usage_of,
};

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    is_finished: bool,
    sequence_number: Option<u64>,
    /// The response as it was created, where we may have to end it.
    created: Option<String>,
}

/// The largest response that is kept.
const MAX_CREATED: usize = 256 * 1024;
/// Bytes of what a model writes around a call of a tool, beside its name and arguments.
const MARKUP: u64 = 64;

#[derive(Deserialize)]
struct TypedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(default)]
    delta: TextLen,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    /// The whole text, at its end.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<Item<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(super) fn next_sequence_number(&self) -> u64 {
        self.sequence_number.map_or(0, |last| last.saturating_add(1))
    }

    /// Of the event that was read last.
    pub(super) fn sequence_number(&self) -> u64 {
        self.sequence_number.unwrap_or(0)
    }

    /// The response as it was created.
    pub(super) fn created(&self) -> Option<&str> {
        self.created.as_deref()
    }

    /// Typed events pass if they are JSON; we only learn from them.
    pub(super) fn read(&mut self, data: &[u8], watch: Watch, facts: &mut Facts) -> Fate {
        let Ok(text) = std::str::from_utf8(data) else {
            return malformed();
        };
        let Ok(event) = serde_json::from_str::<TypedEvent<'_>>(text) else {
            if serde_json::from_str::<IgnoredAny>(text).is_err() {
                return malformed();
            }
            facts.frames += 1;
            return Fate::Keep;
        };
        facts.frames += 1;
        let sequence_number = event.sequence_number.and_then(|number| number.get().parse().ok());
        self.sequence_number = sequence_number.or(self.sequence_number);
        let response = event
            .response
            .and_then(|response| serde_json::from_str::<Response<'_>>(response.get()).ok());
        let usage = response.and_then(|response| response.usage);
        facts.usage = usage.and_then(usage_of).or(facts.usage);
        let kind = event.kind.and_then(json::string).unwrap_or_default();
        match &*kind {
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "error" => {
                self.is_finished = true;
            }
            "response.created" if watch.most.is_some() => {
                let created = event.response.filter(|response| response.get().len() <= MAX_CREATED);
                self.created = created.map(|response| response.get().to_owned());
            }
            "response.output_item.added" => {
                let name = event.item.and_then(|item| item.name);
                facts.markup_len += name.map_or(0, |name| name.get().len() as u64 + MARKUP);
            }
            "response.output_text.done" if watch.json => {
                let text = event.text.and_then(json::string);
                facts.is_broken_json |= text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(&text).is_err());
            }
            kind if kind.ends_with(".delta") => {
                facts.text_len += event.delta.0;
                if kind.starts_with("response.reasoning") {
                    facts.reasoning_len += event.delta.0;
                }
                facts.deltas += u64::from(event.delta.0 > 0);
            }
            _ => {}
        }
        Fate::Keep
    }
}
