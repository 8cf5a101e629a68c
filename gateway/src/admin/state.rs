//! How the gateway stands: itself, its models, its upstreams.

use std::{sync::atomic::Ordering, time::Instant};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use backends::verdict::Reason;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, data};
use crate::{drain::Phase, layers::rescue::Chain, metrics::Snapshot, wall_clock::unix_seconds};

#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    started_at: u64,
    uptime_s: u64,
    phase: &'static str,
    in_flight: i64,
    connections: i64,
    /// What the last 60 seconds were like.
    #[serde(flatten)]
    recent: Snapshot,
    config: ConfigStatus,
    /// The key that signs receipts, where they are signed.
    receipt_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ConfigStatus {
    file: String,
    hash: String,
    loaded_at: u64,
    last_error: Option<String>,
}

pub(super) async fn status(State(admin): State<Admin>) -> Response {
    let force = admin.live.in_force();
    let started_at = admin.live.started_at();
    let metrics = &admin.parts.metrics;
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        uptime_s: unix_seconds().saturating_sub(started_at),
        phase: match admin.parts.drain.phase() {
            Phase::Serving => "serving",
            Phase::Draining | Phase::Closing | Phase::Cutting => "draining",
        },
        in_flight: metrics.in_flight.get(),
        connections: metrics.connections.get(),
        recent: metrics.snapshot(),
        config: ConfigStatus {
            file: admin.live.file(),
            hash: force.hash,
            loaded_at: force.loaded_at,
            last_error: force.last_error,
        },
        receipt_key: admin.parts.receipts.signer().map(|key| key.id().to_string()),
    })
    .into_response()
}

#[derive(Serialize, ToSchema)]
pub(super) struct UpstreamView {
    name: String,
    backend: String,
    kind: &'static str,
    url: String,
    tier: &'static str,
    in_use: bool,
    /// Why it is not.
    why: Option<&'static str>,
    health: &'static str,
    breaker: &'static str,
    outstanding: usize,
    /// Of the whole backend.
    waiting: usize,
    attempts: u64,
    failures: u64,
    /// Time to the first frame, smoothed; `null` before the first.
    latency_ms: Option<f64>,
    models: Vec<String>,
    /// How often it claimed more tokens than there were, ever; `null` when that cannot be read.
    overclaims: Option<u64>,
    /// By how many tokens, all together.
    overclaimed_tokens: Option<u64>,
    /// How often it did not state its answer to a charged request, or not truly, ever; `null` when that cannot be read.
    misstatements: Option<u64>,
}

pub(super) async fn upstreams(State(admin): State<Admin>) -> Response {
    let strikes = match admin.parts.recounts.strikes().await {
        Ok(strikes) => Some(strikes),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the strikes against upstreams cannot be read");
            None
        }
    };
    let now = Instant::now();
    let catalog = admin.parts.catalog.load();
    let mut views = Vec::new();
    for backend in &catalog.backends {
        for upstream in &backend.upstreams {
            let why = upstream.exclusion(now);
            let against = strikes.as_ref().map(|strikes| {
                let of_it = strikes.iter().find(|strikes| *strikes.upstream == *upstream.name);
                of_it.map_or((0, 0, 0), |strikes| {
                    (strikes.overclaims, strikes.tokens, strikes.misstatements)
                })
            });
            let micros = upstream.latency.micros(now);
            let target = upstream.client.target();
            let scheme = if target.is_https() { "https" } else { "http" };
            views.push(UpstreamView {
                name: upstream.name.to_string(),
                backend: backend.name.to_string(),
                kind: backend.kind.as_str(),
                url: format!("{scheme}://{}{}", target.authority(), target.base_path()),
                tier: upstream.tier().name(),
                in_use: why.is_none(),
                why: why.map(Reason::sentence),
                health: if upstream.is_up() { "up" } else { "down" },
                breaker: upstream.breaker.state(now).as_str(),
                outstanding: upstream.outstanding(),
                waiting: backend.queue.waiting(),
                attempts: upstream.counts.attempts.load(Ordering::Relaxed),
                failures: upstream.counts.failures.load(Ordering::Relaxed),
                latency_ms: (micros > 0).then_some(micros as f64 / 1000.0),
                models: upstream.models.load().iter().map(|model| model.id.clone()).collect(),
                overclaims: against.map(|(overclaims, ..)| overclaims),
                overclaimed_tokens: against.map(|(_, tokens, _)| tokens),
                misstatements: against.map(|(.., misstatements)| misstatements),
            });
        }
    }
    data(views)
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelView<'a> {
    name: &'a str,
    aliases: &'a [String],
    routes: Vec<RouteView<'a>>,
    fallbacks: &'a [String],
    price: Option<PriceView<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RouteView<'a> {
    backend: &'a str,
    model: Option<&'a str>,
    weight: u32,
    priority: u32,
}

/// Per million tokens, as decimal text: a JSON number would be read as a float.
#[derive(Serialize, ToSchema)]
pub(super) struct PriceView<'a> {
    currency: &'a str,
    prompt: String,
    cached: Option<String>,
    completion: String,
    reasoning: Option<String>,
    request: String,
}

pub(super) async fn models(State(admin): State<Admin>) -> Response {
    let force = admin.live.in_force();
    let models = force.config.models.iter().map(|model| ModelView {
        name: &model.name,
        aliases: &model.aliases,
        routes: model
            .routes
            .iter()
            .map(|route| RouteView {
                backend: &route.backend,
                model: route.model.as_deref(),
                weight: route.weight,
                priority: route.priority,
            })
            .collect(),
        fallbacks: &model.fallbacks,
        price: model.price.as_ref().map(|price| PriceView {
            currency: price.currency.as_str(),
            prompt: price.prompt.to_string(),
            cached: price.cached.map(|amount| amount.to_string()),
            completion: price.completion.to_string(),
            reasoning: price.reasoning.map(|amount| amount.to_string()),
            request: price.request.to_string(),
        }),
    });
    data(models.collect::<Vec<_>>())
}
