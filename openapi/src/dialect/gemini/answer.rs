//! A GenerateContentResponse as a chat completion.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    super::{
        Asked, MAX_BLOCKS,
        completion::{self, Choice, Used},
        object::{self, Object, Wrong},
        value::Json,
    },
    Part, extra_content, finish_reason, is_blocked, logprobs, part, used,
};

pub(in super::super) fn answer(theirs: &Object<'_, '_>, asked: &Asked) -> Result<Bytes, Wrong> {
    let id = theirs.text("responseId")?;
    let id = id.as_deref().unwrap_or(&asked.id);
    let candidates = theirs.list("candidates")?;
    let mut choices = Vec::new();
    if candidates.len() > MAX_BLOCKS {
        return Err(theirs
            .path
            .member("candidates")
            .wrong("an array of at most 1024 candidates"));
    }
    for (position, candidate) in candidates.into_iter().enumerate() {
        let candidate = Object::read(candidate, theirs.path.element("candidates", position))?;
        let index = candidate.count("index")?.unwrap_or(position as u64);
        choices.push((index, choice(&candidate, id, index)?));
    }
    if choices.is_empty() {
        if !is_blocked(theirs)? {
            return Err(theirs.path.member("candidates").wrong("an array with a candidate"));
        }
        let blocked = Choice {
            content: Some("".into()),
            finish_reason: "content_filter",
            ..Choice::default()
        };
        choices.push((0, blocked));
    }
    let used = theirs.object("usageMetadata", |usage| Ok::<Used, Wrong>(used(&usage)))?;
    Ok(completion::whole(id, asked, choices, used))
}

fn choice<'a>(candidate: &Object<'a, '_>, id: &str, index: u64) -> Result<Choice<'a>, Wrong> {
    let mut choice = Choice::default();
    let mut text: Option<Cow<'a, str>> = None;
    candidate.object("content", |content| {
        let parts = content.list("parts")?;
        if parts.len() > MAX_BLOCKS {
            return Err(content.path.member("parts").wrong("an array of at most 1024 parts"));
        }
        for (position, value) in parts.into_iter().enumerate() {
            let value = Object::read(value, content.path.element("parts", position))?;
            let (said, signature) = part(&value)?;
            match said {
                Part::Text(written) => text = Some(join(text.take(), written)),
                Part::Thought(written) => {
                    let thought = object::text(written).unwrap_or_default();
                    choice.reasoning.get_or_insert_default().push_str(&thought);
                }
                Part::Call(call) => {
                    let number = choice.tool_calls.len() as u64;
                    choice
                        .tool_calls
                        .push(call.members(id, index, number, signature).into());
                    continue;
                }
                Part::Other => {}
            }
            if let Some(signature) = signature {
                choice.extra_content = Some(extra_content(signature).into());
            }
        }
        Ok(())
    })?;
    choice.content = text.map(Json::Text);
    choice.logprobs = logprobs(candidate)?;
    let reason = candidate.required_text("finishReason")?;
    let reason = finish_reason(&reason, !choice.tool_calls.is_empty());
    let failed = || candidate.path.member("finishReason").wrong("that of an answer");
    choice.finish_reason = reason.ok_or_else(failed)?;
    Ok(choice)
}

fn join<'a>(before: Option<Cow<'a, str>>, written: &'a RawValue) -> Cow<'a, str> {
    let text = object::text(written).unwrap_or_default();
    match before {
        Some(before) => before + text,
        None => text,
    }
}
