//! Bodies: what we send, how one ends, and guards that ride in it.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::{attempt::Trail, serve::BoxError, verdict::Reason, worker::Gate};

/// A body of any make.
pub type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

/// What goes to an upstream.
pub enum Outgoing {
    Empty,
    /// Bytes that may be sent again, and where it is told that they are taken.
    Whole(Option<Bytes>, Option<Arc<Trail>>),
    /// An upload that passes through once and is never held.
    Upload(BoxBody, Failed),
    /// To a worker: nothing of it leaves before a last look.
    Guarded(Box<Self>, Option<Gate>, Failed),
}

/// The worker's connection met the demand no more when the bytes were to leave.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the worker may not be asked: {0}")]
pub(crate) struct Unmet(pub(crate) Reason);

/// Where an upload leaves the reason for its end: hyper's HTTP/2 keeps it to itself.
#[derive(Debug, Clone, Default)]
pub struct Failed(Arc<Mutex<Option<BoxError>>>);

impl Failed {
    fn note(&self, error: BoxError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The reason, if the upload failed. It is told once.
    pub fn take(&self) -> Option<BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Outgoing {
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes), None)
    }

    /// Of an attempt: the trail is told when an upstream takes them.
    pub fn of_attempt(bytes: Bytes, trail: Arc<Trail>) -> Self {
        Self::Whole(Some(bytes), Some(trail))
    }

    pub fn upload(body: BoxBody) -> Self {
        Self::Upload(body, Failed::default())
    }

    /// The same, behind a last look when the connection has room for it.
    pub(crate) fn guarded(self, gate: Gate) -> Self {
        let failed = self.failed();
        Self::Guarded(Box::new(self), Some(gate), failed)
    }

    /// Where its failure will be told.
    pub fn failed(&self) -> Failed {
        match self {
            Self::Upload(_, failed) | Self::Guarded(_, _, failed) => failed.clone(),
            Self::Empty | Self::Whole(..) => Failed::default(),
        }
    }

    /// A second copy for a second try; an upload has none.
    pub fn replay(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Whole(bytes, trail) => Some(Self::Whole(bytes.clone(), trail.clone())),
            Self::Upload(..) | Self::Guarded(..) => None,
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Whole(bytes, _) => write!(f, "Whole({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Self::Upload(..) => f.write_str("Upload"),
            Self::Guarded(inside, ..) => inside.fmt(f),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes, trail) => {
                // The connection writes the head and asks for what follows it.
                if let Some(trail) = trail.take() {
                    trail.dispatched();
                }
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Guarded(inside, gate, failed) => {
                if let Some(Err(reason)) = gate.take().map(|gate| gate.look()) {
                    failed.note(Box::new(Unmet(reason)));
                    return Poll::Ready(Some(
                        Err("the connection shows no more what the request demands".into()),
                    ));
                }
                Pin::new(&mut **inside).poll_frame(cx)
            }
            Self::Upload(body, failed) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| {
                        failed.note(error);
                        BoxError::from("the upload ended early")
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes, _) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Upload(body, _) => body.is_end_stream(),
            Self::Guarded(inside, ..) => inside.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Upload(body, _) => body.size_hint(),
            Self::Guarded(inside, ..) => inside.size_hint(),
        }
    }
}

/// How a body ended. It ends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was read.
    Complete,
    /// The reader went away.
    Cancelled,
    /// It broke off.
    Failed,
}

/// Calls back once when the body inside has ended, in whichever way.
pub struct OnEnd<B: Body, F: FnOnce(End)> {
    body: B,
    on_end: Option<F>,
}

impl<B: Body, F: FnOnce(End)> OnEnd<B, F> {
    pub fn new(body: B, on_end: F) -> Self {
        Self {
            body,
            on_end: Some(on_end),
        }
    }

    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end(end);
        }
    }
}

impl<B, F> Body for OnEnd<B, F>
where
    B: Body + Unpin,
    F: FnOnce(End) + Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.end(End::Complete),
            Some(Err(_)) => self.end(End::Failed),
            // hyper does not poll again once it knows that a body is done.
            Some(Ok(_)) if self.body.is_end_stream() => self.end(End::Complete),
            Some(Ok(_)) => {}
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

impl<B: Body, F: FnOnce(End)> Drop for OnEnd<B, F> {
    fn drop(&mut self) {
        // hyper never polls a body that is over from the start, such as that of a 204.
        let is_over = self.body.is_end_stream();
        self.end(if is_over { End::Complete } else { End::Cancelled });
    }
}

impl<B: Body, F: FnOnce(End)> fmt::Debug for OnEnd<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEnd")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_ends_once() {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let note = |ends: &Arc<Mutex<Vec<End>>>| {
            let ends = ends.clone();
            move |end| ends.lock().expect("no panic holds it").push(end)
        };
        let body = OnEnd::new(Full::new(Bytes::from_static(b"x")), note(&ends));
        body.collect().await.expect("it is whole");
        drop(OnEnd::new(Full::new(Bytes::from_static(b"x")), note(&ends)));
        assert_eq!(
            *ends.lock().expect("no panic holds it"),
            [End::Complete, End::Cancelled]
        );
    }
}
