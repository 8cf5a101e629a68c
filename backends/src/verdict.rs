//! RequireVerdict: nothing is sent but to an upstream whose assurance meets what the request demands.
//!
//! Balance looks at the same things when it chooses; this looks again, because a verdict may have lapsed while a place
//! was waited for, and makes the [`Verified`] without which [`Send`](crate::send::Send) cannot be called.
//! The bytes leave on the very connection that was looked at, and only if its verdict still meets the demand when they
//! do: a worker that came back over another connection is another matter, and is looked at anew.

use std::sync::Arc;

use tower_layer::Layer;

use crate::{
    attempt::Attempt,
    balance::Placed,
    clock::unix_seconds,
    error::{AttemptError, Failure},
    serve::{BoxError, Serve},
    statement::{Asking, Signer},
    upstream::Upstream,
    worker::{Passage, Way},
};

pub use assurance::Assurance;
pub use attestation::Tier;
pub use demand::Demand;
pub use reason::Reason;
pub use requirement::Requirement;

mod assurance;
mod demand;
#[cfg(test)]
pub(crate) mod guests;
mod reason;
mod requirement;

/// An attempt at an upstream whose assurance meets the attempt's demand.
///
/// Proves: when it was made, the connection that it names was in use and its verdict met the demand.
/// [`sender`](Self::sender) proves it again at the moment of sending.
/// Does not prove: that the upstream is healthy, or serves what it says.
///
/// Only RequireVerdict makes one.
#[derive(Debug)]
pub struct Verified {
    placed: Placed,
    /// `None` where the upstream is no worker, so that nothing is known of it.
    way: Option<Way>,
}

impl Verified {
    fn of(placed: Placed) -> Result<Self, BoxError> {
        let demand = &placed.attempt.outbound.demand;
        let way = match placed.in_use.upstream().worker() {
            Some(worker) => worker.way(demand, unix_seconds()).map(Some),
            // A verdict that is not there cannot end, whatever the time.
            None => demand.refuses(&Assurance::none(), 0).map_or(Ok(None), Err),
        };
        match way {
            Ok(way) => Ok(Self { placed, way }),
            Err(reason) => {
                let failure = Failure::Unverified(reason);
                placed.attempt.trail.failed(&failure);
                let place = placed.in_use.upstream().name.clone();
                Err(AttemptError { place, failure }.into())
            }
        }
    }

    pub(crate) fn attempt(&self) -> &Attempt {
        &self.placed.attempt
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        self.placed.in_use.upstream()
    }

    /// The worker's connection, if that is how the upstream is reached and it still meets the demand.
    pub(crate) fn passage(&self) -> Result<Option<Passage>, Reason> {
        let way = self.way.as_ref();
        way.map(|way| way.passage(&self.attempt().outbound.demand, unix_seconds()))
            .transpose()
    }

    /// What the worker is asked to state of its answer, where somebody wants it and the worker has a key to sign with.
    pub(crate) fn asking(&self) -> Option<Asking> {
        let verdict = self.way.as_ref()?.assurance().verdict()?;
        let signer = Signer::of(verdict.claims())?;
        self.attempt().trail.asking(signer)
    }

    /// What is left when the request is on its way.
    pub(crate) fn into_placed(self) -> Placed {
        self.placed
    }
}

/// The guard before bytes are written: what Balance saw must still hold.
#[derive(Debug, Clone, Copy)]
pub struct RequireVerdictLayer;

impl<S> Layer<S> for RequireVerdictLayer {
    type Service = RequireVerdict<S>;

    fn layer(&self, inner: S) -> RequireVerdict<S> {
        RequireVerdict { inner }
    }
}

#[derive(Debug)]
pub struct RequireVerdict<S> {
    inner: S,
}

impl<S> Serve<Placed> for RequireVerdict<S>
where
    S: Serve<Verified>,
{
    type Response = S::Response;

    async fn call(&self, placed: Placed) -> Result<S::Response, BoxError> {
        let verified = Verified::of(placed)?;
        if let Some(way) = &verified.way {
            verified.attempt().trail.verified(way.assurance());
        }
        self.inner.call(verified).await
    }
}
