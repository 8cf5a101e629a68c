//! Encode: the request in the words of the chosen backend. The client's credentials stopped before this.
//!
//! The body goes as it came but for the named edits of [`RequestBody`](openapi::request::RequestBody), unless the
//! backend speaks another dialect than the client: [`crate::translation`] has the ways.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use openapi::{
    dialect::{Asked, Dialect},
    endpoint::{Endpoint, Operation, Protocol},
    request::RequestBody,
    splice::Splice,
};
use tower_layer::Layer;

use crate::{
    attempt::{Attempt, Outbound, Payload},
    backend::Backend,
    body::Outgoing,
    error::{AttemptError, Failure},
    headers,
    kind::Kind,
    serve::{BoxError, Serve},
    trace::TRACEPARENT,
    translation::{Translation, Way, as_chat},
    upload::NotTaken,
    upstream::Upstream,
    verdict::Verified,
};

/// A request ready to leave.
#[derive(Debug)]
pub struct Encoded {
    pub verified: Verified,
    pub request: Request<Outgoing>,
    /// How the answer streams, once it is out of the upstream's dialect.
    pub protocol: Protocol,
    pub is_stream: bool,
    /// Usage that only we asked for must not reach the client.
    pub hide_usage: bool,
    pub translation: Option<Box<Translation>>,
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

impl<S> Serve<Verified> for Encode<S>
where
    S: Serve<Encoded>,
{
    type Response = S::Response;

    async fn call(&self, verified: Verified) -> Result<S::Response, BoxError> {
        let hooks = verified.attempt().hooks.clone();
        let admitted = match hooks.admit(verified.upstream()) {
            None => HeaderMap::new(),
            Some(admission) => admission
                .await
                .map_err(|refusal| failed(&verified, Failure::NotAdmitted(refusal)))?,
        };
        let encoded = encode(verified, admitted)?;
        self.inner.call(encoded).await
    }
}

fn encode(verified: Verified, admitted: HeaderMap) -> Result<Encoded, BoxError> {
    let Attempt {
        outbound, leg, trail, ..
    } = verified.attempt();
    let backend = &leg.backend;
    let upstream = verified.upstream();
    let operation = &outbound.operation;
    let model = leg.model.as_deref().or(outbound.model.as_deref());

    let way = Way::of(operation, backend.kind);
    let body = match (&outbound.payload, way) {
        (_, Way::Closed) => return Err(failed(&verified, Failure::Closed)),
        (Payload::Json(body), Way::Translated { to, from_messages }) => {
            let translated = translated(body, backend, upstream, model, to, from_messages);
            let translated = translated.map_err(|refusal| failed(&verified, refusal))?;
            Outgoing::of_attempt(translated, trail.clone())
        }
        (Payload::Json(body), Way::AsItCame) => {
            let spliced = spliced(body, backend, upstream, model, operation);
            Outgoing::of_attempt(spliced, trail.clone())
        }
        (Payload::Empty, _) => Outgoing::Empty,
        (Payload::Upload(upload), _) => {
            let taken = match upstream.worker() {
                Some(_) => upload.without_identity(),
                None => upload.as_it_came(),
            };
            Outgoing::upload(taken.map_err(|why| failed(&verified, not_taken(why)))?)
        }
    };
    let uri = match way {
        Way::Translated { to: Some(dialect), .. } => {
            let place = place(dialect, model.unwrap_or_default(), outbound.is_stream());
            format!("{}{place}", upstream.client.target().base_path()).parse().ok()
        }
        Way::Translated { to: None, .. } => uri(backend, upstream, CHAT, outbound, model),
        Way::AsItCame | Way::Closed => uri(
            backend,
            upstream,
            (operation.endpoint, &operation.path),
            outbound,
            model,
        ),
    };
    let mut request = Request::new(body);
    *request.uri_mut() =
        uri.ok_or_else(|| failed(&verified, Failure::Upload("the path or query cannot be sent on".into())))?;
    *request.method_mut() = outbound.method.clone();
    *request.headers_mut() = headers(outbound, backend, upstream, admitted, way);
    if let Some(context) = trail.context()
        && upstream.worker().is_none()
    {
        // Below the attempt, of which there may be several.
        request.headers_mut().insert(TRACEPARENT, context.header());
    }

    let is_stream = outbound.is_stream();
    let hide_usage = is_stream && !outbound.json().is_some_and(RequestBody::wants_usage);
    let (protocol, hide_usage, translation) = match way {
        Way::AsItCame | Way::Closed => (operation.endpoint.protocol(), hide_usage, None),
        Way::Translated { to, from_messages } => {
            let translation = Translation::new(to, from_messages, asked(outbound, from_messages || !hide_usage));
            // Anthropic's wire always ends with usage.
            (
                Protocol::Chat,
                hide_usage && !from_messages,
                Some(Box::new(translation)),
            )
        }
    };
    Ok(Encoded {
        request,
        protocol,
        is_stream,
        hide_usage,
        translation,
        verified,
    })
}

fn not_taken(why: NotTaken) -> Failure {
    match why {
        NotTaken::Gone => Failure::Upload("the upload was sent before".into()),
        NotTaken::Unreadable => Failure::Unreadable,
    }
}

/// Where every request of Anthropic's wire goes at an OpenAI-compatible server.
const CHAT: (Endpoint, &str) = (Endpoint::ChatCompletions, "chat/completions");

/// The named edits that this backend needs.
fn spliced(
    body: &RequestBody,
    backend: &Backend,
    upstream: &Upstream,
    model: Option<&str>,
    operation: &Operation,
) -> Bytes {
    let mut splices = Vec::new();
    if upstream.worker().is_some() {
        splices.extend(body.forget_identity());
    }
    if let Some(model) = model {
        let named = if operation.deployment.is_some() {
            body.insert_model(model)
        } else {
            body.rename_model(model)
        };
        splices.extend(named);
    }
    if operation.endpoint.protocol() == Protocol::Chat && operation.is_root_post {
        if backend.capabilities.stream_usage {
            splices.extend(body.ask_usage());
        }
        if operation.endpoint == Endpoint::ChatCompletions {
            splices.extend(chat_splices(body, backend));
        }
    }
    if operation.is_root_post {
        splices.extend(body.bound_output(operation.endpoint, backend.capabilities.max_completion_tokens));
    }
    body.spliced(splices)
}

/// What older servers have other names for.
fn chat_splices(body: &RequestBody, backend: &Backend) -> Vec<Splice> {
    let mut splices = Vec::new();
    if !backend.capabilities.max_completion_tokens {
        splices.extend(body.use_max_tokens());
    }
    if !backend.capabilities.developer_role {
        splices.extend(body.use_system_role());
    }
    splices
}

/// The body in the dialect of the backend, for a client that speaks another.
fn translated(
    body: &RequestBody,
    backend: &Backend,
    upstream: &Upstream,
    model: Option<&str>,
    to: Option<Dialect>,
    from_messages: bool,
) -> Result<Bytes, Failure> {
    let chat = if from_messages {
        Cow::Owned(as_chat(body).map_err(Failure::Untranslatable)?)
    } else {
        Cow::Borrowed(body)
    };
    let model = model.or(chat.model()).unwrap_or_default();
    if let Some(dialect) = to {
        let bound = chat.bound_output(Endpoint::ChatCompletions, true);
        let bounded = chat.spliced(bound.into_iter().collect());
        let theirs = dialect.request(&bounded, model);
        return theirs.map_err(Failure::Untranslatable);
    }
    let mut splices = chat_splices(&chat, backend);
    splices.extend(chat.insert_model(model));
    if upstream.worker().is_some() {
        splices.extend(chat.forget_identity());
    }
    if !backend.capabilities.stream_usage {
        splices.extend(chat.forget_stream_options());
    }
    Ok(chat.spliced(splices))
}

/// What the answer needs to know of the question.
#[expect(
    clippy::disallowed_methods,
    reason = "a chat completion carries the time of its creation"
)]
fn asked(outbound: &Outbound, include_usage: bool) -> Asked {
    let id = outbound.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Asked {
        model: outbound.model.as_deref().unwrap_or_default().to_owned(),
        include_usage,
        id: format!("chatcmpl-{}", id.unwrap_or_default()),
        created: now.as_secs(),
    }
}

/// Where a dialect runs a model.
fn place(dialect: Dialect, model: &str, is_stream: bool) -> String {
    match dialect {
        Dialect::Anthropic => "/v1/messages".to_owned(),
        Dialect::Gemini => {
            let method = if is_stream {
                "streamGenerateContent?alt=sse"
            } else {
                "generateContent"
            };
            // Listed as `models/NAME`, and so some write it.
            let model = model.strip_prefix("models/").unwrap_or(model);
            format!("/v1beta/models/{}:{method}", encode_segment(model))
        }
    }
}

fn uri(
    backend: &Backend,
    upstream: &Upstream,
    (endpoint, operation): (Endpoint, &str),
    outbound: &Outbound,
    model: Option<&str>,
) -> Option<Uri> {
    let base = upstream.client.target().base_path();
    let is_azure = backend.kind == Kind::Azure;
    let path = match model {
        Some(model) if is_azure => format!("/openai/deployments/{}/{operation}", encode_segment(model)),
        None if is_azure => format!("/openai/{operation}"),
        _ => backend.kind.path(endpoint, operation),
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
    // The query of a client of Anthropic's, such as `beta=true`, says nothing to another server.
    let is_foreign = outbound.operation.endpoint != endpoint;
    let query = outbound.query.as_deref().filter(|_| !is_foreign).unwrap_or_default();
    let pairs = query.split('&');
    // The version that an Azure client asks for is not this server's.
    let is_versioned = is_azure || outbound.operation.deployment.is_some();
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

fn headers(outbound: &Outbound, backend: &Backend, upstream: &Upstream, admitted: HeaderMap, way: Way) -> HeaderMap {
    let mut headers = match upstream.worker() {
        Some(_) => headers::to_worker(&outbound.headers),
        None => outbound.headers.clone(),
    };
    headers.insert(header::HOST, upstream.host.clone());
    if matches!(outbound.payload, Payload::Json(_)) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if matches!(outbound.payload, Payload::Empty) && outbound.method == Method::POST {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some((name, value)) = backend.kind.demanded_header() {
        // What we translated is in the version that we know, whatever the client speaks.
        if way == Way::AsItCame {
            headers.entry(name).or_insert(value);
        } else {
            headers.insert(name, value);
        }
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

fn failed(verified: &Verified, failure: Failure) -> BoxError {
    Box::new(AttemptError {
        place: verified.upstream().name.clone(),
        failure,
    })
}
