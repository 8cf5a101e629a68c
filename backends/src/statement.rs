//! A worker's statement of its answer, from the side that asks: what was sent and received is hashed as it passes, and
//! the worker's own word comes in the trailers, behind the last byte.
//!
//! Asked for where somebody wants it in a receipt, and only of workers that have a key to sign with. What it says and
//! whether it is true is decided above: this package reads no statement.
//! One hash in each direction, nothing else for each piece, and nothing is kept.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use attestation::Claims;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};

use crate::attempt::Trail;

/// Of a request: the salt, in base64url, with which a statement is asked for. As a trailer of its answer: the statement.
pub const STATEMENT: HeaderName = HeaderName::from_static("x-mulberry-statement");
/// A trailer of the answer: `cut` where the engine broke off. HTTP/2 cannot say that and send trailers.
pub const ENDED: HeaderName = HeaderName::from_static("x-mulberry-ended");
/// The value of [`ENDED`].
pub const CUT: HeaderValue = HeaderValue::from_static("cut");

/// A body, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of the salt and the bytes.
    pub sha256: [u8; 32],
    pub bytes: u64,
}

/// What is known of a body so far.
#[derive(Clone)]
pub struct Tally {
    hash: Sha256,
    bytes: u64,
}

impl Tally {
    pub fn new(salt: &[u8; 32]) -> Self {
        Self {
            hash: Sha256::new_with_prefix(salt),
            bytes: 0,
        }
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
    }

    pub fn seen(self) -> Seen {
        Seen {
            sha256: self.hash.finalize().into(),
            bytes: self.bytes,
        }
    }
}

/// Without what went into it.
impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({} bytes)", self.bytes)
    }
}

/// The tally of a body that passes elsewhere, perhaps until after the answer has begun.
#[derive(Debug, Clone)]
pub struct Passing(Arc<Mutex<Tally>>);

impl Passing {
    pub fn new(salt: &[u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(Tally::new(salt))))
    }

    /// What has passed until now.
    pub fn seen(&self) -> Seen {
        self.lock().clone().seen()
    }

    pub fn update(&self, piece: &[u8]) {
        self.lock().update(piece);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is tallied as it passes.
#[derive(Debug)]
pub struct Tallied<B> {
    body: B,
    passing: Passing,
}

impl<B> Tallied<B> {
    pub fn new(body: B, passing: Passing) -> Self {
        Self { body, passing }
    }
}

impl<B> Body for Tallied<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.passing.update(data);
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

/// Who signs the statements of a connection, and what its claims name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Ed25519.
    pub key: [u8; 32],
    /// SHA-256 of the claims.
    pub claims: [u8; 32],
    pub engine: Option<[u8; 32]>,
    pub models: Option<[u8; 32]>,
}

impl Signer {
    /// Whom these claims name; `None` where they name no key.
    pub fn of(claims: &Claims) -> Option<Self> {
        Some(Self {
            key: claims.receipt_key?.0,
            claims: Sha256::digest(claims.encode()).into(),
            engine: claims.engine.map(|engine| engine.0),
            models: claims.models.map(|models| models.0),
        })
    }
}

/// What an attempt is asked to bring besides its answer.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) salt: [u8; 32],
    pub(crate) signer: Signer,
    pub(crate) trail: Arc<Trail>,
}

impl Asking {
    /// The salt, as it is written.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(URL_SAFE_NO_PAD.encode(self.salt)).expect("base64url stands in a header")
    }
}

/// What became of the statement of a job's last attempt.
#[derive(Debug, Clone, Default)]
pub enum Word {
    /// Nobody was asked, or had a key to sign with.
    #[default]
    Unasked,
    /// The answer has not ended, or nobody has read it to its end.
    Open,
    Heard(Box<Heard>),
}

/// An answer that ended, and what its worker stated of it, as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// As the worker's verdict has it.
    pub signer: Signer,
    /// As it was sent and received here.
    pub request: Seen,
    pub response: Seen,
    pub status: u16,
    /// Whether the worker says that its engine broke off.
    pub is_cut: bool,
    pub statement: Option<HeaderValue>,
}

/// Listens to one answer.
pub(crate) struct Hearing {
    trail: Arc<Trail>,
    signer: Signer,
    request: Passing,
    response: Tally,
    status: u16,
    trailers: HeaderMap,
}

impl Hearing {
    /// Of an answer that is about to begin.
    pub(crate) fn new(asking: Asking, request: Passing) -> Self {
        let Asking { salt, signer, trail } = asking;
        trail.set_word(Word::Open);
        Self {
            trail,
            signer,
            request,
            response: Tally::new(&salt),
            status: 0,
            trailers: HeaderMap::new(),
        }
    }

    pub(crate) fn answered(mut self, status: http::StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }

    pub(crate) fn hears(&mut self, data: &[u8]) {
        self.response.update(data);
    }

    pub(crate) fn take_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = trailers;
    }

    /// The answer has ended. Whether it is whole, by the word of the worker.
    pub(crate) fn end(mut self) -> Result<(), BrokenOff> {
        let is_cut = self.trailers.get(ENDED) == Some(&CUT);
        self.trail.set_word(Word::Heard(Box::new(Heard {
            signer: self.signer,
            request: self.request.seen(),
            response: self.response.seen(),
            status: self.status,
            is_cut,
            statement: self.trailers.remove(STATEMENT),
        })));
        if is_cut { Err(BrokenOff) } else { Ok(()) }
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hearing")
    }
}

/// The engine of a worker broke off, and the worker says so.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the worker says that its engine broke off")]
pub(crate) struct BrokenOff;

#[cfg(test)]
mod tests;
