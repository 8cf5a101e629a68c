//! What is for the tester, not for the client: `/health` and the paths that begin with `/_`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::body::Body;
use crate::fault::modes;
use crate::routes::Mock;

/// Answers a control path; none where the path is not one. These are not counted or logged.
pub(crate) fn answer(mock: &Mock, path: &str) -> Option<Response<Body>> {
    let journal = &mock.journal;
    let whole = match path {
        "/health" => json!({"status": "ok"}),
        "/_log" => json!(journal.entries()),
        "/_counts" => json!(journal.counts()),
        "/_inflight" => json!({"inflight": journal.inflight()}),
        "/_cancelled" => json!({"cancelled": journal.cancelled(), "completed": journal.completed()}),
        "/_modes" => {
            let all = modes().iter();
            all.map(|(name, tells)| json!({"mode": name, "does": tells})).collect()
        }
        "/_reset" => {
            journal.reset();
            json!({})
        }
        _ => return None,
    };
    Some(json_response(&whole))
}

fn json_response(whole: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(whole.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
