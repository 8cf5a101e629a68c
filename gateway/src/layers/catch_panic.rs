//! CatchPanic: a panic is an error like another, for one request.
//! Until its answer has begun; a panic in a body that flows ends that connection, and no other.
//!
//! Inside Rescue, so that it leaves as an envelope too.

use std::panic::AssertUnwindSafe;

use backends::serve::{BoxError, Serve};
use futures_util::FutureExt;
use tower_layer::Layer;

/// The request made the program panic. What it said went to the log through the panic hook.
#[derive(Debug, thiserror::Error)]
#[error("the handling of this request panicked")]
pub(crate) struct Panicked;

#[derive(Debug, Clone, Copy)]
pub(crate) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

#[derive(Debug)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S, Request: Send> Serve<Request> for CatchPanic<S>
where
    S: Serve<Request>,
{
    type Response = S::Response;

    async fn call(&self, request: Request) -> Result<S::Response, BoxError> {
        // Nothing of a request is seen again after it panicked; what is shared is behind locks that recover.
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind().await;
        answer.unwrap_or_else(|_| Err(Panicked.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Serve<u8> for Panics {
        type Response = ();

        async fn call(&self, _: u8) -> Result<(), BoxError> {
            panic!("on purpose");
        }
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let error = CatchPanicLayer.layer(Panics).call(1).await;
        assert!(error.is_err_and(|error| error.is::<Panicked>()));
    }
}
