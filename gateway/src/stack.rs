//! The Edge and Call floors, outermost first. Requests go down, answers come up.
//!
//! ```text
//! EDGE     Cors · Via · RequestId · Trace · Observe · Rescue · CatchPanic · Admit · BodyLimit · Router
//! CALL     Authenticate · Throttle · Decode · Resolve · Idempotency · ThrottleTokens ·
//!          Reserve · Meter · Failover
//! ATTEMPT  backends::stack
//! ```

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Floor, Serve},
};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceBuilder;

use crate::{
    accounts::Accounts,
    call::Inbound,
    catalog::Catalog,
    drain::Drain,
    evidence::{Evidence, Own},
    layers::{
        admit::{Admission, AdmitLayer},
        authenticate::{AuthenticateLayer, Authenticator},
        body_limit::BodyLimitLayer,
        catch_panic::CatchPanicLayer,
        cors::CorsLayer,
        decode::{BodyLimits, DecodeLayer},
        failover::{FailoverLayer, RetryConfig},
        idempotency::IdempotencyLayer,
        meter::MeterLayer,
        observe::ObserveLayer,
        request_id::RequestIdLayer,
        rescue::RescueLayer,
        reserve::ReserveLayer,
        resolve::ResolveLayer,
        route::Router,
        throttle::ThrottleLayer,
        throttle_tokens::ThrottleTokensLayer,
        trace::TraceLayer,
        via::ViaLayer,
    },
    ledger::Ledger,
    limiter::Limiters,
    metrics::Metrics,
    oidc::Issuers,
    payments::Payments,
    receipts::Receipts,
    records::Records,
    recount::Recounts,
    registrar::Registrar,
    replays::{Bounds, Replays},
    routes::{evidence::Witnesses, models::Models, pay, receipts::Counter},
    telemetry::Telemetry,
    wages::Wages,
};

/// What the floors share, and what outlives them when the configuration changes.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) accounts: Arc<ArcSwap<Accounts>>,
    pub(crate) issuers: Arc<ArcSwap<Issuers>>,
    /// What accounts used; it outlives every snapshot of them.
    pub(crate) limiters: Arc<Limiters>,
    /// Answers that may be given again; they outlive the stack.
    pub(crate) replays: Arc<Replays>,
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) records: Records,
    /// Where charged accounts are held and captured.
    pub(crate) ledger: Ledger,
    /// Who pays by channel.
    pub(crate) payments: Payments,
    /// What workers are paid.
    pub(crate) wages: Wages,
    pub(crate) registrar: Registrar,
    pub(crate) receipts: Receipts,
    /// What the verdicts on workers rest on.
    pub(crate) evidence: Evidence,
    /// What we show of ourselves.
    pub(crate) own: Own,
    /// Where captures are handed in to be counted anew.
    pub(crate) recounts: Recounts,
    pub(crate) drain: Drain,
    pub(crate) admission: Arc<Admission>,
    pub(crate) telemetry: Telemetry,
}

/// The Edge floor that is in force. A request keeps the one that it began with.
#[derive(Debug)]
pub(crate) struct Switch<S>(ArcSwap<S>);

impl<S> Switch<S> {
    pub(crate) fn new(edge: S) -> Self {
        Self(ArcSwap::from_pointee(edge))
    }

    pub(crate) fn replace(&self, edge: S) {
        self.0.store(Arc::new(edge));
    }
}

impl<S, Request: Send> Serve<Request> for Switch<S>
where
    S: Serve<Request>,
{
    type Response = S::Response;

    async fn call(&self, request: Request) -> Result<S::Response, BoxError> {
        let edge = self.0.load_full();
        edge.call(request).await
    }
}

/// How the floors are set.
#[derive(Debug, Clone)]
pub(crate) struct StackConfig {
    pub(crate) concurrency: usize,
    pub(crate) limits: BodyLimits,
    pub(crate) retry: RetryConfig,
    pub(crate) origins: Vec<String>,
    /// Whether each request has a line in the log.
    pub(crate) log_requests: bool,
    /// `None` keeps no answers.
    pub(crate) idempotency: Option<Bounds>,
    /// Whether who is charged gets receipts.
    pub(crate) receipts: bool,
}

/// From a known operation to its answer.
fn call(
    config: &StackConfig,
    parts: &Parts,
    authenticator: &Authenticator,
) -> impl Serve<Inbound, Response = Response<BoxBody>> + use<> {
    ServiceBuilder::new()
        // Before Decode: we do not parse for strangers.
        .layer(AuthenticateLayer {
            authenticator: authenticator.clone(),
        })
        // Before Decode too: refusing must stay cheap. What was granted travels with the request to its end.
        .layer(ThrottleLayer)
        // The only place that reads a body; what it learns travels as a type.
        .layer(DecodeLayer {
            limits: config.limits,
            receipts: config.receipts,
        })
        // Before Reserve: the price will be the offer's.
        .layer(ResolveLayer {
            catalog: parts.catalog.clone(),
        })
        // Inside Resolve: only who may still use the model gets an answer again. Outside all that costs.
        .layer(IdempotencyLayer {
            bounds: config.idempotency,
            replays: parts.replays.clone(),
        })
        // Outside Reserve: money is held only for what may run.
        .layer(ThrottleTokensLayer)
        // Outside Failover: one hold per call, however many upstreams are tried.
        .layer(ReserveLayer {
            ledger: parts.ledger.clone(),
            payments: parts.payments.clone(),
            wages: parts.wages.clone(),
        })
        // Outside Failover too: counts only what the client received.
        .layer(MeterLayer {
            records: parts.records.clone(),
            metrics: parts.metrics.clone(),
            recounts: parts.recounts.clone(),
            evidence: parts.evidence.clone(),
        })
        // Outside the choice of an upstream: each attempt chooses anew. Owns the body of a stream.
        .layer(FailoverLayer {
            config: config.retry,
            drain: parts.drain.clone(),
            metrics: parts.metrics.clone(),
        })
        .service(backends::stack::attempt())
}

/// From bytes on a connection to bytes on a connection. Its errors would be faults of ours: Rescue leaves none.
pub(crate) fn edge(
    config: &StackConfig,
    parts: &Parts,
) -> impl Serve<Request<Incoming>, Response = Response<BoxBody>> + use<> {
    let authenticator = Authenticator {
        accounts: parts.accounts.clone(),
        issuers: parts.issuers.clone(),
        payments: parts.payments.clone(),
    };
    let call = Floor::new(call(config, parts, &authenticator));
    let router = Router {
        receipts: Counter {
            authenticator: authenticator.clone(),
            receipts: parts.receipts.clone(),
        },
        witnesses: Witnesses {
            authenticator: authenticator.clone(),
            catalog: parts.catalog.clone(),
            evidence: parts.evidence.clone(),
            own: parts.own.clone(),
        },
        pay: pay::Counter {
            payments: parts.payments.clone(),
        },
        models: Models {
            authenticator,
            catalog: parts.catalog.clone(),
            call: call.clone(),
        },
        call,
    };
    ServiceBuilder::new()
        // Outermost: preflights carry no key and are no requests of ours, and refusals must be readable by a page.
        .layer(CorsLayer::new(&config.origins))
        // Every answer says it, whatever it is.
        .layer(ViaLayer)
        // All that follows is named.
        .layer(RequestIdLayer)
        // Beside the name: whoever is asked hangs below us in the client's trace.
        .layer(TraceLayer {
            telemetry: parts.telemetry.clone(),
            log_requests: config.log_requests,
        })
        // Outside Rescue: it sees the status that the client sees.
        .layer(ObserveLayer {
            metrics: parts.metrics.clone(),
        })
        // Above it there are answers only.
        .layer(RescueLayer)
        // Inside Rescue: a panic leaves as an envelope too.
        .layer(CatchPanicLayer)
        // Before anything is read or looked up: refusing must stay cheap. The permit rides in the body.
        .layer(AdmitLayer {
            admission: parts.admission.clone(),
            limit: config.concurrency,
        })
        // A body that says it is too large is refused unread.
        .layer(BodyLimitLayer {
            limit: config.limits.upload as u64,
        })
        .service(router)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How large the future of a request is.
    fn room<'a, Made: 'a, Asked, Answer>(_call: impl FnOnce(&'a Made, Asked) -> Answer) -> usize {
        size_of::<Answer>()
    }

    /// Of a stack that this would make; it is not made.
    fn edge_room<Asked, Made: Serve<Asked>>(_make: fn(&StackConfig, &Parts) -> Made) -> usize {
        room(Made::call)
    }

    fn call_room<Asked, Made: Serve<Asked>>(_make: fn(&StackConfig, &Parts, &Authenticator) -> Made) -> usize {
        room(Made::call)
    }

    #[test]
    fn a_connection_keeps_little_room_for_its_requests() {
        let room = edge_room(edge);
        assert!(room <= 2_560, "{room} bytes");
    }

    #[test]
    fn a_request_is_not_moved_about_in_large_pieces() {
        let room = call_room(call);
        assert!(room <= 20_480, "{room} bytes");
    }
}
