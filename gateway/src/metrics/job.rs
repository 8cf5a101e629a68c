//! What one job tells when it has ended, and the families that take it: OpenTelemetry's for generative AI, and ours
//! for money and for the time at backends.
//!
//! Names, labels and buckets: <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>, with `_` for `.`
//! and the unit at the end, as OpenTelemetry writes them for Prometheus.
//! The model is the configured name or pattern, never the client's text.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backends::verdict::Tier;
use billing::{Nano, Usage};
use openapi::endpoint::Endpoint;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::{
    MOST_TOKENS,
    histogram::{Histogram, Scale},
    series::Series,
};

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct EndedJob<'a> {
    /// What [`operation`] says; `None` where no model ran.
    pub(crate) operation: Option<&'static str>,
    /// The name of the offer: a configured name or pattern; empty where none was asked for.
    pub(crate) model: &'a str,
    /// Who served it, if anyone was asked.
    pub(crate) server: Option<Server<'a>>,
    /// What protected the prompt, where an answer began.
    pub(crate) tier: Option<Tier>,
    /// All zero where nobody counted.
    pub(crate) usage: Usage,
    pub(crate) is_estimated: bool,
    pub(crate) cost: Option<(&'a str, Nano)>,
    pub(crate) is_stream: bool,
    pub(crate) first_frame: Option<Duration>,
    /// Of the time to the first frame, what was spent here and not at the upstream or the client.
    pub(crate) overhead: Option<Duration>,
    pub(crate) took: Duration,
    pub(crate) error: Option<ErrorType>,
}

/// The backend of a job's last attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) backend: &'a str,
    /// The kind's name.
    pub(crate) kind: &'static str,
    /// How long all attempts together were waited for.
    pub(crate) waited: Duration,
}

/// Why a job did not end well, in few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ErrorType {
    Status(u16),
    /// The status was good, the stream was not.
    Stream,
    /// The client left.
    Cancelled,
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Stream => f.write_str("stream"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

static TOKENS: Scale = Scale::counts(&[
    1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
]);
static DURATION: Scale = Scale::times(&[
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 10_240_000, 20_480_000,
    40_960_000, 81_920_000,
]);
static FIRST_TOKEN: Scale = Scale::times(&[
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
]);
static PER_TOKEN: Scale = Scale::times(&[
    10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000, 500_000, 750_000, 1_000_000, 2_500_000,
]);

/// One model at one provider, for one operation.
struct ModelSeries {
    input: Histogram,
    output: Histogram,
    duration: Histogram,
    /// Durations of what did not end well; few, and never in the way of the rest.
    failed: Mutex<BTreeMap<ErrorType, Histogram>>,
    first_token: Histogram,
    per_token: Histogram,
}

impl ModelSeries {
    fn new() -> Self {
        Self {
            input: Histogram::new(&TOKENS),
            output: Histogram::new(&TOKENS),
            duration: Histogram::new(&DURATION),
            failed: Mutex::default(),
            first_token: Histogram::new(&FIRST_TOKEN),
            per_token: Histogram::new(&PER_TOKEN),
        }
    }
}

/// The families by model and by backend.
pub(super) struct Jobs {
    /// By operation, provider and model.
    models: Series<3, ModelSeries>,
    /// By currency and model, in billionths.
    costs: Series<2, AtomicU64>,
    upstream_time: Series<1, Histogram>,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            models: Series::new(),
            costs: Series::new(),
            upstream_time: Series::new(),
        }
    }

    pub(super) fn note(&self, job: &EndedJob<'_>) {
        if let Some((currency, cost)) = job.cost {
            let nano = self.costs.get([currency, job.model], AtomicU64::default);
            // A counter that went back would look like a new start of the process.
            nano.update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
                sum.saturating_add(cost.get())
            });
        }
        let Some(server) = job.server else { return };
        let upstream_time = self.upstream_time.get([server.backend], || Histogram::new(&DURATION));
        upstream_time.observe_time(server.waited);
        let Some(operation) = job.operation else {
            return;
        };
        let series = self
            .models
            .get([operation, provider(server.kind), job.model], ModelSeries::new);
        let (input, output) = (job.usage.prompt_total(), job.usage.completion_total());
        if input > 0 {
            series.input.observe(input.min(MOST_TOKENS));
        }
        if output > 0 {
            series.output.observe(output.min(MOST_TOKENS));
        }
        if let Some(error) = job.error {
            let mut failed = series.failed.lock().unwrap_or_else(PoisonError::into_inner);
            let histogram = failed.entry(error).or_insert_with(|| Histogram::new(&DURATION));
            histogram.observe_time(job.took);
            return;
        }
        series.duration.observe_time(job.took);
        if let (Some(first), true) = (job.first_frame, job.is_stream) {
            series.first_token.observe_time(first);
            if let Some(rest) = u32::try_from(output).ok().and_then(|output| output.checked_sub(1))
                && rest > 0
            {
                series.per_token.observe_time(job.took.saturating_sub(first) / rest);
            }
        }
    }
}

/// `gen_ai.operation.name`; the convention's word where it has one. `None` where no model runs.
pub(crate) fn operation(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint.as_str() {
        "chat_completions" | "responses" | "messages" => Some("chat"),
        "completions" => Some("text_completion"),
        "files" | "batches" | "models" | "tokenize" | "detokenize" => None,
        other => Some(other),
    }
}

/// `gen_ai.provider.name`: the kind of the backend; the convention's word where it has one.
pub(crate) fn provider(kind: &'static str) -> &'static str {
    match kind {
        "azure" => "azure.ai.openai",
        "gemini" => "gcp.gemini",
        other => other,
    }
}

/// Writes the families as a collector, for the registry has no place for bounded ones.
pub(super) struct JobsCollector(pub(super) Arc<Jobs>);

impl fmt::Debug for JobsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobsCollector")
    }
}

type Part = fn(&ModelSeries) -> &Histogram;

impl Collector for JobsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let models = self.0.models.sorted();
        let labels = |labels: &super::series::Labels<'static, 3>| {
            let [operation, provider, model] = labels.clone();
            vec![
                ("gen_ai_operation_name", operation),
                ("gen_ai_provider_name", provider),
                ("gen_ai_request_model", model),
            ]
        };

        let name = "gen_ai_client_token_usage";
        let help = "Tokens of one request, by type";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let parts: [(&str, Part); 2] = [("input", |series| &series.input), ("output", |series| &series.output)];
        for (model, series) in &models {
            for (token_type, part) in parts {
                if part(series).is_empty() {
                    continue;
                }
                let mut labels = labels(model);
                labels.push(("gen_ai_token_type", token_type.into()));
                part(series).encode(family.encode_family(&labels.as_slice())?)?;
            }
        }

        let name = "gen_ai_server_request_duration_seconds";
        let help = "From arrival to the end of the answer";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (model, series) in &models {
            series
                .duration
                .encode(family.encode_family(&labels(model).as_slice())?)?;
            let failed = series.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (error, histogram) in failed {
                let mut labels = labels(model);
                labels.push(("error_type", error.to_string().into()));
                histogram.encode(family.encode_family(&labels.as_slice())?)?;
            }
        }

        let parts: [(&str, &str, Part); 2] = [
            (
                "gen_ai_server_time_to_first_token_seconds",
                "From arrival to the first data frame of a stream that ended well",
                |series| &series.first_token,
            ),
            (
                "gen_ai_server_time_per_output_token_seconds",
                "After the first, of streams that ended well",
                |series| &series.per_token,
            ),
        ];
        for (name, help, part) in parts {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (model, series) in models.iter().filter(|(_, series)| !part(series).is_empty()) {
                part(series).encode(family.encode_family(&labels(model).as_slice())?)?;
            }
        }

        let name = "mulberry_upstream_time_seconds";
        let help = "Of one job, waiting for its upstreams until the first frame, or a whole answer, came";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for ([backend], histogram) in self.0.upstream_time.sorted() {
            histogram.encode(family.encode_family(&[("backend", backend)].as_slice())?)?;
        }

        let name = "mulberry_cost";
        let help = "What was used at the configured prices, in units of the currency";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ([currency, model], nano) in self.0.costs.sorted() {
            let cost = nano.load(Ordering::Relaxed) as f64 / 1e9;
            let labels = [("currency", currency), ("model", model)];
            ConstCounter::new(cost).encode(family.encode_family(&labels.as_slice())?)?;
        }
        Ok(())
    }
}
