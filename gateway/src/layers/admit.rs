//! Admit: a permit or 503 at once. The permit rides in the body until the end of the stream, for a stream is load.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use backends::{
    body::{BoxBody, OnEnd},
    serve::{BoxError, Serve},
};
use http::Response;
use tower_layer::Layer;

use crate::call::Named;

/// As many requests as the gateway takes are under way.
#[derive(Debug, thiserror::Error)]
#[error("The gateway is at its limit of {limit} requests at a time.")]
pub(crate) struct Overloaded {
    limit: usize,
}

/// Requests under way. Outlives the stack, which is built anew when the configuration changes.
#[derive(Debug, Default)]
pub(crate) struct Admission(AtomicUsize);

impl Admission {
    /// A place among `limit`, until the permit is dropped.
    fn enter(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        let entered = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
            (taken < limit).then_some(taken + 1)
        });
        entered.ok().map(|_| Permit(self.clone()))
    }
}

struct Permit(Arc<Admission>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AdmitLayer {
    pub(crate) admission: Arc<Admission>,
    pub(crate) limit: usize,
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            admission: self.admission.clone(),
            limit: self.limit,
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Admit<S> {
    admission: Arc<Admission>,
    limit: usize,
    inner: S,
}

impl<S> Serve<Box<Named>> for Admit<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Box<Named>) -> Result<Response<BoxBody>, BoxError> {
        let permit = self
            .admission
            .enter(self.limit)
            .ok_or(Overloaded { limit: self.limit })?;
        let response = self.inner.call(named).await?;
        Ok(response.map(|body| BoxBody::new(OnEnd::new(body, move |_| drop(permit)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_limit_counts_those_who_are_there() {
        let admission = Arc::<Admission>::default();
        let first = admission.enter(2);
        let second = admission.enter(2);
        assert!(first.is_some() && second.is_some());
        assert!(admission.enter(2).is_none());
        drop(second);
        assert!(admission.enter(1).is_none(), "one is under way still");
        drop(first);
        assert!(admission.enter(1).is_some());
    }
}
