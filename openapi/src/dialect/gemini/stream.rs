//! Gemini's event stream as chunks: every event is a response of its own, with the next parts of each candidate.

use std::ops::ControlFlow;

use bytes::BytesMut;

use super::{
    super::{
        Asked, MAX_BLOCKS, Translate,
        completion::{Chunks, Used},
        object::{Object, Wrong, is_empty},
        streaming::{Interpret, Streaming},
        value::{Json, Members},
    },
    Part, error, extra_content, finish_reason, is_blocked, logprobs, part, used,
};
use crate::{error::ErrorBody, sse::Event};

pub(in super::super) fn stream(asked: Asked) -> Box<dyn Translate> {
    Box::new(Streaming::new(Interpreter {
        chunks: Chunks::new(asked),
        is_begun: false,
        candidates: Vec::new(),
        used: None,
    }))
}

/// OpenAI's document: `n` is at most 128.
const MAX_CANDIDATES: u64 = 128;

struct Interpreter {
    chunks: Chunks,
    is_begun: bool,
    candidates: Vec<Candidate>,
    used: Option<Used>,
}

#[derive(Default)]
struct Candidate {
    calls: u64,
    /// Said at the end of the body only.
    finish_reason: Option<&'static str>,
}

impl Interpret for Interpreter {
    fn event(&mut self, event: &Event<'_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong> {
        let Some(data) = event.data.as_deref() else {
            return Ok(ControlFlow::Continue(()));
        };
        let response = Object::parse(data)?;
        if response.has("error") {
            self.fail(&error::of_event(data), out);
            return Ok(ControlFlow::Break(()));
        }
        if !self.is_begun {
            self.is_begun = true;
            if let Some(id) = response.text("responseId")? {
                self.chunks.adopt_id(&id);
            }
        }
        // The counts of an event are those so far, and the last event has all.
        response.object("usageMetadata", |usage| {
            self.used = Some(used(&usage));
            Ok::<_, Wrong>(())
        })?;
        for (position, candidate) in response.list("candidates")?.into_iter().enumerate() {
            let candidate = Object::read(candidate, response.path.element("candidates", position))?;
            if self.candidate(&candidate, out)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if self.candidates.is_empty() && is_blocked(&response)? {
            let at = self.position(0, out);
            self.candidates[at].finish_reason = Some("content_filter");
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, out: &mut BytesMut) {
        let is_whole = |candidate: &Candidate| candidate.finish_reason.is_some();
        if self.candidates.is_empty() || !self.candidates.iter().all(is_whole) {
            return;
        }
        for (index, candidate) in (0..).zip(&self.candidates) {
            if let Some(reason) = candidate.finish_reason {
                self.chunks.finish(index, reason, None, out);
            }
        }
        self.chunks.usage(self.used, out);
        self.chunks.done(out);
    }

    fn used(&self) -> Option<Used> {
        self.used
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        self.chunks.error(error, out);
    }
}

impl Interpreter {
    /// Where a candidate is kept. Those with lower indices begin before it, for OpenAI's SDKs count on that.
    fn position(&mut self, index: u64, out: &mut BytesMut) -> usize {
        while self.candidates.len() as u64 <= index {
            self.chunks.role(self.candidates.len() as u64, out);
            self.candidates.push(Candidate::default());
        }
        index as usize
    }

    fn candidate(&mut self, candidate: &Object<'_, '_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong> {
        let index = candidate.count("index")?.unwrap_or(0);
        if index >= MAX_CANDIDATES {
            return Err(candidate.path.wrong("within 128 candidates"));
        }
        let at = self.position(index, out);
        let mut logprobs = logprobs(candidate)?;
        candidate.object("content", |content| {
            for (position, value) in content.list("parts")?.into_iter().enumerate() {
                let value = Object::read(value, content.path.element("parts", position))?;
                self.part(at, &value, &mut logprobs, out)?;
            }
            Ok::<_, Wrong>(())
        })?;
        if let Some(logprobs) = logprobs {
            self.chunks
                .delta_with_logprobs(index, Members::new(), Some(logprobs), out);
        }
        if let Some(reason) = candidate.text("finishReason")?.filter(|reason| !is_unspecified(reason)) {
            let has_calls = self.candidates[at].calls > 0;
            let Some(reason) = finish_reason(&reason, has_calls) else {
                let message = "The model failed to write a tool call that makes sense.";
                self.fail(&ErrorBody::new("server_error", "upstream_error", message), out);
                return Ok(ControlFlow::Break(()));
            };
            self.candidates[at].finish_reason = Some(reason);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn part<'a>(
        &mut self,
        at: usize,
        value: &Object<'a, '_>,
        logprobs: &mut Option<Json<'a>>,
        out: &mut BytesMut,
    ) -> Result<(), Wrong> {
        let candidate = &mut self.candidates[at];
        let (said, signature) = part(value)?;
        let mut delta = Members::new();
        match said {
            Part::Text(text) if !is_empty(text) => delta.put("content", text),
            Part::Thought(text) if !is_empty(text) => delta.put("reasoning_content", text),
            Part::Call(call) => {
                let number = candidate.calls;
                if number == MAX_BLOCKS as u64 {
                    return Err(value.path.wrong("within 1024 calls"));
                }
                candidate.calls += 1;
                let call = call.members(self.chunks.id(), at as u64, number, signature);
                delta.put("tool_calls", vec![call.after("index", number).into()]);
                self.chunks.delta(at as u64, delta, out);
                return Ok(());
            }
            _ => {}
        }
        delta.put_some("extra_content", signature.map(extra_content));
        if !delta.is_empty() {
            self.chunks.delta_with_logprobs(at as u64, delta, logprobs.take(), out);
        }
        Ok(())
    }
}

fn is_unspecified(reason: &str) -> bool {
    matches!(reason, "" | "FINISH_REASON_UNSPECIFIED")
}
