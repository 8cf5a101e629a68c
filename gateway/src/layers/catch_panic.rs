//! CatchPanic: a panic is an error like another, for one request.
//!
//! Inside Rescue, so that it leaves as an envelope too.

use std::panic::AssertUnwindSafe;

use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use futures_util::FutureExt;
use http::Response;
use tower_layer::Layer;

use crate::call::Named;

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

impl<S> Serve<Named> for CatchPanic<S>
where
    S: Serve<Named, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Named) -> Result<Response<BoxBody>, BoxError> {
        // Nothing of a request is seen again after it panicked; what is shared is behind locks that recover.
        let answer = AssertUnwindSafe(self.inner.call(named)).catch_unwind().await;
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
        let answer = AssertUnwindSafe(Panics.call(1)).catch_unwind().await;
        assert!(answer.is_err());
    }
}
