//! A policy in force.

use std::{ops::Deref, sync::Arc};

use super::Policy;
use crate::Hex;

/// A policy that nobody changes any more, with its digest: to compute that anew for each appraisal would cost more than
/// to find a verdict again.
#[derive(Clone, Debug)]
pub struct FixedPolicy {
    policy: Arc<Policy>,
    digest: Hex<32>,
}

impl FixedPolicy {
    pub fn new(policy: Policy) -> Self {
        Self {
            digest: policy.digest(),
            policy: Arc::new(policy),
        }
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// [`Policy::digest`], computed once.
    pub fn digest(&self) -> Hex<32> {
        self.digest
    }
}

impl Deref for FixedPolicy {
    type Target = Arc<Policy>;

    fn deref(&self) -> &Arc<Policy> {
        &self.policy
    }
}
