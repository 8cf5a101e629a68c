//! The operator's listener: alive, ready, metrics. Apart from the clients', so that none of it is public.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    catalog::Catalog,
    console,
    drain::{Drain, Phase},
    metrics::Metrics,
    records::Records,
};

#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) records: Records,
    pub(crate) drain: Drain,
}

/// Serves until nothing is left to observe.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) {
    let drain = admin.drain.clone();
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        // The names that LiteLLM's probes use, for charts that are moved over.
        .route("/health/liveliness", get(|| async { "ok\n" }))
        .route("/health/readiness", get(ready))
        .with_state(admin)
        .merge(console::router());
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { drain.reached(Phase::Cutting).await });
    if let Err(error) = serving.await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Ready: not draining, and at least one upstream passes its health check. Says why not.
async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.drain.phase() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let catalog = admin.catalog.load();
    let any_up = catalog
        .backends
        .iter()
        .flat_map(|backend| &backend.upstreams)
        .any(|upstream| upstream.health.is_up());
    if !any_up {
        return (StatusCode::SERVICE_UNAVAILABLE, "no upstream passes its health check\n");
    }
    if admin.records.stalled() {
        return (StatusCode::OK, "ok, but the database refuses records: see the log\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.encode())
}
