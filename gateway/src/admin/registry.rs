//! The registry that the configuration names: what was read of it, and whether it holds.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, problem};
use crate::registrar::Standing;

pub(super) fn router() -> Router<Admin> {
    Router::new().route("/registry", get(show))
}

/// How the registry stands. Lists that it does not have are null: they take nothing away.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RegistryView {
    address: String,
    network: String,
    /// Whether what was read still holds; if not, no evidence is accepted.
    in_force: bool,
    /// How many changes it had when it was read last.
    change: Option<u64>,
    /// Unix seconds.
    read_at: Option<u64>,
    /// Unix seconds from which a change that waits can be put in force.
    pending_apply_at: Option<u32>,
    images: Option<usize>,
    gateways: Option<usize>,
    models: Option<usize>,
    most_fee_bps: Option<u16>,
    fee_dest: Option<String>,
    /// Why the last answer was not taken.
    refused: Option<String>,
}

impl RegistryView {
    fn new(standing: Standing) -> Self {
        let read = standing.read.as_ref().map(|(registry, _)| registry);
        let charter = read.map(|registry| registry.charter());
        let lists = charter.map(|charter| &charter.lists);
        Self {
            address: standing.account.to_string(),
            network: standing.network.to_string(),
            in_force: standing.is_in_force,
            change: read.map(|registry| registry.seqno()),
            read_at: standing.read.as_ref().map(|(_, at)| *at),
            pending_apply_at: read.and_then(|registry| Some(registry.pending()?.apply_at)),
            images: lists.and_then(|lists| Some(lists.images.as_ref()?.len())),
            gateways: lists.and_then(|lists| Some(lists.gateways.as_ref()?.len())),
            models: lists.and_then(|lists| Some(lists.models.as_ref()?.len())),
            most_fee_bps: charter.map(|charter| charter.most_fee_bps),
            fee_dest: charter.map(|charter| charter.fee_dest.to_string()),
            refused: standing.refused,
        }
    }
}

async fn show(State(admin): State<Admin>) -> Response {
    match admin.parts.registrar.standing() {
        Some(standing) => Json(RegistryView::new(standing)).into_response(),
        None => problem(
            StatusCode::NOT_FOUND,
            "no_registry",
            "The configuration names no registry.",
        ),
    }
}
