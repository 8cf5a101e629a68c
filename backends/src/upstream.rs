//! One address, and its standing: load, health, breaker, latency.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use openapi::model::Model;
use tokio::sync::Notify;

use crate::{
    breaker::{Breaker, BreakerConfig, BreakerState},
    client::Client,
    clock::unix_seconds,
    error::Failure,
    verdict::{Assurance, Demand, Reason, Tier},
    worker::Worker,
};

/// One address of one server.
#[derive(Debug)]
pub struct Upstream {
    /// `backend/host:port`, unique; in records, metrics and logs.
    pub name: Arc<str>,
    /// `backend/1`, by its place in the configuration: for clients, who must not learn addresses.
    pub mark: HeaderValue,
    /// Share of the load relative to its equals.
    pub weight: u32,
    /// The credential header, if the server wants one.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// `host` of each request.
    pub host: HeaderValue,
    pub client: Client,
    pub breaker: Breaker,
    pub health: Health,
    pub latency: Latency,
    /// Models that the server said it has, when it was last asked; those of a worker, which tells them itself.
    pub models: Arc<ArcSwap<Vec<Model>>>,
    pub counts: Counts,
    /// Requests under way, whether or not there is a limit.
    outstanding: AtomicUsize,
    limit: usize,
    /// Wakes those who wait for a free place at any upstream of the backend.
    freed: Arc<Notify>,
}

/// What an upstream is made of.
#[derive(Debug)]
pub struct UpstreamParts {
    pub name: Arc<str>,
    pub mark: HeaderValue,
    pub weight: u32,
    pub credential: Option<(HeaderName, HeaderValue)>,
    pub host: HeaderValue,
    pub client: Client,
    pub breaker: BreakerConfig,
    /// Requests at a time; none is without limit.
    pub limit: Option<usize>,
    pub freed: Arc<Notify>,
}

/// Totals since start, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
    pub exclusions: Exclusions,
}

/// How many requests passed it over, by reason.
#[derive(Debug, Default)]
pub struct Exclusions([AtomicU64; Reason::ALL.len()]);

impl Exclusions {
    pub(crate) fn note(&self, reason: Reason) {
        let known = Reason::ALL.iter().zip(&self.0).find(|(known, _)| **known == reason);
        if let Some((_, count)) = known {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that there were.
    pub fn seen(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Reason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Upstream {
    pub fn new(parts: UpstreamParts) -> Self {
        let models = parts.client.worker().map(|worker| worker.models.clone());
        Self {
            name: parts.name,
            mark: parts.mark,
            weight: parts.weight.max(1),
            credential: parts.credential,
            host: parts.host,
            client: parts.client,
            breaker: Breaker::new(parts.breaker),
            health: Health::default(),
            latency: Latency::default(),
            models: models.unwrap_or_default(),
            counts: Counts::default(),
            outstanding: AtomicUsize::new(0),
            limit: parts.limit.unwrap_or(usize::MAX),
            freed: parts.freed,
        }
    }

    /// The tier of its current verdict.
    pub fn tier(&self) -> Tier {
        self.worker().map_or(Tier::Open, |worker| worker.tier())
    }

    /// The worker behind it, where it is one.
    pub fn worker(&self) -> Option<&Arc<Worker>> {
        self.client.worker()
    }

    /// Why nothing can be sent to it, whatever its health, if there is a reason.
    pub fn absence(&self) -> Option<Reason> {
        self.worker()?.absence()
    }

    /// Why this may not be sent to it, whatever its health, if there is a reason.
    pub fn refuses(&self, demand: &Demand) -> Option<Reason> {
        match self.worker() {
            Some(worker) => worker.refuses(demand, unix_seconds()),
            // A verdict that is not there cannot end, whatever the time.
            None => demand.refuses(&Assurance::none(), 0),
        }
    }

    /// Whether its health checks pass, or its worker is there and says that it is well.
    pub fn is_up(&self) -> bool {
        self.health.is_up() && self.absence().is_none()
    }

    /// The tier that it serves at now, if it serves those who demand nothing.
    pub fn tier_in_use(&self) -> Option<Tier> {
        let is_in_use = self.health.is_up() && self.refuses(&Demand::any()).is_none();
        is_in_use.then(|| self.tier())
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Outstanding work per weight: what balancing compares.
    pub fn load(&self) -> f64 {
        // An engine that others use too says more than we know.
        let busy = self.worker().map_or(0, |worker| worker.busy());
        self.outstanding().max(busy) as f64 / f64::from(self.weight)
    }

    /// Why it should not be chosen now, if there is a reason.
    pub fn exclusion(&self, now: Instant) -> Option<Reason> {
        if let Some(reason) = self.absence() {
            return Some(reason);
        }
        if !self.health.is_up() {
            return Some(Reason::HealthCheckFails);
        }
        match self.breaker.state(now) {
            BreakerState::Open => Some(Reason::BreakerOpen),
            BreakerState::Closed | BreakerState::Probation => None,
        }
    }

    /// Takes a place, unless all are taken. The place is held until the guard is dropped.
    pub fn try_acquire(self: &Arc<Self>) -> Option<InUse> {
        let taken = self
            .outstanding
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
                (taken < self.limit).then_some(taken + 1)
            });
        taken.ok()?;
        let is_trial = self.breaker.enter(Instant::now());
        self.counts.attempts.fetch_add(1, Ordering::Relaxed);
        Some(InUse {
            upstream: self.clone(),
            is_judged: false,
            is_trial,
        })
    }
}

/// A request under way at an upstream. Rides in the body until it ends.
#[derive(Debug)]
pub struct InUse {
    upstream: Arc<Upstream>,
    is_judged: bool,
    /// It is the one request of its breaker's probation.
    is_trial: bool,
}

impl InUse {
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub fn succeeded(&mut self) {
        self.is_judged = true;
        self.upstream.breaker.succeeded();
    }

    /// What a failure says of the upstream: against it, for it (it answered, and a client's mistake shows that it
    /// works), or nothing.
    pub fn judge(&mut self, failure: &Failure) {
        if failure.blames_upstream() {
            self.failed();
        } else if matches!(failure, Failure::Status { .. }) {
            self.succeeded();
        }
    }

    pub fn failed(&mut self) {
        self.is_judged = true;
        self.upstream.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.upstream.breaker.failed(Instant::now(), self.is_trial);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if !self.is_judged {
            self.upstream.breaker.abstained(self.is_trial);
        }
        self.upstream.outstanding.fetch_sub(1, Ordering::AcqRel);
        if self.upstream.limit != usize::MAX {
            // All of them: the one who came first may not be allowed to use this upstream.
            self.upstream.freed.notify_waiters();
        }
    }
}

/// What the health checks say. Up until they say otherwise.
#[derive(Debug, Default)]
pub struct Health {
    is_down: AtomicBool,
    failures_in_a_row: AtomicU32,
}

impl Health {
    /// Failed checks in a row that take an upstream out.
    const FAILURES: u32 = 2;

    pub fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    /// Notes a check; answers whether the standing changed.
    pub fn note(&self, is_well: bool) -> bool {
        if is_well {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            return self.is_down.swap(false, Ordering::Relaxed);
        }
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= Self::FAILURES && !self.is_down.swap(true, Ordering::Relaxed)
    }
}

/// Time to the first frame, as an exponentially weighted mean in microseconds. 0 before the first.
#[derive(Debug)]
pub struct Latency {
    mean: AtomicU64,
    /// When it was last noted, in milliseconds since `born`.
    noted: AtomicU64,
    born: Instant,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            mean: AtomicU64::new(0),
            noted: AtomicU64::new(0),
            born: Instant::now(),
        }
    }
}

impl Latency {
    /// What is not renewed is worth half after this long: an upstream that was slow once is looked at again.
    const HALF_LIFE: Duration = Duration::from_secs(10);

    /// An eighth of the new: a slow answer is noticed within a few, one outlier does not banish.
    pub fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mean = self.mean.load(Ordering::Relaxed);
        let next = if mean == 0 { took } else { mean - mean / 8 + took / 8 };
        self.mean.store(next.max(1), Ordering::Relaxed);
        self.noted.store(self.age_ms(Instant::now()), Ordering::Relaxed);
    }

    pub fn micros(&self, now: Instant) -> u64 {
        let unseen = self.age_ms(now).saturating_sub(self.noted.load(Ordering::Relaxed));
        let half_lives = unseen / u64::try_from(Self::HALF_LIFE.as_millis()).unwrap_or(u64::MAX);
        self.mean.load(Ordering::Relaxed) >> half_lives.min(63)
    }

    fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_forgotten() {
        let latency = Latency::default();
        latency.note(Duration::from_secs(8));
        let now = Instant::now();
        assert_eq!(latency.micros(now), 8_000_000);
        assert_eq!(latency.micros(now + Duration::from_secs(21)), 2_000_000);
        assert_eq!(latency.micros(now + Duration::from_secs(86_400)), 0);
    }

    #[test]
    fn two_failed_checks_take_an_upstream_out() {
        let health = Health::default();
        assert!(!health.note(false) && health.is_up());
        assert!(health.note(false) && !health.is_up(), "the change is told once");
        assert!(!health.note(false));
        assert!(health.note(true) && health.is_up());
    }
}
