//! Meter: counts what the client received, and leaves one record of each job when it ends, however it ends.
//!
//! Outside Failover: it sees only frames that the client got, and one job whatever the attempts.
//! Usage is the upstream's word where it gave one, else an estimate from the deltas, marked so. A stream that is cut
//! or abandoned is estimated too.
//! What a charged account pays is another matter: `meter/charge.rs` has that table. Its capture is durable before the
//! client sees the end of its answer, and is made whether the client is still there or not.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::{
    attempt::Trail,
    body::{BoxBody, End as BodyEnd, OnEnd},
    serve::{BoxError, Serve},
};
use billing::{End, Nano, RequestRecord, Usage, UsageSource, Wage, channel::x402};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body as _;
use openapi::{
    endpoint::Endpoint,
    response::{is_broken_json, with_costs},
    stream::Facts,
    usage::WireUsage,
};
use tower_layer::Layer;

pub(crate) use charge::Extent;
pub(crate) use openapi::stream::BYTES_PER_TOKEN;

use super::{
    failover::{Served, ServedBody},
    idempotency::Ending,
    reserve::Coverage,
};
use crate::{
    call::Job,
    catalog::Offer,
    evidence::{Citation, Evidence},
    ledger::Captured,
    limiter::Allowance,
    metrics::{EndedJob, ErrorType, Metrics, Server, operation},
    payments::{Channel, Held, PAYMENT_RESPONSE},
    receipts::{
        Witness,
        witness::{RECEIPT, SALT},
    },
    records::Records,
    recount::Recounts,
    rescue::{self, full},
    telemetry::{RequestSpan, TracedJob},
    wages::Errand,
    wall_clock::since_epoch,
};
use account::Charged;
use raw::ChargedRaw;
use recounting::Recounting;
use stream::MeteredStream;

mod account;
mod charge;
mod raw;
mod recounting;
mod stream;

const BACKEND: HeaderName = HeaderName::from_static("x-mulberry-backend");
const UPSTREAM: HeaderName = HeaderName::from_static("x-mulberry-upstream");
const OVERHEAD_MS: HeaderName = HeaderName::from_static("x-mulberry-overhead-ms");
const COST: HeaderName = HeaderName::from_static("x-mulberry-cost");
/// What protected the prompt where it was answered.
const TIER: HeaderName = HeaderName::from_static("x-mulberry-tier");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-mulberry-attempts");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
const OPENAI_VERSION: HeaderName = HeaderName::from_static("openai-version");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Debug, Clone)]
pub(crate) struct MeterLayer {
    pub(crate) records: Records,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recounts: Recounts,
    pub(crate) evidence: Evidence,
}

impl<S> Layer<S> for MeterLayer {
    type Service = Meter<S>;

    fn layer(&self, inner: S) -> Meter<S> {
        Meter {
            records: self.records.clone(),
            metrics: self.metrics.clone(),
            recounts: self.recounts.clone(),
            evidence: self.evidence.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Meter<S> {
    records: Records,
    metrics: Arc<Metrics>,
    recounts: Recounts,
    evidence: Evidence,
    inner: S,
}

impl<S> Serve<Job> for Meter<S>
where
    S: Serve<Job, Response = Served>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut job: Job) -> Result<Response<BoxBody>, BoxError> {
        // Dropped with this future when the client leaves before anything came: the record is still written.
        let mut meter = JobMeter::new(self, &mut job);
        match self.inner.call(job).await {
            Ok(served) => meter.serve(served).await,
            Err(error) => {
                meter.note(&error);
                // Without an attempt the gateway itself declined: no room, nobody to ask.
                let was_tried = meter.trail.attempts() > 0;
                meter.finish(if was_tried { End::Failed } else { End::Refused });
                Err(error)
            }
        }
    }
}

/// What is known of one job, until its record is written.
struct JobMeter {
    /// Where what the worker proved is kept.
    evidence: Evidence,
    records: Records,
    metrics: Arc<Metrics>,
    /// Where strikes are handed in, for who has a witness.
    strikes: Option<Recounts>,
    arrived: Instant,
    request_id: String,
    key: Option<String>,
    /// Settled with the usage of the record.
    allowance: Allowance,
    ending: Option<Arc<Ending>>,
    endpoint: Endpoint,
    model: String,
    /// Its name and its price.
    offer: Arc<Offer>,
    /// How long the client's body was waited for.
    awaited: Duration,
    is_stream: bool,
    /// Whether the endpoint generates, so that an estimate means something.
    generates: bool,
    /// For an estimate: bytes of what the model reads.
    input_len: u64,
    trail: Arc<Trail>,
    span: Option<Arc<RequestSpan>>,
    /// What is held, until it is captured or released.
    coverage: Option<Box<Coverage>>,
    /// Where the worker that answers is paid, until that is said.
    errand: Option<Arc<Errand>>,
    /// What the worker has earned.
    wage: Option<Wage>,
    /// The payment channel that pays.
    channel: Option<Arc<Channel>>,
    /// What is held of it.
    held: Option<Held>,
    /// What it paid, which its answer says: in front of a whole one, behind any other.
    paid: Option<Nano>,
    /// Whether the client reads what is behind.
    takes_trailers: bool,
    /// What was captured.
    charged: Option<Charged>,
    /// Hashes what the client is given, until that is in a receipt.
    witness: Option<Box<Witness>>,
    /// Where the answer's words are to be counted.
    recounting: Option<Box<Recounting>>,
    /// Those of the key, for the charge.
    tags: Vec<(String, String)>,
    /// What the receipt will name, from the beginning of the answer on: a stream may outlive the verdict.
    cited: Option<Citation>,
    /// Whether we ended the stream.
    is_cut: bool,
    /// Whether an upstream's answer has begun.
    is_answered: bool,
    status: u16,
    /// What the client was given.
    facts: Facts,
    /// What is here and was not given yet.
    pending: Facts,
    first_frame: Option<Duration>,
    overhead: Option<Duration>,
    error_code: Option<String>,
    is_finished: bool,
}

/// The status of a record whose client left before it got one; nginx's number for it.
const CLIENT_LEFT: u16 = 499;

impl JobMeter {
    fn new<S>(meter: &Meter<S>, job: &mut Job) -> Self {
        let allowance = std::mem::take(&mut job.allowance);
        let coverage = job.coverage.take();
        // What costs nothing has no receipt.
        let witness = job.witness.take().filter(|_| coverage.is_some());
        let channel = job.account.channel.clone();
        let held = channel.as_ref().zip(coverage.as_ref());
        let held = held.map(|(channel, coverage)| channel.hold(coverage.held()));
        if let Some(witness) = &witness {
            job.trail.ask_statements(witness.statement_salt());
        }
        let strikes = witness.as_ref().map(|_| meter.recounts.clone());
        let outbound = &job.outbound;
        let endpoint = outbound.operation.endpoint;
        let is_measured = coverage.as_ref().is_some_and(|coverage| coverage.extent.is_measured);
        let vocabulary = is_measured.then(|| job.catalog.tokenizer(&job.offer)).flatten();
        Self {
            tags: coverage.as_ref().map_or_else(Vec::new, |_| job.account.tags.clone()),
            errand: job.errand.take(),
            wage: None,
            channel,
            held,
            paid: None,
            takes_trailers: job.takes_trailers,
            coverage,
            witness,
            charged: None,
            recounting: vocabulary.map(|vocabulary| Box::new(Recounting::new(&meter.recounts, vocabulary, outbound))),
            is_cut: false,
            cited: None,
            is_answered: false,
            pending: Facts::default(),
            evidence: meter.evidence.clone(),
            records: meter.records.clone(),
            metrics: meter.metrics.clone(),
            strikes,
            arrived: job.arrived,
            request_id: job.id.as_str().to_owned(),
            key: job.account.name.clone(),
            allowance,
            ending: job.ending.take(),
            endpoint,
            offer: job.offer.clone(),
            awaited: job.awaited,
            model: outbound.model.as_deref().unwrap_or_default().to_owned(),
            is_stream: outbound.is_stream(),
            generates: endpoint.is_inference() && outbound.operation.is_root_post,
            input_len: outbound.json().map_or(0, |body| body.input_len() as u64),
            trail: job.trail.clone(),
            span: job.span.clone(),
            status: CLIENT_LEFT,
            facts: Facts::default(),
            first_frame: None,
            overhead: None,
            error_code: None,
            is_finished: false,
        }
    }

    /// Of a charged account, a whole answer waits here until its charge is durable.
    async fn serve(mut self, served: Served) -> Result<Response<BoxBody>, BoxError> {
        let Served { status, headers, body } = served;
        self.status = status.as_u16();
        self.is_answered = true;
        let mut response = Response::new(BoxBody::default());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if !matches!(body, ServedBody::Stream(_)) {
            self.begin();
        }
        self.mark(response.headers_mut());
        let is_sought = matches!(&body, ServedBody::Stream(relay) if relay.is_waiting());
        if !is_sought {
            self.mark_tier(response.headers_mut());
        }
        self.mark_payment(matches!(body, ServedBody::Whole(_)), response.headers_mut());
        // What the receipt will name is on its way to the disk while the answer passes; a whole one is here already.
        let cited = self.cite();
        if let (Some(cited), ServedBody::Whole(_)) = (&cited, &body)
            && !cited.durable().await
        {
            tracing::warn!(request = %self.request_id, "the evidence that a receipt names is not on the disk yet");
        }
        Ok(match body {
            ServedBody::Whole(whole) => {
                self.facts.usage = whole.usage;
                self.facts.text_len = whole.text.len;
                self.facts.reasoning_len = whole.text.reasoning_len;
                let mut bytes = whole.bytes.into_inner();
                if let Some(recounting) = &mut self.recounting {
                    recounting.hear_whole(&bytes);
                }
                if let Some(coverage) = &self.coverage {
                    self.facts.is_broken_json = coverage.is_strict_json && is_broken_json(&bytes);
                    let receipt = self.receipt();
                    let (captured, priced) = self.settle_whole(|charged| with_costs(&bytes, charged.costs));
                    bytes = priced;
                    if let Some(captured) = captured {
                        self.durable(captured).await?;
                        response.headers_mut().extend(receipt.into_iter().flatten());
                    }
                }
                self.mark_cost(response.headers_mut());
                let mut meter = self;
                response.map(|_| BoxBody::new(OnEnd::new(full(bytes), move |end| meter.finish_body(end))))
            }
            ServedBody::Raw(raw) if self.coverage.is_some() && !raw.is_end_stream() => {
                response.headers_mut().extend(self.receipt().into_iter().flatten());
                response.map(|_| BoxBody::new(ChargedRaw::new(raw, self)))
            }
            ServedBody::Raw(raw) => {
                let receipt = self.receipt();
                if let (Some(captured), _) = self.settle_whole(|_| Bytes::new()) {
                    self.durable(captured).await?;
                    response.headers_mut().extend(receipt.into_iter().flatten());
                }
                let mut meter = self;
                response.map(|_| BoxBody::new(OnEnd::new(raw, move |end| meter.finish_body(end))))
            }
            ServedBody::Stream(relay) => {
                let headers = response.headers_mut();
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("text/event-stream; charset=utf-8"),
                );
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                // nginx in front of us would collect the tokens otherwise.
                headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
                headers.extend(self.receipt().into_iter().flatten());
                response.map(|_| BoxBody::new(MeteredStream::new(relay, self)))
            }
        })
    }

    /// Where the receipt will be, and what opens its hashes.
    fn receipt(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let salt = self.witness.as_ref()?.salt();
        let id = HeaderValue::from_str(&self.request_id).ok()?;
        Some([(RECEIPT, id), (SALT, salt)])
    }

    /// What the worker proved that answers, for the receipt.
    fn cite(&self) -> Option<Citation> {
        self.witness.as_ref()?;
        let bundle = self.trail.steps().assurance?.evidence()?;
        self.evidence.cite(bundle)
    }

    /// Bytes that the client is about to be given.
    fn gives(&mut self, bytes: &[u8]) {
        if let Some(witness) = &mut self.witness {
            witness.returns(bytes);
        }
    }

    /// Waits until the charge of a whole answer is durable.
    async fn durable(&mut self, captured: Captured) -> Result<(), BoxError> {
        match captured.await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(request = %self.request_id, %error, "a charge is not durable; its answer is not given");
                let error = BoxError::from(error);
                self.note(&error);
                self.finish(End::Failed);
                Err(error)
            }
        }
    }

    /// The client is told this in place of an answer.
    fn note(&mut self, error: &BoxError) {
        let refusal = rescue::rescue(error);
        self.status = refusal.status.as_u16();
        self.error_code = refusal.code().map(str::to_owned);
    }

    /// What was held back is given.
    fn deliver(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.facts.add(&pending);
    }

    /// The headers that OpenAI's clients and our operators look for.
    fn mark(&self, headers: &mut HeaderMap) {
        let steps = self.trail.steps();
        if let Some(backend) = steps.backend.and_then(|name| HeaderValue::from_str(&name).ok()) {
            headers.insert(BACKEND, backend);
            headers.insert(ATTEMPTS, HeaderValue::from(steps.attempts));
        }
        headers.extend(steps.mark.map(|mark| (UPSTREAM, mark)));
        let overhead = self.overhead.unwrap_or_else(|| self.own_time(steps.waited));
        headers.insert(OVERHEAD_MS, tenths(overhead));
        if !headers.contains_key(PROCESSING_MS) {
            headers.insert(PROCESSING_MS, HeaderValue::from(millis(self.arrived.elapsed())));
        }
        if !headers.contains_key(OPENAI_VERSION) {
            headers.insert(OPENAI_VERSION, HeaderValue::from_static("2020-10-01"));
        }
    }

    /// Of who pays by channel: where it stands, before an answer that costs nothing, and that it comes behind one whose
    /// cost is not known yet.
    fn mark_payment(&self, is_whole: bool, headers: &mut HeaderMap) {
        let Some(channel) = &self.channel else { return };
        if self.coverage.is_none() {
            headers.extend(channel.response(Nano::ZERO).map(|stands| (PAYMENT_RESPONSE, stands)));
        } else if !is_whole && self.takes_trailers {
            headers.insert(header::TRAILER, HeaderValue::from_static(x402::RESPONSE));
        }
    }

    /// What stands behind an answer whose charge is durable.
    fn trailers(&mut self) -> Option<HeaderMap> {
        let paid = self.payment().filter(|_| self.takes_trailers)?;
        Some(HeaderMap::from_iter([(PAYMENT_RESPONSE, paid)]))
    }

    /// What a channel paid, once, and where it stands now.
    fn payment(&mut self) -> Option<HeaderValue> {
        let paid = self.paid.take()?;
        self.channel.as_ref()?.response(paid)
    }

    /// Of an answer that has begun: the tier of who is still sought is not known.
    fn mark_tier(&self, headers: &mut HeaderMap) {
        let steps = self.trail.steps();
        headers.insert(TIER, HeaderValue::from_static(steps.tier().name()));
    }

    /// The client is about to get its first frame.
    fn begin(&mut self) {
        self.cited = self.cite();
        let waited = self.trail.waited();
        self.first_frame = Some(self.arrived.elapsed());
        self.overhead = Some(self.own_time(waited));
    }

    /// Of the time since arrival, what was spent neither at upstreams nor on waiting for the client's body.
    fn own_time(&self, waited: Duration) -> Duration {
        self.arrived.elapsed().saturating_sub(waited + self.awaited)
    }

    /// Of a whole answer, whose usage is known before its head is sent.
    fn mark_cost(&mut self, headers: &mut HeaderMap) {
        headers.extend(self.payment().map(|payment| (PAYMENT_RESPONSE, payment)));
        if let Some(charged) = &self.charged {
            headers.insert(COST, charged.header());
            return;
        }
        if self.offer.price.is_none() {
            return;
        }
        let (usage, _) = self.usage(End::Complete);
        if let Some((currency, cost)) = self.cost(&usage)
            && let Ok(value) = HeaderValue::from_str(&format!("{cost} {currency}"))
        {
            headers.insert(COST, value);
        }
    }

    fn cost(&self, usage: &Usage) -> Option<(&str, Nano)> {
        let price = self.offer.price.as_ref()?;
        Some((price.currency.as_str(), price.tariff.cost(usage)))
    }

    fn finish_body(&mut self, end: BodyEnd) {
        self.finish(match end {
            BodyEnd::Complete => End::Complete,
            BodyEnd::Cancelled => End::Cancelled,
            BodyEnd::Failed => End::Failed,
        });
    }

    /// Writes the record. Once; never waits.
    fn finish(&mut self, end: End) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        // Nobody waits for it, and it is committed all the same.
        drop(self.settle(end));
        self.deliver();
        let (usage, source) = self.usage(end);
        if let Some(ending) = self.ending.take().filter(|_| end == End::Complete) {
            ending.complete();
        }
        let now = Instant::now();
        self.allowance.settle(usage.total(), now);
        let steps = self.trail.steps();
        let took = now.saturating_duration_since(self.arrived);
        self.metrics.job(&EndedJob {
            // Reading what was answered before, or counting its tokens, runs no model.
            operation: operation(self.endpoint).filter(|_| self.generates || !self.endpoint.is_inference()),
            model: &self.offer.pattern,
            server: steps.backend.as_deref().zip(steps.kind).map(|(backend, kind)| Server {
                backend,
                kind: kind.as_str(),
                waited: steps.waited,
            }),
            tier: self.is_answered.then(|| steps.tier()),
            usage,
            is_estimated: source == UsageSource::Estimated,
            // What nobody generated is not paid for, the fee included.
            cost: self
                .cost(&usage)
                .filter(|_| source != UsageSource::None || end == End::Complete),
            is_stream: self.is_stream,
            first_frame: self.first_frame,
            overhead: self.overhead,
            took,
            error: self.error_type(end),
        });
        if let Some(span) = self.span.take() {
            span.job(TracedJob {
                key: self.key.clone(),
                pattern: self.offer.pattern.clone(),
                model: self.model.clone(),
                is_stream: self.is_stream,
                usage: (source != UsageSource::None).then_some(usage),
                error: self.error_type(end),
                first_frame: self.first_frame,
                overhead: self.overhead,
                backend: steps.backend.clone(),
                upstream: steps.upstream.clone(),
                attempts: steps.attempts,
                spans: self.trail.take_spans(),
            });
        }
        self.records.write(RequestRecord {
            request_id: std::mem::take(&mut self.request_id),
            started_at_ms: unix_ms_at(self.arrived),
            key: self.key.take(),
            endpoint: Cow::Borrowed(self.endpoint.as_str()),
            model: std::mem::take(&mut self.model),
            upstream: steps.upstream.as_deref().map(str::to_owned),
            backend: steps.backend.as_deref().map(str::to_owned),
            status: self.status,
            end,
            stream: self.is_stream,
            attempts: steps.attempts,
            usage,
            source,
            ttft_ms: self.first_frame.map(millis),
            duration_ms: millis(took),
            error_code: self.error_code.take(),
            wage: self.wage.take(),
        });
    }

    fn error_type(&self, end: End) -> Option<ErrorType> {
        match end {
            End::Complete if self.status < 400 => None,
            End::Failed if self.status < 400 => Some(ErrorType::Stream),
            End::Cancelled => Some(ErrorType::Cancelled),
            End::Complete | End::Failed | End::Refused => Some(ErrorType::Status(self.status)),
        }
    }

    fn usage(&self, end: End) -> (Usage, UsageSource) {
        if let Some(usage) = self.facts.usage {
            return (believable(usage), UsageSource::Upstream);
        }
        let was_tried = self.trail.attempts() > 0;
        // A client that left while an upstream was at work has had its prompt read.
        let was_generating = was_tried && (end != End::Failed || self.facts.frames > 0);
        if !self.generates || !was_generating {
            return (Usage::default(), UsageSource::None);
        }
        let completion = self.facts.completion();
        let usage = match self.facts.so_far {
            // Some say at the beginning what the prompt was.
            Some(so_far) if so_far.prompt > 0 => believable(WireUsage {
                completion: completion.max(so_far.completion),
                ..so_far
            }),
            _ => Usage::from_totals(self.input_len.div_ceil(BYTES_PER_TOKEN), 0, completion, 0),
        };
        (usage, UsageSource::Estimated)
    }
}

/// Bounded before anything is made of it, so that record, cost, limits and metrics say the same.
fn believable(claim: WireUsage) -> Usage {
    Usage::from_totals(
        claim.prompt.min(Usage::MOST),
        claim.cached,
        claim.completion.min(Usage::MOST),
        claim.reasoning,
    )
}

impl Drop for JobMeter {
    fn drop(&mut self) {
        self.finish(End::Cancelled);
    }
}

/// Milliseconds with one digit after the point.
fn tenths(duration: Duration) -> HeaderValue {
    let tenths = (duration.as_micros() + 50) / 100;
    HeaderValue::try_from(format!("{}.{}", tenths / 10, tenths % 10)).expect("digits stand in a header")
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn unix_ms_at(instant: Instant) -> i64 {
    let at = since_epoch().saturating_sub(instant.elapsed());
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
