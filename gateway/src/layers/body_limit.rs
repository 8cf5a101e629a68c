//! BodyLimit: a body that says it is too large is refused before a byte of it is read.
//!
//! Bodies that do not say are counted as they are read, by Decode.

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::Response;
use http_body::Body;
use tower_layer::Layer;

use crate::call::Named;

/// The body is longer than any endpoint takes.
#[derive(Debug, thiserror::Error)]
#[error("The request body has {size} bytes; the limit is {limit}.")]
pub(crate) struct TooLarge {
    size: u64,
    limit: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimitLayer {
    /// The most that any endpoint takes.
    pub(crate) limit: u64,
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> BodyLimit<S> {
        BodyLimit {
            limit: self.limit,
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct BodyLimit<S> {
    limit: u64,
    inner: S,
}

impl<S> Serve<Box<Named>> for BodyLimit<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Box<Named>) -> Result<Response<BoxBody>, BoxError> {
        let size = named.request.body().size_hint().lower();
        if size > self.limit {
            return Err(TooLarge {
                size,
                limit: self.limit,
            }
            .into());
        }
        self.inner.call(named).await
    }
}
