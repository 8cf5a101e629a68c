//! Is this the whole and right answer to that question?
//!
//! A unary answer must carry the id of its request and the right usage. A stream must carry every
//! chunk once and in order under that id, a finish reason, the right usage and `[DONE]` last.
//! Whitespace and the order of keys are the proxy's business; comments between events are allowed.

use std::borrow::Cow;

use serde::Deserialize;

use crate::http1::WireError;
use crate::question::{Question, UNARY_TOKENS};

/// Why an answer does not count. Never holds a byte of the answer.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("status {0}")]
    Status(u16),
    #[error("not the JSON of a chat completion")]
    Json,
    #[error("an answer to another request")]
    Foreign,
    #[error("chunks out of order or repeated")]
    Order,
    #[error("chunks missing")]
    Missing,
    #[error("no finish reason")]
    Unfinished,
    #[error("usage missing or wrong")]
    Usage,
    #[error("no [DONE]")]
    NotDone,
    #[error("data after [DONE], or cut in an event")]
    Trailing,
    #[error("stream ended before it was measured")]
    Early,
    #[error("no answer in time")]
    Late,
    #[error("more requests in flight than the generator keeps")]
    Overrun,
    #[error(transparent)]
    Wire(#[from] WireError),
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

pub fn unary(question: &Question, body: &[u8]) -> Result<(), Wrong> {
    let completion: Completion<'_> = serde_json::from_slice(body).map_err(|_| Wrong::Json)?;
    let [choice] = completion.choices.as_slice() else {
        return Err(Wrong::Json);
    };
    let message = choice.message.as_ref().ok_or(Wrong::Json)?;
    if marker(message.content.as_bytes()) != Some((question.id(), 0)) {
        return Err(Wrong::Foreign);
    }
    if choice.finish_reason.as_deref() != Some("stop") {
        return Err(Wrong::Unfinished);
    }
    check_usage(question, completion.usage.as_ref(), u64::from(UNARY_TOKENS))
}

/// What a piece of a stream brought, for the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    FirstChunk,
    Chunk,
}

/// Follows one stream. Feed it, then ask for its [`end`](StreamCheck::end).
pub struct StreamCheck {
    /// The start of an event whose end has not arrived.
    carry: Vec<u8>,
    id: u32,
    next: u32,
    finished: bool,
    usage: Option<Usage>,
    done: bool,
    wrong: Option<Wrong>,
}

impl StreamCheck {
    pub fn new(id: u32) -> Self {
        Self {
            carry: Vec::new(),
            id,
            next: 0,
            finished: false,
            usage: None,
            done: false,
            wrong: None,
        }
    }

    /// Calls `arrived` for every content chunk that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8], mut arrived: impl FnMut(Piece)) {
        if self.carry.is_empty() {
            let rest = self.events(bytes, &mut arrived);
            self.carry.extend_from_slice(rest);
            return;
        }
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(bytes);
        let kept = self.events(&joined, &mut arrived).len();
        joined.drain(..joined.len() - kept);
        self.carry = joined;
    }

    pub fn end(self, question: &Question, chunks: u32) -> Result<(), Wrong> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.next != chunks {
            return Err(Wrong::Missing);
        }
        if !self.finished {
            return Err(Wrong::Unfinished);
        }
        check_usage(question, self.usage.as_ref(), u64::from(chunks))?;
        if !self.done {
            return Err(Wrong::NotDone);
        }
        if !self.carry.is_empty() {
            return Err(Wrong::Trailing);
        }
        Ok(())
    }

    fn events<'a>(&mut self, mut bytes: &'a [u8], arrived: &mut impl FnMut(Piece)) -> &'a [u8] {
        while let Some(end) = memchr::memmem::find(bytes, b"\n\n") {
            match self.event(&bytes[..end]) {
                Ok(Some(piece)) => arrived(piece),
                Ok(None) => {}
                // The first fault is the one to report; later ones follow from it.
                Err(wrong) => self.wrong = self.wrong.take().or(Some(wrong)),
            }
            bytes = &bytes[end + 2..];
        }
        bytes
    }

    fn event(&mut self, event: &[u8]) -> Result<Option<Piece>, Wrong> {
        if event.starts_with(b":") || event.is_empty() {
            return Ok(None);
        }
        if self.done {
            return Err(Wrong::Trailing);
        }
        let data = event.strip_prefix(b"data:").ok_or(Wrong::Json)?.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return Ok(None);
        }
        if let Some((id, index)) = marker(data) {
            return self.chunk(id, index).map(Some);
        }
        let tail: Completion<'_> = serde_json::from_slice(data).map_err(|_| Wrong::Json)?;
        self.finished |= tail
            .choices
            .iter()
            .any(|choice| choice.finish_reason.as_deref() == Some("stop"));
        self.usage = tail.usage.or(self.usage.take());
        Ok(None)
    }

    fn chunk(&mut self, id: u32, index: u32) -> Result<Piece, Wrong> {
        if id != self.id {
            return Err(Wrong::Foreign);
        }
        if index != self.next {
            return Err(Wrong::Order);
        }
        self.next += 1;
        Ok(if index == 0 { Piece::FirstChunk } else { Piece::Chunk })
    }
}

fn check_usage(question: &Question, usage: Option<&Usage>, completion: u64) -> Result<(), Wrong> {
    match usage {
        Some(usage) if usage.prompt_tokens == question.prompt_tokens && usage.completion_tokens == completion => Ok(()),
        _ => Err(Wrong::Usage),
    }
}

/// The `#<8 hex digits>.<5 decimal digits>` in a content.
fn marker(bytes: &[u8]) -> Option<(u32, u32)> {
    let start = memchr::memchr(b'#', bytes)? + 1;
    let text = str::from_utf8(bytes.get(start..start + 14)?).ok()?;
    let (id, index) = text.split_once('.')?;
    Some((u32::from_str_radix(id, 16).ok()?, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::{Address, Pace};

    const GOOD: [&str; 6] = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"#0000002a.00000 \"}}]}\n\n",
        ": a comment\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"#0000002a.00001 \"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    ];

    fn question() -> Question {
        let address = Address::parse("http://127.0.0.1:1/").expect("a url");
        let mut question = Question::new(&address, None, "m", 0, Some(Pace { chunks: 2, delay_us: 0 }));
        question.ask(0x2a);
        assert_eq!(question.prompt_tokens, 7);
        question
    }

    fn judge(stream: &str, cut: usize) -> Result<usize, Wrong> {
        let mut check = StreamCheck::new(0x2a);
        let mut chunks = 0;
        for bytes in stream.as_bytes().chunks(cut) {
            check.feed(bytes, |_| chunks += 1);
        }
        check.end(&question(), 2).map(|()| chunks)
    }

    #[test]
    fn a_whole_stream_passes_however_it_is_cut() {
        for cut in [1, 7, 64, 4096] {
            assert_eq!(judge(&GOOD.concat(), cut).expect("the stream is whole"), 2);
        }
    }

    #[test]
    fn a_stream_that_lacks_a_part_does_not_pass() {
        for (missing, reason) in [
            (0, "chunks out of order or repeated"),
            (2, "chunks missing"),
            (3, "no finish reason"),
            (4, "usage missing or wrong"),
            (5, "no [DONE]"),
        ] {
            let mut parts = GOOD.to_vec();
            parts.remove(missing);
            let wrong = judge(&parts.concat(), 4096).expect_err("a part is missing");
            assert_eq!(wrong.to_string(), reason, "without part {missing}");
        }
    }

    #[test]
    fn a_stream_that_is_changed_does_not_pass() {
        for (from, to, reason) in [
            ("0000002a.00001", "0000002b.00001", "an answer to another request"),
            ("a.00001", "a.00000", "chunks out of order or repeated"),
            ("_tokens\":2", "_tokens\":3", "usage missing or wrong"),
            ("_tokens\":7", "_tokens\":6", "usage missing or wrong"),
            ("[],\"usage", "[,\"usage", "not the JSON of a chat completion"),
            (
                "[DONE]\n\n",
                "[DONE]\n\ndata: {}\n\n",
                "data after [DONE], or cut in an event",
            ),
            ("[DONE]\n\n", "[DONE]\n\ndata", "data after [DONE], or cut in an event"),
        ] {
            let wrong = judge(&GOOD.concat().replace(from, to), 9).expect_err("it was changed");
            assert_eq!(wrong.to_string(), reason, "{from} became {to}");
        }
    }

    #[test]
    fn a_unary_answer_must_be_ours_and_carry_usage() {
        let good = r##"{"choices":[{"message":{"content":"#0000002a.00000 x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":16}}"##;
        let judge = |body: &str| unary(&question(), body.as_bytes()).map_err(|wrong| wrong.to_string());
        assert_eq!(judge(good), Ok(()));
        for (from, to, reason) in [
            ("2a.", "2b.", "an answer to another request"),
            (":16", ":17", "usage missing or wrong"),
            ("\"stop\"", "null", "no finish reason"),
            ("}}", "}", "not the JSON of a chat completion"),
        ] {
            assert_eq!(judge(&good.replacen(from, to, 1)), Err(reason.to_owned()));
        }
    }
}
