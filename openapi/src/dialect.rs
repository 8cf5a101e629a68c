//! Translation between OpenAI's chat completions and what others speak: Anthropic's Messages, Gemini's generateContent.
//!
//! [`Dialect`] is for upstreams: a chat completion becomes their request, their answer becomes a chat completion.
//! [`messages`] is for clients: Anthropic's wire in front of an upstream that speaks OpenAI's.
//! `docs/dialects.md` has every table: what becomes what, what is refused, what is dropped.
//!
//! What it refuses: a parameter that would change the answer and has no counterpart is [`Untranslatable`], so that
//! nobody is served something else than was asked; what changes nothing that a client would notice is dropped.
//! A stream that was cut never gets an end: no finish reason, no `[DONE]`, no `message_stop`.
//! What it leaves to the caller: paths, headers, credentials, and the depth of request bodies.
//! What a hostile upstream might try: events without end ([`MAX_EVENT`]), deep arguments ([`MAX_DEPTH`](crate::json::MAX_DEPTH)),
//! blocks and calls without number ([`MAX_BLOCKS`]).

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::{error::ErrorBody, usage::WireUsage};

mod anthropic;
mod completion;
mod conversation;
mod effort;
mod gemini;
pub mod messages;
mod object;
mod streaming;
mod value;

use object::{Object, Wrong};

/// The longest event of an upstream's stream, in bytes: Gemini sends images whole.
pub const MAX_EVENT: usize = 16 * 1024 * 1024;
/// The most content blocks, candidates or tool calls of one answer.
pub const MAX_BLOCKS: usize = 1024;

/// What an upstream speaks where it does not speak OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Anthropic's Messages API, `POST /v1/messages`.
    Anthropic,
    /// Google's Gemini API, `POST /v1beta/models/MODEL:generateContent` and `:streamGenerateContent?alt=sse`.
    Gemini,
}

/// Something in a request that the other side has no word for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Untranslatable {
    /// Where it stands, such as `logit_bias` or `messages[2].content[0]`.
    pub param: Cow<'static, str>,
    /// A sentence for the client: what has no counterpart, and what to do.
    pub message: String,
}

/// An answer that is not what its dialect says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what its dialect says: {what}")]
pub struct Malformed {
    what: String,
}

/// What the answer needs to know of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name to answer under.
    pub model: String,
    /// Whether the client asked for a stream's usage.
    pub include_usage: bool,
    /// For answers that carry none.
    pub id: String,
    /// Unix seconds.
    pub created: u64,
}

/// Translates a stream as it arrives.
pub trait Translate: Send + std::fmt::Debug {
    /// Takes bytes as they arrive, in any pieces; appends what can be said.
    fn feed(&mut self, bytes: &[u8], out: &mut BytesMut);
    /// The upstream's body has ended. Never invents an end: a stream that was cut gets no finish reason and no `[DONE]`.
    fn finish(&mut self, out: &mut BytesMut);
    /// What the upstream has said of usage until now, which is told at the end only.
    fn usage_so_far(&self) -> Option<WireUsage> {
        None
    }
}

/// The error of an `error` event of Anthropic's.
pub(crate) fn error_of_event(data: &[u8]) -> ErrorBody {
    anthropic::error::of_event(data)
}

impl Dialect {
    /// A chat completion's body becomes their body. Whether to stream stands in Anthropic's body and in Gemini's path.
    pub fn request(self, chat: &[u8], model: &str) -> Result<Bytes, Untranslatable> {
        let chat = Object::parse(chat)?;
        match self {
            Self::Anthropic => anthropic::request(&chat, model),
            Self::Gemini => gemini::request(&chat, model),
        }
    }

    /// Their whole answer becomes a chat completion.
    pub fn answer(self, theirs: &[u8], asked: &Asked) -> Result<Bytes, Malformed> {
        let theirs = Object::parse(theirs)?;
        match self {
            Self::Anthropic => Ok(anthropic::answer(&theirs, asked)?),
            Self::Gemini => Ok(gemini::answer(&theirs, asked)?),
        }
    }

    /// Their event stream becomes one of chat completion chunks, with `[DONE]` at a proper end only.
    pub fn stream(self, asked: Asked) -> Box<dyn Translate> {
        match self {
            Self::Anthropic => anthropic::stream(asked),
            Self::Gemini => gemini::stream(asked),
        }
    }

    /// Their error, with the status that OpenAI's clients know it by. `None` when the body says nothing of an error.
    pub fn error(self, status: u16, body: &[u8]) -> Option<(u16, ErrorBody)> {
        match self {
            Self::Anthropic => anthropic::error(status, body),
            Self::Gemini => gemini::error(status, body),
        }
    }

    /// For the messages of errors.
    fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "Anthropic's Messages API",
            Self::Gemini => "the Gemini API",
        }
    }
}

impl Untranslatable {
    fn new(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            param: param.into(),
            message: message.into(),
        }
    }
}

impl From<Wrong> for Untranslatable {
    fn from(wrong: Wrong) -> Self {
        let message = format!("The request cannot be translated for this model: {wrong}. Correct it and try again.");
        Self::new(wrong.path, message)
    }
}

impl From<Wrong> for Malformed {
    fn from(wrong: Wrong) -> Self {
        Self {
            what: wrong.to_string(),
        }
    }
}
