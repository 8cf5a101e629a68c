//! The exporter: takes spans from the queue, a batch at a time, and posts them to a collector.
//!
//! OTLP over HTTP with JSON, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>. What may pass is tried again, a few
//! times; meanwhile the queue fills, and what finds it full is dropped there. What the collector refuses is dropped.

use std::time::{Duration, Instant, SystemTime};

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, Target},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};

use super::{
    TelemetryError,
    otlp::{self, Now},
    span::TracedRequest,
};
use crate::{config, metrics::Metrics, tls};

/// Requests in one batch.
const BATCH: usize = 256;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// Tries of one batch.
const TRIES: u32 = 5;
/// Before the second try; doubled before each that follows.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an idle connection to the collector is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What is read of the collector's answer.
const MAX_ANSWER: usize = 64 * 1024;
/// The end of the process does not wait longer for the collector, whatever is under way then.
const LAST_CHANCE: Duration = Duration::from_secs(3);

pub(crate) struct Exporter {
    service: String,
    client: Client,
    uri: http::Uri,
    headers: HeaderMap,
    timeout: Duration,
    queue: mpsc::Receiver<TracedRequest>,
    closing: watch::Receiver<bool>,
    exported: Counter,
    dropped: Counter,
    is_failing: bool,
}

/// Why the collector did not take a batch.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the collector cannot be reached")]
    Send(#[source] backends::client::SendError),
    #[error("the collector's answer broke off")]
    Answer,
    #[error("the collector answered {0}")]
    Status(StatusCode),
    #[error("the collector did not answer within {0:?}")]
    Timeout(Duration),
}

impl ExportError {
    /// OTLP names the statuses that may pass.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Send(_) | Self::Answer | Self::Timeout(_) => true,
        }
    }
}

impl Exporter {
    pub(super) fn new(
        service: &str,
        config: &config::Otlp,
        queue: mpsc::Receiver<TracedRequest>,
        closing: watch::Receiver<bool>,
        metrics: &Metrics,
    ) -> Result<Self, TelemetryError> {
        let endpoint = config.endpoint.to_string();
        let target = Target::parse(&endpoint)?;
        let tls = target.is_https().then(|| tls::client(None)).transpose()?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers.0 {
            let mut value =
                HeaderValue::from_str(value.expose()).map_err(|_| TelemetryError::Header { name: name.to_string() })?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let set = |name: HeaderName, value: &str| Some((name, HeaderValue::from_str(value).ok()?));
        headers.extend(set(header::HOST, &target.authority()));
        headers.extend(set(header::CONTENT_TYPE, "application/json"));
        headers.extend(set(header::USER_AGENT, concat!("mulberry/", env!("CARGO_PKG_VERSION"))));
        let path = format!("{}/v1/traces", config.endpoint.path());
        let uri = path
            .parse()
            .map_err(|_| backends::client::TargetError::NotUrl(endpoint))?;
        let connector = Connector::new(target, HttpVersion::Auto, config.timeout, tls.as_deref());
        Ok(Self {
            service: service.to_owned(),
            client: Client::new(connector, KEEP_ALIVE),
            uri,
            headers,
            timeout: config.timeout,
            queue,
            closing,
            exported: metrics.spans_exported.clone(),
            dropped: metrics.spans_dropped.clone(),
            is_failing: false,
        })
    }

    /// Sends until it is told to close; then what is left, once, and not for long: the records come after.
    pub(crate) async fn run(self) {
        let mut closing = self.closing.clone();
        let patience = async {
            drop(closing.wait_for(|is_closed| *is_closed).await);
            tokio::time::sleep(LAST_CHANCE).await;
        };
        tokio::select! {
            () = self.send_all() => {}
            () = patience => tracing::warn!("the collector did not take the last traces in time"),
        }
    }

    async fn send_all(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                _ = self.closing.wait_for(|is_closed| *is_closed) => break,
                count = self.queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
            }
            self.fill(&mut batch).await;
            self.export(&batch, TRIES).await;
            batch.clear();
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.export(&batch, 1).await;
            batch.clear();
        }
    }

    /// Waits a little for more.
    async fn fill(&mut self, batch: &mut Vec<TracedRequest>) {
        let more = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if self.queue.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LINGER, more) => {}
            _ = self.closing.wait_for(|is_closed| *is_closed) => {}
        }
    }

    async fn export(&mut self, batch: &[TracedRequest], tries: u32) {
        let spans: u64 = batch.iter().map(TracedRequest::spans).sum();
        let body = Bytes::from(otlp::encode(&self.service, batch, now()));
        let mut pause = PAUSE;
        for left in (0..tries).rev() {
            let error = match self.post(body.clone()).await {
                Ok(refused) => {
                    let refused = refused.min(spans);
                    self.exported.inc_by(spans - refused);
                    self.dropped.inc_by(refused);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("the collector takes traces again");
                    }
                    return;
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut self.is_failing, true) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "traces are not exported");
            }
            if left == 0 || !error.may_pass() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause *= 2,
                _ = self.closing.wait_for(|is_closed| *is_closed) => break,
            }
        }
        self.dropped.inc_by(spans);
    }

    /// Answers with how many spans the collector did not want.
    async fn post(&self, body: Bytes) -> Result<u64, ExportError> {
        let mut request = Request::new(Outgoing::whole(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = self.client.send(request, true).await.map_err(ExportError::Send)?;
            let status = response.status();
            let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            if !status.is_success() {
                return Err(ExportError::Status(status));
            }
            let answer = answer.map_err(|_| ExportError::Answer)?.to_bytes();
            Ok(refused(&answer))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(ExportError::Timeout(self.timeout)))
    }
}

/// `partialSuccess.rejectedSpans`, a number or a string of one.
fn refused(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    let text = count.as_str().and_then(|text| text.parse().ok());
    count.as_u64().or(text).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "a span carries the time of day")]
fn now() -> Now {
    Now {
        instant: Instant::now(),
        time: SystemTime::now(),
    }
}
