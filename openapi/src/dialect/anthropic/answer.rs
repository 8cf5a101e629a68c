//! A Message as a chat completion.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    super::{
        Asked, MAX_BLOCKS,
        completion::{self, Choice, Used},
        object::{Object, Wrong},
        value::{Json, Members},
    },
    FORMAT, finish_reason, used,
};

pub(in super::super) fn answer(message: &Object<'_, '_>, asked: &Asked) -> Result<Bytes, Wrong> {
    if message.kind("type") != "message" {
        return Err(message.path.member("type").wrong("message"));
    }
    let blocks = message.list("content")?;
    if !message.has("content") || blocks.len() > MAX_BLOCKS {
        return Err(message.path.member("content").wrong("an array of at most 1024 blocks"));
    }
    let mut said = Said::default();
    for (index, block) in blocks.into_iter().enumerate() {
        let block = Object::read(block, message.path.element("content", index))?;
        said.add(&block)?;
    }
    let stop_reason = message.required_text("stop_reason")?;
    let choice = Choice {
        content: said.text.map(Json::Text),
        reasoning: said.reasoning,
        reasoning_details: said.details,
        tool_calls: said.calls,
        finish_reason: finish_reason(&stop_reason),
        stop_reason: message.raw_text("stop_sequence")?.map(Json::Raw),
        ..Choice::default()
    };
    let used = message.object("usage", |usage| Ok::<Used, Wrong>(used(&usage)))?;
    let id = message.text("id")?;
    let id = id.as_deref().unwrap_or(&asked.id);
    Ok(completion::whole(id, asked, vec![(0, choice)], used))
}

/// What the blocks say, by kind.
#[derive(Default)]
struct Said<'a> {
    text: Option<Cow<'a, str>>,
    reasoning: Option<String>,
    details: Vec<Json<'a>>,
    calls: Vec<Json<'a>>,
}

impl<'a> Said<'a> {
    fn add(&mut self, block: &Object<'a, '_>) -> Result<(), Wrong> {
        match &*block.kind("type") {
            "text" => {
                let text = block.required_text("text")?;
                self.text = Some(match self.text.take() {
                    Some(before) => before + text,
                    None => text,
                });
            }
            "thinking" => {
                let thinking = block.required_text("thinking")?;
                let signature = block.text("signature")?.unwrap_or_default();
                self.reasoning.get_or_insert_default().push_str(&thinking);
                let index = self.details.len() as u64;
                self.details.push(thought(index, &thinking, &signature).into());
            }
            "redacted_thinking" => {
                let data = block.required_text("data")?;
                let index = self.details.len() as u64;
                self.details.push(redacted(index, data).into());
            }
            "tool_use" => {
                let id = Json::Text(block.required_text("id")?);
                let name = Json::Text(block.required_text("name")?);
                let input = block.get("input").map_or("{}", |input| input.get());
                self.calls.push(completion::tool_call(id, name, input.into()).into());
            }
            // Blocks of tools that run at Anthropic's cannot come: no request asks for one.
            _ => {}
        }
        Ok(())
    }
}

/// A thought as the next turn must bring it back.
pub(in super::super) fn thought(index: u64, text: &str, signature: &str) -> Members<'static> {
    Members::new()
        .with("type", "reasoning.text")
        .with("text", text.to_owned())
        .with("signature", signature.to_owned())
        .with("format", FORMAT)
        .with("index", index)
}

pub(in super::super) fn redacted<'a>(index: u64, data: Cow<'a, str>) -> Members<'a> {
    Members::new()
        .with("type", "reasoning.encrypted")
        .with("data", data)
        .with("format", FORMAT)
        .with("index", index)
}
