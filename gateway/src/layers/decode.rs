//! Decode: from bytes to a [`Call`]. Nothing later parses the body.
//!
//! JSON is read whole, decompressed within a cap and looked at through a thin view. Uploads stream through: only
//! their beginning is searched for the `model` field.
//! A client that sends nothing for `body_read` gets 408.
//! For an account that is charged the body is hashed as it came, for its receipt.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use backends::{
    attempt::{Outbound, Payload},
    body::BoxBody,
    clock::BodyClock,
    headers,
    serve::{BoxError, Serve},
    upload::Once,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use openapi::{
    endpoint::Operation,
    request::{RequestBody, RequestError},
};
use tower_layer::Layer;

use crate::{
    call::{Allowed, Call},
    receipts::{
        Witness,
        witness::{NoSalt, Passing},
    },
};

pub(crate) use demand::DemandError;

mod demand;
mod encoding;
mod multipart;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("The request body is larger than the limit of {limit} bytes.")]
    TooLarge { limit: usize },
    #[error("Nothing of the request body came for {after:?}.")]
    TooSlow { after: Duration },
    #[error("The request body ended early.")]
    Incomplete,
    #[error("The content-encoding of the request is not supported. Use gzip, deflate, zstd, br or none.")]
    UnknownEncoding,
    #[error("The request body is not valid in the encoding that its content-encoding names.")]
    BadEncoding,
    #[error(transparent)]
    Demand(#[from] DemandError),
    #[error(transparent)]
    Salt(#[from] NoSalt),
}

/// Bounds on what a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// A JSON body as it arrives, in bytes.
    pub(crate) body: usize,
    /// The same, decompressed.
    pub(crate) decompressed: usize,
    /// A streamed upload.
    pub(crate) upload: usize,
    /// The longest pause.
    pub(crate) pause: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeLayer {
    pub(crate) limits: BodyLimits,
    /// Whether who is charged gets receipts.
    pub(crate) receipts: bool,
}

impl<S> Layer<S> for DecodeLayer {
    type Service = Decode<S>;

    fn layer(&self, inner: S) -> Decode<S> {
        Decode {
            limits: self.limits,
            receipts: self.receipts,
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Decode<S> {
    limits: BodyLimits,
    receipts: bool,
    inner: S,
}

impl<S> Serve<Allowed> for Decode<S>
where
    S: Serve<Call, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, request: Allowed) -> Result<Response<BoxBody>, BoxError> {
        let is_witnessed = self.receipts && request.account.payer.is_some();
        let call = self.limits.decode(request, is_witnessed).await?;
        self.inner.call(call).await
    }
}

impl BodyLimits {
    async fn decode(self, request: Allowed, is_witnessed: bool) -> Result<Call, DecodeError> {
        let Allowed {
            inbound,
            account,
            allowance,
        } = request;
        let operation = inbound.operation;
        let (parts, body) = inbound.request.into_parts();
        let demand = demand::demand(&parts.headers, account.min_tier)?;
        let mut awaited = Duration::ZERO;
        let (payload, model, witness) = self
            .payload(&operation, &parts, body, &mut awaited, is_witnessed)
            .await?;
        let model = operation.deployment.as_deref().map(Arc::from).or(model);
        let is_stream = matches!(&payload, Payload::Json(body) if body.is_stream());
        let deadline = if is_stream {
            None
        } else {
            patience(&parts.headers).map(|patience| inbound.arrived + patience)
        };
        let mut headers = headers::to_upstream(&parts.headers);
        if let (Payload::Upload(_), Some(encoding)) = (&payload, parts.headers.get(header::CONTENT_ENCODING)) {
            // An upload passes as it came, compressed or not.
            headers.insert(header::CONTENT_ENCODING, encoding.clone());
        }
        Ok(Call {
            id: inbound.id,
            arrived: inbound.arrived,
            account,
            allowance,
            span: inbound.span,
            awaited,
            deadline,
            takes_trailers: takes_trailers(&parts),
            ending: None,
            witness,
            outbound: Outbound {
                method: parts.method,
                query: parts.uri.query().map(str::to_owned),
                headers,
                operation,
                payload,
                model,
                demand,
            },
        })
    }

    async fn payload(
        self,
        operation: &Operation,
        parts: &Parts,
        body: Incoming,
        awaited: &mut Duration,
        is_witnessed: bool,
    ) -> Result<(Payload, Option<Arc<str>>, Option<Box<Witness>>), DecodeError> {
        let Parts { method, headers, .. } = parts;
        let witness = |body: &[u8]| is_witnessed.then(|| Witness::of(body)).transpose();
        let is_json = operation.endpoint.is_inference() && operation.is_root_post
            || headers::is_content_type(headers, "application/json");
        if is_json && (*method == Method::POST || !body.is_end_stream()) {
            let raw = self.collect(body, awaited).await?;
            // What the client sent, compressed or not: it knows no other bytes.
            let witness = witness(&raw)?;
            let raw = encoding::decompress(headers, raw, self.decompressed).await?;
            if raw.is_empty() && !operation.is_root_post {
                return Ok((Payload::Empty, None, witness));
            }
            let body = if operation.is_root_post {
                RequestBody::parse(operation.endpoint, raw)?
            } else {
                RequestBody::parse_lenient(raw)?
            };
            let model = body.model().map(Arc::from);
            return Ok((Payload::Json(Box::new(body)), model, witness));
        }
        if body.is_end_stream() {
            return Ok((Payload::Empty, None, witness(b"")?));
        }
        let mut upload = Upload::new(body, self.upload, self.pause);
        let mut witness = None;
        if is_witnessed {
            let (begun, passing) = Witness::of_upload()?;
            upload.passing = Some(passing);
            witness = Some(begun);
        }
        let (upload, model) = multipart::model(headers, operation.deployment.as_deref(), upload).await?;
        *awaited = upload.awaited();
        Ok((Payload::Upload(Once::new(upload)), model, witness))
    }

    /// The whole body. One that came in one frame is not copied.
    async fn collect(self, body: Incoming, awaited: &mut Duration) -> Result<Bytes, DecodeError> {
        if body.size_hint().lower() > self.body as u64 {
            return Err(DecodeError::TooLarge { limit: self.body });
        }
        let mut body = Upload::new(body, self.body, self.pause);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(data) = body.next().await? {
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        *awaited = body.awaited;
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    }
}

/// How long the client will wait for a whole answer; work beyond it is for nobody.
///
/// OpenAI's SDKs send their read timeout in seconds.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get("x-stainless-read-timeout")?.to_str().ok()?.parse().ok()?;
    let is_sane = seconds.is_finite() && (1.0..=86_400.0).contains(&seconds);
    is_sane.then(|| Duration::from_secs_f64(seconds))
}

/// Whether what stands behind the body of the answer arrives: in HTTP/1.1 where the client says so, and each HTTP/2 has a
/// place for it.
fn takes_trailers(parts: &Parts) -> bool {
    let says_so = |value: &HeaderValue| {
        let words = value.to_str().unwrap_or_default().split(',');
        words.map(str::trim).any(|word| word.eq_ignore_ascii_case("trailers"))
    };
    match parts.version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => parts.headers.get_all(header::TE).iter().any(says_so),
        _ => false,
    }
}

/// A request body under its limits, with what was read ahead in front.
#[derive(Debug)]
pub(crate) struct Upload {
    ahead: Bytes,
    body: Incoming,
    clock: BodyClock,
    left: usize,
    limit: usize,
    pause: Duration,
    /// How long the client was waited for, before the rest of the body streams.
    awaited: Duration,
    /// Hashes what passes, for a receipt.
    passing: Option<Passing>,
}

impl Upload {
    fn new(body: Incoming, limit: usize, pause: Duration) -> Self {
        /// The pause is what is bounded; an upload may take as long as it moves.
        const FOREVER: Duration = Duration::from_secs(365 * 86_400);
        let now = Instant::now();
        Self {
            ahead: Bytes::new(),
            body,
            clock: BodyClock::new(pause, now, FOREVER, now + FOREVER),
            left: limit,
            limit,
            pause,
            awaited: Duration::ZERO,
            passing: None,
        }
    }

    /// The next piece from the client.
    async fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let before = Instant::now();
        let data = std::future::poll_fn(|cx| self.poll_data(cx)).await;
        self.awaited += before.elapsed();
        data.transpose()
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DecodeError>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(DecodeError::Incomplete))),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that we read.
                    let Ok(data) = frame.into_data() else { continue };
                    if self.clock.touch().is_err() {
                        return Poll::Ready(Some(Err(DecodeError::TooSlow { after: self.pause })));
                    }
                    let Some(left) = self.left.checked_sub(data.len()) else {
                        return Poll::Ready(Some(Err(DecodeError::TooLarge { limit: self.limit })));
                    };
                    self.left = left;
                    if let Some(passing) = &self.passing {
                        passing.update(&data);
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Pending => {
                    std::task::ready!(self.clock.poll(cx));
                    return Poll::Ready(Some(Err(DecodeError::TooSlow { after: self.pause })));
                }
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        self.poll_data(cx)
            .map(|data| data.map(|data| data.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.len() as u64;
        let rest = self.body.size_hint();
        match rest.exact() {
            Some(exact) => SizeHint::with_exact(ahead + exact),
            None => SizeHint::default(),
        }
    }
}
