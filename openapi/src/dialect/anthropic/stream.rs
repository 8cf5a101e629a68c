//! Anthropic's event stream as chunks (platform.claude.com/docs, "Streaming messages").

use std::{borrow::Cow, ops::ControlFlow};

use bytes::BytesMut;
use serde_json::value::RawValue;

use super::{
    super::{
        Asked, MAX_BLOCKS, MAX_EVENT, Translate,
        completion::{self, Chunks, Used},
        object::{Object, Path, Wrong, is_empty},
        streaming::{Interpret, Streaming},
        value::{Json, Members},
    },
    answer, error, finish_reason, used,
};
use crate::{error::ErrorBody, sse, sse::Event};

pub(in super::super) fn stream(asked: Asked) -> Box<dyn Translate> {
    Box::new(Streaming::new(Interpreter {
        chunks: Chunks::new(asked),
        is_begun: false,
        used: None,
        stop: None,
        blocks: Vec::new(),
        begun_blocks: 0,
        calls: 0,
        details: 0,
        remembered: 0,
    }))
}

struct Interpreter {
    chunks: Chunks,
    is_begun: bool,
    used: Option<Used>,
    /// The finish reason and the stop sequence, said at the end only.
    stop: Option<(&'static str, Option<String>)>,
    /// The blocks that are open: one at a time, as far as we know.
    blocks: Vec<(u64, Block)>,
    begun_blocks: usize,
    calls: u64,
    details: u64,
    /// Bytes of what was kept of all blocks.
    remembered: usize,
}

enum Block {
    Text,
    /// A call by its index among calls, with its input for the case that no delta comes.
    Call {
        index: u64,
        input: String,
        is_said: bool,
    },
    /// Kept whole until it ends, for it must come back whole.
    Thought {
        text: String,
        signature: String,
    },
    Other,
}

impl Interpret for Interpreter {
    fn event(&mut self, event: &Event<'_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong> {
        let Some(data) = event.data.as_deref() else {
            return Ok(ControlFlow::Continue(()));
        };
        let object = Object::parse(data)?;
        let kind = object.kind("type");
        match &*kind {
            "error" => {
                self.fail(&error::of_event(data), out);
                return Ok(ControlFlow::Break(()));
            }
            "ping" => {
                out.extend_from_slice(sse::COMMENT);
                return Ok(ControlFlow::Continue(()));
            }
            "message_start" => self.begin(&object, out)?,
            _ if !self.is_begun => return Err(object.path.member("type").wrong("message_start, which comes first")),
            "content_block_start" => self.begin_block(&object, out)?,
            "content_block_delta" => self.delta(&object, out)?,
            "content_block_stop" => self.end_block(&object, out),
            "message_delta" => self.message_delta(&object)?,
            "message_stop" => return self.end(&object, out),
            // New events are no reason to stop.
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn used(&self) -> Option<Used> {
        self.used
    }

    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut) {
        self.chunks.error(error, out);
    }
}

impl Interpreter {
    fn begin(&mut self, event: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        if self.is_begun {
            return Err(event.path.member("type").wrong("message_start a single time"));
        }
        self.is_begun = true;
        event.object("message", |message| {
            if let Some(id) = message.text("id")? {
                self.chunks.adopt_id(&id);
            }
            self.count(&message)
        })?;
        self.chunks.role(0, out);
        Ok(())
    }

    /// Counts are totals so far; those of a later event may lack what an earlier one told.
    fn count(&mut self, object: &Object<'_, '_>) -> Result<(), Wrong> {
        object.object("usage", |usage| {
            let (before, now) = (self.used.unwrap_or_default(), used(&usage));
            self.used = Some(Used {
                prompt: before.prompt.max(now.prompt),
                cached: before.cached.max(now.cached),
                cache_write: before.cache_write.max(now.cache_write),
                completion: before.completion.max(now.completion),
                reasoning: before.reasoning.max(now.reasoning),
            });
            Ok::<_, Wrong>(())
        })?;
        Ok(())
    }

    fn begin_block(&mut self, event: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        self.begun_blocks += 1;
        if self.begun_blocks > MAX_BLOCKS {
            return Err(event.path.member("index").wrong("within 1024 blocks"));
        }
        let at = event.tokens("index");
        let block = event.object("content_block", |block| self.block(&block, out))?;
        let block = block.ok_or_else(|| event.path.member("content_block").wrong("there"))?;
        self.remembered += match &block {
            Block::Call { input, .. } => input.len(),
            Block::Thought { text, signature } => text.len() + signature.len(),
            Block::Text | Block::Other => 0,
        };
        self.check_remembered(&event.path)?;
        self.blocks.retain(|(open, _)| *open != at);
        self.blocks.push((at, block));
        Ok(())
    }

    fn block(&mut self, block: &Object<'_, '_>, out: &mut BytesMut) -> Result<Block, Wrong> {
        match &*block.kind("type") {
            "text" => {
                self.say("content", block.raw_text("text")?, out);
                Ok(Block::Text)
            }
            "thinking" => {
                let text = block.text("thinking")?.unwrap_or_default();
                self.say("reasoning_content", block.raw_text("thinking")?, out);
                Ok(Block::Thought {
                    text: text.into_owned(),
                    signature: block.text("signature")?.unwrap_or_default().into_owned(),
                })
            }
            "redacted_thinking" => {
                let data = block.required_text("data")?;
                let detail = answer::redacted(self.details, data);
                self.say_detail(detail, out);
                Ok(Block::Other)
            }
            "tool_use" => {
                let id = block.required_text("id")?;
                let name = block.required_text("name")?;
                let index = self.calls;
                self.calls += 1;
                let call = completion::tool_call(Json::Text(id), Json::Text(name), "".into());
                self.say_call(call.after("index", index), out);
                let input = block.get("input").map_or("{}", |input| input.get());
                Ok(Block::Call {
                    index,
                    input: input.to_owned(),
                    is_said: false,
                })
            }
            _ => Ok(Block::Other),
        }
    }

    fn delta(&mut self, event: &Object<'_, '_>, out: &mut BytesMut) -> Result<(), Wrong> {
        let at = event.tokens("index");
        event.object("delta", |delta| match &*delta.kind("type") {
            "text_delta" => {
                self.say("content", delta.raw_text("text")?, out);
                Ok(())
            }
            "thinking_delta" => {
                let piece = delta.required_text("thinking")?;
                self.remember(at, &delta.path, |text, _| text.push_str(&piece))?;
                self.say("reasoning_content", delta.raw_text("thinking")?, out);
                Ok(())
            }
            "signature_delta" => {
                let piece = delta.required_text("signature")?;
                self.remember(at, &delta.path, |_, signature| signature.push_str(&piece))
            }
            "input_json_delta" => {
                let Some(piece) = delta.raw_text("partial_json")?.filter(|piece| !is_empty(piece)) else {
                    return Ok(());
                };
                let Some(Block::Call { index, is_said, .. }) = self.open(at) else {
                    return Err(delta.path.wrong("of a block that is open"));
                };
                *is_said = true;
                let index = *index;
                self.say_arguments(index, Json::Raw(piece), out);
                Ok(())
            }
            // Citations, and what is new.
            _ => Ok(()),
        })?;
        Ok(())
    }

    fn open(&mut self, at: u64) -> Option<&mut Block> {
        let found = self.blocks.iter_mut().find(|(open, _)| *open == at);
        found.map(|(_, block)| block)
    }

    fn check_remembered(&self, path: &Path<'_>) -> Result<(), Wrong> {
        if self.remembered > MAX_EVENT {
            return Err(path.wrong("of an answer with thoughts within 16 MiB"));
        }
        Ok(())
    }

    fn remember(&mut self, at: u64, path: &Path<'_>, add: impl FnOnce(&mut String, &mut String)) -> Result<(), Wrong> {
        let open = self.blocks.iter_mut().find(|(open, _)| *open == at);
        let Some((_, Block::Thought { text, signature })) = open else {
            return Err(path.wrong("of a block that is open"));
        };
        let before = text.len() + signature.len();
        add(text, signature);
        self.remembered += text.len() + signature.len() - before;
        self.check_remembered(path)
    }

    fn end_block(&mut self, event: &Object<'_, '_>, out: &mut BytesMut) {
        let at = event.tokens("index");
        let Some(position) = self.blocks.iter().position(|(open, _)| *open == at) else {
            return;
        };
        match self.blocks.remove(position).1 {
            Block::Call {
                index,
                input,
                is_said: false,
            } => self.say_arguments(index, input.into(), out),
            // A thought without a signature is nothing that the next turn could bring back.
            Block::Thought { text, signature } if !signature.is_empty() => {
                let detail = answer::thought(self.details, &text, &signature);
                self.say_detail(detail, out);
            }
            _ => {}
        }
    }

    fn message_delta(&mut self, event: &Object<'_, '_>) -> Result<(), Wrong> {
        self.count(event)?;
        event.object("delta", |delta| {
            if let Some(reason) = delta.text("stop_reason")? {
                let sequence = delta.text("stop_sequence")?.map(Cow::into_owned);
                self.stop = Some((finish_reason(&reason), sequence));
            }
            Ok::<_, Wrong>(())
        })?;
        Ok(())
    }

    fn end(&mut self, event: &Object<'_, '_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong> {
        let Some((reason, sequence)) = self.stop.take() else {
            return Err(event.path.member("type").wrong("message_stop after a stop_reason"));
        };
        self.chunks.finish(0, reason, sequence.as_deref(), out);
        self.chunks.usage(self.used, out);
        self.chunks.done(out);
        Ok(ControlFlow::Break(()))
    }

    fn say(&self, name: &'static str, text: Option<&RawValue>, out: &mut BytesMut) {
        if let Some(text) = text.filter(|text| !is_empty(text)) {
            self.chunks.delta(0, Members::new().with(name, text), out);
        }
    }

    fn say_detail(&mut self, detail: Members<'_>, out: &mut BytesMut) {
        self.details += 1;
        let details: Vec<Json<'_>> = vec![detail.into()];
        self.chunks
            .delta(0, Members::new().with("reasoning_details", details), out);
    }

    fn say_arguments(&self, index: u64, arguments: Json<'_>, out: &mut BytesMut) {
        let function = Members::new().with("arguments", arguments);
        self.say_call(Members::new().with("index", index).with("function", function), out);
    }

    fn say_call(&self, call: Members<'_>, out: &mut BytesMut) {
        let calls: Vec<Json<'_>> = vec![call.into()];
        self.chunks.delta(0, Members::new().with("tool_calls", calls), out);
    }
}
