//! The audit log: what operators changed.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Admin, data, keys, problem};

/// Entries that are answered with at most.
const ENTRIES: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    #[serde(default = "hundred")]
    limit: u32,
}

const fn hundred() -> u32 {
    100
}

#[derive(Serialize, ToSchema)]
pub(super) struct EntryView {
    at_ms: i64,
    actor: String,
    action: String,
    object: String,
    detail: Value,
}

pub(super) async fn audit(
    State(admin): State<Admin>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let limit = match parameters {
        Ok(Query(parameters)) => parameters.limit.min(ENTRIES),
        Err(error) => return problem(StatusCode::BAD_REQUEST, "invalid_value", error.body_text()),
    };
    match admin.directory.audited(limit).await {
        Ok(entries) => {
            let views = entries.into_iter().map(|entry| EntryView {
                at_ms: entry.at_ms,
                actor: entry.actor,
                action: entry.action,
                object: entry.object,
                detail: entry.detail,
            });
            data(views.collect::<Vec<_>>())
        }
        Err(error) => keys::refused(error),
    }
}
