//! What an administrator moves: the configuration, and the end of the process.

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Admin, problem, token::Actor};
use crate::{layers::rescue::Chain, live::ReloadError};

#[derive(Serialize, ToSchema)]
pub(super) struct ConfigView {
    file: String,
    hash: String,
    loaded_at: u64,
    yaml: String,
    needs_restart: Vec<&'static str>,
    last_error: Option<String>,
}

pub(super) async fn config(State(admin): State<Admin>) -> Response {
    let force = admin.live.in_force();
    Json(ConfigView {
        file: admin.live.file(),
        yaml: force.config.normalised(),
        hash: force.hash,
        loaded_at: force.loaded_at,
        needs_restart: force.needs_restart,
        last_error: force.last_error,
    })
    .into_response()
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReloadedView {
    hash: String,
    changed: Vec<&'static str>,
    needs_restart: Vec<&'static str>,
}

pub(super) async fn reload(State(admin): State<Admin>, Extension(actor): Extension<Actor>) -> Response {
    tracing::info!(actor = actor.0, "an administrator reloads the configuration");
    match admin.reloader.reload().await {
        Ok(reloaded) => {
            let view = ReloadedView {
                hash: reloaded.hash,
                changed: reloaded.changed,
                needs_restart: reloaded.needs_restart,
            };
            let detail = json!({"hash": view.hash, "changed": view.changed, "needs_restart": view.needs_restart});
            let file = admin.live.file();
            admin.directory.audit(&actor.0, "config.reload", &file, detail).await;
            Json(view).into_response()
        }
        Err(error @ ReloadError::Ending) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", error.to_string())
        }
        Err(error @ ReloadError::Panicked) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error.to_string())
        }
        Err(error) => problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_configuration",
            Chain(&error).to_string(),
        ),
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct DrainingView {
    phase: &'static str,
}

pub(super) async fn drain(State(admin): State<Admin>, Extension(actor): Extension<Actor>) -> Response {
    tracing::info!(actor = actor.0, "an administrator drains the gateway");
    admin.directory.audit(&actor.0, "drain", "gateway", json!({})).await;
    admin.ending.notify_one();
    (StatusCode::ACCEPTED, Json(DrainingView { phase: "draining" })).into_response()
}
