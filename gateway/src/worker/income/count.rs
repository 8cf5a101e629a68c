//! Count: an answer on its way to the gateway, until it is known what it earned.
//!
//! What is counted is the usage that the engine says at the end of the answer, at our price. Where the answer does not
//! get so far, because its client left or the engine broke off, nothing is: what the gateway pays for it, it admits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use backends::{body::BoxBody, serve::BoxError};
use billing::Usage;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Earning;
use crate::worker::statements::{TAIL, keep, last_usage};

/// An answer that is paid for when it has ended.
pub(super) struct Counted {
    body: BoxBody,
    /// `None` once it was counted.
    earning: Option<Earning>,
    tail: Vec<u8>,
}

impl Counted {
    pub(super) fn new(body: BoxBody, earning: Earning) -> Self {
        Self {
            body,
            earning: Some(earning),
            tail: Vec::with_capacity(TAIL),
        }
    }

    fn end(&mut self, usage: Option<Usage>) {
        if let (Some(earning), Some(usage)) = (self.earning.take(), usage) {
            earning.earned(&usage);
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    keep(&mut this.tail, data);
                }
                if this.body.is_end_stream() {
                    this.end(Some(last_usage(&this.tail).unwrap_or_default()));
                }
            }
            // It says nothing of usage: the price for the request is earned.
            None => this.end(Some(last_usage(&this.tail).unwrap_or_default())),
            Some(Err(_)) => this.end(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Who left behind the usage left when all was said.
impl Drop for Counted {
    fn drop(&mut self) {
        let usage = last_usage(&self.tail);
        self.end(usage);
    }
}
