//! Probing: is the server well, and which models does it have?

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use openapi::model::ModelList;

use crate::{
    backend::{Backend, HealthConfig},
    body::Outgoing,
    kind::Kind,
    upstream::Upstream,
};

/// A model list longer than this is not read.
const MAX_MODEL_LIST: usize = 4 * 1024 * 1024;
/// Model lists change seldom.
const MODELS_EVERY: Duration = Duration::from_secs(30);
/// How long an upstream may take to list its models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes every upstream of a backend for ever. Cancelled by dropping.
pub async fn watch(backend: Arc<Backend>) {
    let watches = backend.upstreams.iter().map(|upstream| watch_one(&backend, upstream));
    futures_util::future::join_all(watches).await;
}

async fn watch_one(backend: &Backend, upstream: &Upstream) {
    if upstream.worker().is_some() {
        // It tells by itself, and its end is seen on its connection.
        return;
    }
    let every = backend.health.as_ref().map_or(MODELS_EVERY, |health| health.interval);
    let mut models_age = MODELS_EVERY;
    loop {
        let came_up = match &backend.health {
            Some(health) => check(backend, upstream, health).await,
            None => false,
        };
        if came_up || models_age >= MODELS_EVERY {
            models_age = Duration::ZERO;
            list_models(backend, upstream).await;
        }
        upstream.client.sweep();
        tokio::time::sleep(every).await;
        models_age += every;
    }
}

/// Answers whether the upstream has just come back.
async fn check(backend: &Backend, upstream: &Upstream, health: &HealthConfig) -> bool {
    let is_well = match tokio::time::timeout(health.timeout, get(backend, upstream, &health.path)).await {
        // A server that answers 404 or 401 lives; one that says 503 is loading its model.
        Ok(Some((status, _))) => !status.is_server_error(),
        Ok(None) | Err(_) => false,
    };
    let changed = upstream.health.note(is_well);
    if changed && is_well {
        tracing::info!(upstream = %upstream.name, "upstream is well again");
    } else if changed {
        tracing::warn!(upstream = %upstream.name, path = %health.path, "upstream fails its health check and is out of use");
    }
    changed && is_well
}

async fn list_models(backend: &Backend, upstream: &Upstream) {
    let Some(path) = backend.kind.models_path() else { return };
    let answer = tokio::time::timeout(MODELS_TIMEOUT, get(backend, upstream, path)).await;
    if let Ok(Some((StatusCode::OK, body))) = answer
        && let Some(mut models) = ModelList::from_upstream(&body)
    {
        if backend.kind == Kind::Gemini {
            // Listed as resources, called by what follows.
            for model in &mut models {
                model.id = model.id.trim_start_matches("models/").to_owned();
            }
        }
        upstream.models.store(Arc::new(models));
    }
}

async fn get(backend: &Backend, upstream: &Upstream, path: &str) -> Option<(StatusCode, bytes::Bytes)> {
    let base = upstream.client.target().base_path();
    let mut request = Request::new(Outgoing::Empty);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = format!("{base}{path}").parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, upstream.host.clone());
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.extend(backend.kind.demanded_header());
    for (name, value) in &backend.headers {
        headers.insert(name, value.clone());
    }
    if let Some((name, value)) = &upstream.credential {
        headers.insert(name, value.clone());
    }
    let (parts, body) = upstream.client.send(request, true).await.ok()?.into_parts();
    let body = Limited::new(body, MAX_MODEL_LIST).collect().await.ok()?;
    Some((parts.status, body.to_bytes()))
}
