//! What an attempt brought back, read just far enough to know that it is an answer.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use openapi::{
    error::ErrorBody,
    redact::Content,
    response::Text,
    stream::{Batch, Facts, Fault, Outcome, Reader},
    usage::WireUsage,
};

use tokio::time::Sleep;

use crate::{
    client::Answering, clock::BodyClock, error::Failure, serve::BoxError, translation::Interpreter, upstream::InUse,
};

/// An answer whose beginning was good.
#[derive(Debug)]
pub struct Answer {
    /// The name of the upstream that gave it.
    pub upstream: Arc<str>,
    pub backend: Arc<str>,
    pub status: StatusCode,
    /// Already without what a client must not see.
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an answer is moved a few times in its life, and a box would be an allocation for each stream"
)]
pub enum AnswerBody {
    /// All of it.
    Whole(Whole),
    /// A stream whose first data frame is here.
    Events { first: Batch, rest: Box<Events> },
    /// Bytes that we do not read.
    Raw(Raw),
}

#[derive(Debug)]
pub struct Whole {
    pub bytes: Content,
    pub usage: Option<WireUsage>,
    /// What was generated, for an estimate where usage is missing, and as a bound where it is not.
    pub text: Text,
}

/// A stream of chunks, one batch for each piece that arrives.
pub struct Events {
    /// `None` once the stream is over.
    body: Option<Answering>,
    reader: Reader,
    /// Where client and upstream do not speak alike.
    interpreter: Option<Box<Interpreter>>,
    clock: BodyClock,
    /// Given up when the stream is over, so that load is not counted a moment too long.
    in_use: Option<InUse>,
    /// The stream is whole, and its last batch waits for what the worker states behind it.
    owed: Option<Box<Owed>>,
}

/// The end of a stream that waits for a statement.
struct Owed {
    last: Batch,
    patience: Pin<Box<Sleep>>,
    /// Pieces that may still come before the statement does.
    pieces: u32,
}

/// How long a worker may take for its statement once its stream is whole. Engines close their answers well within it,
/// and the client has all but the end of it meanwhile.
const STATEMENT: Duration = Duration::from_secs(2);
/// What an upstream sends behind the end of its stream is nobody's, and more of it is a flood.
const MAX_PIECES: u32 = 64;

impl Events {
    pub(crate) fn new(
        body: Answering,
        reader: Reader,
        interpreter: Option<Box<Interpreter>>,
        clock: BodyClock,
        in_use: InUse,
    ) -> Self {
        Self {
            body: Some(body),
            reader,
            interpreter,
            clock,
            in_use: Some(in_use),
            owed: None,
        }
    }

    /// The next batch; `None` after the one with an outcome.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Batch, Failure>>> {
        if self.owed.is_some() {
            return self.poll_owed(cx).map(|last| last.map(Ok));
        }
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let clock = ready!(self.clock.poll(cx));
                    return Poll::Ready(Some(Err(self.fail(Failure::Timeout(clock)))));
                }
            };
            let mut batch = match frame {
                None => match &mut self.interpreter {
                    None => self.reader.finish(),
                    Some(interpreter) => interpreter.finish(&mut self.reader),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(Failure::Body(error))))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(clock) = self.clock.touch() {
                        return Poll::Ready(Some(Err(self.fail(Failure::Timeout(clock)))));
                    }
                    match &mut self.interpreter {
                        None => self.reader.feed(data),
                        Some(interpreter) => interpreter.feed(&mut self.reader, data),
                    }
                }
            };
            match &batch.outcome {
                None if batch.bytes.is_empty() && batch.facts.frames == 0 && batch.facts.usage.is_none() => continue,
                None => {}
                Some(Outcome::Complete) if self.body.as_ref().is_some_and(Answering::is_heard) => {
                    self.owe(&mut batch);
                    if batch.bytes.is_empty() {
                        return self.poll_owed(cx).map(|last| last.map(Ok));
                    }
                }
                Some(Outcome::Complete) => self.complete(cx),
                // Nobody reads on: the upstream hears of it by its connection, and is not at fault.
                Some(Outcome::Cut) => drop(self.end(true)),
                Some(Outcome::Failed(_)) => drop(self.end(false)),
            }
            return Poll::Ready(Some(Ok(batch)));
        }
    }

    /// The event that tells the client of an error.
    pub fn error_event(&self, error: &ErrorBody) -> Bytes {
        let told = self.interpreter.as_ref().and_then(|way| way.error_event(error));
        told.unwrap_or_else(|| self.reader.error_event(error))
    }

    /// The stream is over because of this.
    pub(crate) fn fail(&mut self, failure: Failure) -> Failure {
        if let Some(mut in_use) = self.in_use.take() {
            in_use.judge(&failure);
        }
        self.body = None;
        failure
    }

    /// The stream is whole, and its statement is still to come: its end is given when that is here, and what was read of
    /// it at once.
    fn owe(&mut self, batch: &mut Batch) {
        if let Some(mut in_use) = self.in_use.take() {
            in_use.succeeded();
        }
        let mut last = Batch {
            bytes: Bytes::new(),
            facts: Facts::default(),
            end_from: None,
            passing: Facts::default(),
            outcome: batch.outcome.take(),
        };
        if batch.facts.frames == 0 {
            // Nothing of an answer is in it: it goes with the end.
            std::mem::swap(batch, &mut last);
            std::mem::swap(&mut batch.outcome, &mut last.outcome);
        }
        self.owed = Some(Box::new(Owed {
            last,
            patience: Box::pin(tokio::time::sleep(STATEMENT)),
            pieces: MAX_PIECES,
        }));
    }

    /// The end, when the statement is here or will not come.
    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        if let (Some(owed), Some(body)) = (&mut self.owed, &mut self.body) {
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(_))) if owed.pieces > 0 => owed.pieces -= 1,
                    Poll::Ready(_) => break,
                    Poll::Pending => {
                        ready!(owed.patience.as_mut().poll(cx));
                        break;
                    }
                }
            }
            body.hear_no_more();
        }
        self.body = None;
        Poll::Ready(self.owed.take().map(|owed| owed.last))
    }

    /// The stream is over. Dropping the body closes its connection unless it was read to its end.
    fn end(&mut self, is_good: bool) -> Option<Answering> {
        if let Some(mut in_use) = self.in_use.take() {
            if is_good { in_use.succeeded() } else { in_use.failed() }
        }
        self.body.take()
    }

    /// The client's stream is whole. The upstream's body may still owe its last bytes, without which the connection
    /// cannot be used again: read them if they are here, else beside the client's way.
    fn complete(&mut self, cx: &mut Context<'_>) {
        const PATIENCE: Duration = Duration::from_millis(500);
        let Some(mut body) = self.end(true) else { return };
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return,
                Poll::Pending => {
                    tokio::spawn(tokio::time::timeout(PATIENCE, async move {
                        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
                    }));
                    return;
                }
            }
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// An answer that passes unread.
pub struct Raw {
    body: Answering,
    clock: BodyClock,
    in_use: Option<InUse>,
}

impl Raw {
    pub(crate) fn new(body: Answering, clock: BodyClock, in_use: InUse) -> Self {
        Self {
            body,
            clock,
            in_use: Some(in_use),
        }
    }

    fn succeed(&mut self) {
        if let Some(mut in_use) = self.in_use.take() {
            in_use.succeeded();
        }
    }

    fn fail(&mut self, failure: Failure) -> BoxError {
        if let Some(mut in_use) = self.in_use.take() {
            in_use.judge(&failure);
        }
        failure.into()
    }
}

impl Body for Raw {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Err(clock) = this.clock.touch() {
                    return Poll::Ready(Some(Err(this.fail(Failure::Timeout(clock)))));
                }
                if this.body.is_end_stream() {
                    this.succeed();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.succeed();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.fail(Failure::Body(error))))),
            Poll::Pending => {
                let clock = ready!(this.clock.poll(cx));
                Poll::Ready(Some(Err(this.fail(Failure::Timeout(clock)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Raw")
    }
}

impl Events {
    /// Waits for the batch that holds the first data frame. Comments before it are dropped: the client gets its own.
    pub(crate) async fn first(&mut self) -> Result<Batch, Failure> {
        loop {
            let batch = poll_fn(|cx| self.poll_next(cx))
                .await
                .unwrap_or(Err(Failure::Stream(Fault::Truncated)))?;
            match batch.outcome {
                Some(Outcome::Failed(Fault::Upstream(error))) if batch.facts.frames == 0 => {
                    return Err(Failure::Disguised(error));
                }
                Some(Outcome::Failed(fault)) if batch.facts.frames == 0 => return Err(Failure::Stream(fault)),
                None if batch.facts.frames == 0 => {}
                _ => return Ok(batch),
            }
        }
    }
}
