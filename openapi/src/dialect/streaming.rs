//! A stream cut into events and told to one that knows what they mean.
//!
//! Bounds an event in bytes and stops at the first that makes no sense, with an error that the client sees.

use std::{fmt, ops::ControlFlow};

use bytes::{Bytes, BytesMut};

use super::{MAX_EVENT, Translate, completion::Used, object::Wrong};
use crate::{
    error::ErrorBody,
    sse::{Event, Splitter},
    usage::WireUsage,
};

/// Knows what the events of one stream mean.
pub(super) trait Interpret: Send {
    /// Takes one event, and says whether the stream goes on.
    fn event(&mut self, event: &Event<'_>, out: &mut BytesMut) -> Result<ControlFlow<()>, Wrong>;
    /// The body ended cleanly after the last event. For dialects whose end is that.
    fn end(&mut self, _out: &mut BytesMut) {}
    /// What the upstream has said of usage until now.
    fn used(&self) -> Option<Used> {
        None
    }
    /// Tells the client of an error, after which nothing comes.
    fn fail(&mut self, error: &ErrorBody, out: &mut BytesMut);
}

/// Feeds the events of a stream to its interpreter.
pub(super) struct Streaming<T> {
    splitter: Splitter,
    /// Reused from chunk to chunk.
    ends: Vec<usize>,
    is_over: bool,
    interpreter: T,
}

/// What the interpreter remembers may be content.
impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

impl<T: Interpret> Streaming<T> {
    pub(super) fn new(interpreter: T) -> Self {
        Self {
            splitter: Splitter::new(MAX_EVENT),
            ends: Vec::new(),
            is_over: false,
            interpreter,
        }
    }

    fn fail(&mut self, message: &'static str, out: &mut BytesMut) {
        self.is_over = true;
        let error = ErrorBody::new("server_error", "upstream_error", message);
        self.interpreter.fail(&error, out);
    }
}

impl<T: Interpret> Translate for Streaming<T> {
    fn feed(&mut self, bytes: &[u8], out: &mut BytesMut) {
        if self.is_over {
            return;
        }
        let mut ends = std::mem::take(&mut self.ends);
        let fed = self.splitter.feed(Bytes::copy_from_slice(bytes), &mut ends);
        let Ok(block) = fed else {
            self.fail("The upstream sent an event that is too long.", out);
            return;
        };
        let mut start = 0;
        for &end in &ends {
            let event = Event::parse(&block[start..end]);
            match self.interpreter.event(&event, out) {
                Ok(ControlFlow::Continue(())) => start = end,
                Ok(ControlFlow::Break(())) => {
                    self.is_over = true;
                    return;
                }
                Err(_) => {
                    self.fail("The upstream sent an event that is not what its dialect says.", out);
                    return;
                }
            }
        }
        self.ends = ends;
    }

    fn finish(&mut self, out: &mut BytesMut) {
        let rest = self.splitter.take_rest();
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if !rest.trim_ascii().is_empty() {
            // An event that lacks its blank line may be whole; where it is not, the stream was cut, and nothing is said.
            let mut said = BytesMut::new();
            let flow = self.interpreter.event(&Event::parse(&rest), &mut said);
            let Ok(flow) = flow else {
                return;
            };
            out.extend_from_slice(&said);
            if flow.is_break() {
                return;
            }
        }
        self.interpreter.end(out);
    }

    fn usage_so_far(&self) -> Option<WireUsage> {
        self.interpreter.used().map(Used::wire)
    }
}
