//! Failures shut an upstream; probation opens it.
//!
//! Closed until `failures` in a row, then open for `cooldown` (doubled with each relapse, at most 16 times), then one
//! request at a time is let through: its success closes, its failure opens again.
//! What counts as a failure is [`Failure::blames_upstream`](crate::error::Failure::blames_upstream): never a 4xx.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// When to shut, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// How long it stays open the first time.
    pub cooldown: Duration,
}

/// What the breaker says of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    /// Open long enough: one request may try.
    Probation,
}

impl BreakerState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probation => "probation",
        }
    }
}

#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    failures_in_a_row: u32,
    /// Set while open: until when.
    open_until: Option<Instant>,
    relapses: u32,
    is_trying: bool,
}

/// The cooldown doubles at most this often.
const MAX_RELAPSES: u32 = 4;

impl Breaker {
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            inner: Mutex::default(),
        }
    }

    pub fn state(&self, now: Instant) -> BreakerState {
        let inner = self.lock();
        match inner.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until || inner.is_trying => BreakerState::Open,
            Some(_) => BreakerState::Probation,
        }
    }

    /// A request is about to go. Answers whether it is the trial of a probation.
    pub fn enter(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        let is_trial = inner.open_until.is_some_and(|until| now >= until) && !inner.is_trying;
        inner.is_trying |= is_trial;
        is_trial
    }

    pub fn succeeded(&self) {
        let mut inner = self.lock();
        if inner.failures_in_a_row > 0 || inner.open_until.is_some() {
            *inner = Inner::default();
        }
    }

    /// `is_trial`: what [`enter`](Self::enter) answered for this request.
    pub fn failed(&self, now: Instant, is_trial: bool) {
        let mut inner = self.lock();
        inner.failures_in_a_row = inner.failures_in_a_row.saturating_add(1);
        if is_trial {
            inner.is_trying = false;
            inner.relapses = (inner.relapses + 1).min(MAX_RELAPSES);
        }
        // What began before it opened, or as a last resort, tells nothing new of an open breaker.
        if is_trial || (inner.open_until.is_none() && inner.failures_in_a_row >= self.config.failures) {
            inner.open_until = Some(now + self.config.cooldown * 2u32.pow(inner.relapses));
        }
    }

    /// The request ended without a word on the upstream: the client left, or was wrong.
    pub fn abstained(&self, is_trial: bool) {
        if is_trial {
            self.lock().is_trying = false;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        cooldown: Duration::from_secs(5),
    };

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(CONFIG);
        for _ in 0..3 {
            breaker.failed(now, false);
        }
        breaker
    }

    #[test]
    fn consecutive_failures_open_it() {
        let now = Instant::now();
        let breaker = Breaker::new(CONFIG);
        breaker.failed(now, false);
        breaker.failed(now, false);
        breaker.succeeded();
        breaker.failed(now, false);
        breaker.failed(now, false);
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.failed(now, false);
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn probation_lets_one_try() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + CONFIG.cooldown;
        assert_eq!(breaker.state(later), BreakerState::Probation);
        assert!(breaker.enter(later));
        assert!(!breaker.enter(later), "one at a time");
        assert_eq!(breaker.state(later), BreakerState::Open);
        breaker.abstained(false);
        assert_eq!(
            breaker.state(later),
            BreakerState::Open,
            "another's end is not the trial's"
        );
        breaker.abstained(true);
        assert_eq!(
            breaker.state(later),
            BreakerState::Probation,
            "a client that left proves nothing"
        );
        assert!(breaker.enter(later));
        breaker.succeeded();
        assert_eq!(breaker.state(later), BreakerState::Closed);
    }

    #[test]
    fn a_relapse_waits_longer() {
        let now = Instant::now();
        let breaker = opened(now);
        let mut at = now + CONFIG.cooldown;
        assert!(breaker.enter(at));
        breaker.failed(at, true);
        assert_eq!(breaker.state(at + CONFIG.cooldown), BreakerState::Open);
        at += CONFIG.cooldown * 2;
        assert_eq!(breaker.state(at), BreakerState::Probation);
    }
}
