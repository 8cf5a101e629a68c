//! `POST /mulberry/pay/v1/channel`: what a payer says of its channel beside its requests.
//!
//! One notice in, in its envelope, and an array of those that answer it. An access proof in `PAYMENT-SIGNATURE` says that
//! the payer says it. Said again, it is answered the same.

use std::time::Duration;

use backends::{body::BoxBody, serve::BoxError};
use billing::channel::{Envelope, x402};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::receipts;
use crate::{
    layers::route::RouteError,
    payments::{PaymentError, Payments},
};

pub(crate) const PATH: &str = "/mulberry/pay/v1/channel";
/// For the notice to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// `None` where nobody is paid here.
pub(crate) async fn call(
    payments: &Payments,
    request: Request<Incoming>,
) -> Result<Option<Response<BoxBody>>, BoxError> {
    if !payments.is_on() {
        return Ok(None);
    }
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        let method = head.method;
        let path = PATH.to_owned();
        return Err(RouteError::Method {
            method,
            path,
            allow: "POST",
        }
        .into());
    }
    let header = head.headers.get(x402::SIGNATURE).ok_or(PaymentError::Unproved)?;
    let read = timeout(PATIENCE, Limited::new(body, Envelope::MOST_BYTES).collect()).await;
    let bytes = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => return Err(PaymentError::Notice("it is too long, or did not come").into()),
    };
    let answer = payments.hear(header, &bytes).await?;
    Ok(Some(receipts::json(serde_json::to_vec(&answer)?, "no-store")))
}
