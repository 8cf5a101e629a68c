//! The whole ledger as NDJSON, as it is read.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::refused;
use crate::{layers::rescue::Chain, treasury::Treasury, wall_clock::unix_ms};

/// What is written and not yet sent.
const AHEAD: usize = 256 * 1024;
/// What is sent at a time.
const PIECE: usize = 64 * 1024;

/// A ledger that cannot be read to its end gives a body that breaks off, and so no whole export.
pub(super) async fn export(State(treasury): State<Treasury>) -> Response {
    let ledger = match treasury.ledger() {
        Ok(ledger) => ledger.clone(),
        Err(error) => return refused(error),
    };
    let (mut to, from) = tokio::io::duplex(AHEAD);
    let writing = tokio::spawn(async move { ledger.export(&mut to, unix_ms()).await });
    let body = stream::try_unfold(Some((from, writing)), async |state| {
        let Some((mut from, writing)) = state else {
            return Ok(None);
        };
        let mut piece = Vec::with_capacity(PIECE);
        if from.read_buf(&mut piece).await? > 0 {
            return Ok(Some((Bytes::from(piece), Some((from, writing)))));
        }
        match writing.await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error)) => {
                tracing::error!(cause = %Chain(&error), "an export of the ledger broke off");
                Err(std::io::Error::other("the ledger cannot be read"))
            }
            Err(_panicked) => Err(std::io::Error::other("the export ended by a panic")),
        }
    });
    let kind = "application/x-ndjson";
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}
