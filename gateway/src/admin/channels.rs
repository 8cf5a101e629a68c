//! Payment channels that pay us: where each stands, and the two things an administrator may do with one.

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use billing::{channel::Account, receipt::to_hex};
use billing_store::ledger::{ChannelQuery, Side, StoredChannel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, data, problem, token::Actor};
use crate::{
    layers::rescue::Chain,
    payments::{PaymentError, Shown},
};

/// Channels that are answered with at most.
const ROWS: u32 = 1000;

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/channels", get(list))
        .route("/channels/{id}", get(show))
        .route("/channels/{id}/settle", post(settle))
        .route("/channels/{id}/close", post(close))
}

/// A channel. Amounts are in GRAM (TON).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChannelView {
    /// Its contract's address.
    id: String,
    network: String,
    /// Its account in the ledger.
    account: String,
    /// `open`, `stopping`: no new work, or `closed`.
    stage: &'static str,
    /// Where the rest goes at the end.
    payer: String,
    payer_key: String,
    /// Where what is taken goes.
    payee: String,
    fee_bps: u16,
    fee_dest: String,
    close_delay_s: u32,
    /// All that was ever paid in, as the chain says.
    deposited: String,
    /// All that was ever paid out to payee and fee, as the chain says.
    claimed: String,
    /// Unix seconds from which the payer may have the rest; absent while nobody asked to close.
    close_at: Option<u32>,
    /// The block that says so.
    seqno: u32,
    /// The highest voucher.
    voucher_max: String,
    /// What requests were charged.
    spent: String,
    /// What was signed to be taken.
    taken: String,
    /// Unix milliseconds.
    created_at_ms: i64,
    closed_at_ms: Option<i64>,
    /// What anybody may hand to the contract; only of one channel.
    #[schema(value_type = Option<Object>)]
    settlement: Option<serde_json::Value>,
}

impl ChannelView {
    fn new(stored: &StoredChannel) -> Self {
        let (terms, facts) = (&stored.terms, &stored.facts);
        Self {
            id: stored.id.account.to_string(),
            network: stored.id.network.to_string(),
            account: billing_store::ledger::channel_account(&stored.id).as_str().to_owned(),
            stage: stored.stage.as_str(),
            payer: terms.payer.to_string(),
            payer_key: to_hex(&stored.keys.payer),
            payee: terms.payee.to_string(),
            fee_bps: terms.fee_bps,
            fee_dest: terms.fee_dest.to_string(),
            close_delay_s: terms.close_delay_s,
            deposited: facts.on_chain.deposited.to_string(),
            claimed: facts.on_chain.claimed.to_string(),
            close_at: facts.on_chain.close_at,
            seqno: facts.seqno,
            voucher_max: stored.voucher_max().to_string(),
            spent: stored.spent.to_string(),
            taken: stored.taken().to_string(),
            created_at_ms: stored.created_at_ms,
            closed_at_ms: stored.closed_at_ms,
            settlement: None,
        }
    }

    fn whole(shown: &Shown) -> Self {
        let settlement = shown.settlement.as_ref().map(|settlement| settlement.claim());
        Self {
            settlement: settlement.and_then(|blob| serde_json::to_value(blob).ok()),
            ..Self::new(&shown.stored)
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default = "hundred")]
    limit: u32,
    after: Option<String>,
}

const fn hundred() -> u32 {
    100
}

async fn list(State(admin): State<Admin>, page: Result<Query<Page>, QueryRejection>) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, "invalid_parameter", rejection.body_text()),
    };
    let after = match page.after.as_deref().map(str::parse).transpose() {
        Ok(after) => after,
        Err(error) => return no_address(&error),
    };
    let query = ChannelQuery {
        side: Some(Side::Payee),
        after,
        limit: page.limit.min(ROWS),
    };
    match admin.parts.payments.list(&query).await {
        Ok(channels) => data(channels.iter().map(ChannelView::new).collect::<Vec<_>>()),
        Err(error) => refused(&error),
    }
}

async fn show(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match id.parse() {
        Ok(account) => answer(admin.parts.payments.show(account).await),
        Err(error) => no_address(&error),
    }
}

async fn settle(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match id.parse() {
        Ok(account) => answer(admin.parts.payments.settle(account).await),
        Err(error) => no_address(&error),
    }
}

async fn close(State(admin): State<Admin>, Extension(actor): Extension<Actor>, Path(id): Path<String>) -> Response {
    match id.parse::<Account>() {
        Ok(account) => answer(admin.parts.payments.close(account, &actor.0).await),
        Err(error) => no_address(&error),
    }
}

fn answer(shown: Result<Shown, PaymentError>) -> Response {
    match shown {
        Ok(shown) => Json(ChannelView::whole(&shown)).into_response(),
        Err(error) => refused(&error),
    }
}

fn no_address(error: &billing::channel::BadAccount) -> Response {
    problem(StatusCode::BAD_REQUEST, "invalid_value", format!("The id {error}"))
}

fn refused(error: &PaymentError) -> Response {
    let (status, code) = match error {
        PaymentError::Off => (StatusCode::CONFLICT, "no_payments"),
        PaymentError::NotFound => (StatusCode::NOT_FOUND, "channel_not_found"),
        PaymentError::Ended => (StatusCode::CONFLICT, "channel_ended"),
        PaymentError::Close(_) => (StatusCode::CONFLICT, "channel_in_use"),
        _ => {
            tracing::warn!(error = %Chain(error), "a channel cannot be read or changed");
            (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable")
        }
    };
    problem(status, code, error.to_string())
}
