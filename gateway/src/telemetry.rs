//! Traces: one span for each request that is recorded and one for each of its attempts, sent to a collector in the
//! background.
//!
//! A span holds ids, names of the configuration, the model's name, counts, times and codes; it has no field for a
//! prompt, a completion or a header.
//! Nothing on the way of a request waits for it: what finds the queue full is counted and dropped.

use std::{fmt, sync::Arc};

use backends::{client::TargetError, trace::TraceContext};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};

use crate::{call::Named, config, metrics::Metrics, tls::TlsError};

pub(crate) use exporter::Exporter;
use span::Ended;
pub(crate) use span::{RequestSpan, TracedJob};

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
    queue: mpsc::Sender<Ended>,
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

    /// The span of a request, if its trace is recorded. `theirs` is the client's.
    pub(crate) fn span(
        &self,
        ours: TraceContext,
        theirs: Option<TraceContext>,
        named: &Named,
    ) -> Option<Arc<RequestSpan>> {
        let sink = self.0.as_ref().filter(|_| ours.is_sampled())?;
        let parent = theirs.map(|theirs| theirs.span);
        Some(Arc::new(RequestSpan::new(sink.clone(), ours, parent, named)))
    }

    /// No request will end any more: what is queued is sent, and the exporter ends.
    pub(crate) fn close(&self) {
        if let Some(sink) = &self.0 {
            sink.closed.send_replace(true);
        }
    }
}

impl Sink {
    fn take(&self, ended: Ended) {
        let spans = ended.spans();
        if self.queue.try_send(ended).is_err() {
            self.dropped.inc_by(spans);
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}
