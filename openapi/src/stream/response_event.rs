//! One typed event of the Responses API.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Facts, Fate};
use crate::{response::TextLen, usage::WireUsage};

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    is_finished: bool,
    sequence_number: Option<u64>,
}

#[derive(Deserialize)]
struct TypedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    sequence_number: Option<u64>,
    #[serde(default)]
    delta: TextLen,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    usage: Option<WireUsage>,
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(super) fn next_sequence_number(&self) -> u64 {
        self.sequence_number.map_or(0, |last| last.saturating_add(1))
    }

    /// Typed events always pass; we only learn from them.
    pub(super) fn read(&mut self, data: &[u8], facts: &mut Facts) -> Fate {
        facts.frames += 1;
        let Ok(event) = serde_json::from_slice::<TypedEvent<'_>>(data) else {
            return Fate::Keep;
        };
        self.sequence_number = event.sequence_number.or(self.sequence_number);
        let usage = event.response.and_then(|response| response.usage);
        facts.usage = usage.or(facts.usage);
        match event.kind.as_deref() {
            Some("response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "error") => {
                self.is_finished = true;
            }
            Some(kind) if kind.ends_with(".delta") => {
                facts.text_len += event.delta.0;
                facts.deltas += u64::from(event.delta.0 > 0);
            }
            _ => {}
        }
        Fate::Keep
    }
}
