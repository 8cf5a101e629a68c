//! Cors: which web pages may call. Off unless configured.
//!
//! Answers preflights itself (204, no key needed, as browsers send none) and marks every answer, refusals included,
//! so that a page can read why it was refused. Credentials are never allowed: keys travel in a header.

use std::sync::Arc;

use backends::{
    body::{BoxBody, Outgoing},
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower_layer::Layer;

#[derive(Debug, Clone)]
pub(crate) struct CorsLayer {
    origins: Arc<[String]>,
}

impl CorsLayer {
    /// Without origins, does nothing.
    pub(crate) fn new(origins: &[String]) -> Self {
        Self {
            origins: origins.into(),
        }
    }
}

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors {
            origins: self.origins.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Cors<S> {
    origins: Arc<[String]>,
    inner: S,
}

impl<S> Serve<Request<Incoming>> for Cors<S>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        if self.origins.is_empty() {
            return self.inner.call(request).await;
        }
        let allowed = self.allowed(request.headers());
        if request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Ok(preflight(allowed, request.headers()));
        }
        let mut response = self.inner.call(request).await?;
        mark(response.headers_mut(), allowed);
        Ok(response)
    }
}

impl<S> Cors<S> {
    /// The value of `access-control-allow-origin` for this request, if its origin may call.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }
}

fn mark(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = allowed else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // A browser hides every header that is not named; wildcards within names do not exist.
    const EXPOSED: &str = "x-request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, openai-version, \
        x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, \
        x-ratelimit-reset-requests, x-ratelimit-reset-tokens, x-mulberry-backend, x-mulberry-upstream, x-mulberry-attempts, \
        x-mulberry-overhead-ms, x-mulberry-tier, x-mulberry-via, x-mulberry-cost, x-receipt, x-receipt-salt, \
        payment-required, payment-response, idempotency-replayed";
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

fn preflight(allowed: Option<HeaderValue>, request: &HeaderMap) -> Response<BoxBody> {
    let mut response = Response::new(BoxBody::new(Outgoing::Empty.map_err(|error| error)));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if allowed.is_some() {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, DELETE, PUT, PATCH, OPTIONS"),
        );
        if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    mark(headers, allowed);
    response
}
