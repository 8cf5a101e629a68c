//! Idempotency: who repeats an `Idempotency-Key` gets the answer that was given, and nothing runs twice.
//!
//! For inference requests in JSON; an upload is not held, so that it cannot be compared.
//! After Resolve, for an answer is given again only to who may still use the model; outside ThrottleTokens and
//! Meter, for what is given again costs nothing and is recorded nowhere.
//! Only whole answers with a 2xx are kept, streams as the bytes that the client got.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use billing::Nano;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tower_layer::Layer;

use crate::{
    accounts::Account,
    call::{Call, Resolved},
    limiter::AccountId,
    payments::PAYMENT_RESPONSE,
    replays::{Bounds, Digest, Found, Replay, Replays, Turn},
    rescue::full,
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 255;

/// The key cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("Invalid header 'Idempotency-Key': expected 1 to 255 visible ASCII characters, once.")]
pub(crate) struct BadKey;

#[derive(Debug, Clone)]
pub(crate) struct IdempotencyLayer {
    /// `None` turns it off.
    pub(crate) bounds: Option<Bounds>,
    pub(crate) replays: Arc<Replays>,
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        if self.bounds.is_none() {
            // It may have been on before a reload.
            self.replays.clear();
        }
        Idempotency {
            bounds: self.bounds,
            replays: self.replays.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Idempotency<S> {
    bounds: Option<Bounds>,
    replays: Arc<Replays>,
    inner: S,
}

impl<S> Serve<Resolved> for Idempotency<S>
where
    S: Serve<Resolved, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut resolved: Resolved) -> Result<Response<BoxBody>, BoxError> {
        let Some(bounds) = self.bounds else {
            return self.inner.call(resolved).await;
        };
        let Some((key, request)) = identify(&resolved.call)? else {
            return self.inner.call(resolved).await;
        };
        let turn = match self.replays.find(key, request, bounds, Instant::now())? {
            Found::Again(replay) => return Ok(again(&replay, &resolved.call.account)),
            Found::Turn(turn) => turn,
        };
        let ending = Arc::new(Ending::default());
        resolved.call.ending = Some(ending.clone());
        // The turn falls with this future: whoever leaves or fails frees the key.
        let (parts, body) = self.inner.call(resolved).await?.into_parts();
        let recording = parts.status.is_success().then(|| (parts.status, kept(&parts.headers)));
        let recorder = Recorder {
            body: Some(body),
            turn: Some(turn),
            recording: recording.map(|(status, headers)| Recording {
                status,
                headers,
                bytes: Vec::new(),
            }),
            ending,
        };
        Ok(Response::from_parts(parts, BoxBody::new(recorder)))
    }
}

/// Whether a job was done whole: Meter says it, and the bytes alone do not.
#[derive(Debug, Default)]
pub(crate) struct Ending(AtomicBool);

impl Ending {
    /// The client was given everything, and nothing failed.
    pub(crate) fn complete(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The key under its account, and what must be the same to be the same request; `None` without a key.
fn identify(call: &Call) -> Result<Option<(Digest, Digest)>, BadKey> {
    let outbound = &call.outbound;
    let mut keys = outbound.headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let operation = &outbound.operation;
    let (Some(body), true, true) = (
        outbound.json(),
        operation.endpoint.is_inference(),
        operation.is_root_post,
    ) else {
        return Ok(None);
    };
    let is_visible = key.as_bytes().iter().all(u8::is_ascii_graphic);
    if keys.next().is_some() || !is_visible || !(1..=MAX_KEY).contains(&key.len()) {
        return Err(BadKey);
    }
    let (issuer, name) = match call.account.id() {
        None => ("", ""),
        Some(AccountId::Key(name)) => ("", &**name),
        Some(AccountId::Subject { issuer, subject }) => (&**issuer, &**subject),
    };
    // An answer from a lower tier is not given again to who demands a higher one. Only this process compares the text.
    let demand = format!("{:?}", outbound.demand);
    let key = digest([issuer.as_bytes(), name.as_bytes(), key.as_bytes()]);
    let request = digest([
        operation.path.as_bytes(),
        operation.deployment.as_deref().unwrap_or_default().as_bytes(),
        outbound.query.as_deref().unwrap_or_default().as_bytes(),
        demand.as_bytes(),
        body.raw().expose(),
    ]);
    Ok(Some((key, request)))
}

/// Each part with its length, so that none can pass for the beginning of the next.
fn digest<const N: usize>(parts: [&[u8]; N]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Of an answer's headers, what is true when it is given again.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(PAYMENT_RESPONSE);
    headers.remove(header::TRAILER);
    headers
}

fn again(replay: &Replay, account: &Account) -> Response<BoxBody> {
    let mut response = Response::new(full(replay.body.clone()));
    *response.status_mut() = replay.status;
    *response.headers_mut() = replay.headers.clone();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    // It costs nothing the second time.
    let stands = account
        .channel
        .as_ref()
        .and_then(|channel| channel.response(Nano::ZERO));
    headers.extend(stands.map(|stands| (PAYMENT_RESPONSE, stands)));
    response
}

/// A body that is written down as it passes.
struct Recorder {
    /// Taken when dropped: it tells Meter the end, which we ask for then.
    body: Option<BoxBody>,
    turn: Option<Turn>,
    /// `None` when the answer is not to be kept.
    recording: Option<Recording>,
    ending: Arc<Ending>,
}

struct Recording {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Recorder {
    fn record(&mut self, data: &[u8]) {
        let (Some(turn), Some(recording)) = (&mut self.turn, &mut self.recording) else {
            return;
        };
        if turn.may_record(recording.bytes.len() + data.len()) {
            recording.bytes.extend_from_slice(data);
        } else {
            self.recording = None;
        }
    }

    /// The body has ended: its answer is kept, or its key is free.
    fn end(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        if let Some(recording) = self.recording.take().filter(|_| self.ending.is_complete()) {
            let replay = Replay {
                status: recording.status,
                headers: recording.headers,
                body: Bytes::from(recording.bytes),
            };
            turn.keep(replay, Instant::now());
        }
    }
}

impl Body for Recorder {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_over = body.is_end_stream();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.record(data);
                }
                // hyper does not poll again once it knows that a body is done.
                if is_over {
                    this.end();
                }
            }
            Some(Err(_)) => this.recording = None,
            None => this.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A client that had its last frame need not wait for the end of the body.
        drop(self.body.take());
        self.end();
    }
}
