//! Bodies: the one type we answer with, and reading a request's whole body under a cap.

use std::io;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::refusal::Refusal;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

const LIMIT_BYTES: usize = 64 << 20;

/// Reads the whole body, or refuses one that is over the limit or breaks off.
pub(crate) async fn read(mut incoming: Incoming) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Refusal::bad("the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LIMIT_BYTES {
            return Err(Refusal::too_large(LIMIT_BYTES));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
