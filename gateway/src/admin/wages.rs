//! What workers are paid: each worker's channel, and what it is owed beside.

use attestation::Hex;
use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use billing::receipt::to_hex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, data, problem, token::Actor};
use crate::wages::{OpenChannel, WorkerWages};

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/wages", get(list))
        .route("/wages/{id}/lift", post(lift))
}

/// A worker that is or was paid. Amounts are in GRAM (TON).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WageView {
    /// Of the worker as one who is paid: by its place, its key, its address and its fee.
    id: String,
    /// The key that signs what it takes.
    payee_key: String,
    /// The workers that are connected with this key.
    workers: Vec<String>,
    /// Earned, and in no channel.
    owed: String,
    /// It took more than it earned, and gets no requests.
    quarantined: bool,
    /// What it took so.
    loss: String,
    channel: Option<WageChannel>,
}

/// The channel that pays it. Amounts are over the life of the channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WageChannel {
    /// Its contract's address.
    id: String,
    network: String,
    /// `opening`, `offered`, `waking`, `open`, `leaving`, `quarantined`, `signed`.
    phase: String,
    /// Where what is taken goes.
    payout: String,
    fee_bps: u16,
    close_delay_s: u32,
    deposited: String,
    claimed: String,
    /// What it has earned.
    spent: String,
    /// What is held for requests under way.
    held: String,
    /// What it may take.
    voucher_max: String,
    /// Signed, and not earned: what it could run away with.
    at_risk: String,
}

impl WageView {
    fn new(wage: &WorkerWages) -> Self {
        Self {
            id: to_hex(&wage.id),
            payee_key: to_hex(&wage.payee),
            workers: wage.at.iter().map(|name| name.to_string()).collect(),
            owed: wage.owed.to_string(),
            quarantined: wage.is_quarantined,
            loss: wage.loss.to_string(),
            channel: wage.channel.as_ref().map(WageChannel::new),
        }
    }
}

impl WageChannel {
    fn new(open: &OpenChannel) -> Self {
        let (id, terms) = (open.channel.id, open.channel.terms);
        Self {
            id: id.account.to_string(),
            network: id.network.to_string(),
            phase: format!("{:?}", open.phase).to_lowercase(),
            payout: terms.payee.to_string(),
            fee_bps: terms.fee_bps,
            close_delay_s: terms.close_delay_s,
            deposited: open.deposited.to_string(),
            claimed: open.claimed.to_string(),
            spent: open.spent.to_string(),
            held: open.held.to_string(),
            voucher_max: open.voucher_max.to_string(),
            at_risk: open.at_risk.to_string(),
        }
    }
}

async fn list(State(admin): State<Admin>) -> Response {
    let wages = admin.parts.wages.list();
    data(wages.iter().map(WageView::new).collect::<Vec<_>>())
}

/// Requests go to it again.
async fn lift(State(admin): State<Admin>, Extension(actor): Extension<Actor>, Path(id): Path<String>) -> Response {
    let Ok(Hex(payee)) = id.parse::<Hex<32>>() else {
        return problem(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "The id is 64 hexadecimal digits, as the list of wages has it.",
        );
    };
    if !admin.parts.wages.lift(&payee).await {
        return not_found();
    }
    tracing::info!(actor = %actor.0, payee = %id, "a quarantine was lifted by a person");
    let wages = admin.parts.wages.list();
    match wages.iter().find(|wage| wage.id == payee) {
        Some(wage) => Json(WageView::new(wage)).into_response(),
        None => not_found(),
    }
}

fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "worker_not_found",
        "No worker that is paid has this id.",
    )
}
