//! Route: which operation a path is. The innermost of the Edge floor.

use std::future::Future;

use backends::{
    body::BoxBody,
    serve::{BoxError, Floor, Serve},
};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use openapi::endpoint::{Endpoint, Unroutable};

use crate::{
    call::{Inbound, Named},
    routes::{
        document,
        evidence::{self, Witnesses},
        models::Models,
        notices, pay,
        receipts::{Asked, Counter},
    },
};

/// A request for something that is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error(
        "Unknown request URL: {method} {path}. Please check the URL for typos, or see GET /openapi.json for what exists."
    )]
    Path { method: Method, path: String },
    #[error("Method {method} is not allowed on {path}. Use {allow}.")]
    Method {
        method: Method,
        path: String,
        allow: &'static str,
    },
}

/// The longest path that an error repeats.
const MAX_PATH: usize = 200;

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) call: Floor<Inbound, Response<BoxBody>>,
    pub(crate) models: Models,
    pub(crate) receipts: Counter,
    pub(crate) witnesses: Witnesses,
    pub(crate) pay: pay::Counter,
}

impl Serve<Box<Named>> for Router {
    type Response = Response<BoxBody>;

    /// Each kind of answer in a box of its own: hyper keeps the room that a request's future needs for as long as the
    /// connection lives.
    fn call(&self, named: Box<Named>) -> impl Future<Output = Result<Response<BoxBody>, BoxError>> + Send {
        let Named {
            id,
            arrived,
            request,
            operation,
            span,
        } = *named;
        match operation {
            Ok(operation) => {
                let is_models = operation.endpoint == Endpoint::Models;
                let inbound = Inbound {
                    id,
                    arrived,
                    request,
                    operation,
                    span,
                };
                if is_models {
                    Box::pin(self.models.call(inbound))
                } else {
                    self.call.boxed(inbound)
                }
            }
            Err(unroutable) => Box::pin(self.elsewhere(unroutable, request)),
        }
    }
}

impl Router {
    /// What is no operation of the API.
    async fn elsewhere(
        &self,
        unroutable: Unroutable,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody>, BoxError> {
        let (method, path) = (request.method(), request.uri().path());
        if let Some(answer) = document::answer(method, path) {
            return Ok(answer);
        }
        if let Some(asked) = Asked::of(path) {
            return self.receipts.call(asked, request).await;
        }
        if let Some(asked) = evidence::Asked::of(path) {
            return self.witnesses.call(asked, request).await;
        }
        if path == notices::PATH {
            let (method, path) = (request.method().clone(), path.to_owned());
            let answer = notices::call(&self.pay.payments, request).await?;
            return answer.ok_or_else(|| RouteError::Path { method, path }.into());
        }
        let (head, _unread) = request.into_parts();
        if let Some(asked) = pay::Asked::of(head.uri.path())
            && let Some(answer) = self.pay.call(asked, &head).await?
        {
            return Ok(answer);
        }
        let path = shown(head.uri.path());
        let method = head.method;
        Err(match unroutable {
            Unroutable::Path => RouteError::Path { method, path },
            Unroutable::Method { allow } => RouteError::Method { method, path, allow },
        }
        .into())
    }
}

fn shown(path: &str) -> String {
    path.chars().take(MAX_PATH).collect()
}
