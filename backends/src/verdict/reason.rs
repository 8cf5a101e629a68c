//! Why an upstream is no candidate, as a code that never changes: metrics count it, clients are told it.

use super::Requirement;

/// In the order in which they are looked at, so that the same upstream always gets the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was tried for this request.
    AlreadyTried,
    NotConnected,
    NotReady,
    /// Its verdict is late to be renewed: nothing new until it is.
    VerdictLapsed,
    VerdictExpired,
    TierTooLow,
    /// It named itself, and the request does not say that anybody may serve it.
    SelfEnrolled,
    /// It proved nothing of itself, and the request asks when it did.
    NotAttested,
    /// It proved itself longer ago than the request allows.
    TooOld,
    Lacks(Requirement),
    HealthCheckFails,
    BreakerOpen,
    /// It was left out by price.
    NotRanked,
}

impl Reason {
    pub const ALL: [Self; 12 + Requirement::ALL.len()] = {
        let mut all = [Self::AlreadyTried; 12 + Requirement::ALL.len()];
        let fixed = [
            Self::AlreadyTried,
            Self::NotConnected,
            Self::NotReady,
            Self::VerdictLapsed,
            Self::VerdictExpired,
            Self::TierTooLow,
            Self::SelfEnrolled,
            Self::NotAttested,
            Self::TooOld,
            Self::HealthCheckFails,
            Self::BreakerOpen,
            Self::NotRanked,
        ];
        let mut at = 0;
        while at < fixed.len() {
            all[at] = fixed[at];
            at += 1;
        }
        while at < all.len() {
            all[at] = Self::Lacks(Requirement::ALL[at - fixed.len()]);
            at += 1;
        }
        all
    };

    pub const fn code(self) -> &'static str {
        match self {
            Self::AlreadyTried => "already_tried",
            Self::NotConnected => "not_connected",
            Self::NotReady => "not_ready",
            Self::VerdictLapsed => "verdict_lapsed",
            Self::VerdictExpired => "verdict_expired",
            Self::TierTooLow => "tier_too_low",
            Self::SelfEnrolled => "self_enrolled",
            Self::NotAttested => "not_attested",
            Self::TooOld => "verdict_too_old",
            Self::Lacks(requirement) => requirement.lack(),
            Self::HealthCheckFails => "health_check_fails",
            Self::BreakerOpen => "breaker_open",
            Self::NotRanked => "not_ranked",
        }
    }

    /// For an operator.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::AlreadyTried => "it was tried for this request",
            Self::NotConnected => "its worker is not connected",
            Self::NotReady => "its worker is not ready",
            Self::VerdictLapsed => "its verdict is late to be renewed",
            Self::VerdictExpired => "its verdict has ended",
            Self::TierTooLow => "it has no verdict for the tier asked",
            Self::SelfEnrolled => "it enrolled itself, and the request does not ask for tier open itself",
            Self::NotAttested => "it proved nothing of itself",
            Self::TooOld => "it proved itself longer ago than the request allows",
            Self::Lacks(_) => "its verdict lacks what the request requires",
            Self::HealthCheckFails => "its health check fails",
            Self::BreakerOpen => "its breaker is open after failures",
            Self::NotRanked => "not ranked",
        }
    }

    /// Whether it is the request that asks for more than the upstream has shown.
    pub const fn is_of_demand(self) -> bool {
        matches!(
            self,
            Self::VerdictLapsed
                | Self::VerdictExpired
                | Self::TierTooLow
                | Self::SelfEnrolled
                | Self::NotAttested
                | Self::TooOld
                | Self::Lacks(_)
        )
    }

    /// Whether time may mend it.
    pub const fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::TierTooLow | Self::SelfEnrolled | Self::NotAttested | Self::Lacks(_)
        )
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: BTreeSet<&str> = Reason::ALL.map(Reason::code).into();
        assert_eq!(codes.len(), Reason::ALL.len());
        let is_word = |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(codes.iter().all(is_word), "{codes:?}");
    }
}
