//! Spans as OTLP's JSON: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! Ids are hexadecimal, 64-bit numbers are strings, enums are numbers. Attributes are named by OpenTelemetry's
//! conventions for HTTP and for generative AI where they have a name; ours begin with `mulberry.`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use backends::trace::{AttemptSpan, TraceContext};
use serde_json::{Value, json};

use super::span::{TracedJob, TracedRequest, clipped, word};
use crate::metrics::{operation, provider};

const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;
const STATUS_ERROR: u8 = 2;

/// A moment on both clocks, to tell the time of day of what was measured by the steady one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: SystemTime,
}

impl Now {
    fn unix_nano(self, at: Instant) -> String {
        let ago = self.instant.saturating_duration_since(at);
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        since.saturating_sub(ago).as_nanos().to_string()
    }
}

/// An export request.
pub(super) fn encode(service: &str, requests: &[TracedRequest], now: Now) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let mut resource = Attributes::default();
    resource.text("service.name", service);
    resource.text("service.version", version);
    let spans: Vec<Value> = requests.iter().flat_map(|request| spans(request, now)).collect();
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": resource.0},
        "scopeSpans": [{"scope": {"name": "mulberry", "version": version}, "spans": spans}],
    }]});
    request.to_string().into_bytes()
}

/// The span of a request and those of its attempts.
fn spans(traced: &TracedRequest, now: Now) -> Vec<Value> {
    let TracedRequest {
        context,
        parent,
        ended: request,
    } = traced;
    let end = request.ended.unwrap_or(now.instant);
    let operation = match request.endpoint {
        Some(endpoint) => operation(endpoint).unwrap_or(endpoint.as_str()),
        None => "other",
    };
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", request.method.as_str());
    if let Some(status) = request.status {
        attributes.number("http.response.status_code", u64::from(status));
    }
    attributes.text("mulberry.request_id", request.id.as_str());
    if let Some(end) = request.end {
        attributes.text("mulberry.end", word(end));
    }
    let error = match &request.job {
        Some(job) => job.error.map(|error| error.to_string()),
        None => request
            .status
            .filter(|status| *status >= 400)
            .map(|status| status.to_string()),
    };
    let mut name = operation.to_owned();
    if let Some(job) = &request.job {
        job_attributes(&mut attributes, operation, job);
        if !job.pattern.is_empty() {
            name = format!("{operation} {}", job.pattern);
        }
    }
    if let Some(error) = &error {
        attributes.text("error.type", error);
    }
    // A client's mistake is no error of the server; a stream that broke off is.
    let is_error = request.status.is_some_and(|status| status >= 500) || error.as_deref() == Some("stream");
    let mut server = json!({
        "traceId": format!("{:032x}", context.trace),
        "spanId": format!("{:016x}", context.span),
        "flags": context.flags,
        "name": name,
        "kind": KIND_SERVER,
        "startTimeUnixNano": now.unix_nano(request.started),
        "endTimeUnixNano": now.unix_nano(end),
        "attributes": attributes.0,
    });
    if let Some(parent) = parent {
        server["parentSpanId"] = format!("{parent:016x}").into();
    }
    if is_error {
        server["status"] = json!({"code": STATUS_ERROR});
    }
    let mut spans = vec![server];
    if let Some(job) = &request.job {
        // The last of them streamed until the end, and failed as the job did.
        let mut attempts = job.spans.iter().peekable();
        while let Some(attempt) = attempts.next() {
            let late = error
                .as_deref()
                .filter(|_| attempts.peek().is_none() && attempt.ended.is_none());
            let place = Place {
                context: *context,
                operation,
                end,
                now,
            };
            spans.push(place.client(job, attempt, late));
        }
    }
    spans
}

fn job_attributes(attributes: &mut Attributes, operation: &str, job: &TracedJob) {
    attributes.text("gen_ai.operation.name", operation);
    if !job.model.is_empty() {
        attributes.text("gen_ai.request.model", clipped(&job.model));
    }
    if let Some(last) = job.spans.last() {
        attributes.text("gen_ai.provider.name", provider(last.kind.as_str()));
    }
    if let Some(usage) = &job.usage {
        attributes.number("gen_ai.usage.input_tokens", usage.prompt_total());
        attributes.number("gen_ai.usage.output_tokens", usage.completion_total());
    }
    attributes.number("mulberry.attempts", u64::from(job.attempts));
    attributes.truth("mulberry.stream", job.is_stream);
    if let Some(first_frame) = job.first_frame {
        attributes.float("mulberry.first_frame_ms", first_frame.as_secs_f64() * 1000.0);
    }
    if let Some(overhead) = job.overhead {
        attributes.float("mulberry.overhead_ms", overhead.as_secs_f64() * 1000.0);
    }
}

/// What the spans of attempts have in common.
struct Place<'a> {
    /// Of the request's span.
    context: TraceContext,
    operation: &'a str,
    end: Instant,
    now: Now,
}

impl Place<'_> {
    /// The span of one attempt. `late` is the error of a job that failed after this attempt's answer had begun.
    fn client(&self, job: &TracedJob, attempt: &AttemptSpan, late: Option<&str>) -> Value {
        let Self {
            context,
            operation,
            end,
            now,
        } = *self;
        let model = clipped(attempt.model.as_deref().unwrap_or(&job.model));
        let mut attributes = Attributes::default();
        attributes.text("gen_ai.operation.name", operation);
        attributes.text("gen_ai.provider.name", provider(attempt.kind.as_str()));
        if !model.is_empty() {
            attributes.text("gen_ai.request.model", model);
        }
        attributes.text("mulberry.backend", &attempt.backend);
        attributes.text("mulberry.upstream", &attempt.upstream);
        let address = attempt
            .upstream
            .strip_prefix(&*attempt.backend)
            .and_then(|rest| rest.strip_prefix('/'));
        if let Some(address) = address {
            // A name without a port is of the scheme's own.
            let host_port = address.rsplit_once(':').filter(|(host, _)| !host.ends_with(':'));
            let port = host_port.and_then(|(_, port)| port.parse::<u16>().ok());
            match (host_port, port) {
                (Some((host, _)), Some(port)) => {
                    attributes.text("server.address", host);
                    attributes.number("server.port", u64::from(port));
                }
                _ => attributes.text("server.address", address),
            }
        }
        if let Some(status) = attempt.status {
            attributes.number("http.response.status_code", u64::from(status));
        }
        let status = attempt
            .status
            .filter(|status| *status >= 400)
            .map(|status| status.to_string());
        let error = status.as_deref().or(attempt.error).or(late);
        if let Some(error) = error {
            attributes.text("error.type", error);
        }
        let mut span = json!({
            "traceId": format!("{:032x}", context.trace),
            "spanId": format!("{:016x}", attempt.id),
            "parentSpanId": format!("{:016x}", context.span),
            "flags": context.flags,
            "name": format!("{operation} {model}").trim_end(),
            "kind": KIND_CLIENT,
            "startTimeUnixNano": now.unix_nano(attempt.started),
            "endTimeUnixNano": now.unix_nano(attempt.ended.unwrap_or(end)),
            "attributes": attributes.0,
        });
        if error.is_some_and(|error| error != "cancelled") {
            span["status"] = json!({"code": STATUS_ERROR});
        }
        span
    }
}

/// Keys and values as OTLP writes them.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        self.0.push(json!({"key": key, "value": {"stringValue": value}}));
    }

    fn number(&mut self, key: &str, value: u64) {
        // Signed on the other side.
        let value = value.min(i64::MAX.unsigned_abs()).to_string();
        self.0.push(json!({"key": key, "value": {"intValue": value}}));
    }

    fn float(&mut self, key: &str, value: f64) {
        self.0.push(json!({"key": key, "value": {"doubleValue": value}}));
    }

    fn truth(&mut self, key: &str, value: bool) {
        self.0.push(json!({"key": key, "value": {"boolValue": value}}));
    }
}
