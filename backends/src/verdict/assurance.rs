//! Assurance: what is known of who is at the other end of a connection.

use std::sync::Arc;

use attestation::{Hex, Tier, Verdict};

/// What a connection has shown, and since when.
///
/// A tier above `open` comes from a [`Verdict`] and from nowhere else, and a verdict is made by appraisal alone.
#[derive(Debug, Clone, Default)]
pub struct Assurance {
    verdict: Option<Arc<Verdict>>,
    /// Unix time: when the answer of the channel was accepted.
    bound_at: u64,
    is_stranger: bool,
    evidence: Option<Hex<32>>,
}

impl Assurance {
    /// Of whom nothing is known but that the operator named it: tier `open`.
    pub fn none() -> Self {
        Self::default()
    }

    /// Of who answered for this verdict on this very connection. `bound_at`: Unix time in seconds, when the answer was
    /// accepted.
    pub fn of(verdict: Arc<Verdict>, bound_at: u64) -> Self {
        Self {
            verdict: Some(verdict),
            bound_at,
            ..Self::default()
        }
    }

    /// The same of who enrolled itself: no operator named it.
    #[must_use]
    pub fn self_enrolled(self) -> Self {
        Self {
            is_stranger: true,
            ..self
        }
    }

    /// With the SHA-256 of the bundle in which the evidence is kept.
    #[must_use]
    pub fn with_evidence(self, bundle: Hex<32>) -> Self {
        Self {
            evidence: Some(bundle),
            ..self
        }
    }

    /// Without a verdict, the lowest.
    pub fn tier(&self) -> Tier {
        self.verdict.as_ref().map_or(Tier::Open, |verdict| verdict.tier())
    }

    pub fn verdict(&self) -> Option<&Arc<Verdict>> {
        self.verdict.as_ref()
    }

    pub fn bound_at(&self) -> u64 {
        self.bound_at
    }

    pub fn is_self_enrolled(&self) -> bool {
        self.is_stranger
    }

    /// Which bundle the evidence is kept in, where it is.
    pub fn evidence(&self) -> Option<Hex<32>> {
        self.evidence
    }
}
