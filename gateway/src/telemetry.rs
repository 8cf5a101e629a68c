//! What is told of single requests when they have ended: spans to a collector of traces, in the background, and a line
//! to the log, where the operator wants either.
//!
//! A trace has one span for the request and one for each of its attempts. A span holds ids, names of the configuration,
//! the model's name, counts, times and codes; it has no field for a prompt, a completion or a header.
//! Nothing on the way of a request waits for it: what finds the queue full is counted and dropped.

use std::{fmt, sync::Arc};

use backends::{client::TargetError, trace::TraceContext};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};

use crate::{config, metrics::Metrics, tls::TlsError};

pub(crate) use exporter::Exporter;
use span::TracedRequest;
pub(crate) use span::{RequestSpan, Traced, TracedJob};

mod exporter;
mod otlp;
mod span;

/// Requests whose spans wait for the collector; each holds about a kilobyte.
const QUEUE: usize = 2048;

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    #[error("the endpoint of the collector cannot be used")]
    Target(#[from] TargetError),
    #[error("TLS to the collector cannot be set up")]
    Tls(#[from] TlsError),
    #[error("the value of the header '{name}' for the collector holds a character that no header can carry")]
    Header { name: String },
}

/// Begins spans; does nothing where traces are not exported.
#[derive(Clone)]
pub(crate) struct Telemetry(Option<Arc<Sink>>);

/// Where spans go when their request has ended.
struct Sink {
    queue: mpsc::Sender<TracedRequest>,
    sample_percent: u32,
    dropped: Counter,
    closed: watch::Sender<bool>,
}

/// From the configuration to what begins spans and what sends them.
pub(crate) fn set_up(
    config: &config::Telemetry,
    metrics: &Metrics,
) -> Result<(Telemetry, Option<Exporter>), TelemetryError> {
    let Some(otlp) = &config.otlp else {
        return Ok((Telemetry(None), None));
    };
    let (queue, ended) = mpsc::channel(QUEUE);
    let (closed, closing) = watch::channel(false);
    let exporter = Exporter::new(&config.service_name, otlp, ended, closing, metrics)?;
    let sink = Sink {
        queue,
        sample_percent: otlp.sample_percent,
        dropped: metrics.spans_dropped.clone(),
        closed,
    };
    Ok((Telemetry(Some(Arc::new(sink))), Some(exporter)))
}

impl Telemetry {
    /// The trace of a request that brought none.
    pub(crate) fn begin(&self) -> Option<TraceContext> {
        let sink = self.0.as_ref()?;
        Some(TraceContext::begin(fastrand::u32(..100) < sink.sample_percent))
    }

    /// The place of a request in its trace, if that is recorded. `theirs` is the client's.
    pub(crate) fn traced(&self, ours: TraceContext, theirs: Option<TraceContext>) -> Option<Traced> {
        let sink = self.0.as_ref().filter(|_| ours.is_sampled())?;
        Some(Traced {
            sink: sink.clone(),
            context: ours,
            parent: theirs.map(|theirs| theirs.span),
        })
    }

    /// No request will end any more: what is queued is sent, and the exporter ends.
    pub(crate) fn close(&self) {
        if let Some(sink) = &self.0 {
            sink.closed.send_replace(true);
        }
    }
}

impl Sink {
    fn take(&self, request: TracedRequest) {
        let spans = request.spans();
        if self.queue.try_send(request).is_err() {
            self.dropped.inc_by(spans);
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{call::RequestId, telemetry::span::Ended};

    #[test]
    fn what_finds_the_queue_full_is_counted_and_dropped() {
        const TOO_MANY: usize = 100;
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let sink = Sink {
            queue,
            sample_percent: 100,
            dropped: Counter::default(),
            closed: watch::channel(false).0,
        };
        for _ in 0..QUEUE + TOO_MANY {
            sink.take(TracedRequest {
                context: TraceContext::begin(true),
                parent: None,
                ended: Ended::new(RequestId::generate(0), http::Method::POST, Instant::now()),
            });
        }
        assert_eq!(sink.dropped.get(), TOO_MANY as u64);
        waiting.close();
        let kept = std::iter::from_fn(|| waiting.try_recv().ok()).count();
        assert_eq!(kept, QUEUE);
    }

    #[test]
    fn as_many_traces_are_recorded_as_was_said() {
        let sampled = |sample_percent| {
            let telemetry = Telemetry(Some(Arc::new(Sink {
                queue: mpsc::channel(1).0,
                sample_percent,
                dropped: Counter::default(),
                closed: watch::channel(false).0,
            })));
            let contexts = (0..1000).filter_map(|_| telemetry.begin());
            contexts.filter(|context| context.is_sampled()).count()
        };
        assert_eq!((sampled(0), sampled(100)), (0, 1000));
        assert!((300..700).contains(&sampled(50)));
        assert_eq!(Telemetry(None).begin(), None);
    }
}
