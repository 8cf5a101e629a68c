//! Pay: a request that a channel pays for, from what is set aside to what it cost.
//!
//! Apps that changed nothing but their base URL send the key that they have, often of another service: it stays here, and
//! the channel pays. Where keys are forwarded a key of the app's own rules, and is not paid for; one that must send
//! something and means the channel sends [`KEY`].
//! A request that costs something is kept, up to [`MOST_KEPT`] bytes, so that it can be sent again when the gateway wants
//! a higher voucher for it; a larger one is sent once, and when it is refused the voucher is signed and the app told to
//! send it again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use backends::{body::BoxBody, serve::BoxError};
use billing::channel::x402::{self, Receipt, ReceiptExtra, Required};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cashier::Paying;

/// What an app sends for a key that means: let the channel pay.
pub(super) const KEY: &str = "channel";
/// Bytes of one request that are kept to be sent again.
const MOST_KEPT: usize = 1 << 20;
/// And of all of them.
const ALL_KEPT: usize = 64 << 20;
/// A gateway may refuse so often because others took what was signed for this one.
pub(super) const TRIES: u32 = 4;

pub(super) const SIGNATURE: HeaderName = HeaderName::from_static(x402::SIGNATURE);
const RESPONSE: HeaderName = HeaderName::from_static(x402::RESPONSE);
const REQUIRED: HeaderName = HeaderName::from_static(x402::REQUIRED);
/// Where a gateway looks for a key.
const API_KEYS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
];
/// What is in the name of a header that is nobody's but the app's own: keys of other services.
const OWN: [&str; 6] = ["auth", "key", "token", "secret", "cookie", "credential"];
/// What has such a name and means no secret.
const MEANT: [HeaderName; 2] = [HeaderName::from_static("idempotency-key"), header::SEC_WEBSOCKET_KEY];
/// Where an app may put a key in the query.
const OWN_QUERY: [&str; 6] = ["key", "api-key", "api_key", "apikey", "access_token", "token"];

/// Whether a header is to stay here.
fn stays(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_named = OWN.iter().any(|part| name.as_str().contains(part)) && !MEANT.contains(name);
    // What browsers have in place of a header.
    let is_protocol =
        *name == header::SEC_WEBSOCKET_PROTOCOL && value.as_bytes().windows(7).any(|word| word == b"api-key");
    is_named || is_protocol
}

/// Takes keys of the app's own out of the query.
pub(super) fn strip(keys: AppKeys, uri: &mut Uri) {
    if keys == AppKeys::Forwarded || uri.query().is_none() {
        return;
    }
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = parts.path_and_query.as_ref().map(without_keys);
    // What was one without a part of its query is one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

fn without_keys(path: &PathAndQuery) -> PathAndQuery {
    let Some(query) = path.query() else { return path.clone() };
    let is_own = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        OWN_QUERY.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    if !query.split('&').any(|pair| is_own(&pair)) {
        return path.clone();
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_own(pair)).collect();
    let whole = match rest.is_empty() {
        true => path.path().to_owned(),
        false => format!("{}?{}", path.path(), rest.join("&")),
    };
    // A part of what was one is one.
    PathAndQuery::try_from(whole).unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// What becomes of the keys that apps send, where a channel pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppKeys {
    /// They stay here, whatever they are.
    Stay,
    /// They go on to the gateway, and what has one is not paid for.
    Forwarded,
}

/// Takes off the keys that shall not go on, and says whether the channel pays: not for an app that pays itself.
pub(super) fn is_ours(keys: AppKeys, headers: &mut HeaderMap) -> bool {
    if keys == AppKeys::Stay {
        let own = headers.iter().filter(|(name, value)| stays(name, value));
        let own: Vec<HeaderName> = own.map(|(name, _)| name.clone()).collect();
        for name in own {
            headers.remove(name);
        }
    }
    if headers.contains_key(SIGNATURE) {
        return false;
    }
    let is_own = |name| {
        let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let text = value.trim_ascii();
        let text = match text.split_at_checked(7) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
            _ => text,
        };
        !text.is_empty() && text != KEY.as_bytes() && !text.eq_ignore_ascii_case(b"bearer")
    };
    if API_KEYS.iter().any(is_own) {
        return false;
    }
    for name in API_KEYS {
        headers.remove(name);
    }
    true
}

/// What is only read costs nothing.
pub(super) fn is_free(method: &Method) -> bool {
    method.is_safe() || method == Method::DELETE
}

/// Where kept requests have their place.
#[derive(Clone)]
pub(super) struct Kept(Arc<Semaphore>);

/// A request's body.
pub(super) enum Sendable {
    /// As often as need be.
    Kept(
        Bytes,
        #[expect(dead_code, reason = "its place is free when it is dropped")] OwnedSemaphorePermit,
    ),
    Once(Option<BoxBody>),
}

impl Kept {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ALL_KEPT)))
    }

    /// Reads a body as far as it is kept.
    pub(super) async fn keep(&self, mut body: BoxBody) -> Result<Sendable, BoxError> {
        let size = body.size_hint();
        let most = u64::try_from(MOST_KEPT).unwrap_or(u64::MAX);
        if size.lower() > most {
            return Ok(Sendable::Once(Some(body)));
        }
        let place = u32::try_from(size.upper().unwrap_or(most).min(most)).unwrap_or(u32::MAX);
        let Ok(permit) = self.0.clone().try_acquire_many_owned(place) else {
            return Ok(Sendable::Once(Some(body)));
        };
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // What stands behind a request's body means nothing to a gateway.
            let Ok(data) = frame?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            if bytes.len() > MOST_KEPT {
                let begun = futures_util::stream::iter([Ok(Frame::data(bytes.freeze()))]);
                let whole = StreamBody::new(begun.chain(BodyStream::new(body)));
                return Ok(Sendable::Once(Some(whole.boxed_unsync())));
            }
        }
        Ok(Sendable::Kept(bytes.freeze(), permit))
    }
}

impl Sendable {
    /// The body once more; `None` where it cannot be had again.
    pub(super) fn next(&mut self) -> Option<BoxBody> {
        match self {
            Self::Kept(bytes, _) => Some(Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync()),
            Self::Once(body) => body.take(),
        }
    }
}

pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("Base64 is text")
}

/// What the gateway wants for a request that it refused.
pub(super) fn required(status: StatusCode, headers: &HeaderMap) -> Option<Required> {
    if status != StatusCode::PAYMENT_REQUIRED {
        return None;
    }
    let text = headers.get(REQUIRED)?.to_str().ok()?;
    x402::decode(text).ok()
}

/// What an answer says of the payment. What cannot be read says nothing.
pub(super) fn said(headers: &HeaderMap) -> Option<ReceiptExtra> {
    let text = headers.get(RESPONSE)?.to_str().ok()?;
    let receipt: Receipt = x402::decode(text).ok()?;
    Some(receipt.extra)
}

/// Tells what a request cost where the head of its answer says it; gives it back where only the end of its body can.
pub(super) fn at_head(paying: Paying, status: StatusCode, headers: &HeaderMap) -> Option<Paying> {
    if let Some(said) = said(headers) {
        paying.told(said);
        return None;
    }
    // Refused before anybody worked for it.
    if status.is_client_error() {
        paying.free();
        return None;
    }
    Some(paying)
}

/// An answer whose cost stands behind its body. Dropped before, nobody has said it.
pub(super) struct Paid<B> {
    body: B,
    paying: Option<Paying>,
}

impl<B> Paid<B> {
    pub(super) const fn new(body: B, paying: Option<Paying>) -> Self {
        Self { body, paying }
    }
}

impl<B> Body for Paid<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(said) = frame.trailers_ref().and_then(said)
                    && let Some(paying) = self.paying.take()
                {
                    paying.told(said);
                }
            }
            // It goes as one of which nobody said what it cost.
            Poll::Ready(Some(Err(_)) | None) => drop(self.paying.take()),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.paying.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_here() {
        for (name, value, ours) in [
            ("authorization", "Bearer sk-app", true),
            ("authorization", "Basic channel", true),
            ("api-key", "sk-app", true),
            ("x-api-key", "", true),
            ("x-goog-api-key", "sk-app", true),
            ("proxy-authorization", "Basic sk-app", true),
            ("cookie", "session=1", true),
            ("payment-signature", "e30=", false),
            ("ocp-apim-subscription-key", "sk-app", true),
            ("x-auth-token", "sk-app", true),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.sk-app",
                true,
            ),
            ("idempotency-key", "once", true),
            ("x-other", "sk-app", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static(value));
            headers.append(name, HeaderValue::from_static(value));
            assert_eq!(is_ours(AppKeys::Stay, &mut headers), ours, "{name}: {value}");
            let is_left = ["payment-signature", "idempotency-key", "x-other"].contains(&name);
            assert_eq!(headers.contains_key(name), is_left, "{name}: {value}");
            // Nor beside a payment of the app's own.
            headers.append(name, HeaderValue::from_static(value));
            headers.insert(SIGNATURE, HeaderValue::from_static("e30="));
            assert!(!is_ours(AppKeys::Stay, &mut headers), "{name}: {value}");
            assert_eq!(headers.contains_key(name), is_left, "{name}: {value}");
        }
    }

    #[test]
    fn a_key_in_the_query_stays_here() {
        for (given, left) in [
            ("/v1/models?key=sk-app", "/v1/models"),
            (
                "/v1/models?limit=2&API-Key=sk-app&after=x",
                "/v1/models?limit=2&after=x",
            ),
            ("/v1/models?monkey=1", "/v1/models?monkey=1"),
            ("/v1/models", "/v1/models"),
        ] {
            let mut uri = Uri::from_static(given);
            strip(AppKeys::Stay, &mut uri);
            assert_eq!(uri.to_string(), left, "{given}");
            let mut uri = Uri::from_static(given);
            strip(AppKeys::Forwarded, &mut uri);
            assert_eq!(uri.to_string(), given);
        }
    }

    #[test]
    fn a_forwarded_key_of_the_apps_own_rules() {
        for (name, value, ours) in [
            ("authorization", "Bearer channel", true),
            ("authorization", "bearer  channel", true),
            ("authorization", "Bearer ", true),
            ("x-api-key", "channel", true),
            ("api-key", "", true),
            ("x-other", "sk-app", true),
            ("authorization", "Bearer sk-app", false),
            ("authorization", "Basic channel", false),
            ("x-api-key", "sk-app", false),
            ("payment-signature", "e30=", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is_ours(AppKeys::Forwarded, &mut headers), ours, "{name}: {value}");
            let is_taken_off = !headers.contains_key(name);
            assert_eq!(is_taken_off, ours && name != "x-other", "{name}: {value}");
        }
    }

    async fn is_kept(kept: &Kept, body: BoxBody) -> Option<Sendable> {
        let sendable = kept.keep(body).await.expect("it is whole");
        matches!(sendable, Sendable::Kept(..)).then_some(sendable)
    }

    #[tokio::test]
    async fn what_is_small_is_kept_and_what_is_large_is_sent_once() {
        let kept = Kept::new();
        let body = |length: usize| {
            let bytes = Bytes::from(vec![7; length]);
            let halves = [bytes.slice(..length / 2), bytes.slice(length / 2..)];
            let frames = halves.map(|half| Ok::<_, BoxError>(Frame::data(half)));
            StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
        };
        let mut small = kept.keep(body(MOST_KEPT)).await.expect("it is whole");
        for _ in 0..3 {
            let bytes = small.next().expect("as often as need be").collect().await;
            assert_eq!(bytes.expect("it is whole").to_bytes().len(), MOST_KEPT);
        }
        let mut large = kept.keep(body(MOST_KEPT + 1)).await.expect("it is whole");
        let bytes = large.next().expect("once").collect().await;
        assert_eq!(bytes.expect("it is whole").to_bytes().len(), MOST_KEPT + 1);
        assert!(large.next().is_none());
        // Where all places are taken, nothing is kept.
        let mut all = Vec::new();
        while let Some(sendable) = is_kept(&kept, body(2)).await {
            all.push(sendable);
        }
        assert_eq!(all.len(), ALL_KEPT / MOST_KEPT - 1);
        drop(small);
        assert!(is_kept(&kept, body(2)).await.is_some());
    }
}
