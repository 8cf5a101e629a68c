//! Trace: the gateway's own place in the client's trace.
//!
//! W3C Trace Context, section 3.2: a `traceparent` of the client goes on with its trace id and flags and with a span
//! id of ours as the parent, so that the upstream's spans hang below the gateway and not beside it. One that is not
//! valid is dropped with its `tracestate`, as the standard asks; none is made for a client that does not trace.

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tower_layer::Layer;

use crate::call::Named;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Where the parent's id stands in `00-{trace id}-{parent id}-{flags}`.
const PARENT: std::ops::Range<usize> = 36..52;
const LENGTH: usize = 55;

#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

#[derive(Debug)]
pub(crate) struct Trace<S> {
    inner: S,
}

impl<S> Serve<Named> for Trace<S>
where
    S: Serve<Named, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut named: Named) -> Result<Response<BoxBody>, BoxError> {
        let headers = named.request.headers_mut();
        if headers.contains_key(TRACEPARENT) {
            become_parent(headers, fastrand::u64(1..));
        }
        self.inner.call(named).await
    }
}

fn become_parent(headers: &mut HeaderMap, span: u64) {
    let ours = headers
        .get(TRACEPARENT)
        .and_then(|theirs| child(theirs.as_bytes(), span));
    match ours {
        Some(ours) => {
            headers.insert(TRACEPARENT, ours);
        }
        None => {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
    }
}

/// The same trace with another parent; `None` for what is not a valid `traceparent` of version 00.
fn child(theirs: &[u8], span: u64) -> Option<HeaderValue> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_shaped = theirs.len() == LENGTH
        && theirs.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => is_hex(byte),
        });
    let is_zero = |range: std::ops::Range<usize>| theirs[range].iter().all(|byte| *byte == b'0');
    if !is_shaped || &theirs[..2] != b"00" || is_zero(3..35) || is_zero(PARENT) {
        return None;
    }
    let mut ours = theirs.to_vec();
    ours[PARENT].copy_from_slice(format!("{span:016x}").as_bytes());
    HeaderValue::from_bytes(&ours).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(theirs: &'static str, expect: Option<&str>) {
        let mut headers = HeaderMap::from_iter([
            (TRACEPARENT, HeaderValue::from_static(theirs)),
            (TRACESTATE, HeaderValue::from_static("a=b")),
        ]);
        become_parent(&mut headers, 0xabc);
        let ours = headers.get(TRACEPARENT).map(|value| value.to_str().unwrap_or_default());
        assert_eq!(ours, expect, "for {theirs}");
        assert_eq!(headers.contains_key(TRACESTATE), expect.is_some(), "for {theirs}");
    }

    #[test]
    fn the_trace_goes_on_with_our_span() {
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            Some("00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01"),
        );
    }

    #[test]
    fn what_is_not_valid_ends_here() {
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None);
        check("secret", None);
    }
}
