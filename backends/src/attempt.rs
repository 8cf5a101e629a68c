//! One try of a job at one upstream: what it needs to know, and nothing of money.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use openapi::{
    endpoint::{Endpoint, Operation},
    request::RequestBody,
    stream::Watch,
};

use crate::{
    error::Failure,
    kind::Kind,
    route::Leg,
    serve::BoxError,
    statement::{Asking, Signer, Word},
    trace::{AttemptSpan, TraceContext},
    upload::Once,
    upstream::Upstream,
    verdict::{Assurance, Demand, Tier},
};

/// What to send, to which backend, by when.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub outbound: Arc<Outbound>,
    pub leg: Leg,
    /// Names of upstreams that were tried and must not be tried again.
    pub avoid: Vec<Arc<str>>,
    /// When the request as a whole must be done; sooner than the backend's own clock or not.
    pub deadline: Option<Instant>,
    pub hooks: Arc<dyn Hooks>,
    /// What a stream is watched for.
    pub watch: Watch,
    /// Written as the attempt goes on, so that it tells the truth however the attempt ends.
    pub trail: Arc<Trail>,
}

/// Where a job has been so far.
#[derive(Debug, Default)]
pub struct Trail {
    steps: Mutex<Steps>,
    /// See [`Steps::is_dispatched`]; beside the lock, because each attempt's connection says it.
    is_dispatched: AtomicBool,
    /// The span above the attempts, where they are traced.
    parent: Option<TraceContext>,
    spans: Mutex<Vec<AttemptSpan>>,
    /// With which workers are asked for statements; set before the first attempt, where there is to be a receipt.
    statement_salt: OnceLock<[u8; 32]>,
    word: Mutex<Word>,
}

/// The attempts of a job, and the place of the last.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    pub attempts: u32,
    pub upstream: Option<Arc<str>>,
    pub backend: Option<Arc<str>>,
    /// What the last one's backend runs.
    pub kind: Option<Kind>,
    /// The upstream of the last as a client may know it.
    pub mark: Option<HeaderValue>,
    /// What the worker of the last had shown when it was verified; `None` where it is no worker, or did not get so far.
    pub assurance: Option<Assurance>,
    /// Whether the last one's backend counts reasoning that it does not show.
    pub has_hidden_reasoning: bool,
    /// Whether an upstream has begun to take the request, and has not failed since.
    pub is_dispatched: bool,
    /// How long all of them were waited for: for a place, and from sending until the first frame or a whole answer.
    pub waited: Duration,
    /// Since when one is waited for now.
    waiting_since: Option<Instant>,
}

impl Trail {
    /// Of a job whose attempts hang below this span.
    pub fn traced(parent: Option<TraceContext>) -> Self {
        Self {
            parent,
            ..Self::default()
        }
    }

    /// The span of the attempt under way, for the upstream to hang below.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        let parent = self.parent?;
        let span = self.lock_spans().last()?.id;
        Some(TraceContext { span, ..parent })
    }

    /// The attempt under way has its answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.note(|span| span.status = Some(status.as_u16()));
    }

    /// The upstream of the attempt under way takes the request.
    pub(crate) fn dispatched(&self) {
        self.is_dispatched.store(true, Ordering::Relaxed);
    }

    /// The attempt under way has failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.is_dispatched.store(false, Ordering::Relaxed);
        self.note(|span| {
            span.ended = Some(Instant::now());
            span.status = failure.status().map(|status| status.as_u16());
            span.error = Some(failure.word());
        });
    }

    fn note(&self, note: impl FnOnce(&mut AttemptSpan)) {
        if self.parent.is_some() {
            self.lock_spans().last_mut().map(note);
        }
    }

    /// The spans of the attempts so far. They are given once.
    pub fn take_spans(&self) -> Vec<AttemptSpan> {
        std::mem::take(&mut *self.lock_spans())
    }

    fn lock_spans(&self) -> MutexGuard<'_, Vec<AttemptSpan>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers are to state, with this salt, what they were asked and answered.
    pub fn ask_statements(&self, salt: [u8; 32]) {
        // The first who asks is the only one.
        let _was_asked = self.statement_salt.set(salt);
    }

    /// What the attempt that begins now is asked to bring besides its answer.
    pub(crate) fn asking(self: &Arc<Self>, signer: Signer) -> Option<Asking> {
        let salt = *self.statement_salt.get()?;
        Some(Asking {
            salt,
            signer,
            trail: self.clone(),
        })
    }

    pub(crate) fn set_word(&self, word: Word) {
        *self.lock_word() = word;
    }

    /// What became of the last attempt's statement. It is given once.
    pub fn take_word(&self) -> Word {
        std::mem::take(&mut *self.lock_word())
    }

    fn lock_word(&self) -> MutexGuard<'_, Word> {
        self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An upstream was chosen and a place there taken.
    pub(crate) fn step(&self, upstream: &Upstream, leg: &Leg) {
        let backend = &leg.backend;
        if self.parent.is_some() {
            let now = Instant::now();
            let mut spans = self.lock_spans();
            // The one before went no further than its place.
            spans.last_mut().map(|span| span.ended.get_or_insert(now));
            spans.push(AttemptSpan {
                id: fastrand::u64(1..),
                upstream: upstream.name.clone(),
                backend: backend.name.clone(),
                kind: backend.kind,
                model: leg.model.clone(),
                started: now,
                ended: None,
                status: None,
                error: None,
            });
        }
        self.is_dispatched.store(false, Ordering::Relaxed);
        self.set_word(Word::Unasked);
        let mut steps = self.lock();
        steps.attempts = steps.attempts.saturating_add(1);
        steps.upstream = Some(upstream.name.clone());
        steps.backend = Some(backend.name.clone());
        steps.kind = Some(backend.kind);
        steps.has_hidden_reasoning = backend.capabilities.hidden_reasoning;
        steps.mark = Some(upstream.mark.clone());
        steps.assurance = None;
    }

    /// The upstream of the attempt under way is a worker that had shown this, and it met the demand.
    pub(crate) fn verified(&self, assurance: &Assurance) {
        self.lock().assurance = Some(assurance.clone());
    }

    /// Others are waited for from now on, until the guard falls.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.lock().waiting_since = Some(Instant::now());
        Waiting(self)
    }

    pub fn steps(&self) -> Steps {
        let mut steps = self.lock().clone();
        steps.is_dispatched = self.is_dispatched.load(Ordering::Relaxed);
        steps.stop();
        steps
    }

    pub fn attempts(&self) -> u32 {
        self.lock().attempts
    }

    /// How long others were waited for until now.
    pub fn waited(&self) -> Duration {
        let steps = self.lock();
        steps.waited + steps.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps {
    /// What protected the prompt at the last upstream.
    pub fn tier(&self) -> Tier {
        self.assurance.as_ref().map_or(Tier::Open, Assurance::tier)
    }

    fn stop(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }
}

/// The time until this is dropped is not the gateway's own.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Trail);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().stop();
    }
}

/// The part of a call that every attempt shares.
pub struct Outbound {
    pub method: Method,
    pub operation: Operation,
    pub query: Option<String>,
    /// Already without credentials, cookies and what belongs to the client's connection.
    pub headers: HeaderMap,
    pub payload: Payload,
    /// The name of the model that the client asked for, where one was named.
    pub model: Option<Arc<str>>,
    pub demand: Demand,
}

/// What a client sent.
pub enum Payload {
    Empty,
    /// JSON that was read.
    Json(Box<RequestBody>),
    /// A body that streams through, once.
    Upload(Once),
}

/// How the gateway takes part in the choice of an upstream. Both hooks are opaque here.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// May reorder and remove candidates. [`Ranking::Decided`] takes them in that order, else the strategy chooses.
    fn rank(&self, candidates: &mut Vec<Arc<Upstream>>) -> Ranking;

    /// The last word before bytes leave: headers to add, or a refusal. `None` admits at once.
    fn admit<'a>(&'a self, upstream: &'a Upstream) -> Option<Admission<'a>>;
}

/// A hook that must wait for something durable, such as a voucher, before it admits.
pub type Admission<'a> = Pin<Box<dyn Future<Output = Result<HeaderMap, BoxError>> + Send + 'a>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    Open,
    Decided,
}

/// For jobs whose upstreams cost nothing: no preference, everyone admitted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpriced;

impl Hooks for Unpriced {
    fn rank(&self, _candidates: &mut Vec<Arc<Upstream>>) -> Ranking {
        Ranking::Open
    }

    fn admit<'a>(&'a self, _upstream: &'a Upstream) -> Option<Admission<'a>> {
        None
    }
}

impl Outbound {
    pub fn is_stream(&self) -> bool {
        matches!(&self.payload, Payload::Json(body) if body.is_stream())
    }

    /// Whether the payload is still here to be sent again.
    pub fn has_payload(&self) -> bool {
        match &self.payload {
            Payload::Empty | Payload::Json(_) => true,
            Payload::Upload(upload) => upload.is_here(),
        }
    }

    /// Whether an upstream may see the request twice without harm. Running a model twice costs time; creating or
    /// cancelling a thing twice is another matter.
    pub fn is_repeatable(&self) -> bool {
        let makes_things = match self.operation.endpoint {
            Endpoint::Files | Endpoint::Batches => true,
            Endpoint::Responses | Endpoint::ChatCompletions => !self.operation.is_root_post,
            _ => false,
        };
        self.has_payload() && (!makes_things || matches!(self.method, Method::GET | Method::HEAD))
    }

    pub fn json_mut(&mut self) -> Option<&mut RequestBody> {
        match &mut self.payload {
            Payload::Json(body) => Some(body),
            Payload::Empty | Payload::Upload(_) => None,
        }
    }

    pub fn json(&self) -> Option<&RequestBody> {
        match &self.payload {
            Payload::Json(body) => Some(body),
            Payload::Empty | Payload::Upload(_) => None,
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header values may hold what a client would not want in a log.
        f.debug_struct("Outbound")
            .field("method", &self.method)
            .field("operation", &self.operation)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
