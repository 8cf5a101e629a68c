//! Trace: the gateway's own place in the client's trace.
//!
//! W3C Trace Context, section 3.2: a `traceparent` of the client goes on with its trace id and flags and with a span
//! id of ours as the parent, so that the upstream's spans hang below the gateway and not beside it. One that is not
//! valid is dropped with its `tracestate`, as the standard asks.
//! Where traces are exported, a request without one begins its own; whether it is recorded is drawn once, here, and
//! told to the upstream. Where they are not, none is made.

use std::sync::Arc;

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};
use http::{HeaderMap, Response};
use tower_layer::Layer;

use crate::{
    call::Named,
    telemetry::{RequestSpan, Telemetry},
};

#[derive(Debug, Clone)]
pub(crate) struct TraceLayer {
    pub(crate) telemetry: Telemetry,
    /// Whether each request has a line in the log.
    pub(crate) log_requests: bool,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            telemetry: self.telemetry.clone(),
            log_requests: self.log_requests,
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Trace<S> {
    telemetry: Telemetry,
    log_requests: bool,
    inner: S,
}

impl<S> Serve<Box<Named>> for Trace<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut named: Box<Named>) -> Result<Response<BoxBody>, BoxError> {
        let theirs = take(named.request.headers_mut());
        let ours = theirs.map(TraceContext::child).or_else(|| self.telemetry.begin());
        if let Some(ours) = ours {
            named.request.headers_mut().insert(TRACEPARENT, ours.header());
        }
        let traced = ours.and_then(|ours| self.telemetry.traced(ours, theirs));
        if traced.is_some() || self.log_requests {
            named.span = Some(Arc::new(RequestSpan::new(traced, self.log_requests, &named)));
        }
        self.inner.call(named).await
    }
}

/// The client's context, if it sent a valid one; takes away what is not.
fn take(headers: &mut HeaderMap) -> Option<TraceContext> {
    let value = headers.get(TRACEPARENT)?;
    let context = TraceContext::parse(value.as_bytes());
    if context.is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
    context
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(theirs: &'static str, is_valid: bool) {
        let mut headers = HeaderMap::from_iter([
            (TRACEPARENT, HeaderValue::from_static(theirs)),
            (TRACESTATE, HeaderValue::from_static("a=b")),
        ]);
        assert_eq!(take(&mut headers).is_some(), is_valid, "for {theirs}");
        assert_eq!(headers.len(), if is_valid { 2 } else { 0 }, "for {theirs}");
    }

    #[test]
    fn the_trace_goes_on_with_its_state() {
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true);
    }

    #[test]
    fn what_is_not_valid_ends_here() {
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check("secret", false);
    }
}
