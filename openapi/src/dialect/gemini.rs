//! Google's Gemini API for an upstream (ai.google.dev/api, "generateContent").
//!
//! Gemini's stream has no event for its end: it is whole when every candidate gave a reason and the body ended.

mod answer;
mod error;
mod request;
mod stream;

pub(super) use answer::answer;
pub(super) use error::error;
pub(super) use request::request;
pub(super) use stream::stream;

use serde_json::value::RawValue;

use super::{
    completion::{self, Used},
    object::{Object, Wrong, is_empty},
    value::{Json, Members},
};

/// Thoughts come on top of the candidates, what the cache gave is within the prompt.
fn used(usage: &Object<'_, '_>) -> Used {
    let reasoning = usage.tokens("thoughtsTokenCount");
    Used {
        prompt: usage
            .tokens("promptTokenCount")
            .saturating_add(usage.tokens("toolUsePromptTokenCount")),
        cached: usage.tokens("cachedContentTokenCount"),
        cache_write: 0,
        completion: usage.tokens("candidatesTokenCount").saturating_add(reasoning),
        reasoning,
    }
}

/// The reason to finish, or `None` where the model failed at what it wanted to say.
fn finish_reason(reason: &str, has_calls: bool) -> Option<&'static str> {
    Some(match reason {
        "MAX_TOKENS" | "CONTINUATION" => "length",
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => "content_filter",
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => return None,
        _ if has_calls => "tool_calls",
        // STOP, OTHER, and what is new.
        _ => "stop",
    })
}

/// Whether the prompt was blocked, so that there are no candidates.
fn is_blocked(answer: &Object<'_, '_>) -> Result<bool, Wrong> {
    let reason = answer.object("promptFeedback", |feedback| feedback.text("blockReason"))?;
    Ok(reason.flatten().is_some())
}

/// What one part of a candidate says.
enum Part<'a> {
    Text(&'a RawValue),
    Thought(&'a RawValue),
    Call(Call<'a>),
    /// Nothing that a chat completion could hold.
    Other,
}

struct Call<'a> {
    id: Option<&'a RawValue>,
    name: &'a RawValue,
    arguments: &'a str,
}

/// A part, and its signature.
fn part<'a>(part: &Object<'a, '_>) -> Result<(Part<'a>, Option<&'a RawValue>), Wrong> {
    let signature = part.raw_text("thoughtSignature")?;
    let call = part.object("functionCall", |call| {
        let missing = || call.path.member("name").wrong("there; it is a required string");
        let arguments = call.object("args", |_| Ok::<_, Wrong>(()))?;
        Ok::<_, Wrong>(Call {
            id: call.raw_text("id")?.filter(|id| !is_empty(id)),
            name: call.raw_text("name")?.ok_or_else(missing)?,
            arguments: arguments
                .and_then(|()| call.get("args"))
                .map_or("{}", |arguments| arguments.get()),
        })
    })?;
    if let Some(call) = call {
        return Ok((Part::Call(call), signature));
    }
    let Some(text) = part.raw_text("text")? else {
        return Ok((Part::Other, signature));
    };
    let is_thought = part.flag("thought")? == Some(true);
    let said = if is_thought {
        Part::Thought(text)
    } else {
        Part::Text(text)
    };
    Ok((said, signature))
}

/// `extra_content`, where Google's own translation keeps signatures.
fn extra_content(signature: &RawValue) -> Members<'_> {
    let google = Members::new().with("thought_signature", signature);
    Members::new().with("google", google)
}

impl<'a> Call<'a> {
    /// A call without an id gets one that no other call of the conversation has: the answer's, and a number.
    fn members(self, answer: &str, choice: u64, index: u64, signature: Option<&'a RawValue>) -> Members<'a> {
        let made = || {
            let answer = answer.strip_prefix("chatcmpl-").unwrap_or(answer);
            Json::from(format!("call_{answer}_{choice}_{index}"))
        };
        let id = self.id.map_or_else(made, Json::Raw);
        completion::tool_call(id, self.name.into(), self.arguments.into())
            .with_some("extra_content", signature.map(extra_content))
    }
}

/// Log probabilities, token by token.
fn logprobs<'a>(candidate: &Object<'a, '_>) -> Result<Option<Json<'a>>, Wrong> {
    let found = candidate.object("logprobsResult", |result| {
        let top = result.list("topCandidates")?;
        let mut tokens: Vec<Json<'a>> = Vec::new();
        for (index, chosen) in result.list("chosenCandidates")?.into_iter().enumerate() {
            let chosen = Object::read(chosen, result.path.element("chosenCandidates", index))?;
            let mut others: Vec<Json<'a>> = Vec::new();
            if let Some(top) = top.get(index) {
                let top = Object::read(top, result.path.element("topCandidates", index))?;
                for (index, other) in top.list("candidates")?.into_iter().enumerate() {
                    let other = Object::read(other, top.path.element("candidates", index))?;
                    others.push(logprob(&other)?.into());
                }
            }
            tokens.push(logprob(&chosen)?.with("top_logprobs", others).into());
        }
        Ok::<_, Wrong>(Members::new().with("content", tokens).with("refusal", Json::Null))
    })?;
    Ok(found.map(Json::from))
}

fn logprob<'a>(token: &Object<'a, '_>) -> Result<Members<'a>, Wrong> {
    token.number("logProbability")?;
    Ok(Members::new()
        .with("token", token.raw_text("token")?.map_or(Json::from(""), Json::Raw))
        .with("logprob", token.get("logProbability").map_or(Json::Count(0), Json::Raw))
        .with("bytes", Json::Null))
}
