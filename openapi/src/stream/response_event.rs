//! One typed event of the Responses API.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Facts, Fate, chunk::malformed};
use crate::{
    json::{self, TextLen},
    response::usage_of,
};

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    is_finished: bool,
    sequence_number: Option<u64>,
}

#[derive(Deserialize)]
struct TypedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(default)]
    delta: TextLen,
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(super) fn next_sequence_number(&self) -> u64 {
        self.sequence_number.map_or(0, |last| last.saturating_add(1))
    }

    /// Typed events pass if they are JSON; we only learn from them.
    pub(super) fn read(&mut self, data: &[u8], facts: &mut Facts) -> Fate {
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
        let usage = event.response.and_then(|response| response.usage);
        facts.usage = usage.and_then(usage_of).or(facts.usage);
        let kind = event.kind.and_then(json::string).unwrap_or_default();
        match &*kind {
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "error" => {
                self.is_finished = true;
            }
            kind if kind.ends_with(".delta") => {
                facts.text_len += event.delta.0;
                facts.deltas += u64::from(event.delta.0 > 0);
            }
            _ => {}
        }
        Fate::Keep
    }
}
