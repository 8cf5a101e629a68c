//! What workers are paid: each worker's channel, and what it is owed beside.

use axum::{Router, extract::State, response::Response, routing::get};
use billing::receipt::to_hex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, data};
use crate::wages::{OpenChannel, WorkerWages};

pub(super) fn router() -> Router<Admin> {
    Router::new().route("/wages", get(list))
}

/// A worker that is or was paid. Amounts are in GRAM (TON).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WageView {
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
