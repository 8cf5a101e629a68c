//! The body of a stream: heartbeats while it waits, batches while it flows, one end.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use backends::{
    answer::{AnswerBody, Events},
    attempt::Trail,
    error::{AttemptError, Failure},
};
use bytes::Bytes;
use openapi::{
    dialect::messages,
    endpoint::Protocol,
    error::ErrorBody,
    sse::HEARTBEAT,
    stream::{Batch, Facts, Outcome},
};
use tokio::time::Sleep;

use super::Pursuit;
use crate::{
    drain::{Cut, Drain},
    rescue,
};

/// A piece of the stream for the client, and what Meter must know of it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) facts: Facts,
    /// From where on in `bytes` the client takes the answer for finished.
    pub(crate) end_from: Option<usize>,
    /// Where `end_from` is: what of `facts` stands before it.
    pub(crate) passing: Facts,
}

/// A stream that Failover owns until its end.
pub(crate) struct Relay {
    state: State,
    /// For the log: where the stream came from.
    trail: Arc<Trail>,
    protocol: Protocol,
    heartbeat: Heartbeat,
    cut: Cut,
    /// Set when the stream ended with an error: its code.
    failure: Option<String>,
    /// Whether we ended it where the upstream would have gone on.
    is_cut: bool,
    /// The events of a stream that is whole, for who must still refuse it.
    ended: Option<Box<Events>>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a relay has a box of its own, one for a stream"
)]
enum State {
    /// The client has its status; the first data frame is still sought.
    Waiting(Pursuit),
    /// The first batch was read when the status was decided.
    First(Batch, Box<Events>),
    Flowing(Box<Events>),
    Over,
}

impl Relay {
    pub(super) fn waiting(
        pursuit: Pursuit,
        trail: Arc<Trail>,
        protocol: Protocol,
        heartbeat: Duration,
        drain: &Drain,
    ) -> Self {
        let mut heartbeat = Heartbeat::new(heartbeat);
        // The client has waited already: the first comes at once, so that proxies see the stream begin.
        heartbeat.is_due = true;
        Self {
            state: State::Waiting(pursuit),
            trail,
            protocol,
            heartbeat,
            cut: drain.cut(),
            failure: None,
            is_cut: false,
            ended: None,
        }
    }

    /// Whether nobody has begun an answer yet.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    pub(super) fn streaming(
        first: Batch,
        rest: Box<Events>,
        trail: Arc<Trail>,
        heartbeat: Duration,
        drain: &Drain,
    ) -> Self {
        Self {
            state: State::First(first, rest),
            trail,
            // Events know their protocol themselves.
            protocol: Protocol::Chat,
            heartbeat: Heartbeat::new(heartbeat),
            cut: drain.cut(),
            failure: None,
            is_cut: false,
            ended: None,
        }
    }

    /// The code of the error that ended the stream, if one did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether we ended the stream before it went past its bound.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// An error in place of the end of a stream that was whole.
    pub(crate) fn refuse(&mut self, error: &ErrorBody) -> Bytes {
        let events = self.ended.take();
        self.fail(error, events.as_deref()).bytes
    }

    /// Waits until nothing was sent for a while.
    pub(crate) fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.heartbeat.poll(cx).map(|()| Bytes::from_static(HEARTBEAT))
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next piece; `None` when the stream is over.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::First(batch, events) => return Poll::Ready(Some(self.flow(batch, events))),
                State::Waiting(mut pursuit) => {
                    let Poll::Ready(found) = pursuit.as_mut().poll(cx) else {
                        self.state = State::Waiting(pursuit);
                        return self.idle(cx);
                    };
                    match found {
                        Ok(answer) => {
                            match answer.body {
                                AnswerBody::Events { first, rest } => self.state = State::First(first, rest),
                                // The status is spent: a whole answer cannot become a stream.
                                AnswerBody::Whole(_) | AnswerBody::Raw(_) => {
                                    let error = ErrorBody::new(
                                        "server_error",
                                        "upstream_error",
                                        "The upstream did not stream its answer.",
                                    );
                                    return Poll::Ready(Some(self.fail(&error, None)));
                                }
                            }
                        }
                        Err(error) => {
                            let refusal = rescue::from_attempt(&error.last);
                            return Poll::Ready(Some(self.fail(&refusal.body, None)));
                        }
                    }
                }
                State::Flowing(mut events) => match events.poll_next(cx) {
                    Poll::Pending => {
                        self.state = State::Flowing(events);
                        return self.idle(cx);
                    }
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Ready(Some(Ok(batch))) => return Poll::Ready(Some(self.flow(batch, events))),
                    Poll::Ready(Some(Err(failure))) => {
                        let error = self.error_of(failure);
                        return Poll::Ready(Some(self.fail(&error, Some(&events))));
                    }
                },
            }
        }
    }

    /// Passes a batch on, and ends the stream when the batch does.
    fn flow(&mut self, batch: Batch, events: Box<Events>) -> Piece {
        self.heartbeat.touch();
        let Batch {
            bytes,
            facts,
            end_from,
            passing,
            outcome,
        } = batch;
        match outcome {
            None => {
                self.state = State::Flowing(events);
                Piece {
                    bytes,
                    facts,
                    end_from,
                    passing,
                }
            }
            Some(whole @ (Outcome::Complete | Outcome::Cut)) => {
                self.is_cut = whole == Outcome::Cut;
                self.ended = Some(events);
                Piece {
                    bytes,
                    facts,
                    end_from,
                    passing,
                }
            }
            Some(Outcome::Failed(fault)) => {
                let error = rescue::from_fault(&fault).body;
                tracing::warn!(
                    upstream = self.trail.steps().upstream.as_deref(),
                    code = error.code.as_deref(),
                    "a stream ended early"
                );
                let last = self.fail(&error, Some(&events));
                Piece {
                    bytes: join(&bytes, &last.bytes),
                    facts,
                    end_from: None,
                    passing: Facts::default(),
                }
            }
        }
    }

    fn error_of(&self, failure: Failure) -> ErrorBody {
        let place = self.trail.steps().upstream.unwrap_or_else(|| "".into());
        tracing::warn!(upstream = %place, %failure, "a stream broke off");
        rescue::from_attempt(&AttemptError { place, failure }).body
    }

    /// The last piece of a stream that failed. No `[DONE]` follows, for it would mean success.
    fn fail(&mut self, error: &ErrorBody, events: Option<&Events>) -> Piece {
        self.state = State::Over;
        self.failure = Some(error.code.as_deref().unwrap_or("upstream_error").to_owned());
        let bytes = match (events, self.protocol) {
            (Some(events), _) => events.error_event(error),
            (None, Protocol::Responses) => error.to_response_event(0),
            (None, Protocol::Messages) => messages::error_event(error),
            (None, _) => error.to_event(),
        };
        Piece {
            bytes,
            facts: Facts::default(),
            end_from: None,
            passing: Facts::default(),
        }
    }

    /// Nothing has come: time for a heartbeat, or for the end when the process must go.
    fn idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.cut.poll(cx).is_ready() {
            let error = ErrorBody::new(
                "server_error",
                "shutting_down",
                "The gateway is shutting down and could not finish this stream. Retry.",
            );
            let events = match std::mem::replace(&mut self.state, State::Over) {
                State::Flowing(events) => Some(events),
                _ => None,
            };
            return Poll::Ready(Some(self.fail(&error, events.as_deref())));
        }
        ready!(self.heartbeat.poll(cx));
        Poll::Ready(Some(Piece {
            bytes: Bytes::from_static(HEARTBEAT),
            facts: Facts::default(),
            end_from: None,
            passing: Facts::default(),
        }))
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

/// Due when nothing was sent for a while. Its timer moves only when it fires.
struct Heartbeat {
    every: Duration,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    is_due: bool,
}

impl Heartbeat {
    fn new(every: Duration) -> Self {
        Self {
            every,
            last: Instant::now(),
            timer: None,
            is_due: false,
        }
    }

    fn touch(&mut self) {
        self.last = Instant::now();
        self.is_due = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.is_due) {
            self.last = Instant::now();
            return Poll::Ready(());
        }
        loop {
            let due = self.last + self.every;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
            let is_due = Instant::now() >= due;
            if is_due {
                self.last = Instant::now();
            }
            timer.as_mut().reset((self.last + self.every).into());
            if is_due {
                return Poll::Ready(());
            }
        }
    }
}

pub(crate) fn join(first: &Bytes, second: &Bytes) -> Bytes {
    if first.is_empty() {
        return second.clone();
    }
    let mut joined = Vec::with_capacity(first.len() + second.len());
    joined.extend_from_slice(first);
    joined.extend_from_slice(second);
    Bytes::from(joined)
}
