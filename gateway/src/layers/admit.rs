//! Admit: a permit or 503 at once. The permit rides in the body until the end of the stream, for a stream is load.

use std::sync::Arc;

use backends::{
    body::{BoxBody, OnEnd},
    serve::{BoxError, Serve},
};
use http::Response;
use tokio::sync::Semaphore;
use tower_layer::Layer;

use crate::call::Named;

/// As many requests as the gateway takes are under way.
#[derive(Debug, thiserror::Error)]
#[error("The gateway is at its limit of {limit} requests at a time.")]
pub(crate) struct Overloaded {
    limit: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct AdmitLayer {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl AdmitLayer {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            permits: self.permits.clone(),
            limit: self.limit,
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Admit<S> {
    permits: Arc<Semaphore>,
    limit: usize,
    inner: S,
}

impl<S> Serve<Named> for Admit<S>
where
    S: Serve<Named, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Named) -> Result<Response<BoxBody>, BoxError> {
        let permit = self
            .permits
            .clone()
            .try_acquire_owned()
            .map_err(|_| Overloaded { limit: self.limit })?;
        let response = self.inner.call(named).await?;
        Ok(response.map(|body| BoxBody::new(OnEnd::new(body, move |_| drop(permit)))))
    }
}
