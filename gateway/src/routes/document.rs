//! `/openapi.json`, and `/docs` to try it: vendored, no request leaves the machine.

use std::sync::LazyLock;

use backends::body::BoxBody;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use openapi::document;

use crate::rescue::full;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document::document()));

/// The answer, if the path is one of these.
pub(crate) fn answer(method: &Method, path: &str) -> Option<Response<BoxBody>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    if path == "/openapi.json" {
        let mut response = Response::new(full(DOCUMENT.clone()));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Some(response);
    }
    let asset = document::page().iter().find(|asset| asset.path == path)?;
    let mut response = Response::new(full(Bytes::from_static(asset.bytes_gzip)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(document::CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}
