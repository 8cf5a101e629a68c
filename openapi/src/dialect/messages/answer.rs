//! A chat completion as a Message.

use bytes::Bytes;

use super::super::{
    MAX_BLOCKS,
    completion::Used,
    conversation,
    object::{Object, Wrong, is_empty},
    value::{Json, Members},
};

pub(super) fn answer(chat: &Object<'_, '_>) -> Result<Bytes, Wrong> {
    let choices = chat.list("choices")?;
    let Some(choice) = choices.first() else {
        return Err(chat.path.member("choices").wrong("an array with a choice"));
    };
    let choice = Object::read(choice, chat.path.element("choices", 0))?;
    let finish_reason = choice.required_text("finish_reason")?;
    let content = choice.object("message", |message| content(&message, finish_reason == "length"))?;
    let content = content.ok_or_else(|| choice.path.member("message").wrong("there"))?;
    // vLLM names the stop sequence here; where it is a number, it is a token's.
    let stop = choice.raw_text("stop_reason").ok().flatten();
    let used = chat.object("usage", |usage| Ok::<_, Wrong>(super::used(&usage)))?;
    let id = chat.text("id")?.unwrap_or_default();
    let model = chat.raw_text("model")?;
    let message = Members::new()
        .with("id", super::message_id(&id))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", model.map_or(Json::from(""), Json::Raw))
        .with("content", content)
        .with("stop_reason", super::stop_reason(&finish_reason, stop.is_some()))
        .with("stop_sequence", stop.map_or(Json::Null, Json::Raw))
        .with("usage", super::usage(used.unwrap_or(Used::default())));
    Ok(message.to_bytes())
}

/// The blocks: thoughts, then text, then calls. A call that the limit of tokens cut is left out, for it cannot be made.
fn content<'a>(message: &Object<'a, '_>, is_cut: bool) -> Result<Vec<Json<'a>>, Wrong> {
    let mut blocks = thoughts(message)?;
    for name in ["content", "refusal"] {
        let text = message.raw_text(name)?;
        if let Some(text) = text.filter(|text| !is_empty(text)) {
            blocks.push(Members::new().with("type", "text").with("text", text).into());
        }
    }
    let calls = message.list("tool_calls")?;
    if calls.len() > MAX_BLOCKS {
        return Err(message
            .path
            .member("tool_calls")
            .wrong("an array of at most 1024 calls"));
    }
    for (index, call) in calls.into_iter().enumerate() {
        let call = Object::read(call, message.path.element("tool_calls", index))?;
        let id = call.required_text("id")?;
        let block = call.object("function", |function| {
            let written = function.text("arguments")?.unwrap_or_default();
            let name = function.required_text("name")?;
            let Some(input) = conversation::arguments(&written) else {
                let wrong = function.path.member("arguments").wrong("a JSON object in a string");
                return if is_cut { Ok(None) } else { Err(wrong) };
            };
            let block = Members::new().with("type", "tool_use").with("id", id);
            Ok(Some(block.with("name", name).with("input", input)))
        })?;
        let block = block.ok_or_else(|| call.path.member("function").wrong("there"))?;
        blocks.extend(block.map(Json::from));
    }
    Ok(blocks)
}

/// Thoughts with their signatures where the upstream gave some, else what it says of its reasoning.
fn thoughts<'a>(message: &Object<'a, '_>) -> Result<Vec<Json<'a>>, Wrong> {
    let mut blocks: Vec<Json<'a>> = Vec::new();
    for (index, detail) in message
        .list("reasoning_details")?
        .into_iter()
        .enumerate()
        .take(MAX_BLOCKS)
    {
        let detail = Object::read(detail, message.path.element("reasoning_details", index))?;
        blocks.extend(thought(&detail));
    }
    if blocks.is_empty() {
        let reasoning = message
            .raw_text("reasoning_content")?
            .or(message.raw_text("reasoning").ok().flatten());
        if let Some(reasoning) = reasoning.filter(|text| !is_empty(text)) {
            let block = Members::new().with("type", "thinking").with("thinking", reasoning);
            blocks.push(block.with("signature", "").into());
        }
    }
    Ok(blocks)
}

/// A block for a detail that is Anthropic's.
pub(super) fn thought<'a>(detail: &Object<'a, '_>) -> Option<Json<'a>> {
    if !detail.kind("format").starts_with("anthropic") {
        return None;
    }
    match &*detail.kind("type") {
        "reasoning.text" => {
            let signature = detail.raw_text("signature").ok().flatten()?;
            let text = detail.raw_text("text").ok().flatten();
            let block = Members::new()
                .with("type", "thinking")
                .with("thinking", text.map_or(Json::from(""), Json::Raw));
            Some(block.with("signature", signature).into())
        }
        "reasoning.encrypted" => {
            let data = detail.raw_text("data").ok().flatten()?;
            Some(
                Members::new()
                    .with("type", "redacted_thinking")
                    .with("data", data)
                    .into(),
            )
        }
        _ => None,
    }
}
