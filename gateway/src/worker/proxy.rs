//! Proxy: a gateway's request to the engine, and the answer back, as they came.
//!
//! Let through: the operations of OpenAI's API that are asked of engines, of headers those that the answer depends on.
//! Refused: every other path, for engines have some that load models, write files or stop them.
//! Where the gateway asks for it, the answer ends with a [statement](super::statements); what asks for it never reaches the engine.
//! A gateway that resets a stream drops its body, and with it the connection to the engine, which tells the engine to stop.

use std::sync::Arc;

use backends::{
    body::{BoxBody, OnEnd, Outgoing},
    client::SendError,
    headers,
    statement::Signer,
};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use openapi::{
    endpoint::{Endpoint, Operation, Unroutable},
    error::ErrorBody,
};

use super::{
    Engine,
    income::{Earning, Unserved},
};
use crate::layers::{
    rescue::Chain,
    reserve::{Measure, measure},
};

/// Answers one request from the engine. `shown`: what our certificate on this connection says, of who states answers.
/// `begin`: where work is paid for, begins to count it, or says why it is not done.
pub(super) async fn forward(
    engine: &Arc<Engine>,
    shown: Option<Signer>,
    begin: impl FnOnce() -> Option<Result<Earning, Unserved>>,
    request: Request<BoxBody>,
) -> Response<BoxBody> {
    let operation = match operation(request.method(), request.uri().path()) {
        Ok(operation) => operation,
        Err(Unroutable::Path) => return refusal(StatusCode::NOT_FOUND, "this worker has no such path"),
        Err(Unroutable::Method { .. }) => {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "this worker does not do that here");
        }
    };
    let is_paid = measure(request.method(), &operation) != Measure::Nothing;
    let earning = match is_paid.then(begin).flatten().transpose() {
        Ok(earning) => earning,
        Err(why) => {
            tracing::debug!(%why, "this worker does no work for a gateway");
            return refusal(StatusCode::SERVICE_UNAVAILABLE, why.told());
        }
    };
    let protocol = operation.endpoint.protocol();
    let under_way = engine.begin();
    let (parts, body) = request.into_parts();
    let is_empty = body.is_end_stream();
    let stating = engine.statements().zip(shown);
    let stating = stating.and_then(|(statements, shown)| statements.asked(&parts.headers, shown));
    let body = match &stating {
        Some(stating) => stating.request(body),
        None => body,
    };
    let mut asked = Request::new(if is_empty {
        Outgoing::Empty
    } else {
        Outgoing::upload(body)
    });
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("{}{path}", engine.target().base_path()).parse() else {
        return refusal(StatusCode::NOT_FOUND, "this worker has no such path");
    };
    *asked.uri_mut() = uri;
    *asked.headers_mut() = headers::to_worker(&parts.headers);
    if parts.method == Method::POST && is_empty {
        asked.headers_mut().insert(header::CONTENT_LENGTH, 0.into());
    }
    asked.headers_mut().extend(engine.own_headers());
    *asked.method_mut() = parts.method;
    match engine.client().send(asked, false).await {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let body = BoxBody::new(OnEnd::new(body, move |_| drop(under_way)));
            let body = match earning.filter(|_| parts.status.is_success()) {
                Some(earning) => earning.count(body),
                None => body,
            };
            let mut response = Response::new(match stating {
                Some(stating) => stating.response(body, parts.status, protocol),
                None => body,
            });
            *response.status_mut() = parts.status;
            *response.headers_mut() = headers::from_worker(&parts.headers);
            response
        }
        // The gateway's own end of the request broke; it hears nothing any more.
        Err(SendError::Upload(_)) => refusal(StatusCode::BAD_REQUEST, "the request ended early"),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the engine does not answer");
            refusal(StatusCode::BAD_GATEWAY, "the engine of this worker does not answer")
        }
    }
}

/// What an engine is asked by gateways: inference, and which models there are.
fn operation(method: &Method, path: &str) -> Result<Operation, Unroutable> {
    let operation = Operation::parse(method.as_str(), path)?;
    if operation.deployment.is_some() {
        return Err(Unroutable::Path);
    }
    // Some engines take models to be loaded and unloaded here.
    if operation.endpoint == Endpoint::Models && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Unroutable::Method { allow: "GET" });
    }
    Ok(operation)
}

/// An error in OpenAI's words.
pub(super) fn refusal(status: StatusCode, message: &'static str) -> Response<BoxBody> {
    let error = ErrorBody::new("api_error", "worker_error", message.to_owned());
    let body = Full::new(error.to_json()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_engines_are_asked_is_let_through() {
        for asked in [
            "POST /v1/chat/completions",
            "POST /v1/completions",
            "POST /v1/responses",
            "GET /v1/responses/resp_1",
            "POST /tokenize",
            "GET /v1/models",
            "POST /v1/audio/transcriptions",
        ] {
            let (method, path) = asked.split_once(' ').expect("two words");
            let method: Method = method.parse().expect("a method");
            assert!(operation(&method, path).is_ok(), "{asked}");
        }
        for asked in [
            "POST /v1/load_lora_adapter",
            "POST /flush_cache",
            "POST /api/delete",
            "POST /slots/0",
            "GET /metrics",
            "GET /props",
            "POST /v1/models/m/load",
            "DELETE /v1/models/m",
            "POST /openai/deployments/m/chat/completions",
            "POST /v1/chat/completions/../../../shutdown",
            "GET /",
        ] {
            let (method, path) = asked.split_once(' ').expect("two words");
            let method: Method = method.parse().expect("a method");
            assert!(operation(&method, path).is_err(), "{asked}");
        }
    }
}
