//! A stream of chunks: what it says, whether it is whole, and what must be repaired on the way.
//!
//! [`Reader`] takes the bytes of an upstream's event stream and gives back the bytes for the client, with the
//! [`Facts`] that Meter needs. Events that are right pass as they came, several at a time and without a copy.
//! What it repairs (`docs/request.md` has the same list):
//!
//! - CR and CRLF line ends become LF;
//! - `[DONE]` ends the stream whatever follows, and is added where it is missing after a finish reason;
//! - a stream that ends without `[DONE]` and without a finish reason in each of its choices is [`Fault::Truncated`],
//!   and so is one whose `[DONE]` comes before any chunk; after a chunk `[DONE]` is believed, for some servers never
//!   send a reason (an empty one is none);
//! - an error, in whatever shape, beside choices or as `event: error`, is [`Fault::Upstream`] with the envelope's four
//!   keys;
//! - what is not JSON or not UTF-8, and a chunk with more choices or pieces of tool calls than any server sends, is
//!   [`Fault::Malformed`];
//! - `ping` and other named events that hold no chunk, which clients would take for chunks, are dropped;
//! - tool-call deltas without `index` get one, repeated tool names are sent once;
//! - the usage chunk that only we asked for is dropped;
//! - a stream that goes past the [`Watch`]ed bound is ended as one whose answer reached its length.

use bytes::{Bytes, BytesMut};

use crate::{
    dialect::messages,
    endpoint::Protocol,
    error::ErrorBody,
    sse::{self, Event, Splitter},
    usage::WireUsage,
};

mod chunk;
mod closing;
mod message_event;
mod response_event;
mod tools;

/// What a stretch of the stream contained. Facts add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Events with data, `[DONE]` apart.
    pub frames: u64,
    /// Deltas that carried text, reasoning or tool arguments: about one token each.
    pub deltas: u64,
    /// Bytes of that text.
    pub text_len: u64,
    /// Bytes of it that are reasoning.
    pub reasoning_len: u64,
    /// Bytes that a model writes around its tool calls, and that nobody else sees: an upper bound.
    pub markup_len: u64,
    /// The usage that the upstream claims, last word.
    pub usage: Option<WireUsage>,
    /// What it said of usage before the end: exact for the prompt, and for the answer at least so much. For a stream
    /// that does not come to its last word.
    pub so_far: Option<WireUsage>,
    /// Whether an answer that should have been JSON is none. Looked at only where [`Watch`] says so.
    pub is_broken_json: bool,
}

/// About four bytes of text make a token, in English and in most tokenizers.
pub const BYTES_PER_TOKEN: u64 = 4;

impl Facts {
    pub fn add(&mut self, more: &Self) {
        self.frames += more.frames;
        self.deltas += more.deltas;
        self.text_len += more.text_len;
        self.reasoning_len += more.reasoning_len;
        self.markup_len += more.markup_len;
        self.is_broken_json |= more.is_broken_json;
        self.usage = more.usage.or(self.usage);
        self.so_far = more.so_far.or(self.so_far);
    }

    /// What came behind `before`, which these begin with.
    #[must_use]
    pub fn behind(&self, before: &Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(before.frames),
            deltas: self.deltas.saturating_sub(before.deltas),
            text_len: self.text_len.saturating_sub(before.text_len),
            reasoning_len: self.reasoning_len.saturating_sub(before.reasoning_len),
            markup_len: self.markup_len.saturating_sub(before.markup_len),
            ..*self
        }
    }

    /// The tokens of the answer, by estimate: a delta is about a token; engines that batch several into one are
    /// caught by their length.
    pub fn completion(&self) -> u64 {
        self.deltas.max(self.text_len.div_ceil(BYTES_PER_TOKEN))
    }

    /// Tokens that the answer has at least, so that who is cut at them had no fewer. Few languages and encodings have
    /// less than three bytes to a token, and none more than twenty-four as it is written; a delta is one at least,
    /// unless a server cuts its text finer than that.
    fn least_completion(&self) -> u64 {
        let by_delta = self.deltas.min(self.text_len.div_ceil(3));
        by_delta.max(self.text_len / 24)
    }
}

/// What a stream is watched for, beyond being whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watch {
    /// Ends the stream before it has more tokens than this, all answers together.
    pub most: Option<Most>,
    /// Looks whether the answers are JSON.
    pub json: bool,
}

/// The most that an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    pub completion: u64,
    /// What the prompt takes, by estimate: for the usage that an answer ends with.
    pub prompt: u64,
}

/// Why a stream is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It ended without saying that it had finished.
    Truncated,
    /// An event was not JSON, not UTF-8, or out of all proportion.
    Malformed,
    /// An event never ended.
    TooLong(sse::TooLong),
    /// The upstream said so itself.
    Upstream(ErrorBody),
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Complete,
    /// We ended it, as one whose answer has its length; the upstream would have gone on.
    Cut,
    Failed(Fault),
}

/// A stretch of the stream, ready for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub bytes: Bytes,
    pub facts: Facts,
    /// From where on in `bytes` a client takes the answer for finished; `None` where it does not.
    pub end_from: Option<usize>,
    /// Where `end_from` is: what of `facts` stands before it.
    pub passing: Facts,
    /// Set once, on the last batch; what the upstream sends later is not read.
    pub outcome: Option<Outcome>,
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    splitter: Splitter,
    /// Reused from chunk to chunk.
    ends: Vec<usize>,
    protocol: Protocol,
    hide_usage: bool,
    watch: Watch,
    /// What has passed, where it is watched.
    passed: Facts,
    chunks: chunk::State,
    events: response_event::State,
    messages: message_event::State,
}

enum Last {
    Keep,
    Drop,
    Replace(&'static [u8]),
}

/// What becomes of one event.
enum Fate {
    Keep,
    Drop,
    Replace(Bytes),
    /// The stream is over, and the fate of its last event.
    End(Outcome, Last),
}

impl Reader {
    /// `hide_usage` drops the usage chunk; `limit` bounds one event in bytes.
    pub fn new(protocol: Protocol, hide_usage: bool, limit: usize) -> Self {
        Self {
            splitter: Splitter::new(limit),
            ends: Vec::new(),
            protocol,
            hide_usage,
            watch: Watch::default(),
            passed: Facts::default(),
            chunks: chunk::State::default(),
            events: response_event::State::default(),
            messages: message_event::State::default(),
        }
    }

    #[must_use]
    pub fn watching(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Takes bytes as they arrive.
    pub fn feed(&mut self, chunk: Bytes) -> Batch {
        let mut ends = std::mem::take(&mut self.ends);
        let fed = self.splitter.feed(chunk, &mut ends);
        let batch = match fed {
            Ok(block) => self.read(&block, &ends),
            Err(too_long) => Batch {
                bytes: Bytes::new(),
                facts: Facts::default(),
                end_from: None,
                passing: Facts::default(),
                outcome: Some(Outcome::Failed(Fault::TooLong(too_long))),
            },
        };
        self.ends = ends;
        batch
    }

    /// Takes the end of the upstream's body.
    pub fn finish(&mut self) -> Batch {
        let rest = self.splitter.take_rest();
        let mut batch = if rest.trim_ascii().is_empty() {
            Batch {
                bytes: Bytes::new(),
                facts: Facts::default(),
                end_from: None,
                passing: Facts::default(),
                outcome: None,
            }
        } else {
            // The last event lacks its blank line; give it one.
            let mut whole = BytesMut::from(&rest[..]);
            whole.extend_from_slice(b"\n\n");
            let end = whole.len();
            self.read(&whole.freeze(), &[end])
        };
        if batch.outcome.is_none() {
            let outcome = self.outcome_at_end();
            if outcome == Outcome::Complete && self.protocol == Protocol::Chat {
                let mut bytes = BytesMut::from(&batch.bytes[..]);
                bytes.extend_from_slice(sse::DONE);
                if batch.end_from.is_none() {
                    batch.end_from = Some(batch.bytes.len());
                    batch.passing = batch.facts;
                }
                batch.bytes = bytes.freeze();
            }
            batch.outcome = Some(outcome);
        }
        batch
    }

    /// The event that tells the client of an error in mid-stream.
    pub fn error_event(&self, error: &ErrorBody) -> Bytes {
        match self.protocol {
            Protocol::Responses => error.to_response_event(self.events.next_sequence_number()),
            Protocol::Messages => messages::error_event(error),
            Protocol::Chat | Protocol::Opaque => error.to_event(),
        }
    }

    fn outcome_at_end(&self) -> Outcome {
        let is_whole = match self.protocol {
            Protocol::Chat => self.chunks.is_finished(),
            Protocol::Responses => self.events.is_finished(),
            // `message_stop` has ended it, or nothing has.
            Protocol::Messages => false,
            Protocol::Opaque => true,
        };
        if is_whole {
            Outcome::Complete
        } else {
            Outcome::Failed(Fault::Truncated)
        }
    }

    fn read(&mut self, block: &Bytes, ends: &[usize]) -> Batch {
        let mut facts = Facts::default();
        let mut output = Output::new(block.clone());
        let mut outcome = None;
        // From where on it is the end, and what stands before that.
        let mut tail = self.is_ending().then(|| (0, Facts::default()));
        let mut start = 0;
        for &end in ends {
            let raw = &block[start..end];
            let before = (output.len(), facts);
            let fate = self.event(raw, &mut facts);
            if let Some(most) = self.watch.most
                && self.passed_with(&facts).least_completion() > most.completion
                && !matches!(fate, Fate::End(..))
            {
                facts = before.1;
                tail = Some(before);
                let all = self.passed_with(&facts);
                output.replace(&closing::close(self, &all, most));
                outcome = Some(Outcome::Cut);
                break;
            }
            match fate {
                Fate::Keep => output.keep(start, end),
                Fate::Drop => {}
                Fate::Replace(bytes) => output.replace(&bytes),
                Fate::End(ended, last) => {
                    match last {
                        Last::Keep => output.keep(start, end),
                        Last::Drop => {}
                        Last::Replace(bytes) => output.replace(bytes),
                    }
                    if ended == Outcome::Complete {
                        tail.get_or_insert(before);
                    }
                    outcome = Some(ended);
                    break;
                }
            }
            if self.is_ending() {
                tail.get_or_insert(before);
            } else {
                tail = None;
            }
            start = end;
        }
        if self.watch.most.is_some() {
            self.passed.add(&facts);
        }
        Batch {
            bytes: output.finish(),
            facts,
            end_from: tail.map(|(from, _)| from),
            passing: tail.map_or_else(Facts::default, |(_, passing)| passing),
            outcome,
        }
    }

    fn passed_with(&self, facts: &Facts) -> Facts {
        let mut all = self.passed;
        all.add(facts);
        all
    }

    /// Whether what has passed looks like a finished answer, though something may follow.
    fn is_ending(&self) -> bool {
        match self.protocol {
            Protocol::Chat => self.chunks.is_finished(),
            Protocol::Responses => self.events.is_finished(),
            Protocol::Messages => self.messages.is_ending(),
            Protocol::Opaque => false,
        }
    }

    fn event(&mut self, raw: &[u8], facts: &mut Facts) -> Fate {
        let event = Event::parse(raw);
        if self.protocol != Protocol::Opaque && std::str::from_utf8(raw).is_err() {
            // Lines that clients do not show may be anything; they are only left out.
            return if event.data.is_some() {
                chunk::malformed()
            } else {
                Fate::Drop
            };
        }
        let Some(data) = event.data.as_deref() else {
            // Comments pass, so that an upstream's keep-alive keeps the client's connection too; blank lines do not.
            return if raw == sse::HEARTBEAT {
                // One of ours would be no part of the answer, and this is.
                Fate::Replace(Bytes::from_static(sse::COMMENT))
            } else if event.has_comment {
                as_it_came(&event)
            } else {
                Fate::Drop
            };
        };
        let is_chat = self.protocol == Protocol::Chat;
        if data == b"[DONE]" && !(is_chat && event.name == Some(b"error")) {
            if is_chat && !self.chunks.is_begun() || self.protocol == Protocol::Messages {
                return Fate::End(Outcome::Failed(Fault::Truncated), Last::Drop);
            }
            let last = if event.is_clean {
                Last::Keep
            } else {
                Last::Replace(sse::DONE)
            };
            return Fate::End(Outcome::Complete, last);
        }
        let fate = match self.protocol {
            Protocol::Chat => self.chunks.read(&event, data, self.hide_usage, self.watch, facts),
            Protocol::Responses => self.events.read(data, self.watch, facts),
            Protocol::Messages => self.messages.read(&event, data, facts),
            Protocol::Opaque => Fate::Keep,
        };
        match fate {
            Fate::Keep => as_it_came(&event),
            other => other,
        }
    }
}

fn as_it_came(event: &Event<'_>) -> Fate {
    if event.is_clean {
        return Fate::Keep;
    }
    let mut out = BytesMut::new();
    event.write(&mut out);
    Fate::Replace(out.freeze())
}

/// Collects what is kept: a slice of the block while nothing changed, a new buffer once something did.
struct Output {
    block: Bytes,
    run: std::ops::Range<usize>,
    built: BytesMut,
}

impl Output {
    fn new(block: Bytes) -> Self {
        Self {
            block,
            run: 0..0,
            built: BytesMut::new(),
        }
    }

    fn len(&self) -> usize {
        self.built.len() + self.run.len()
    }

    fn keep(&mut self, start: usize, end: usize) {
        if self.run.end != start {
            self.flush();
            self.run.start = start;
        }
        self.run.end = end;
    }

    fn replace(&mut self, bytes: &[u8]) {
        self.flush();
        self.built.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.built.extend_from_slice(&self.block[self.run.clone()]);
        self.run = self.run.end..self.run.end;
    }

    fn finish(mut self) -> Bytes {
        if self.built.is_empty() {
            return self.block.slice(self.run);
        }
        self.flush();
        self.built.freeze()
    }
}

#[cfg(test)]
mod tests;
