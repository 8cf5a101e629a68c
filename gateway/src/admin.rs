//! The operator's listener, apart from the clients', so that none of it is public.
//!
//! Without a token: alive, ready, metrics, the OpenAPI document, and the console's page, which holds nothing.
//! With one (`authorization: Bearer`): all below `/admin/v1`.
//! The clients' own API is here too, for the console's playground; it asks for an admin token in
//! `x-mulberry-admin-token` besides whatever a client needs, so that this listener never opens the models to others.

use std::{convert::Infallible, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    Json, Router,
    body::Body,
    extract::{FromRef, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response as AxumResponse},
    routing::{get, post},
};
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use billing_store::Reader;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use openapi::error::ErrorBody;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{net::TcpListener, sync::Notify};
use tower::ServiceExt;

use crate::{
    console,
    directory::Directory,
    drain::Phase,
    listener::{self, Door, ListenerConfig, Speaks},
    live::{Live, Reloader},
    stack::Parts,
    treasury::Treasury,
};

use token::AdminTokens;

mod audit;
mod channels;
mod control;
mod document;
mod keys;
pub(crate) mod money;
mod receipts;
mod registry;
mod state;
pub(crate) mod token;
mod used;
mod wages;

/// What administrators see and move.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) live: Arc<Live>,
    pub(crate) reloader: Reloader,
    pub(crate) tokens: Arc<ArcSwap<AdminTokens>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) parts: Parts,
    /// `None` when nothing is kept on disk.
    pub(crate) reader: Option<Reader>,
    pub(crate) treasury: Treasury,
    /// Notified when an administrator ends the process.
    pub(crate) ending: Arc<Notify>,
}

/// Organisations for which no currency is named have the one of the file that is in force.
impl FromRef<Admin> for Treasury {
    fn from_ref(admin: &Admin) -> Self {
        let currency = admin.live.in_force().config.ledger.currency;
        admin.treasury.clone().with_currency(currency)
    }
}

/// Open connections of operators at a time.
const CONNECTIONS: usize = 256;
/// A body of an administrator is read up to here.
const MAX_BODY: usize = 1024 * 1024;

/// Serves until nothing is left to observe. `edge` is what clients meet.
pub(crate) async fn serve<S>(listener: TcpListener, admin: Admin, edge: Arc<S>)
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    let drain = admin.parts.drain.clone();
    let limits = &admin.live.in_force().config.limits;
    let config = ListenerConfig {
        header_read: limits.header_read,
        keep_alive: limits.keep_alive,
        body_write: limits.body_write,
        tls: None,
    };
    let door = Door {
        listener,
        connections: CONNECTIONS,
        // Metrics and readiness are wanted while clients are drained.
        closes: Phase::Cutting,
        open: Gauge::default(),
        speaks: Speaks::Http,
    };
    let service = Operators {
        tokens: admin.tokens.clone(),
        router: router(admin),
        edge,
    };
    let config = Arc::new(ArcSwap::from_pointee(config));
    listener::serve(door, config, Arc::new(service), drain).await;
}

/// The clients' API for whom holds an admin token, and the router for everything else.
struct Operators<S> {
    tokens: Arc<ArcSwap<AdminTokens>>,
    router: Router,
    edge: Arc<S>,
}

impl<S> Serve<Request<Incoming>> for Operators<S>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        if request.uri().path().starts_with("/v1/") {
            let token = request.headers_mut().remove(token::PLAYGROUND);
            let is_known = token.is_some_and(|token| self.tokens.load().find(token.as_bytes()).is_some());
            if is_known {
                return self.edge.call(request).await;
            }
            return Ok(boxed(token::refused()));
        }
        let response = self.router.clone().oneshot(request.map(Body::new)).await;
        Ok(boxed(response.unwrap_or_else(|never: Infallible| match never {})))
    }
}

fn boxed(response: AxumResponse) -> Response<BoxBody> {
    response.map(|body| BoxBody::new(body.map_err(BoxError::from)))
}

fn router(admin: Admin) -> Router {
    let governed = Router::new()
        .route("/status", get(state::status))
        .route("/upstreams", get(state::upstreams))
        .route("/models", get(state::models))
        .route("/usage", get(used::usage))
        .route("/requests", get(used::requests))
        .route("/config", get(control::config))
        .route("/reload", post(control::reload))
        .route("/drain", post(control::drain))
        .route("/audit", get(audit::audit))
        .route("/receipts/{id}", get(receipts::of_request))
        .merge(keys::router())
        .merge(money::router())
        .merge(channels::router())
        .merge(wages::router())
        .merge(registry::router())
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "unknown_url",
                "There is no such admin operation.",
            )
        })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(to_the_end))
        // Before any handler: who may not is told nothing, not even what exists.
        .layer(middleware::from_fn_with_state(admin.tokens.clone(), token::require));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document::answer))
        // The names that LiteLLM's probes use, for charts that are moved over.
        .route("/health/liveliness", get(|| async { "ok\n" }))
        .route("/health/readiness", get(ready))
        .nest("/admin/v1", governed)
        .with_state(admin)
        .merge(console::router())
}

/// A change goes on when whoever asked for it leaves: it is whole, in force and in the audit log.
async fn to_the_end(request: Request<Body>, next: middleware::Next) -> AxumResponse {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let change = tokio::spawn(next.run(request));
    change.await.unwrap_or_else(|_panicked| {
        let message = "The gateway failed at this; its log has the place.";
        problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })
}

/// Ready: not draining, and at least one upstream passes its health check. Says why not.
async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    let parts = &admin.parts;
    if parts.drain.phase() != Phase::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let catalog = parts.catalog.load();
    let any_up = catalog
        .backends
        .iter()
        .flat_map(|backend| &backend.upstreams)
        .any(|upstream| upstream.is_up());
    if !any_up {
        return (StatusCode::SERVICE_UNAVAILABLE, "no upstream passes its health check\n");
    }
    if parts.records.stalled() {
        return (StatusCode::OK, "ok, but the database refuses records: see the log\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.parts.metrics.encode())
}

/// An answer in the envelope that clients of the API know.
pub(crate) fn problem(status: StatusCode, code: &'static str, message: impl Into<String>) -> AxumResponse {
    let kind = if status.is_server_error() {
        "server_error"
    } else {
        "invalid_request_error"
    };
    let body = ErrorBody::new(kind, code, message.into());
    ([(header::CONTENT_TYPE, "application/json")], body.to_json())
        .into_response()
        .with_status(status)
}

/// `{"data": …}`, as every list of this API is.
fn data(items: impl serde::Serialize) -> AxumResponse {
    #[derive(serde::Serialize)]
    struct Data<T> {
        data: T,
    }
    Json(Data { data: items }).into_response()
}

trait WithStatus {
    fn with_status(self, status: StatusCode) -> Self;
}

impl WithStatus for AxumResponse {
    fn with_status(mut self, status: StatusCode) -> Self {
        *self.status_mut() = status;
        self
    }
}
