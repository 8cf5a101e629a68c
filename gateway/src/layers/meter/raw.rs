//! An answer that passes unread and is charged by the request: its last piece waits until the charge is durable.
//!
//! Which piece is the last is known when the next does not come, so that each waits for the one behind it, unless the
//! answer said how long it is.
//! Who pays by channel is told of it behind the last, in a trailer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use backends::{answer::Raw, serve::BoxError};
use billing::End;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::JobMeter;
use crate::ledger::Captured;

pub(super) struct ChargedRaw {
    raw: Raw,
    meter: JobMeter,
    held: Option<Frame<Bytes>>,
    /// What stands behind the last piece.
    behind: Option<HeaderMap>,
    state: State,
}

enum State {
    Flowing,
    Capturing(Captured),
    Over,
}

impl ChargedRaw {
    pub(super) fn new(raw: Raw, meter: JobMeter) -> Self {
        Self {
            raw,
            meter,
            held: None,
            behind: None,
            state: State::Flowing,
        }
    }

    /// All of the answer is here.
    fn end(&mut self) {
        let last = self
            .held
            .as_ref()
            .and_then(Frame::data_ref)
            .cloned()
            .unwrap_or_default();
        self.state = match self.meter.settle_whole(|_| last).0 {
            Some(captured) => State::Capturing(captured),
            None => {
                self.over();
                State::Over
            }
        };
    }

    /// The charge is durable.
    fn over(&mut self) {
        self.meter.finish(End::Complete);
        self.behind = self.meter.trailers();
    }
}

impl Body for ChargedRaw {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Over => {
                    let last = this.held.take().or_else(|| this.behind.take().map(Frame::trailers));
                    return Poll::Ready(last.map(Ok));
                }
                State::Capturing(captured) => {
                    let done = ready!(Pin::new(captured).poll(cx));
                    this.state = State::Over;
                    if let Err(error) = done {
                        this.held = None;
                        this.meter.finish(End::Failed);
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    this.over();
                }
                State::Flowing => {
                    let frame = match ready!(Pin::new(&mut this.raw).poll_frame(cx)) {
                        Some(Ok(frame)) => Some(frame),
                        Some(Err(error)) => {
                            this.meter.finish(End::Failed);
                            this.state = State::Over;
                            this.held = None;
                            return Poll::Ready(Some(Err(error)));
                        }
                        None => None,
                    };
                    let is_last = frame.is_none() || this.raw.is_end_stream();
                    let passing = match frame {
                        Some(frame) => this.held.replace(frame),
                        None => None,
                    };
                    if let Some(data) = passing.as_ref().and_then(Frame::data_ref) {
                        this.meter.gives(data);
                    }
                    if is_last {
                        this.end();
                    }
                    if let Some(frame) = passing {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over) && self.held.is_none() && self.behind.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        match self.raw.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + held),
            None => SizeHint::default(),
        }
    }
}
