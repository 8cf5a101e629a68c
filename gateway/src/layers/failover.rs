//! Failover: the next upstream, while the client has seen nothing.
//!
//! It owns the body of a stream, because a stream may fail after its status was sent and before its first data
//! frame: until `commit_after` the status waits for the upstream's, then the client gets 200 and heartbeats, and a
//! failure may still be followed by another attempt until the first data frame. After that a failure is an error
//! event, never a silent end.
//! Never to a lower tier, never twice to the same upstream for the same model unless it is the only one, and within
//! a budget, so that an outage is not multiplied.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use backends::{
    answer::{Answer, AnswerBody, Raw, Whole},
    attempt::{Attempt, Trail},
    error::{AttemptError, Exclusion, Failure, Retry},
    route::Leg,
    serve::{BoxError, Floor, Serve},
    verdict::Reason,
};
use http::{HeaderMap, StatusCode};
use tower_layer::Layer;

use crate::{
    call::Job,
    drain::{Drain, Phase},
    metrics::Metrics,
};

pub(crate) use relay::{Piece, Relay, join};

mod relay;

/// Every attempt failed before the client saw anything.
#[derive(Debug, thiserror::Error)]
#[error("no attempt brought an answer")]
pub(crate) struct FailoverError {
    #[source]
    pub(crate) last: Box<AttemptError>,
}

/// The process ends, and no answer had begun.
#[derive(Debug, thiserror::Error)]
#[error("the gateway is shutting down")]
pub(crate) struct ShuttingDown;

/// An answer on its way to the client.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ServedBody,
}

#[derive(Debug)]
pub(crate) enum ServedBody {
    Whole(Whole),
    Stream(Box<Relay>),
    Raw(Raw),
}

/// When to try again, and when to give the client its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryConfig {
    /// Tries of one model in all, refused connections apart.
    pub(crate) attempts: u32,
    pub(crate) budget_percent: u32,
    pub(crate) heartbeat: Duration,
    pub(crate) commit_after: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct FailoverLayer {
    pub(crate) config: RetryConfig,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
}

impl Layer<Floor<Attempt, Answer>> for FailoverLayer {
    type Service = Failover;

    fn layer(&self, attempt: Floor<Attempt, Answer>) -> Failover {
        Failover {
            pursuer: Arc::new(Pursuer {
                attempt,
                attempts: self.config.attempts,
                budget: Budget::new(self.config.budget_percent),
                metrics: self.metrics.clone(),
            }),
            config: self.config,
            drain: self.drain.clone(),
        }
    }
}

pub(crate) struct Failover {
    pursuer: Arc<Pursuer>,
    config: RetryConfig,
    drain: Drain,
}

impl Serve<Job> for Failover {
    type Response = Served;

    async fn call(&self, job: Job) -> Result<Served, BoxError> {
        let trail = job.trail.clone();
        if !job.outbound.is_stream() {
            let found = self.unless_cut(self.pursuer.pursue(job)).await?;
            let answer = found.map_err(|error| error as BoxError)?;
            return Ok(self.served(answer, trail));
        }
        let protocol = job.outbound.operation.endpoint.protocol();
        let pursuer = self.pursuer.clone();
        let mut pursuit: Pursuit = Box::pin(async move { pursuer.pursue(job).await });
        let in_time = tokio::time::timeout(self.config.commit_after, &mut pursuit);
        match self.unless_cut(in_time).await? {
            Ok(found) => {
                let answer = found.map_err(|error| error as BoxError)?;
                Ok(self.served(answer, trail))
            }
            // Long enough: the client gets its status and heartbeats, and we go on looking.
            Err(_) => Ok(Served {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: ServedBody::Stream(Box::new(Relay::waiting(
                    pursuit,
                    trail,
                    protocol,
                    self.config.heartbeat,
                    &self.drain,
                ))),
            }),
        }
    }
}

impl Failover {
    /// Work that the end of the process interrupts, so that a client without a status still gets one.
    async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Result<T, ShuttingDown> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.drain.reached(Phase::Cutting) => Err(ShuttingDown),
        }
    }

    fn served(&self, answer: Answer, trail: Arc<Trail>) -> Served {
        let body = match answer.body {
            AnswerBody::Whole(whole) => ServedBody::Whole(whole),
            AnswerBody::Raw(raw) => ServedBody::Raw(raw),
            AnswerBody::Events { first, rest } => ServedBody::Stream(Box::new(Relay::streaming(
                first,
                rest,
                trail,
                self.config.heartbeat,
                &self.drain,
            ))),
        };
        Served {
            status: answer.status,
            headers: answer.headers,
            body,
        }
    }
}

type Found = Result<Answer, Box<FailoverError>>;
pub(super) type Pursuit = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Looks for an answer, attempt after attempt.
struct Pursuer {
    attempt: Floor<Attempt, Answer>,
    attempts: u32,
    budget: Budget,
    metrics: Arc<Metrics>,
}

impl Pursuer {
    async fn pursue(&self, job: Job) -> Found {
        self.budget.deposit();
        let mut plan = job.catalog.plan(&job.offer, &job.outbound);
        last_resorts_last(&mut plan);
        let mut search = Search {
            job,
            avoid: Vec::new(),
            last: None,
            excluded: Vec::new(),
        };
        for legs in plan {
            // Another model at the same address is another matter: a rate limit, say, is often the model's.
            search.avoid.clear();
            match self.try_model(&mut search, legs).await {
                Ok(answer) => return Ok(answer),
                Err(Stop::Final) => break,
                Err(Stop::NextModel) => {}
            }
        }
        Err(Box::new(FailoverError {
            last: search.into_last(),
        }))
    }

    /// Tries the legs of one model, within its number of attempts.
    async fn try_model(&self, search: &mut Search, legs: Vec<Leg>) -> Result<Answer, Stop> {
        let mut left = self.attempts;
        let mut legs = legs.into_iter().peekable();
        while let Some(leg) = legs.next() {
            loop {
                let error = match self.try_once(search, &leg).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                let retry = error.failure.retry();
                let place = error.place.clone();
                let is_exhausted = error.failure.is_of_backend();
                tracing::debug!(request = %search.job.id, upstream = %place, failure = %error.failure, "attempt failed");
                search.note(error);
                let outbound = &search.job.outbound;
                // Where nothing was sent, the payload decides; where something was, whether it may be seen twice.
                let may_repeat = if retry == Retry::Free || is_exhausted {
                    outbound.has_payload()
                } else {
                    outbound.is_repeatable()
                };
                if retry == Retry::Never || !may_repeat {
                    return Err(Stop::Final);
                }
                if is_exhausted {
                    break;
                }
                search.avoid.push(place);
                let has_other = leg
                    .backend
                    .upstreams
                    .iter()
                    .any(|upstream| !search.avoid.contains(&upstream.name));
                let is_last_leg = legs.peek().is_none();
                // Dropped, and there is no other: the same one once more.
                let same_again = retry == Retry::Anywhere && !has_other && is_last_leg;
                if is_last_leg && !has_other && !same_again {
                    return Err(Stop::NextModel);
                }
                if retry != Retry::Free {
                    left -= 1;
                    if left == 0 {
                        return Err(Stop::NextModel);
                    }
                    if !self.budget.withdraw() {
                        tracing::debug!(request = %search.job.id, "the retry budget is spent");
                        return Err(Stop::Final);
                    }
                }
                self.metrics.retries.inc();
                if same_again {
                    search.avoid.pop();
                } else if !has_other {
                    break;
                }
            }
        }
        Err(Stop::NextModel)
    }

    async fn try_once(&self, search: &mut Search, leg: &Leg) -> Result<Answer, Box<AttemptError>> {
        let attempt = Attempt {
            outbound: search.job.outbound.clone(),
            leg: leg.clone(),
            avoid: search.avoid.clone(),
            deadline: search.job.deadline,
            hooks: search.job.hooks.clone(),
            watch: search.job.watch,
            trail: search.job.trail.clone(),
        };
        self.attempt.call(attempt).await.map_err(|error| {
            // The floor's errors are its own type; another would be a fault of ours and is told as one.
            error.downcast::<AttemptError>().unwrap_or_else(|other| {
                Box::new(AttemptError {
                    place: leg.backend.name.clone(),
                    failure: Failure::Body(other),
                })
            })
        })
    }
}

/// Moves what health checks and breakers speak against behind the rest, legs within their model and then models: it
/// is tried when nothing else is left. Otherwise each request of an outage would spend an attempt there first, and
/// the retry budget would be gone long before the outage is.
fn last_resorts_last(plan: &mut [Vec<Leg>]) {
    if let [legs] = &*plan
        && legs.len() < 2
    {
        return;
    }
    let now = Instant::now();
    let is_ready = |leg: &Leg| {
        let upstreams = &leg.backend.upstreams;
        upstreams.iter().any(|upstream| upstream.exclusion(now).is_none())
    };
    for legs in &mut *plan {
        legs.sort_by_cached_key(|leg| !is_ready(leg));
    }
    plan.sort_by_cached_key(|legs| !legs.first().is_some_and(is_ready));
}

enum Stop {
    /// Nothing more may be tried.
    Final,
    /// This model is exhausted; a fallback may do better.
    NextModel,
}

struct Search {
    job: Job,
    avoid: Vec<Arc<str>>,
    last: Option<Box<AttemptError>>,
    /// Whom nobody could be asked of, on all legs: each once, with the first reason.
    excluded: Vec<Exclusion>,
}

impl Search {
    /// Keeps the failure that tells the client most: what an upstream did, rather than that no other was left or that
    /// another speaks less. A client that is told that its request is at fault does not come back.
    fn note(&mut self, error: Box<AttemptError>) {
        if let Failure::Unverified(reason) = error.failure {
            self.exclude(&error.place, reason);
        }
        for exclusion in error.failure.excluded().unwrap_or_default() {
            self.exclude(&exclusion.upstream, exclusion.reason);
        }
        let tells_little = matches!(
            error.failure,
            Failure::NoUpstream(_)
                | Failure::NoneQualifies(_)
                | Failure::Unverified(_)
                | Failure::Untranslatable(_)
                | Failure::Unreadable
                | Failure::Closed
        );
        if self.last.is_none() || !tells_little {
            self.last = Some(error);
        }
    }

    fn exclude(&mut self, upstream: &Arc<str>, reason: Reason) {
        let is_known = self.excluded.iter().any(|exclusion| exclusion.upstream == *upstream);
        if !is_known {
            self.excluded.push(Exclusion {
                upstream: upstream.clone(),
                reason,
            });
        }
    }

    /// What the client is told. That there was nobody to ask is told of all legs together.
    fn into_last(self) -> Box<AttemptError> {
        let nobody = |excluded| Failure::nobody(&self.job.outbound.demand, excluded);
        match self.last {
            Some(error) if error.failure.excluded().is_some() || matches!(error.failure, Failure::Unverified(_)) => {
                Box::new(AttemptError {
                    place: error.place,
                    failure: nobody(self.excluded),
                })
            }
            Some(error) => error,
            None => Box::new(AttemptError {
                place: self.job.offer.pattern.as_str().into(),
                failure: nobody(Vec::new()),
            }),
        }
    }
}

/// Retries in proportion to requests: each request earns a share of a retry, each retry spends a whole one.
struct Budget {
    /// In thousandths of a retry.
    balance: AtomicI64,
    share: i64,
}

impl Budget {
    const RETRY: i64 = 1000;
    /// What a quiet gateway may spend at once: enough for every stream of a lost upstream to move.
    const RESERVE: i64 = 256 * Self::RETRY;

    /// At 0 there are no retries at all.
    fn new(percent: u32) -> Self {
        Self {
            balance: AtomicI64::new(if percent == 0 { 0 } else { Self::RESERVE }),
            share: i64::from(percent) * Self::RETRY / 100,
        }
    }

    fn deposit(&self) {
        if self.balance.load(Ordering::Relaxed) < Self::RESERVE {
            self.balance.fetch_add(self.share, Ordering::Relaxed);
        }
    }

    fn withdraw(&self) -> bool {
        let balance = self.balance.fetch_sub(Self::RETRY, Ordering::Relaxed);
        if balance < Self::RETRY {
            self.balance.fetch_add(Self::RETRY, Ordering::Relaxed);
            return false;
        }
        true
    }
}

impl fmt::Debug for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failover")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_follows_the_requests() {
        let budget = Budget::new(20);
        assert!((0..256).all(|_| budget.withdraw()), "the reserve");
        assert!(!budget.withdraw());
        for _ in 0..5 {
            budget.deposit();
        }
        assert!(budget.withdraw(), "five requests earn one");
        assert!(!budget.withdraw());
        assert!(!Budget::new(0).withdraw(), "no budget is no retry");
    }
}
