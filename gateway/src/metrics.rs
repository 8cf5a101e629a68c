//! Every metric's name and meaning. Labels are bounded: endpoints, status codes, configured names.
//! `docs/observability.md` has the list.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use backends::verdict::Tier;
use openapi::endpoint::Endpoint;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use histogram::{Histogram, Scale};
use job::{Jobs, JobsCollector};
use observed::Observed;
use recent::Recent;

use crate::{catalog::Catalog, records::Records, wall_clock::since_epoch};

pub(crate) use job::{EndedJob, ErrorType, Server, operation, provider};
pub(crate) use ledger::LedgerMetrics;
pub(crate) use payments::PaymentsMetrics;
pub(crate) use recent::Snapshot;
pub(crate) use recounted::RecountOutcome;
pub(crate) use registry::{RegistryMetrics, RegistryNow};
pub(crate) use wages::{WagesMetrics, WagesNow};

mod histogram;
mod job;
mod ledger;
mod observed;
mod payments;
mod recent;
mod recounted;
mod registry;
mod series;
mod wages;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    endpoint: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByUpstream {
    upstream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByUpstreamAndReason {
    upstream: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTier {
    tier: &'static str,
}

const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// Of one class in one request; records have the same bound. An upstream that claims 2^64 - 1 would turn a counter
/// back.
const MOST_TOKENS: u64 = billing::Usage::MOST;

/// 1 ms to 9 minutes, threefold.
static DURATION: Scale = Scale::times(&[
    1_000,
    3_000,
    9_000,
    27_000,
    81_000,
    243_000,
    729_000,
    2_187_000,
    6_561_000,
    19_683_000,
    59_049_000,
    177_147_000,
    531_441_000,
]);

/// 50 µs to 1 s: what a gateway may cost, and what means that it is short of processors.
static OVERHEAD: Scale = Scale::times(&[
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000,
]);

/// What the gateway counts of itself.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<ByEndpoint, Counter>,
    pub(crate) in_flight: Gauge,
    duration: Histogram,
    first_frame: Histogram,
    overhead: Histogram,
    tokens: Family<ByType, Counter>,
    estimated: Counter,
    pub(crate) retries: Counter,
    client_retries: Counter,
    pub(crate) connections: Gauge,
    /// 1 while the keys in the database cannot be read.
    pub(crate) keys_stale: Gauge,
    pub(crate) ledger: LedgerMetrics,
    pub(crate) payments: PaymentsMetrics,
    pub(crate) wages: WagesMetrics,
    pub(crate) registrar: RegistryMetrics,
    pub(crate) spans_exported: Counter,
    pub(crate) spans_dropped: Counter,
    refused: Family<ByKind, Counter>,
    recounts: Family<ByOutcome, Counter>,
    overclaims: Family<ByUpstream, Counter>,
    misstatements: Family<ByUpstreamAndReason, Counter>,
    answers: Family<ByTier, Counter>,
    reload_success: Gauge,
    reloads: Family<ByOutcome, Counter>,
    config_loaded: Gauge<f64, AtomicU64>,
    jobs: Arc<Jobs>,
    recent: Recent,
}

impl Metrics {
    pub(crate) fn new(catalog: Arc<ArcSwap<Catalog>>, records: Records) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            in_flight: Gauge::default(),
            duration: Histogram::new(&DURATION),
            first_frame: Histogram::new(&DURATION),
            overhead: Histogram::new(&OVERHEAD),
            tokens: Family::default(),
            estimated: Counter::default(),
            retries: Counter::default(),
            client_retries: Counter::default(),
            connections: Gauge::default(),
            keys_stale: Gauge::default(),
            ledger: LedgerMetrics::default(),
            payments: PaymentsMetrics::default(),
            wages: WagesMetrics::default(),
            registrar: RegistryMetrics::default(),
            spans_exported: Counter::default(),
            spans_dropped: Counter::default(),
            refused: Family::default(),
            recounts: Family::default(),
            overclaims: Family::default(),
            misstatements: Family::default(),
            answers: Family::default(),
            reload_success: Gauge::default(),
            reloads: Family::default(),
            config_loaded: Gauge::default(),
            jobs: Arc::new(Jobs::new()),
            recent: Recent::new(Instant::now()),
        };
        metrics.reload_success.set(1);
        metrics.config_loaded.set(since_epoch().as_secs_f64());
        // What has not happened is shown as 0, so that its first time is a change.
        for outcome in [TAKEN, REFUSED] {
            drop(metrics.reloads.get_or_create(&ByOutcome { outcome }));
        }
        for kind in ["requests", "tokens", "concurrency"] {
            drop(metrics.refused.get_or_create(&ByKind { kind }));
        }
        for tier in Tier::ALL.map(Tier::name) {
            drop(metrics.answers.get_or_create(&ByTier { tier }));
        }
        for outcome in RecountOutcome::ALL.map(RecountOutcome::as_str) {
            drop(metrics.recounts.get_or_create(&ByOutcome { outcome }));
        }
        let mut registry = Registry::default();
        metrics.register(registry.sub_registry_with_prefix("mulberry"));
        let ours = registry.sub_registry_with_prefix("mulberry");
        ours.register_collector(Box::new(Observed { catalog, records }));
        registry.register_collector(Box::new(JobsCollector(metrics.jobs.clone())));
        metrics.registry = registry;
        metrics
    }

    /// All that is not read from others.
    fn register(&self, registry: &mut Registry) {
        let build: Family<Vec<(&str, &str)>, Gauge> = Family::default();
        build
            .get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        registry.register("build_info", "1; which Mulberry this is", build);
        let help = "Requests answered, by endpoint and status";
        registry.register("requests", help, self.requests.clone());
        let help = "Requests whose answer has not ended";
        registry.register("requests_in_flight", help, self.in_flight.clone());
        let help = "From arrival to the end of the answer";
        registry.register("request_duration_seconds", help, self.duration.clone());
        let help = "From arrival to the first frame of the answer";
        registry.register("first_frame_seconds", help, self.first_frame.clone());
        let help =
            "Of the time to the first frame, what was spent here, not at the upstream nor waiting for the client";
        registry.register("overhead_seconds", help, self.overhead.clone());
        registry.register("tokens", "Tokens, by class", self.tokens.clone());
        let help = "Jobs whose tokens were estimated, for the upstream did not count them";
        registry.register("usage_estimated", help, self.estimated.clone());
        registry.register("retries", "Attempts that followed a failed one", self.retries.clone());
        let help = "Requests that a client says it sends again";
        registry.register("client_retries", help, self.client_retries.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        let help = "Requests turned away by a limit of their API key, by limit";
        registry.register("refused", help, self.refused.clone());
        let help = "Captures whose tokens were to be counted anew, by outcome";
        registry.register("recounts", help, self.recounts.clone());
        let help = "Claims of more tokens than there were, by upstream";
        registry.register("overclaims", help, self.overclaims.clone());
        let help = "Answers of workers that were not stated, or not truly, by upstream and reason";
        registry.register("misstatements", help, self.misstatements.clone());
        let help = "Answers of upstreams that have ended, by what protected the prompt";
        registry.register("answers", help, self.answers.clone());
        let help = "1 if the configuration was taken when it was last read";
        registry.register("config_reload_success", help, self.reload_success.clone());
        let help = "How often the configuration was read again, by outcome";
        registry.register("config_reloads", help, self.reloads.clone());
        let help = "When the configuration that serves was read, in unix time";
        registry.register("config_loaded_timestamp_seconds", help, self.config_loaded.clone());
        let help = "1 while API keys in the database cannot be read, and those known before stay in force";
        registry.register("keys_stale", help, self.keys_stale.clone());
        self.ledger.register(registry);
        self.payments.register(registry);
        self.wages.register(registry);
        self.registrar.register(registry);
        let help = "Spans that a collector of traces took";
        registry.register("spans_exported", help, self.spans_exported.clone());
        let help = "Spans that were lost: the queue was full, or the collector did not take them";
        registry.register("spans_dropped", help, self.spans_dropped.clone());
    }

    /// An answer has ended.
    pub(crate) fn request(&self, endpoint: Option<Endpoint>, status: u16, took: Duration) {
        let endpoint = endpoint.map_or("other", Endpoint::as_str);
        self.requests.get_or_create(&ByEndpoint { endpoint, status }).inc();
        self.duration.observe_time(took);
        self.recent.request(Instant::now());
    }

    /// A client says that it asked before.
    pub(crate) fn client_retry(&self) {
        self.client_retries.inc();
    }

    /// A job has ended, however it did.
    pub(crate) fn job(&self, job: &EndedJob<'_>) {
        let usage = &job.usage;
        let classes = [
            ("prompt", usage.prompt),
            ("cached", usage.cached),
            ("completion", usage.completion),
            ("reasoning", usage.reasoning),
        ];
        for (class, count) in classes {
            if count > 0 {
                self.tokens
                    .get_or_create(&ByType { r#type: class })
                    .inc_by(count.min(MOST_TOKENS));
            }
        }
        if let Some(tier) = job.tier.map(Tier::name) {
            self.answers.get_or_create(&ByTier { tier }).inc();
        }
        if job.is_estimated {
            self.estimated.inc();
        }
        if let Some(first_frame) = job.first_frame {
            self.first_frame.observe_time(first_frame);
        }
        if let Some(overhead) = job.overhead {
            self.overhead.observe_time(overhead);
        }
        self.jobs.note(job);
        let tokens = usage.total().min(MOST_TOKENS);
        self.recent.job(Instant::now(), tokens, job.first_frame, job.took);
    }

    /// A limit of an API key turned a request away: `requests`, `tokens`, `concurrency`, …
    pub(crate) fn refused(&self, kind: &'static str) {
        self.refused.get_or_create(&ByKind { kind }).inc();
    }

    /// A capture was to be counted anew.
    pub(crate) fn recount(&self, outcome: RecountOutcome) {
        let outcome = outcome.as_str();
        self.recounts.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// An upstream claimed more than there was.
    pub(crate) fn overclaim(&self, upstream: &str) {
        let upstream = upstream.to_owned();
        self.overclaims.get_or_create(&ByUpstream { upstream }).inc();
    }

    /// A worker did not state its answer, or not truly.
    pub(crate) fn misstatement(&self, upstream: &str, reason: &'static str) {
        let upstream = upstream.to_owned();
        let place = ByUpstreamAndReason { upstream, reason };
        self.misstatements.get_or_create(&place).inc();
    }

    /// The configuration was read again; `ok` if it serves now.
    pub(crate) fn reload(&self, ok: bool) {
        let outcome = if ok { TAKEN } else { REFUSED };
        self.reloads.get_or_create(&ByOutcome { outcome }).inc();
        self.reload_success.set(i64::from(ok));
        if ok {
            self.config_loaded.set(since_epoch().as_secs_f64());
        }
    }

    /// What the last 60 seconds were like.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.recent.snapshot(Instant::now())
    }

    /// The Prometheus text format (OpenMetrics).
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only if a metric refuses to encode, and then the rest is still of use.
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "a metric does not encode");
        }
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
