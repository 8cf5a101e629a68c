//! What others count, read when asked: upstreams, breakers, queues, records.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use arc_swap::ArcSwap;
use backends::{breaker::BreakerState, upstream::Upstream};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{catalog::Catalog, records::Records};

pub(super) struct Observed {
    pub(super) catalog: Arc<ArcSwap<Catalog>>,
    pub(super) records: Records,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

/// Reads one number of an upstream.
type Read<T> = fn(&Upstream) -> T;

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Records of requests that could not be kept";
        let dropped = encoder.encode_descriptor("records_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(self.records.dropped()).encode(dropped)?;
        let help = "1 if the database refuses records";
        let stalled = encoder.encode_descriptor("records_stalled", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.records.stalled())).encode(stalled)?;

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
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for upstream in &upstreams {
                let labels = [("upstream", &*upstream.name)];
                ConstCounter::new(read(upstream)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests for which an upstream was passed over, by reason";
        let mut family = encoder.encode_descriptor("upstream_exclusions", help, None, MetricType::Counter)?;
        for upstream in &upstreams {
            for (reason, count) in upstream.counts.exclusions.seen() {
                let labels = [("upstream", &*upstream.name), ("reason", reason.code())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let gauges: [(&str, &str, Read<i64>); 3] = [
            (
                "upstream_outstanding",
                "Requests under way at an upstream",
                |upstream| i64::try_from(upstream.outstanding()).unwrap_or(i64::MAX),
            ),
            (
                "upstream_up",
                "1 if the upstream's health check passes, or its worker is there and well",
                |upstream| i64::from(upstream.is_up()),
            ),
            (
                "upstream_breaker_open",
                "1 if the upstream is left alone after failures",
                |upstream| i64::from(upstream.breaker.state(Instant::now()) == BreakerState::Open),
            ),
        ];
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for upstream in &upstreams {
                let labels = [("upstream", &*upstream.name)];
                ConstGauge::new(read(upstream)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests that wait for a place at any upstream of a backend";
        let mut family = encoder.encode_descriptor("backend_waiting", help, None, MetricType::Gauge)?;
        for backend in &catalog.backends {
            let waiting = i64::try_from(backend.queue.waiting()).unwrap_or(i64::MAX);
            ConstGauge::new(waiting).encode(family.encode_family(&[("backend", &*backend.name)])?)?;
        }
        Ok(())
    }
}
