//! Receipts of a request, whose ever they are.

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use utoipa::ToSchema;

use super::{Admin, problem};
use crate::{layers::rescue::Chain, routes::receipts::list};

/// As `docs/receipts.md` describes it.
#[derive(ToSchema)]
#[schema(value_type = Object)]
#[expect(
    dead_code,
    reason = "a receipt is given as it was signed; this stands for it in the document"
)]
pub(super) struct Receipt(serde_json::Value);

pub(super) async fn of_request(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match admin.parts.receipts.of_request(&id).await {
        Ok(receipts) if receipts.is_empty() => problem(
            StatusCode::NOT_FOUND,
            "receipt_not_found",
            "There is no receipt of a request of this name.",
        ),
        Ok(receipts) => ([(header::CONTENT_TYPE, "application/json")], list(&receipts)).into_response(),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "receipts cannot be read");
            let message = "The database does not answer; the log says more.";
            problem(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message)
        }
    }
}
