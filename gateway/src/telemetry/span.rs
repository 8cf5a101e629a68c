//! The span of a request: filled by those who learn something, sent when the last of them lets go of it.

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

/// A request that is recorded.
pub(crate) struct RequestSpan {
    sink: Arc<Sink>,
    ended: Mutex<Ended>,
}

/// All that a trace tells of one request.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) context: TraceContext,
    pub(super) parent: Option<u64>,
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) started: Instant,
    pub(super) ended: Option<Instant>,
    pub(super) endpoint: Option<Endpoint>,
    /// `None` where the client left before it had one.
    pub(super) status: Option<u16>,
    pub(super) end: Option<End>,
    pub(super) job: Option<TracedJob>,
}

/// What a trace tells of a job.
#[derive(Debug, Clone)]
pub(crate) struct TracedJob {
    /// The configured name or pattern; empty where no model was named.
    pub(crate) pattern: String,
    /// The name as the client gave it.
    pub(crate) model: String,
    pub(crate) is_stream: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<ErrorType>,
    pub(crate) first_frame: Option<Duration>,
    pub(crate) overhead: Option<Duration>,
    pub(crate) attempts: Vec<AttemptSpan>,
}

impl RequestSpan {
    pub(super) fn new(sink: Arc<Sink>, context: TraceContext, parent: Option<u64>, named: &Named) -> Self {
        Self {
            sink,
            ended: Mutex::new(Ended {
                context,
                parent,
                id: named.id.clone(),
                method: named.request.method().clone(),
                started: named.arrived,
                ended: None,
                endpoint: None,
                status: None,
                end: None,
                job: None,
            }),
        }
    }

    /// What attempts hang below.
    pub(crate) fn context(&self) -> TraceContext {
        self.lock().context
    }

    /// A job has ended, however it did.
    pub(crate) fn job(&self, job: TracedJob) {
        self.lock().job = Some(job);
    }

    /// The answer has ended. `status` is 499 where the client left before there was one.
    pub(crate) fn answered(&self, endpoint: Option<Endpoint>, status: u16, end: End) {
        let mut ended = self.lock();
        ended.endpoint = endpoint;
        ended.status = (status != 499).then_some(status);
        ended.end = Some(end);
        ended.ended = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let ended = self.lock().clone();
        self.sink.take(ended);
    }
}

impl Ended {
    /// How many spans this is: the request's own, and one for each attempt.
    pub(super) fn spans(&self) -> u64 {
        let attempts = self.job.as_ref().map_or(0, |job| job.attempts.len());
        1 + attempts as u64
    }
}

impl fmt::Debug for RequestSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSpan")
    }
}
