//! Relay: the body of an answer, as it comes from the gateway, to its end or to the connection's.
//!
//! A stream of events that breaks off ends with an error event, and never like one that is whole: what was begun of an event is dropped, and no `[DONE]` follows.
//! Any other body that breaks off breaks the app's connection too, which is how HTTP says it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use backends::serve::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use openapi::{
    endpoint::Protocol,
    error::ErrorBody,
    sse::Splitter,
    stream::{Outcome, Reader},
};

use crate::drain::Cut;

/// Of one event, as the gateway's own default has it.
const MAX_EVENT: usize = 8 << 20;

pub(super) struct Relay<B = Incoming> {
    body: B,
    /// Of a stream of events.
    events: Option<Events>,
    cut: Cut,
    is_over: bool,
}

struct Events {
    splitter: Splitter,
    ends: Vec<usize>,
    /// Knows whether the stream is whole, and how its protocol tells an error. What passes is not taken from it.
    reader: Reader,
    is_whole: bool,
}

impl<B> Relay<B> {
    /// `events` is the protocol of a stream.
    pub(super) fn new(body: B, events: Option<Protocol>, cut: Cut) -> Self {
        Self {
            body,
            events: events.map(|protocol| Events {
                splitter: Splitter::new(MAX_EVENT),
                ends: Vec::new(),
                reader: Reader::new(protocol, false, MAX_EVENT),
                is_whole: false,
            }),
            cut,
            is_over: false,
        }
    }

    /// The end of what cannot go on.
    fn fail(&mut self, code: &'static str, message: &'static str) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.is_over = true;
        match &self.events {
            Some(events) if events.is_whole => None,
            Some(events) => {
                let error = ErrorBody::new("server_error", code, message);
                Some(Ok(Frame::data(events.reader.error_event(&error))))
            }
            None => Some(Err(message.into())),
        }
    }
}

impl Events {
    /// The whole events of what has come so far.
    fn feed(&mut self, data: Bytes) -> Option<Bytes> {
        if !self.is_whole {
            let read = self.reader.feed(data.clone());
            self.is_whole = matches!(read.outcome, Some(Outcome::Complete | Outcome::Cut));
        }
        self.splitter.feed(data, &mut self.ends).ok()
    }
}

impl<B> Body for Relay<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(events) = &mut this.events else {
                        return Poll::Ready(Some(Ok(frame)));
                    };
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    };
                    match events.feed(data) {
                        Some(block) if block.is_empty() => {}
                        Some(block) => return Poll::Ready(Some(Ok(Frame::data(block)))),
                        None => {
                            let message = "The gateway sent an event without end.";
                            return Poll::Ready(this.fail("gateway_error", message));
                        }
                    }
                }
                Poll::Ready(Some(Err(_broken))) => {
                    return Poll::Ready(this.fail(
                        "gateway_connection_lost",
                        "The connection to the gateway ended before the answer did; GET /mulberry/status says why.",
                    ));
                }
                Poll::Ready(None) => {
                    this.is_over = true;
                    let rest = this.events.as_mut().map(|events| events.splitter.take_rest());
                    return Poll::Ready(rest.filter(|rest| !rest.is_empty()).map(|rest| Ok(Frame::data(rest))));
                }
                Poll::Pending => {
                    if this.cut.poll(cx).is_ready() {
                        return Poll::Ready(this.fail(
                            "shutting_down",
                            "This program is shutting down and could not finish the answer. Retry.",
                        ));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.events.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.events {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::drain::{Phase, drain};

    const ONE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
    const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

    /// What the app reads of these pieces, after which the connection breaks where `breaks` says so.
    async fn read(pieces: &[&str], breaks: bool, events: Option<Protocol>) -> (String, bool) {
        let (_control, ending) = drain();
        let frames: Vec<Result<Frame<Bytes>, BoxError>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece.as_bytes()))))
            .chain(breaks.then(|| Err("broken".into())))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut relay = Relay::new(body, events, ending.cut());
        let mut text = String::new();
        let mut is_good = true;
        while let Some(frame) = relay.frame().await {
            match frame {
                Ok(frame) => text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default())),
                Err(_) => is_good = false,
            }
        }
        (text, is_good)
    }

    #[tokio::test]
    async fn a_whole_stream_passes_as_it_came() {
        let (first, second) = ONE.split_at(40);
        let comment = ": a heartbeat\n\n";
        let (text, is_good) = read(&[first, second, comment, LAST], false, Some(Protocol::Chat)).await;
        assert_eq!((text, is_good), (format!("{ONE}{comment}{LAST}"), true));
        // A break behind the end is none.
        let (text, is_good) = read(&[ONE, LAST], true, Some(Protocol::Chat)).await;
        assert_eq!((text, is_good), (format!("{ONE}{LAST}"), true));
        // What is no event is not looked at.
        let (text, is_good) = read(&["a", "b"], false, None).await;
        assert_eq!((text.as_str(), is_good), ("ab", true));
    }

    #[tokio::test]
    async fn a_broken_stream_ends_with_an_error_event() {
        let (first, _) = ONE.split_at(40);
        let (text, is_good) = read(&[ONE, first], true, Some(Protocol::Chat)).await;
        let event = text.strip_prefix(ONE).expect("what was whole has passed");
        assert!(
            event.starts_with("data: {\"error\":") && event.ends_with("\n\n"),
            "{event}"
        );
        assert!(
            event.contains("gateway_connection_lost") && !text.contains("[DONE]"),
            "{event}"
        );
        assert!(is_good);
        let (text, _) = read(&[], true, Some(Protocol::Responses)).await;
        assert!(text.starts_with("event: error\ndata: {\"type\":\"error\""), "{text}");
        let (text, _) = read(&[], true, Some(Protocol::Messages)).await;
        assert!(
            text.starts_with("event: error\n") && text.contains("\"type\":\"error\""),
            "{text}"
        );
        let (_, is_good) = read(&["{\"half\":"], true, None).await;
        assert!(!is_good);
    }

    #[tokio::test]
    async fn the_end_of_this_program_ends_a_stream() {
        let (control, ending) = drain();
        let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let relay = Relay::new(body, Some(Protocol::Chat), ending.cut());
        control.enter(Phase::Cutting);
        let text = relay.collect().await.expect("an event").to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("shutting_down"));
    }
}
