//! Between what a client speaks and what an upstream speaks, where the two differ.
//!
//! Four ways, by the client's wire and the upstream's [`Dialect`]:
//!
//! | client | upstream | request | answer |
//! |---|---|---|---|
//! | chat completions | OpenAI's | as it came | as it came |
//! | chat completions | Anthropic, Gemini | translated | translated, then read |
//! | messages | Anthropic | as it came | as it came |
//! | messages | OpenAI's | translated | read, then translated |
//! | messages | Gemini | translated twice | translated, read, translated |
//!
//! Usage, the end of a stream and its faults are always read in one form, chat's or what came, so that nothing behind
//! this knows of dialects. What a dialect has no word for is refused before anything is sent.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use memchr::memmem;
use openapi::{
    dialect::{Asked, Dialect, Translate, Untranslatable, messages},
    endpoint::{Endpoint, Operation},
    error::ErrorBody,
    request::RequestBody,
    stream::{Batch, Facts, Fault, Outcome, Reader},
};

use crate::{error::Failure, kind::Kind};

/// How a request gets to a backend of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    AsItCame,
    /// To the dialect of the upstream, from Anthropic's wire, or both.
    Translated {
        to: Option<Dialect>,
        from_messages: bool,
    },
    /// There is no such operation there.
    Closed,
}

impl Way {
    pub(crate) fn of(operation: &Operation, kind: Kind) -> Self {
        let is_root = operation.is_root_post;
        match (operation.endpoint, kind.dialect()) {
            (Endpoint::Messages, _) if operation.is_count_tokens() && kind.counts_messages() => Self::AsItCame,
            (Endpoint::Messages, Some(Dialect::Anthropic)) => Self::AsItCame,
            (Endpoint::Messages, to) if is_root => Self::Translated {
                to,
                from_messages: true,
            },
            (Endpoint::ChatCompletions, Some(to)) if is_root => Self::Translated {
                to: Some(to),
                from_messages: false,
            },
            (Endpoint::Messages, _) | (_, Some(_)) => Self::Closed,
            (_, None) => Self::AsItCame,
        }
    }
}

/// The request of a client that speaks Anthropic's, as a chat.
pub(crate) fn as_chat(body: &RequestBody) -> Result<RequestBody, Untranslatable> {
    let chat = messages::request(body.raw().expose())?;
    RequestBody::parse(Endpoint::ChatCompletions, chat).map_err(|error| Untranslatable {
        param: error.param().unwrap_or("messages").into(),
        message: error.to_string(),
    })
}

/// What must be done to an answer on its way back.
#[derive(Debug)]
pub struct Translation {
    /// What the upstream speaks, where that is not OpenAI's.
    dialect: Option<Dialect>,
    is_for_messages: bool,
    asked: Asked,
}

impl Translation {
    pub(crate) fn new(dialect: Option<Dialect>, is_for_messages: bool, asked: Asked) -> Self {
        Self {
            dialect,
            is_for_messages,
            asked,
        }
    }

    /// A whole answer of the upstream as a chat completion.
    pub(crate) fn read(&self, status: StatusCode, theirs: Bytes) -> Result<Bytes, Failure> {
        let Some(dialect) = self.dialect else { return Ok(theirs) };
        dialect
            .answer(&theirs, &self.asked)
            .map_err(|_malformed| match dialect.error(status.as_u16(), &theirs) {
                Some((_, error)) => Failure::Disguised(error),
                None => Failure::NotJson(status),
            })
    }

    /// A whole chat completion as the client reads it.
    pub(crate) fn tell(&self, status: StatusCode, chat: Bytes) -> Result<Bytes, Failure> {
        if !self.is_for_messages {
            return Ok(chat);
        }
        messages::answer(&chat).map_err(|_malformed| Failure::NotJson(status))
    }

    pub(crate) fn stream(&self) -> Interpreter {
        Interpreter {
            before: self.dialect.map(|dialect| dialect.stream(self.asked.clone())),
            after: self.is_for_messages.then(|| messages::stream(&self.asked.model)),
        }
    }
}

/// How an event of an error begins. Data is JSON in one line, so that it can hold nothing like it.
const ERROR_EVENT: &[u8] = b"event: error\n";

/// A stream on both sides of its [`Reader`].
#[derive(Debug)]
pub(crate) struct Interpreter {
    before: Option<Box<dyn Translate>>,
    after: Option<Box<dyn Translate>>,
}

impl Interpreter {
    /// Takes bytes as they arrive.
    pub(crate) fn feed(&mut self, reader: &mut Reader, theirs: Bytes) -> Batch {
        let chat = match &mut self.before {
            None => theirs,
            Some(before) => {
                let mut chat = BytesMut::new();
                before.feed(&theirs, &mut chat);
                chat.freeze()
            }
        };
        let batch = reader.feed(chat);
        self.tell(batch)
    }

    /// Takes the end of the upstream's body.
    pub(crate) fn finish(&mut self, reader: &mut Reader) -> Batch {
        let mut last = BytesMut::new();
        if let Some(before) = &mut self.before {
            before.finish(&mut last);
        }
        let mut batch = if last.is_empty() {
            Batch {
                bytes: Bytes::new(),
                facts: Facts::default(),
                end_from: None,
                passing: Facts::default(),
                outcome: None,
            }
        } else {
            reader.feed(last.freeze())
        };
        if batch.outcome.is_none() {
            let end = reader.finish();
            let mut bytes = BytesMut::from(&batch.bytes[..]);
            bytes.extend_from_slice(&end.bytes);
            let mut passing = batch.passing;
            if batch.end_from.is_none() {
                passing = batch.facts;
                passing.add(&end.passing);
            }
            batch.facts.add(&end.facts);
            batch = Batch {
                bytes: bytes.freeze(),
                facts: batch.facts,
                end_from: batch.end_from.or(end.end_from.map(|from| batch.bytes.len() + from)),
                passing,
                outcome: end.outcome,
            };
        }
        self.tell(batch)
    }

    fn tell(&mut self, mut batch: Batch) -> Batch {
        batch.facts.so_far = self.before.as_ref().and_then(|before| before.usage_so_far());
        let Some(after) = &mut self.after else { return batch };
        let mut told = BytesMut::new();
        // Where the end begins in other words is not known: all that arrived with it is held with it.
        batch.end_from = batch.end_from.map(|_| 0);
        batch.passing = Facts::default();
        if !batch.bytes.is_empty() {
            after.feed(&batch.bytes, &mut told);
        }
        if batch.outcome.is_some() {
            after.finish(&mut told);
        }
        // An error of the upstream is the reader's to find; one that is written here is of the translation.
        if let Some(at) = memmem::find(&told, ERROR_EVENT) {
            told.truncate(at);
            batch.outcome = Some(Outcome::Failed(Fault::Malformed));
        }
        batch.bytes = told.freeze();
        batch
    }

    /// The event that tells the client of an error; `None` where the reader's own will do.
    pub(crate) fn error_event(&self, error: &ErrorBody) -> Option<Bytes> {
        self.after.as_ref().map(|_| messages::error_event(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways() {
        let check = |path: &str, kind: Kind, expect: &str| {
            let operation = Operation::parse("POST", path).expect("an operation");
            let shown = match Way::of(&operation, kind) {
                Way::AsItCame => "as it came".to_owned(),
                Way::Closed => "closed".to_owned(),
                Way::Translated { to, from_messages } => format!("{to:?} {from_messages}"),
            };
            assert_eq!(shown, expect, "{path} at {kind}");
        };
        let (chat, messages) = ("/v1/chat/completions", "/v1/messages");
        check(chat, Kind::Vllm, "as it came");
        check(chat, Kind::Anthropic, "Some(Anthropic) false");
        check(chat, Kind::Gemini, "Some(Gemini) false");
        check("/v1/chat/completions/chatcmpl-1", Kind::Anthropic, "closed");
        check(messages, Kind::Anthropic, "as it came");
        check(messages, Kind::Vllm, "None true");
        check(messages, Kind::Azure, "None true");
        check(messages, Kind::Gemini, "Some(Gemini) true");
        let count = "/v1/messages/count_tokens";
        check(count, Kind::Anthropic, "as it came");
        check(count, Kind::LlamaCpp, "as it came");
        check(count, Kind::Gemini, "closed");
        check(count, Kind::OpenAi, "closed");
        check("/v1/embeddings", Kind::OpenAi, "as it came");
    }
}
