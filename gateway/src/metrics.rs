//! Every metric's name and meaning. Labels are bounded: endpoints, status codes, configured names.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use backends::upstream::Upstream;
use billing::Usage;
use openapi::endpoint::Endpoint;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{catalog::Catalog, records::Records};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    endpoint: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    r#type: &'static str,
}

/// What the gateway counts of itself.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<ByEndpoint, Counter>,
    pub(crate) in_flight: Gauge,
    duration: Histogram,
    first_frame: Histogram,
    tokens: Family<ByKind, Counter>,
    pub(crate) retries: Counter,
    pub(crate) connections: Gauge,
    /// 1 while the keys in the database cannot be read.
    pub(crate) keys_stale: Gauge,
}

impl Metrics {
    pub(crate) fn new(catalog: Arc<ArcSwap<Catalog>>, records: Records) -> Self {
        let mut registry = Registry::with_prefix("mulberry");
        let metrics = Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            // 1 ms to 9 minutes.
            duration: Histogram::new(exponential_buckets(0.001, 3.0, 13)),
            first_frame: Histogram::new(exponential_buckets(0.001, 3.0, 13)),
            tokens: Family::default(),
            retries: Counter::default(),
            connections: Gauge::default(),
            keys_stale: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Requests answered, by endpoint and status",
            metrics.requests.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests whose answer has not ended",
            metrics.in_flight.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From arrival to the end of the answer",
            metrics.duration.clone(),
        );
        registry.register(
            "first_frame_seconds",
            "From arrival to the first frame of the answer",
            metrics.first_frame.clone(),
        );
        registry.register("tokens", "Tokens, by class", metrics.tokens.clone());
        registry.register(
            "retries",
            "Attempts that followed a failed one",
            metrics.retries.clone(),
        );
        registry.register("connections", "Open client connections", metrics.connections.clone());
        registry.register(
            "keys_stale",
            "1 while API keys in the database cannot be read, and those known before stay in force",
            metrics.keys_stale.clone(),
        );
        registry.register_collector(Box::new(Observed { catalog, records }));
        Self { registry, ..metrics }
    }

    /// An answer has ended.
    pub(crate) fn request(&self, endpoint: Option<Endpoint>, status: u16, took: Duration) {
        let endpoint = endpoint.map_or("other", Endpoint::as_str);
        self.requests.get_or_create(&ByEndpoint { endpoint, status }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn first_frame(&self, took: Duration) {
        self.first_frame.observe(took.as_secs_f64());
    }

    pub(crate) fn usage(&self, usage: &Usage) {
        /// Of one class in one request; records have the same bound. An upstream that claims 2^64 - 1 would turn the
        /// counter back.
        const MOST: u64 = u32::MAX as u64;
        let classes = [
            ("prompt", usage.prompt),
            ("cached", usage.cached),
            ("completion", usage.completion),
            ("reasoning", usage.reasoning),
        ];
        for (class, count) in classes {
            if count > 0 {
                self.tokens
                    .get_or_create(&ByKind { r#type: class })
                    .inc_by(count.min(MOST));
            }
        }
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

/// Reads one number of an upstream.
type Read<T> = fn(&Upstream) -> T;

/// What others count, read when asked.
struct Observed {
    catalog: Arc<ArcSwap<Catalog>>,
    records: Records,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let dropped = ConstCounter::new(self.records.dropped());
        let descriptor = encoder.encode_descriptor(
            "records_dropped",
            "Records of requests that could not be kept",
            None,
            dropped.metric_type(),
        )?;
        dropped.encode(descriptor)?;
        let catalog = self.catalog.load();
        let upstreams: Vec<_> = catalog.backends.iter().flat_map(|backend| &backend.upstreams).collect();
        let counters: [(&str, &str, Read<u64>); 2] = [
            ("upstream_attempts", "Attempts at an upstream", |upstream| {
                upstream.counts.attempts.load(Ordering::Relaxed)
            }),
            (
                "upstream_failures",
                "Attempts that failed by the upstream's fault",
                |upstream| upstream.counts.failures.load(Ordering::Relaxed),
            ),
        ];
        for (name, help, read) in counters {
            let mut descriptor =
                encoder.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Counter)?;
            for upstream in &upstreams {
                let labels = [("upstream", &*upstream.name)];
                ConstCounter::new(read(upstream)).encode(descriptor.encode_family(&labels)?)?;
            }
        }
        let gauges: [(&str, &str, Read<i64>); 2] = [
            (
                "upstream_outstanding",
                "Requests under way at an upstream",
                |upstream| i64::try_from(upstream.outstanding()).unwrap_or(i64::MAX),
            ),
            ("upstream_up", "1 if the upstream's health check passes", |upstream| {
                i64::from(upstream.health.is_up())
            }),
        ];
        for (name, help, read) in gauges {
            let mut descriptor =
                encoder.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
            for upstream in &upstreams {
                let labels = [("upstream", &*upstream.name)];
                ConstGauge::new(read(upstream)).encode(descriptor.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
