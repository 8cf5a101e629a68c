//! The shape of everything in the stack: a request in, a response or an error out.
//!
//! Layers are tower's ([`tower_layer::Layer`], assembled by `tower::ServiceBuilder`, outermost first).
//! The service itself is this trait rather than `tower::Service`: no readiness (the stack sheds load at one place
//! instead of waiting at each), no clone per call, and no boxed future per layer.
//! `docs/decisions/0002-serve.md` has the argument.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// An error between layers. Who needs to know more finds the cause by its type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Something that answers.
pub trait Serve<Request>: Send + Sync + 'static {
    type Response;

    fn call(&self, request: Request) -> impl Future<Output = Result<Self::Response, BoxError>> + Send;
}

impl<S: Serve<Request>, Request: Send> Serve<Request> for Arc<S> {
    type Response = S::Response;

    fn call(&self, request: Request) -> impl Future<Output = Result<Self::Response, BoxError>> + Send {
        S::call(self, request)
    }
}

/// An answer on its way, of whatever kind.
pub type ServeFuture<'a, Response> = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send + 'a>>;

trait DynServe<Request, Response>: Send + Sync {
    fn call_boxed(&self, request: Request) -> ServeFuture<'_, Response>;
}

impl<S, Request> DynServe<Request, S::Response> for S
where
    S: Serve<Request>,
    Request: Send + 'static,
{
    fn call_boxed(&self, request: Request) -> ServeFuture<'_, S::Response> {
        Box::pin(self.call(request))
    }
}

/// A floor of the stack with its type forgotten, so that generics stay inside.
pub struct Floor<Request, Response>(Arc<dyn DynServe<Request, Response>>);

impl<Request: Send + 'static, Response: 'static> Floor<Request, Response> {
    pub fn new(service: impl Serve<Request, Response = Response>) -> Self {
        Self(Arc::new(service))
    }

    /// [`Serve::call`], by the name of what it returns.
    pub fn boxed(&self, request: Request) -> ServeFuture<'_, Response> {
        self.0.call_boxed(request)
    }
}

impl<Request, Response> Clone for Floor<Request, Response> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Request, Response> fmt::Debug for Floor<Request, Response> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Floor")
    }
}

impl<Request, Response> Serve<Request> for Floor<Request, Response>
where
    Request: Send + 'static,
    Response: 'static,
{
    type Response = Response;

    fn call(&self, request: Request) -> impl Future<Output = Result<Response, BoxError>> + Send {
        self.0.call_boxed(request)
    }
}
