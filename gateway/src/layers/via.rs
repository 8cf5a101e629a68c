//! Via: tells an app that came over plain HTTP or HTTPS that nobody has verified this gateway for it.
//!
//! Who came through `mulberry connect` is told by that, for what a gateway says of itself is worth nothing.

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tower_layer::Layer;

use crate::call;

pub(crate) const X_MULBERRY_VIA: HeaderName = HeaderName::from_static("x-mulberry-via");

#[derive(Debug, Clone, Copy)]
pub(crate) struct ViaLayer;

impl<S> Layer<S> for ViaLayer {
    type Service = Via<S>;

    fn layer(&self, inner: S) -> Via<S> {
        Via { inner }
    }
}

#[derive(Debug)]
pub(crate) struct Via<S> {
    inner: S,
}

impl<S> Serve<Request<Incoming>> for Via<S>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let via = call::Via::of(request.extensions());
        let mut response = self.inner.call(request).await?;
        if via == call::Via::Plain {
            let unverified = HeaderValue::from_static("unverified gateway");
            response.headers_mut().insert(X_MULBERRY_VIA, unverified);
        }
        Ok(response)
    }
}
