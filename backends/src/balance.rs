//! Balance: which upstream of the backend, and the wait when all are busy.
//!
//! Candidates are the upstreams that are healthy, not shut by their breaker, not tried before and have shown what the
//! request demands. When health and breakers leave none, they are ignored: a last resort that may work beats a refusal that
//! cannot. A missing verdict, a worker that is not there and an upstream already tried are never ignored.
//! The queue is bounded and timed, not ordered: when a place is freed all who wait look for it, and a newcomer may be
//! quicker.

use std::{
    hash::{BuildHasher, Hash},
    pin::pin,
    sync::Arc,
    time::Instant,
};

use tower_layer::Layer;

use crate::{
    attempt::{Attempt, Ranking},
    backend::Backend,
    error::{AttemptError, Exclusion, Failure},
    serve::{BoxError, Serve},
    upstream::{InUse, Upstream},
    verdict::Reason,
};

/// How one of several candidates is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Two at random, the less loaded of them: near the best without everyone choosing the same.
    PowerOfTwo,
    /// The least loaded of all.
    LeastOutstanding,
    /// Two at random, the one with the smaller product of latency and load.
    Latency,
    /// Requests with the same prefix go to the same upstream, unless it is much busier than the rest.
    PrefixAffinity,
}

impl Strategy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerOfTwo => "power_of_two",
            Self::LeastOutstanding => "least_outstanding",
            Self::Latency => "latency",
            Self::PrefixAffinity => "prefix_affinity",
        }
    }
}

/// An attempt that has its upstream, and a place there.
#[derive(Debug)]
pub struct Placed {
    pub attempt: Attempt,
    pub in_use: InUse,
}

#[derive(Debug, Clone, Copy)]
pub struct BalanceLayer;

impl<S> Layer<S> for BalanceLayer {
    type Service = Balance<S>;

    fn layer(&self, inner: S) -> Balance<S> {
        Balance { inner }
    }
}

#[derive(Debug)]
pub struct Balance<S> {
    inner: S,
}

impl<S> Serve<Attempt> for Balance<S>
where
    S: Serve<Placed>,
{
    type Response = S::Response;

    async fn call(&self, attempt: Attempt) -> Result<S::Response, BoxError> {
        let in_use = match place(&attempt, count) {
            Ok(in_use) => in_use,
            Err(NoPlace::AllBusy) => {
                let _waiting = attempt.trail.wait();
                wait_for_place(&attempt).await?
            }
            Err(NoPlace::NoCandidate(excluded)) => return Err(nobody(&attempt, excluded)),
        };
        attempt.trail.step(in_use.upstream(), &attempt.leg);
        self.inner.call(Placed { attempt, in_use }).await
    }
}

enum NoPlace {
    /// There are candidates, each at its limit.
    AllBusy,
    NoCandidate(Vec<Exclusion>),
}

/// What is done with each upstream that is passed over.
type Tally = fn(&Upstream, Reason);

/// Once for a request, however often it looks again while it waits.
fn count(upstream: &Upstream, reason: Reason) {
    upstream.counts.exclusions.note(reason);
}

/// Chooses among the candidates and takes a place.
fn place(attempt: &Attempt, tally: Tally) -> Result<InUse, NoPlace> {
    let backend = &attempt.leg.backend;
    // The common case: one upstream, nothing to compare.
    if let [only] = backend.upstreams.as_slice()
        && attempt.avoid.is_empty()
        && only.refuses(&attempt.outbound.demand).is_none()
    {
        let mut candidates = vec![only.clone()];
        attempt.hooks.rank(&mut candidates);
        return match candidates.first() {
            Some(only) => only.try_acquire().ok_or(NoPlace::AllBusy),
            None => Err(NoPlace::NoCandidate(vec![excluded(only, Reason::NotRanked)])),
        };
    }
    let mut candidates = candidates(attempt, tally).map_err(NoPlace::NoCandidate)?;
    let ranking = attempt.hooks.rank(&mut candidates);
    if candidates.is_empty() {
        return Err(NoPlace::NoCandidate(Vec::new()));
    }
    while !candidates.is_empty() {
        let chosen = match ranking {
            Ranking::Decided => 0,
            Ranking::Open => choose(backend, attempt, &candidates),
        };
        let upstream = candidates.remove(chosen);
        if let Some(in_use) = upstream.try_acquire() {
            return Ok(in_use);
        }
    }
    Err(NoPlace::AllBusy)
}

async fn wait_for_place(attempt: &Attempt) -> Result<InUse, BoxError> {
    let queue = &attempt.leg.backend.queue;
    let Some(_waiting) = queue.enter() else {
        return Err(failed(attempt, Failure::QueueFull));
    };
    let turn = async {
        loop {
            // Registered before the look: a place freed in between is not missed.
            let mut freed = pin!(queue.freed.notified());
            freed.as_mut().enable();
            match place(attempt, |_, _| {}) {
                Ok(in_use) => return Ok(in_use),
                Err(NoPlace::NoCandidate(excluded)) => return Err(nobody(attempt, excluded)),
                Err(NoPlace::AllBusy) => freed.await,
            }
        }
    };
    match tokio::time::timeout(queue.timeout, turn).await {
        Ok(placed) => placed,
        Err(_) => Err(failed(attempt, Failure::QueueTimeout(queue.timeout))),
    }
}

fn candidates(attempt: &Attempt, tally: Tally) -> Result<Vec<Arc<Upstream>>, Vec<Exclusion>> {
    let now = Instant::now();
    let mut ready = Vec::with_capacity(attempt.leg.backend.upstreams.len());
    let mut last_resort = Vec::new();
    let mut exclusions = Vec::new();
    let mut exclude = |upstream: &Upstream, reason| {
        tally(upstream, reason);
        exclusions.push(excluded(upstream, reason));
    };
    for upstream in &attempt.leg.backend.upstreams {
        if attempt.avoid.contains(&upstream.name) {
            exclude(upstream, Reason::AlreadyTried);
        } else if let Some(reason) = upstream.refuses(&attempt.outbound.demand) {
            exclude(upstream, reason);
        } else if let Some(reason) = upstream.exclusion(now) {
            last_resort.push((upstream.clone(), reason));
        } else {
            ready.push(upstream.clone());
        }
    }
    match (ready.is_empty(), last_resort.is_empty()) {
        (false, _) => {
            for (upstream, reason) in &last_resort {
                tally(upstream, *reason);
            }
            Ok(ready)
        }
        (true, false) => Ok(last_resort.into_iter().map(|(upstream, _)| upstream).collect()),
        (true, true) => Err(exclusions),
    }
}

/// The index of the chosen one; `candidates` is not empty.
fn choose(backend: &Backend, attempt: &Attempt, candidates: &[Arc<Upstream>]) -> usize {
    match backend.strategy {
        _ if candidates.len() == 1 => 0,
        Strategy::PowerOfTwo => better_of_two(candidates, Upstream::load),
        Strategy::LeastOutstanding => least(candidates),
        Strategy::Latency => {
            let now = Instant::now();
            let known = candidates
                .iter()
                .map(|upstream| upstream.latency.micros(now))
                .filter(|micros| *micros > 0);
            let (sum, count) = known.fold((0u64, 0u64), |(sum, count), micros| {
                (sum.saturating_add(micros), count + 1)
            });
            // An upstream that is not known is worth what the others are, not nothing: it must not draw everyone.
            let mean = sum.checked_div(count).unwrap_or(1).max(1);
            better_of_two(candidates, |upstream| {
                let micros = upstream.latency.micros(now);
                (upstream.load() + 1.0) * if micros == 0 { mean } else { micros } as f64
            })
        }
        Strategy::PrefixAffinity => match attempt.outbound.json().and_then(|body| body.affinity()) {
            Some(prefix) => by_prefix(prefix, candidates),
            None => better_of_two(candidates, Upstream::load),
        },
    }
}

/// Two different ones, drawn by weight, and the cheaper of them; the one drawn first where they cost the same, so that
/// a quiet system shares by weight too.
fn better_of_two(candidates: &[Arc<Upstream>], cost: impl Fn(&Upstream) -> f64) -> usize {
    let one = draw(candidates, |_| true);
    let other = draw(candidates, |index| index != one);
    if cost(&candidates[other]) < cost(&candidates[one]) {
        other
    } else {
        one
    }
}

/// The least loaded; among equals one drawn by weight.
fn least(candidates: &[Arc<Upstream>]) -> usize {
    let loads = candidates.iter().map(|upstream| upstream.load());
    let lowest = loads.fold(f64::INFINITY, f64::min);
    draw(candidates, |index| candidates[index].load() <= lowest)
}

/// One of the eligible, with a chance in proportion to its weight. Loads move while we look, so that none may be
/// eligible any more; then the first.
fn draw(candidates: &[Arc<Upstream>], is_eligible: impl Fn(usize) -> bool) -> usize {
    let eligible: Vec<usize> = (0..candidates.len()).filter(|index| is_eligible(*index)).collect();
    let total: u64 = eligible.iter().map(|index| u64::from(candidates[*index].weight)).sum();
    if total == 0 {
        return 0;
    }
    let mut ticket = fastrand::u64(..total);
    let drawn = eligible.into_iter().find(|index| {
        let weight = u64::from(candidates[*index].weight);
        let won = ticket < weight;
        ticket = ticket.saturating_sub(weight);
        won
    });
    drawn.unwrap_or(0)
}

/// Rendezvous hashing: every upstream scores the prefix, the highest wins; when one leaves, only its prefixes move.
fn by_prefix(prefix: &[u8], candidates: &[Arc<Upstream>]) -> usize {
    /// An upstream may have this many times the mean load before its prefixes go elsewhere.
    const OVERLOAD: f64 = 2.0;
    let mean = candidates.iter().map(|upstream| upstream.load()).sum::<f64>() / candidates.len() as f64;
    let score = |index: &usize| {
        let mut hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().build_hasher();
        (prefix, &candidates[*index].name).hash(&mut hasher);
        std::hash::Hasher::finish(&hasher)
    };
    let has_room = |index: &usize| candidates[*index].load() <= (mean * OVERLOAD).max(3.0);
    (0..candidates.len())
        .filter(has_room)
        .max_by_key(score)
        .unwrap_or_else(|| least(candidates))
}

fn excluded(upstream: &Upstream, reason: Reason) -> Exclusion {
    Exclusion {
        upstream: upstream.name.clone(),
        reason,
    }
}

fn nobody(attempt: &Attempt, excluded: Vec<Exclusion>) -> BoxError {
    failed(attempt, Failure::nobody(&attempt.outbound.demand, excluded))
}

fn failed(attempt: &Attempt, failure: Failure) -> BoxError {
    Box::new(AttemptError {
        place: attempt.leg.backend.name.clone(),
        failure,
    })
}

#[cfg(test)]
mod tests;
