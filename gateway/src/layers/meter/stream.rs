//! A stream that is counted as it passes.
//!
//! Of a charged account its end waits: from where the client would take the answer for finished, nothing is given
//! before the charge is durable. All before that flows at once, and heartbeats pass while it waits. A charge that cannot
//! be made durable ends the stream with an error, and no `[DONE]`.
//!
//! Who pays by channel is told the cost of the stream behind it, in a trailer, once it is durable: also of one that broke
//! off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use backends::serve::BoxError;
use billing::End;
use bytes::Bytes;
use http_body::{Body, Frame};
use openapi::{
    response::{events_with_costs, with_comment},
    sse::HEARTBEAT,
};

use super::{
    super::failover::{Relay, join},
    JobMeter,
    account::Charged,
};
use crate::{layers::failover::Piece, ledger::Captured, rescue};

pub(super) struct MeteredStream {
    relay: Box<Relay>,
    meter: JobMeter,
    tail: Tail,
}

/// The end of a stream, on its way to the client.
enum Tail {
    /// It has not come, or nobody waits for it.
    Flowing,
    /// What would look like the end, but for what the upstream still says.
    Held(Bytes),
    /// Given when the charge is durable.
    Capturing(Captured, Bytes),
    Given,
    /// It broke off; what it cost is told when that is durable.
    Billing(Captured),
    /// Nothing follows but trailers.
    Over,
}

impl MeteredStream {
    pub(super) fn new(relay: Box<Relay>, meter: JobMeter) -> Self {
        Self {
            relay,
            meter,
            tail: Tail::Flowing,
        }
    }

    /// The stream has ended, well or with an error event. What is not durable yet comes back.
    fn finish(&mut self) -> Option<Captured> {
        let end = match self.relay.failure() {
            Some(code) => {
                self.meter.error_code = Some(code.to_owned());
                End::Failed
            }
            None => End::Complete,
        };
        let captured = self.meter.settle(end);
        self.meter.finish(end);
        captured
    }

    /// Takes a piece of a charged stream, and gives what of it may pass.
    fn take(&mut self, piece: Piece) -> Bytes {
        let Piece {
            bytes,
            facts,
            end_from,
            passing: before_end,
        } = piece;
        let held = match std::mem::replace(&mut self.tail, Tail::Flowing) {
            Tail::Held(held) => held,
            _ => Bytes::new(),
        };
        if self.relay.failure().is_some() {
            // What looked like the end was none, and must not stand before an error. What came with the error is given.
            self.meter.facts.add(&facts);
            return bytes;
        }
        if !self.relay.is_over() && facts.frames == 0 && end_from.is_none() {
            // A comment, which passes whatever waits.
            self.tail = if held.is_empty() {
                Tail::Flowing
            } else {
                Tail::Held(held)
            };
            return bytes;
        }
        let Some(from) = end_from.or(self.relay.is_over().then_some(bytes.len())) else {
            // The answer goes on after all.
            self.meter.deliver();
            self.meter.facts.add(&facts);
            return join(&held, &bytes);
        };
        let from = from.min(bytes.len());
        // What stands before an end that was held already is part of it.
        let (passing, end) = if held.is_empty() {
            (bytes.slice(..from), bytes.slice(from..))
        } else {
            (Bytes::new(), join(&held, &bytes))
        };
        if !self.relay.is_over() {
            if held.is_empty() {
                self.meter.facts.add(&before_end);
                self.meter.pending.add(&facts.behind(&before_end));
            } else {
                self.meter.pending.add(&facts);
            }
            self.tail = Tail::Held(end);
            return passing;
        }
        self.meter.deliver();
        self.meter.facts.add(&facts);
        self.meter.is_cut = self.relay.is_cut();
        self.meter.gives(&passing);
        // The last events, with what the stream cost.
        let priced = |charged: &Charged| with_comment(&events_with_costs(&end, charged.costs), &charged.comment());
        match self.meter.settle_whole(priced) {
            (Some(captured), end) => {
                self.tail = Tail::Capturing(captured, end);
                passing
            }
            (None, end) => {
                self.tail = Tail::Given;
                join(&passing, &end)
            }
        }
    }

    /// Waits for the charge, with heartbeats.
    fn poll_captured(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Tail::Capturing(captured, _) = &mut self.tail else {
            return Poll::Ready(Bytes::new());
        };
        let Poll::Ready(done) = Pin::new(captured).poll(cx) else {
            return self.relay.poll_heartbeat(cx);
        };
        let Tail::Capturing(_, end) = std::mem::replace(&mut self.tail, Tail::Given) else {
            return Poll::Ready(Bytes::new());
        };
        Poll::Ready(match done {
            Ok(_) => end,
            Err(error) => {
                tracing::error!(request = %self.meter.request_id, %error, "a charge is not durable; its stream fails");
                self.meter.paid = None;
                self.relay.refuse(&rescue::from_capture(error).body)
            }
        })
    }
}

impl Body for MeteredStream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            match &mut this.tail {
                Tail::Capturing(..) => {
                    let bytes = ready!(this.poll_captured(cx));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Tail::Billing(captured) => {
                    if ready!(Pin::new(captured).poll(cx)).is_err() {
                        // Nobody can say what it cost.
                        this.meter.paid = None;
                    }
                    this.tail = Tail::Over;
                }
                Tail::Flowing | Tail::Held(_) | Tail::Given | Tail::Over => {}
            }
            if matches!(this.tail, Tail::Over) {
                return Poll::Ready(this.meter.trailers().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let Some(piece) = ready!(this.relay.poll_next(cx)) else {
                this.tail = match this.finish() {
                    Some(captured) => Tail::Billing(captured),
                    None => Tail::Over,
                };
                continue;
            };
            if piece.facts.frames > 0 && this.meter.first_frame.is_none() {
                this.meter.begin();
            }
            if let Some(recounting) = &mut this.meter.recounting {
                recounting.hear(&piece.bytes);
            }
            let bytes = if this.meter.coverage.is_some() {
                this.take(piece)
            } else {
                this.meter.facts.add(&piece.facts);
                piece.bytes
            };
            if !bytes.is_empty() {
                // Those that were given together with the end are in the receipt already. Heartbeats, which come while
                // it is written too, are in none.
                if bytes != HEARTBEAT {
                    this.meter.gives(&bytes);
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}

impl Drop for MeteredStream {
    fn drop(&mut self) {
        // The client had its last frame and did not wait for the end of the body. One whose end is still held had not.
        if self.relay.is_over() && !matches!(self.tail, Tail::Held(_) | Tail::Capturing(..)) {
            // Captures go on without anybody who waits.
            drop(self.finish());
        }
    }
}
