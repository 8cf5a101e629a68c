//! Reserve: what the call may cost at most is covered before anyone is asked; an [`Allotted`] becomes a [`Job`].
//!
//! Outside Failover: one hold per call, however many upstreams are tried.
//! No offer has a tariff yet, so that every call is covered and carries the hooks of an unpriced job; the ledger
//! takes this place without moving any other.

use std::sync::Arc;

use backends::{
    attempt::{Hooks, Trail, Unpriced},
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::Response;
use tower_layer::Layer;

use crate::call::{Allotted, Job, Resolved};

#[derive(Debug, Clone)]
pub(crate) struct ReserveLayer;

impl<S> Layer<S> for ReserveLayer {
    type Service = Reserve<S>;

    fn layer(&self, inner: S) -> Reserve<S> {
        Reserve {
            unpriced: Arc::new(Unpriced),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reserve<S> {
    unpriced: Arc<dyn Hooks>,
    inner: S,
}

impl<S> Serve<Allotted> for Reserve<S>
where
    S: Serve<Job, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, Allotted(resolved): Allotted) -> Result<Response<BoxBody>, BoxError> {
        let Resolved { call, offer, catalog } = resolved;
        self.inner
            .call(Job {
                id: call.id,
                arrived: call.arrived,
                account: call.account,
                allowance: call.allowance,
                outbound: Arc::new(call.outbound),
                awaited: call.awaited,
                deadline: call.deadline,
                ending: call.ending,
                witness: call.witness,
                offer,
                catalog,
                hooks: self.unpriced.clone(),
                trail: Arc::new(Trail::traced(call.span.as_ref().and_then(|span| span.context()))),
                span: call.span,
            })
            .await
    }
}
