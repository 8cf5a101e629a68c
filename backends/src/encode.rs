//! Encode: the request in the words of the chosen backend. The client's credentials stopped before this.
//!
//! The body goes as it came but for the named edits of [`RequestBody`](openapi::request::RequestBody).

use std::sync::PoisonError;

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use openapi::{
    endpoint::{Endpoint, Protocol},
    request::RequestBody,
};
use tower_layer::Layer;

use crate::{
    attempt::{Attempt, Outbound, Payload},
    backend::Backend,
    balance::Placed,
    body::Outgoing,
    error::{AttemptError, Failure},
    kind::Kind,
    serve::{BoxError, Serve},
    trace::TRACEPARENT,
    upstream::Upstream,
};

/// A request ready to leave.
#[derive(Debug)]
pub struct Encoded {
    pub placed: Placed,
    pub request: Request<Outgoing>,
    pub protocol: Protocol,
    pub is_stream: bool,
    /// Usage that only we asked for must not reach the client.
    pub hide_usage: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct EncodeLayer;

impl<S> Layer<S> for EncodeLayer {
    type Service = Encode<S>;

    fn layer(&self, inner: S) -> Encode<S> {
        Encode { inner }
    }
}

#[derive(Debug)]
pub struct Encode<S> {
    inner: S,
}

impl<S> Serve<Placed> for Encode<S>
where
    S: Serve<Encoded>,
{
    type Response = S::Response;

    async fn call(&self, placed: Placed) -> Result<S::Response, BoxError> {
        let hooks = placed.attempt.hooks.clone();
        let admitted = match hooks.admit(placed.in_use.upstream()) {
            None => HeaderMap::new(),
            Some(admission) => admission
                .await
                .map_err(|refusal| failed(&placed, Failure::NotAdmitted(refusal)))?,
        };
        let encoded = encode(placed, admitted)?;
        self.inner.call(encoded).await
    }
}

fn encode(placed: Placed, admitted: HeaderMap) -> Result<Encoded, BoxError> {
    let Attempt { outbound, leg, .. } = &placed.attempt;
    let backend = &leg.backend;
    let upstream = placed.in_use.upstream();
    let model = leg.model.as_deref().or(outbound.model.as_deref());

    let body = match &outbound.payload {
        Payload::Empty => Outgoing::Empty,
        Payload::Json(body) => Outgoing::whole(spliced(body, backend, model, outbound)),
        Payload::Upload(upload) => {
            let taken = upload.lock().unwrap_or_else(PoisonError::into_inner).take();
            Outgoing::upload(
                taken.ok_or_else(|| failed(&placed, Failure::Upload("the upload was sent before".into())))?,
            )
        }
    };
    let uri = uri(backend, upstream, outbound, model);
    let mut request = Request::new(body);
    *request.uri_mut() =
        uri.ok_or_else(|| failed(&placed, Failure::Upload("the path or query cannot be sent on".into())))?;
    *request.method_mut() = outbound.method.clone();
    *request.headers_mut() = headers(outbound, backend, upstream, admitted);
    if let Some(context) = placed.attempt.trail.context() {
        // Below the attempt, of which there may be several.
        request.headers_mut().insert(TRACEPARENT, context.header());
    }

    let is_stream = outbound.is_stream();
    let hide_usage = is_stream && !outbound.json().is_some_and(RequestBody::wants_usage);
    Ok(Encoded {
        request,
        protocol: outbound.operation.endpoint.protocol(),
        is_stream,
        hide_usage,
        placed,
    })
}

/// The named edits that this backend needs.
fn spliced(body: &RequestBody, backend: &Backend, model: Option<&str>, outbound: &Outbound) -> bytes::Bytes {
    let mut splices = Vec::new();
    let endpoint = outbound.operation.endpoint;
    if let Some(model) = model {
        let named = if outbound.operation.deployment.is_some() {
            body.insert_model(model)
        } else {
            body.rename_model(model)
        };
        splices.extend(named);
    }
    if endpoint.protocol() == Protocol::Chat && outbound.operation.is_root_post {
        if backend.capabilities.stream_usage {
            splices.extend(body.ask_usage());
        }
        if endpoint == Endpoint::ChatCompletions {
            if !backend.capabilities.max_completion_tokens {
                splices.extend(body.use_max_tokens());
            }
            if !backend.capabilities.developer_role {
                splices.extend(body.use_system_role());
            }
        }
    }
    body.spliced(splices)
}

fn uri(backend: &Backend, upstream: &Upstream, outbound: &Outbound, model: Option<&str>) -> Option<Uri> {
    let base = upstream.client.target().base_path();
    let operation = &outbound.operation;
    let is_azure = backend.kind == Kind::Azure;
    let path = match model {
        Some(model) if is_azure => format!("/openai/deployments/{}/{}", encode_segment(model), operation.path),
        None if is_azure => format!("/openai/{}", operation.path),
        _ => backend.kind.path(operation.endpoint, &operation.path),
    };
    let mut target = format!("{base}{path}");
    let mut separator = '?';
    let mut add = |pair: &str| {
        target.push(separator);
        target.push_str(pair);
        separator = '&';
    };
    if is_azure {
        let version = backend.api_version.as_deref().unwrap_or(AZURE_API_VERSION);
        add(&format!("api-version={version}"));
    }
    let pairs = outbound.query.as_deref().unwrap_or_default().split('&');
    // The version that an Azure client asks for is not this server's.
    let is_versioned = is_azure || operation.deployment.is_some();
    pairs
        .filter(|pair| !(pair.is_empty() || is_versioned && pair.starts_with("api-version=")))
        .for_each(&mut add);
    target.parse().ok()
}

/// What Azure is asked for where the configuration says nothing; it demands that there is one.
const AZURE_API_VERSION: &str = "2024-10-21";

/// RFC 3986 section 3.3: everything but unreserved characters is escaped.
fn encode_segment(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn headers(outbound: &Outbound, backend: &Backend, upstream: &Upstream, admitted: HeaderMap) -> HeaderMap {
    let mut headers = outbound.headers.clone();
    headers.insert(header::HOST, upstream.host.clone());
    if matches!(outbound.payload, Payload::Json(_)) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if matches!(outbound.payload, Payload::Empty) && outbound.method == Method::POST {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, value) in &backend.headers {
        headers.insert(name, value.clone());
    }
    if let Some((name, value)) = &upstream.credential {
        headers.insert(name, value.clone());
    }
    for (name, value) in &admitted {
        headers.insert(name, value.clone());
    }
    headers
}

fn failed(placed: &Placed, failure: Failure) -> BoxError {
    Box::new(AttemptError {
        place: placed.in_use.upstream().name.clone(),
        failure,
    })
}
