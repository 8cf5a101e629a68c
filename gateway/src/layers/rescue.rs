//! Rescue: the last place where an error may exist. Below it errors are values, above it answers.
//!
//! Inside Observe, so that metrics see the status that the client sees.
//! Who asks on Anthropic's paths gets errors in Anthropic's shape, under the same status and headers.

use backends::{
    body::BoxBody,
    error::AttemptError,
    serve::{BoxError, Serve},
};
use http::Response;
use openapi::endpoint::is_anthropic_path;
use tower_layer::Layer;

use crate::{
    call::Named,
    layers::{failover::FailoverError, throttle::Limited},
    limiter::LimitError,
    rescue::rescue,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner }
    }
}

#[derive(Debug)]
pub(crate) struct Rescue<S> {
    inner: S,
}

impl<S> Serve<Box<Named>> for Rescue<S>
where
    S: Serve<Box<Named>, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, named: Box<Named>) -> Result<Response<BoxBody>, BoxError> {
        let id = named.id.clone();
        let is_anthropic = is_anthropic_path(named.request.uri().path());
        match self.inner.call(named).await {
            Ok(response) => Ok(response),
            Err(error) => {
                let refusal = rescue(&error);
                if refusal.status.is_server_error() {
                    tracing::warn!(request = %id, status = refusal.status.as_u16(), code = refusal.code(), upstream = place(&error), cause = %Chain(&*error), "request failed");
                } else {
                    tracing::debug!(request = %id, status = refusal.status.as_u16(), code = refusal.code(), "request refused");
                }
                let refused = Refused {
                    code: refusal.code().map(str::to_owned),
                    limit: Limited::cause(&error)
                        .downcast_ref::<LimitError>()
                        .map(LimitError::word),
                };
                let mut response = refusal.into_response(is_anthropic.then_some(&id));
                response.extensions_mut().insert(refused);
                Ok(response)
            }
        }
    }
}

/// What Observe tells of a refusal. In an extension, for it must not depend on the body.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) code: Option<String>,
    /// The limit that the account has reached, if it was one.
    pub(crate) limit: Option<&'static str>,
}

/// An error and its causes on one line. Our own errors hold no content; foreign ones at the leaves are of hyper,
/// rustls and the operating system.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn place(error: &BoxError) -> Option<&str> {
    let error = Limited::cause(error);
    let attempt = error.downcast_ref::<FailoverError>().map(|error| &*error.last);
    attempt
        .or_else(|| error.downcast_ref::<AttemptError>())
        .map(|error| &*error.place)
}
