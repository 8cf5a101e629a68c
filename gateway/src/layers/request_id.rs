//! RequestId: takes or makes `x-request-id`, and puts it on the answer, whatever the answer is.

use std::time::Instant;

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use openapi::endpoint::{Operation, is_anthropic_path};
use tower_layer::Layer;

use crate::{
    call::{Named, RequestId},
    wall_clock::unix_ms,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What Anthropic's clients look for.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The name that OpenAI documents for a client's own id.
const X_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestIdLayer;

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIds<S>;

    fn layer(&self, inner: S) -> RequestIds<S> {
        RequestIds { inner }
    }
}

#[derive(Debug)]
pub(crate) struct RequestIds<S> {
    inner: S,
}

impl<S> Serve<Request<Incoming>> for RequestIds<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let headers = request.headers();
        let given = headers.get(X_REQUEST_ID).or_else(|| headers.get(X_CLIENT_REQUEST_ID));
        let id = given
            .and_then(RequestId::from_client)
            .unwrap_or_else(|| RequestId::generate(unix_ms().unsigned_abs()));
        // The upstream sees the same name; vLLM makes it the id of the completion.
        request.headers_mut().insert(X_REQUEST_ID, id.header());
        let header = id.header();
        let is_anthropic = is_anthropic_path(request.uri().path());
        let operation = Operation::parse(request.method().as_str(), request.uri().path());
        // In a box: each layer below would have room for it twice, once as it came and once as it goes on.
        let named = Box::new(Named {
            id,
            arrived: Instant::now(),
            request,
            operation,
            span: None,
        });
        let mut response = self.inner.call(named).await?;
        if is_anthropic {
            response.headers_mut().insert(REQUEST_ID, header.clone());
        }
        response.headers_mut().insert(X_REQUEST_ID, header);
        Ok(response)
    }
}
