//! Observe: in flight, by outcome, and one line at the end of each request.
//!
//! Outside Rescue, so that it sees the status that the client sees. The line holds an id, an endpoint, a status,
//! sizes and times; never a body, never a credential.

use std::sync::Arc;

use backends::{
    body::{BoxBody, End, OnEnd},
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderValue, Response};
use openapi::endpoint::Endpoint;
use tower_layer::Layer;

use super::rescue::Refused;
use crate::{call::Named, metrics::Metrics, telemetry::RequestSpan};

#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer {
    pub(crate) metrics: Arc<Metrics>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            metrics: self.metrics.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Observe<S> {
    metrics: Arc<Metrics>,
    inner: S,
}

impl<S> Serve<Box<Named>> for Observe<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Box<Named>) -> Result<Response<BoxBody>, BoxError> {
        let mut observed = Observed {
            metrics: self.metrics.clone(),
            endpoint: named.operation.as_ref().ok().map(|operation| operation.endpoint),
            named: (named.id.clone(), named.arrived),
            span: named.span.clone(),
            status: 499,
            is_over: false,
        };
        self.metrics.in_flight.inc();
        if is_sent_again(named.request.headers()) {
            self.metrics.client_retry();
        }
        let mut response = self.inner.call(named).await?;
        observed.status = response.status().as_u16();
        let refused = response.extensions_mut().remove::<Refused>();
        if let Some(limit) = refused.as_ref().and_then(|refused| refused.limit) {
            self.metrics.refused(limit);
        }
        let code = refused.and_then(|refused| refused.code);
        Ok(response.map(|body| BoxBody::new(OnEnd::new(body, move |end| observed.end(end, code.as_deref())))))
    }
}

/// Whether the client says that it asked before: OpenAI's SDKs count their tries.
fn is_sent_again(headers: &HeaderMap) -> bool {
    let count = headers.get("x-stainless-retry-count").map(HeaderValue::as_bytes);
    count.is_some_and(|count| !count.is_empty() && count != b"0")
}

/// One request until its answer has ended. Counted when dropped too, for a client may leave at any time.
struct Observed {
    metrics: Arc<Metrics>,
    endpoint: Option<Endpoint>,
    named: (crate::call::RequestId, std::time::Instant),
    span: Option<Arc<RequestSpan>>,
    status: u16,
    is_over: bool,
}

impl Observed {
    fn end(&mut self, end: End, code: Option<&str>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let took = self.named.1.elapsed();
        self.metrics.in_flight.dec();
        self.metrics.request(self.endpoint, self.status, took);
        if let Some(span) = self.span.take() {
            span.answered(self.endpoint, self.status, end, code);
            if span.is_logged() {
                return;
            }
        }
        tracing::debug!(
            request = %self.named.0,
            endpoint = self.endpoint.map(Endpoint::as_str),
            status = self.status,
            ?end,
            code,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request ended"
        );
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.end(End::Cancelled, None);
    }
}
