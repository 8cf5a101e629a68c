//! Demand: what a request asks of who serves it.

use attestation::Tier;

use super::{Assurance, Reason, Requirement};

/// The stricter of what the client, its policy and its key say. Never lowered to serve a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub min_tier: Tier,
    /// How old the last accepted answer of the channel may be, in seconds.
    pub max_age_s: Option<u32>,
    pub require: Vec<Requirement>,
    /// The request itself says that tier `open` is enough: then also of workers that nobody named.
    pub accepts_strangers: bool,
}

impl Demand {
    /// Of a request that says nothing: whoever the operator named.
    pub const fn any() -> Self {
        Self {
            min_tier: Tier::Open,
            max_age_s: None,
            require: Vec::new(),
            accepts_strangers: false,
        }
    }

    /// Whether it asks for anything that not every upstream has.
    pub fn is_demanding(&self) -> bool {
        self.min_tier > Tier::Open || self.max_age_s.is_some() || !self.require.is_empty()
    }

    /// Why it may not be served by who has shown this, if there is a reason. `now`: Unix time in seconds.
    pub fn refuses(&self, of: &Assurance, now: u64) -> Option<Reason> {
        let verdict = of.verdict();
        if verdict.is_some_and(|verdict| !verdict.holds_at(now)) {
            return Some(Reason::VerdictExpired);
        }
        if of.tier() < self.min_tier {
            return Some(Reason::TierTooLow);
        }
        if of.is_self_enrolled() && of.tier() == Tier::Open && !self.accepts_strangers {
            return Some(Reason::SelfEnrolled);
        }
        // A verdict over a key is none over a machine.
        let verdict = verdict.filter(|verdict| verdict.tier() > Tier::Open);
        if let Some(max_age_s) = self.max_age_s {
            if verdict.is_none() {
                return Some(Reason::NotAttested);
            }
            // Of an answer from the future, before the clock was set back, the age is not known.
            let age = now.checked_sub(of.bound_at());
            if age.is_none_or(|age| age > u64::from(max_age_s)) {
                return Some(Reason::TooOld);
            }
        }
        let is_met = |requirement: &&Requirement| verdict.is_some_and(|verdict| requirement.is_met_by(verdict));
        let lacking = self.require.iter().find(|requirement| !is_met(requirement));
        lacking.map(|requirement| Reason::Lacks(*requirement))
    }
}

#[cfg(test)]
mod tests;
