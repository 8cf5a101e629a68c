//! RequireVerdict: an upstream without a current verdict for the request's tier is never a candidate.
//!
//! Today every upstream is one that the operator named, reached over plain TLS or loopback: tier [`Tier::Open`].
//! Attested workers bring higher tiers; the comparison and its place in the floor are already these.

use tower_layer::Layer;

use crate::{
    balance::Placed,
    error::{AttemptError, Exclusion, Failure},
    serve::{BoxError, Serve},
};

/// What protects a prompt, weakest first. Never lowered to serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Not confidential: whoever runs the machine can read prompts and answers.
    Open,
    /// The CPU side is an attested confidential VM.
    Tee,
    /// And the GPU is attested, on a known platform.
    TeeGpu,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Tee => "tee",
            Self::TeeGpu => "tee+gpu",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
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
    S: Serve<Placed>,
{
    type Response = S::Response;

    async fn call(&self, placed: Placed) -> Result<S::Response, BoxError> {
        let upstream = placed.in_use.upstream();
        if upstream.tier() < placed.attempt.outbound.min_tier {
            let exclusion = Exclusion {
                upstream: upstream.name.clone(),
                reason: "its verdict lapsed",
            };
            let place = upstream.name.clone();
            return Err(AttemptError {
                place,
                failure: Failure::NoUpstream(vec![exclusion]),
            }
            .into());
        }
        self.inner.call(placed).await
    }
}
