//! A stream of chunks as Anthropic's events.
//!
//! Blocks follow one another: the next begins where the last one ends. A piece of a call whose block has ended cannot be
//! told any more and ends the stream with an error; no server that we know mixes calls.

use std::{borrow::Cow, ops::ControlFlow};

use bytes::BytesMut;
use serde_json::value::RawValue;

use super::super::{
    MAX_BLOCKS, Translate,
    completion::Used,
    object::{Object, Path, Wrong, is_empty},
    streaming::{Interpret, Streaming},
    value::{Json, Members},
};
use crate::{error::ErrorBody, sse::Event};

pub(super) fn stream(model: &str) -> Box<dyn Translate> {
    Box::new(Streaming::new(Interpreter {
        model: model.to_owned(),
        is_begun: false,
        open: None,
        blocks: 0,
        calls: Vec::new(),
        used: Used::default(),
        finish_reason: None,
        stop: None,
    }))
}

struct Interpreter {
    model: String,
    is_begun: bool,
    open: Option<Open>,
    /// Blocks begun, the open one included.
    blocks: u64,
    /// The index of each call begun.
    calls: Vec<u64>,
    used: Used,
    finish_reason: Option<String>,
    stop: Option<String>,
}

/// The block that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call(u64),
}

impl Interpret for Interpreter {
    fn event(&mut self, event: &Event<'_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong> {
        let Some(data) = event.data.as_deref() else {
            if event.has_comment {
                write(Members::new(), "ping", out);
            }
            return Ok(ControlFlow::Continue(()));
        };
        if event.name == Some(b"error") {
            self.fail(&ErrorBody::from_error(data), out);
            return Ok(ControlFlow::Break(()));
        }
        if data == b"[DONE]" {
            self.end(out);
            return Ok(ControlFlow::Break(()));
        }
        let chunk = Object::parse(data)?;
        if chunk.has("error") {
            self.fail(&ErrorBody::from_error(data), out);
            return Ok(ControlFlow::Break(()));
        }
        self.chunk(&chunk, out)?;
        Ok(ControlFlow::Continue(()))
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        out.extend_from_slice(&super::error_event(error));
    }
}

/// Every event has its name twice.
fn write(members: Members<'_>, name: &'static str, out: &mut BytesMut) {
    members.after("type", name).write_named_event(name, out);
}

impl Interpreter {
    fn chunk(&mut self, chunk: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        chunk.object("usage", |usage| {
            self.used = super::used(&usage);
            Ok::<_, Wrong>(())
        })?;
        if !self.is_begun {
            self.begin(&chunk.text("id")?.unwrap_or_default(), out);
        }
        for (index, choice) in chunk.list("choices")?.into_iter().enumerate() {
            let choice = Object::read(choice, chunk.path.element("choices", index))?;
            // A Message is one answer.
            if choice.tokens("index") == 0 {
                self.choice(&choice, out)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: &str, out: &mut BytesMut) {
        self.is_begun = true;
        let message = Members::new()
            .with("id", super::message_id(id))
            .with("type", "message")
            .with("role", "assistant")
            .with("model", &*self.model)
            .with("content", Vec::new())
            .with("stop_reason", Json::Null)
            .with("stop_sequence", Json::Null)
            .with("usage", super::usage(self.used));
        write(Members::new().with("message", message), "message_start", out);
    }

    fn choice(&mut self, choice: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        choice.object("delta", |delta| self.delta(&delta, out))?;
        let reason = choice.text("finish_reason")?;
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason.into_owned());
            // vLLM names the stop sequence here; where it is a number, it is a token's.
            self.stop = choice.text("stop_reason").ok().flatten().map(Cow::into_owned);
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        let reasoning = delta
            .raw_text("reasoning_content")?
            .or(delta.raw_text("reasoning").ok().flatten());
        self.say(Open::Thinking, reasoning, &delta.path, out)?;
        for (index, detail) in delta.list("reasoning_details")?.into_iter().enumerate() {
            let detail = Object::read(detail, delta.path.element("reasoning_details", index))?;
            self.detail(&detail, out)?;
        }
        self.say(Open::Text, delta.raw_text("content")?, &delta.path, out)?;
        self.say(Open::Text, delta.raw_text("refusal")?, &delta.path, out)?;
        for (index, piece) in delta.list("tool_calls")?.into_iter().enumerate() {
            let piece = Object::read(piece, delta.path.element("tool_calls", index))?;
            self.piece(&piece, out)?;
        }
        Ok(())
    }

    /// Text or reasoning, in the block that is open for it or a new one.
    fn say(&mut self, what: Open, text: Option<&RawValue>, path: &Path<'_>, out: &mut BytesMut) -> Result<(), Wrong> {
        let Some(text) = text.filter(|text| !is_empty(text)) else {
            return Ok(());
        };
        let thinking = matches!(what, Open::Thinking);
        if self.open != Some(what) {
            let block = if thinking {
                thinking_block()
            } else {
                Members::new().with("type", "text").with("text", "")
            };
            self.begin_block(what, block, path, out)?;
        }
        let delta = if thinking {
            Members::new().with("type", "thinking_delta").with("thinking", text)
        } else {
            Members::new().with("type", "text_delta").with("text", text)
        };
        self.block_delta(delta, out);
        Ok(())
    }

    /// A signature closes the thought that it signs.
    fn detail(&mut self, detail: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        if !detail.kind("format").starts_with("anthropic") {
            return Ok(());
        }
        match &*detail.kind("type") {
            "reasoning.text" => {
                let Some(signature) = detail.text("signature")? else {
                    return Ok(());
                };
                if self.open != Some(Open::Thinking) {
                    self.begin_block(Open::Thinking, thinking_block(), &detail.path, out)?;
                }
                let delta = Members::new()
                    .with("type", "signature_delta")
                    .with("signature", signature);
                self.block_delta(delta, out);
                self.end_block(out);
            }
            "reasoning.encrypted" => {
                let block = Members::new().with("type", "redacted_thinking");
                let block = block.with("data", detail.required_text("data")?);
                self.begin_block(Open::Thinking, block, &detail.path, out)?;
                self.end_block(out);
            }
            _ => {}
        }
        Ok(())
    }

    /// A piece of a tool call.
    fn piece(&mut self, piece: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        let index = piece.tokens("index");
        if self.open != Some(Open::Call(index)) {
            if self.calls.contains(&index) {
                return Err(piece.path.wrong("of the call that is open"));
            }
            let id = piece.required_text("id")?;
            let name = piece.object("function", |function| function.required_text("name"))?;
            let name = name.ok_or_else(|| piece.path.member("function").wrong("there"))?;
            let block = Members::new()
                .with("type", "tool_use")
                .with("id", id)
                .with("name", name)
                .with("input", Members::new());
            self.begin_block(Open::Call(index), block, &piece.path, out)?;
            self.calls.push(index);
        }
        let arguments = piece.object("function", |function| function.raw_text("arguments"))?;
        if let Some(arguments) = arguments.flatten().filter(|arguments| !is_empty(arguments)) {
            let delta = Members::new().with("type", "input_json_delta");
            self.block_delta(delta.with("partial_json", arguments), out);
        }
        Ok(())
    }

    fn begin_block(
        &mut self,
        open: Open,
        block: Members<'_>,
        path: &Path<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Wrong> {
        self.end_block(out);
        if self.blocks == MAX_BLOCKS as u64 {
            return Err(path.wrong("within 1024 blocks"));
        }
        let event = Members::new().with("index", self.blocks).with("content_block", block);
        write(event, "content_block_start", out);
        self.blocks += 1;
        self.open = Some(open);
        Ok(())
    }

    fn block_delta(&self, delta: Members<'_>, out: &mut BytesMut) {
        let event = Members::new().with("index", self.last_block()).with("delta", delta);
        write(event, "content_block_delta", out);
    }

    fn end_block(&mut self, out: &mut BytesMut) {
        if self.open.take().is_some() {
            let event = Members::new().with("index", self.last_block());
            write(event, "content_block_stop", out);
        }
    }

    fn last_block(&self) -> u64 {
        self.blocks.saturating_sub(1)
    }

    /// `[DONE]` is believed, as everywhere, but not before anything was said.
    fn end(&mut self, out: &mut BytesMut) {
        if !self.is_begun {
            return;
        }
        self.end_block(out);
        let reason = self.finish_reason.as_deref().unwrap_or("stop");
        let stop = self.stop.as_deref().map_or(Json::Null, Json::from);
        let delta = Members::new()
            .with("stop_reason", super::stop_reason(reason, self.stop.is_some()))
            .with("stop_sequence", stop);
        let event = Members::new()
            .with("delta", delta)
            .with("usage", super::usage(self.used));
        write(event, "message_delta", out);
        write(Members::new(), "message_stop", out);
    }
}

fn thinking_block() -> Members<'static> {
    Members::new()
        .with("type", "thinking")
        .with("thinking", "")
        .with("signature", "")
}
