//! The span of a request: filled by those who learn something, told to the collector and to the log when the last of
//! them lets go of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use backends::{
    body::End,
    trace::{AttemptSpan, TraceContext},
};
use billing::Usage;
use http::Method;
use openapi::endpoint::Endpoint;

use super::Sink;
use crate::{
    call::{Named, RequestId},
    metrics::ErrorType,
};

/// A request that is to be told of.
pub(crate) struct RequestSpan {
    traced: Option<Traced>,
    is_logged: bool,
    ended: Mutex<Ended>,
}

/// The place of a request in a trace that is recorded.
pub(crate) struct Traced {
    pub(super) sink: Arc<Sink>,
    pub(super) context: TraceContext,
    pub(super) parent: Option<u64>,
}

/// All that is told of one request.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) started: Instant,
    pub(super) ended: Option<Instant>,
    pub(super) endpoint: Option<Endpoint>,
    /// `None` where the client left before it had one.
    pub(super) status: Option<u16>,
    pub(super) end: Option<End>,
    /// Of the error that the client got.
    pub(super) code: Option<String>,
    pub(super) job: Option<TracedJob>,
}

/// What is told of a job.
#[derive(Debug, Clone)]
pub(crate) struct TracedJob {
    /// The name of the API key.
    pub(crate) key: Option<String>,
    /// The configured name or pattern; empty where no model was named.
    pub(crate) pattern: String,
    /// The name as the client gave it.
    pub(crate) model: String,
    pub(crate) is_stream: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<ErrorType>,
    pub(crate) first_frame: Option<Duration>,
    pub(crate) overhead: Option<Duration>,
    /// The place of the last attempt.
    pub(crate) backend: Option<Arc<str>>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) attempts: u32,
    /// Of a request that is traced.
    pub(crate) spans: Vec<AttemptSpan>,
}

impl RequestSpan {
    pub(crate) fn new(traced: Option<Traced>, is_logged: bool, named: &Named) -> Self {
        Self {
            traced,
            is_logged,
            ended: Mutex::new(Ended::new(
                named.id.clone(),
                named.request.method().clone(),
                named.arrived,
            )),
        }
    }

    /// What attempts hang below, if it is traced.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        self.traced.as_ref().map(|traced| traced.context)
    }

    /// Whether it will have a line in the log.
    pub(crate) fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// A job has ended, however it did.
    pub(crate) fn job(&self, job: TracedJob) {
        self.lock().job = Some(job);
    }

    /// The answer has ended. `status` is 499 where the client left before there was one.
    pub(crate) fn answered(&self, endpoint: Option<Endpoint>, status: u16, end: End, code: Option<&str>) {
        let mut ended = self.lock();
        ended.endpoint = endpoint;
        ended.status = (status != 499).then_some(status);
        ended.end = Some(end);
        ended.code = code.map(str::to_owned);
        ended.ended = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let context = self.context();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.is_logged {
            log(ended, context);
        }
        if let Some(traced) = self.traced.take() {
            traced.tell(ended.clone());
        }
    }
}

impl Ended {
    pub(super) fn new(id: RequestId, method: Method, started: Instant) -> Self {
        Self {
            id,
            method,
            started,
            ended: None,
            endpoint: None,
            status: None,
            end: None,
            code: None,
            job: None,
        }
    }
}

/// The line of a request that has ended.
fn log(ended: &Ended, context: Option<TraceContext>) {
    let job = ended.job.as_ref();
    let usage = job.and_then(|job| job.usage);
    let took = ended.ended.unwrap_or_else(Instant::now) - ended.started;
    let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request = ended.id.as_str(),
        method = ended.method.as_str(),
        endpoint = ended.endpoint.map(Endpoint::as_str),
        status = ended.status,
        end = ended.end.map(word),
        code = ended.code,
        took_ms = ms(took),
        key = job.and_then(|job| job.key.as_deref()),
        model = job.map(|job| clipped(&job.model)),
        stream = job.map(|job| job.is_stream),
        backend = job.and_then(|job| job.backend.as_deref()),
        upstream = job.and_then(|job| job.upstream.as_deref()),
        attempts = job.map(|job| job.attempts),
        prompt = usage.map(|usage| usage.prompt),
        cached = usage.map(|usage| usage.cached),
        completion = usage.map(|usage| usage.completion),
        reasoning = usage.map(|usage| usage.reasoning),
        first_frame_ms = job.and_then(|job| job.first_frame).map(ms),
        overhead_ms = job.and_then(|job| job.overhead).map(|took| took.as_secs_f64() * 1000.0),
        trace = context.map(|context| format!("{:032x}", context.trace)),
        "request ended"
    );
}

pub(super) fn word(end: End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Cancelled => "cancelled",
        End::Failed => "failed",
    }
}

/// A model's name is what the client made it.
pub(super) fn clipped(name: &str) -> &str {
    const MOST: usize = 128;
    name.char_indices().nth(MOST).map_or(name, |(end, _)| &name[..end])
}

impl Traced {
    fn tell(self, ended: Ended) {
        let request = TracedRequest {
            context: self.context,
            parent: self.parent,
            ended,
        };
        self.sink.take(request);
    }
}

/// A request on its way to the collector.
#[derive(Debug, Clone)]
pub(super) struct TracedRequest {
    pub(super) context: TraceContext,
    pub(super) parent: Option<u64>,
    pub(super) ended: Ended,
}

impl TracedRequest {
    /// How many spans this is: the request's own, and one for each attempt.
    pub(super) fn spans(&self) -> u64 {
        let attempts = self.ended.job.as_ref().map_or(0, |job| job.spans.len());
        1 + attempts as u64
    }
}

impl fmt::Debug for RequestSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSpan")
    }
}
