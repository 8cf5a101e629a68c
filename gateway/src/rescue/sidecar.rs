//! The table of errors, as far as they are those of `mulberry connect`.

use std::time::Duration;

use http::StatusCode;

use super::Refusal;
use crate::{
    connect::{CashierError, ForwardError},
    payer::teller::TellerError,
};

/// What `mulberry connect` says where the gateway did not answer.
pub(super) fn from_forward(error: &ForwardError) -> Refusal {
    let forbidden = |code| Refusal::new(StatusCode::FORBIDDEN, "permission_error", code, error.to_string());
    let unavailable = |code| Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string());
    match error {
        ForwardError::ForeignHost => forbidden("foreign_host"),
        ForwardError::ForeignOrigin => forbidden("foreign_origin"),
        ForwardError::Refused(why) => {
            let mut refusal = unavailable("gateway_refused").never_retry();
            refusal.body.code = Some(why.code.clone());
            refusal
        }
        ForwardError::Away(_) => unavailable("gateway_unreachable").retry_after(Duration::from_secs(1)),
        ForwardError::Late => unavailable("channel_late").retry_after(Duration::from_secs(1)),
        ForwardError::Lost(_) => Refusal::ours(StatusCode::BAD_GATEWAY, "gateway_connection_lost", error.to_string()),
        ForwardError::Pay(error) => from_pay(error),
        ForwardError::Body(_) => Refusal::invalid(StatusCode::BAD_REQUEST, "incomplete_body", error.to_string()),
    }
}

/// What `mulberry connect` says where its channel does not pay.
fn from_pay(error: &CashierError) -> Refusal {
    let unpaid = |code| {
        let status = StatusCode::PAYMENT_REQUIRED;
        Refusal::new(status, "insufficient_quota", code, error.to_string()).never_retry()
    };
    let unavailable = |code| Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string());
    match error {
        CashierError::Teller(error) => match error {
            TellerError::Budget { .. } => unpaid("budget_used_up"),
            TellerError::Dear { .. } => unpaid("exposure_used_up"),
            // Until a request under way has ended.
            TellerError::Busy { .. } | TellerError::Asking { .. } => {
                unavailable("exposure_in_use").retry_after(Duration::from_secs(1))
            }
            TellerError::Empty { .. } => unpaid("channel_used_up"),
            TellerError::Over { .. } | TellerError::Leaving(_) => unpaid("channel_over"),
            TellerError::Halted(_) | TellerError::Doubted => unpaid("channel_halted"),
            TellerError::Unready(_) => unavailable("channel_not_ready").retry_after(Duration::from_secs(1)),
            TellerError::Unheard => Refusal::ours(StatusCode::BAD_GATEWAY, "payment_unheard", error.to_string()),
            TellerError::Journal(_)
            | TellerError::Shelf(_)
            | TellerError::Restore(_)
            | TellerError::Signer(_)
            | TellerError::Broken
            | TellerError::Hold(_)
            | TellerError::Commit(_) => unavailable("payment_failed").never_retry(),
        },
        CashierError::Unlisted => unpaid("gateway_unlisted"),
        CashierError::Gone => unavailable("payment_failed").never_retry(),
        CashierError::Greedy => Refusal::ours(StatusCode::BAD_GATEWAY, "payment_unheard", error.to_string()),
        CashierError::Again => {
            let status = StatusCode::PAYMENT_REQUIRED;
            Refusal::new(status, "insufficient_quota", "payment_repeat", error.to_string()).do_retry()
        }
    }
}
