//! Forward: an app's request to the gateway, and the answer back, as they came.
//!
//! Only what belongs to one connection is taken off: its own headers, the app's name for us, and `origin`, which was judged here.
//! What the app says of itself (its API key, its ids) the gateway hears, and we add nothing; but where a channel pays
//! ([`pay`]) the payment is added, and keys stay here.
//! A request waits for a connection for [`PATIENCE`], and is then refused with the reason: nothing of it has left this machine.

use std::{sync::Arc, time::Duration};

use attestation::Anchor;
use backends::{
    body::{BoxBody, OnEnd},
    serve::{BoxError, Serve},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header, uri::Authority, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use openapi::endpoint::{Operation, Protocol, is_anthropic_path};
use tokio::time::{Instant, timeout_at};

use super::{
    Guard, Link,
    cashier::{Cashier, CashierError, Paying},
    link::{self, Standing, Up, Why},
    pay::{self, AppKeys, Kept, Paid},
    relay::Relay,
    status,
};
use crate::{
    accounts::{self, Foreign},
    call::RequestId,
    drain::{Drain, Phase},
    layers::{failover::ShuttingDown, rescue::Chain, via::X_MULBERRY_VIA},
    rescue::rescue,
    wall_clock::unix_ms,
};

/// How long a request waits for a verdict.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a request was not answered by the gateway. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("This address serves its own machine only. Call it by address or as localhost.")]
    ForeignHost,
    #[error("This address does not answer web pages.")]
    ForeignOrigin,
    #[error("The gateway is not believed ({}): {}. Nothing of the request was sent.", .0.code, .0.sentence)]
    Refused(Why),
    #[error("The gateway cannot be reached: {}. Nothing of the request was sent.", reason(.0.as_ref()))]
    Away(Option<Why>),
    #[error("The gateway is late to prove itself anew. Nothing of the request was sent.")]
    Late,
    #[error("The connection to the gateway ended before it answered.")]
    Lost(#[source] hyper::Error),
    #[error(transparent)]
    Pay(#[from] CashierError),
    #[error("The request's body ended early. Send it again.")]
    Body(#[source] BoxError),
}

fn reason(why: Option<&Why>) -> &str {
    why.map_or("no connection was made yet", |why| &why.sentence)
}

pub(crate) struct Forward {
    link: Arc<Link>,
    guard: Guard,
    ending: Drain,
    till: Option<Till>,
}

/// Where requests are paid for.
struct Till {
    cashier: Cashier,
    keys: AppKeys,
    kept: Kept,
}

impl Forward {
    /// Where there is a cashier it pays for requests, and [`AppKeys`] says what becomes of those that apps send.
    pub(crate) fn new(link: Arc<Link>, guard: Guard, ending: Drain, paying: Option<(Cashier, AppKeys)>) -> Self {
        Self {
            link,
            guard,
            ending,
            till: paying.map(|(cashier, keys)| Till {
                cashier,
                keys,
                kept: Kept::new(),
            }),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        self.guard.admits(&request)?;
        let till = self.till.as_ref();
        if request.uri().path() == status::PATH && request.method() == Method::GET {
            return Ok(status::answer(&self.link, till.map(|till| &till.cashier)));
        }
        if self.ending.phase() >= Phase::Cutting {
            return Err(ShuttingDown.into());
        }
        let protocol = protocol(&request);
        let mut request = outgoing(request);
        if let Some(till) = till {
            pay::strip(till.keys, request.uri_mut());
        }
        match till {
            Some(till) if pay::is_ours(till.keys, request.headers_mut()) => {
                Ok(self.pay(till, request, protocol).await?)
            }
            _ => {
                let (response, up) = self.send(request, Instant::now() + PATIENCE).await?;
                Ok(self.answered(response, &up, protocol, None))
            }
        }
    }

    /// The answer to a request that the channel pays for.
    async fn pay(
        &self,
        till: &Till,
        request: Request<BoxBody>,
        protocol: Protocol,
    ) -> Result<Response<BoxBody>, ForwardError> {
        let (mut parts, body) = request.into_parts();
        if pay::is_free(&parts.method) {
            let payment = till.cashier.pass().await?;
            parts.headers.insert(pay::SIGNATURE, pay::header_value(&payment));
            let (response, up) = self
                .send(Request::from_parts(parts, body), Instant::now() + PATIENCE)
                .await?;
            return Ok(self.answered(response, &up, protocol, None));
        }
        let mut body = till.kept.keep(body).await.map_err(ForwardError::Body)?;
        let until = Instant::now() + PATIENCE;
        let (paying, mut payment) = till.cashier.begin(until).await?;
        let mut tries = 0_u32;
        while let Some(next) = body.next() {
            tries = tries.saturating_add(1);
            let mut parts = parts.clone();
            parts.headers.insert(pay::SIGNATURE, pay::header_value(&payment));
            let (response, up) = match self.send(Request::from_parts(parts, next), until).await {
                Ok(answered) => answered,
                // It was sent, and nobody says what became of it.
                Err(error @ ForwardError::Lost(_)) => return Err(error),
                Err(error) => {
                    paying.free();
                    return Err(error);
                }
            };
            let Some(required) = pay::required(response.status(), response.headers()) else {
                let paying = pay::at_head(paying, response.status(), response.headers());
                return Ok(self.answered(response, &up, protocol, paying));
            };
            if tries >= pay::TRIES {
                paying.free();
                return Err(CashierError::Greedy.into());
            }
            payment = match paying.refused(required, until.max(Instant::now() + PATIENCE)).await {
                Ok(payment) => payment,
                Err(error) => {
                    paying.free();
                    return Err(error.into());
                }
            };
        }
        paying.free();
        Err(CashierError::Again.into())
    }

    /// Over a connection whose verdict stands.
    async fn send(
        &self,
        mut request: Request<BoxBody>,
        until: Instant,
    ) -> Result<(Response<Incoming>, Up), ForwardError> {
        loop {
            let mut standing = self.link.standing();
            standing.mark_unchanged();
            let mut up = up(&self.link, until).await?;
            match up.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, up)),
                Err(mut failed) => match failed.take_message() {
                    // The connection was about to end, and none of it was sent: the next one takes it.
                    Some(unsent) => {
                        request = unsent;
                        if timeout_at(until, standing.changed()).await.is_err() {
                            return Err(ForwardError::Away(None));
                        }
                    }
                    None => return Err(ForwardError::Lost(failed.into_error())),
                },
            }
        }
    }

    fn answered(
        &self,
        response: Response<Incoming>,
        up: &Up,
        protocol: Protocol,
        paying: Option<Paying>,
    ) -> Response<BoxBody> {
        let (mut parts, body) = response.into_parts();
        parts.version = Version::default();
        without_connection(&mut parts.headers);
        let via = HeaderValue::from_static(via(up));
        parts.headers.insert(X_MULBERRY_VIA, via);
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = Paid::new(body, paying);
        let relay = Relay::new(body, is_stream.then_some(protocol), self.ending.cut());
        let using = up.using();
        Response::from_parts(parts, BoxBody::new(OnEnd::new(relay, move |_| drop(using))))
    }
}

impl Serve<Request<Incoming>> for Forward {
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let is_anthropic = is_anthropic_path(request.uri().path());
        Ok(match self.answer(request).await {
            Ok(response) => response,
            Err(error) => {
                let refusal = rescue(&error);
                tracing::debug!(code = refusal.code(), error = %Chain(&*error), "a request was not forwarded");
                let id = is_anthropic.then(|| RequestId::generate(unix_ms().unsigned_abs()));
                refusal.into_response(id.as_ref())
            }
        })
    }
}

/// A connection whose verdict stands.
pub(super) async fn up(link: &Link, until: Instant) -> Result<Up, ForwardError> {
    let mut standing = link.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        let mut late = match now {
            Standing::Up(up) if up.attested().is_some() => return Ok(up),
            Standing::Up(up) => Some(up),
            Standing::Refused(why) if !why.may_pass() => return Err(ForwardError::Refused(why)),
            Standing::Refused(_) | Standing::Dialling(_) => None,
        };
        let changed = async {
            let renewed = async {
                match &mut late {
                    Some(up) => up.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = standing.changed() => changed.is_ok(),
                () = renewed => true,
            }
        };
        if !matches!(timeout_at(until, changed).await, Ok(true)) {
            let now = standing.borrow().clone();
            return Err(match now {
                Standing::Up(_) => ForwardError::Late,
                Standing::Refused(why) => ForwardError::Refused(why),
                Standing::Dialling(why) => ForwardError::Away(why),
            });
        }
    }
}

/// What the app is told of the gateway behind an answer.
pub(super) fn via(up: &Up) -> &'static str {
    match up.attested().map(|attested| attested.verdict().anchor()) {
        Some(Some(Anchor::Development)) => "attested gateway, under a development trust anchor",
        Some(Some(_)) => "attested gateway",
        Some(None) => "keyed gateway",
        // It was when the request was sent.
        None if up.peer.is_attested() => "gateway whose evidence is late",
        None => "keyed gateway",
    }
}

impl Guard {
    fn admits<B>(self, request: &Request<B>) -> Result<(), ForwardError> {
        let text = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        // HTTP/2 names the host in the request's target.
        let authority = request.uri().authority().map(Authority::as_str);
        let host = authority.or_else(|| text(header::HOST)).unwrap_or_default();
        match accounts::is_local(host, text(header::ORIGIN), &[]) {
            Err(Foreign::Host) if !self.danger_open => Err(ForwardError::ForeignHost),
            Err(Foreign::Origin) => Err(ForwardError::ForeignOrigin),
            // A web page is no more welcome where other machines are.
            Err(Foreign::Host) if request.headers().contains_key(header::ORIGIN) => Err(ForwardError::ForeignOrigin),
            Err(Foreign::Host) | Ok(()) => Ok(()),
        }
    }
}

fn protocol<B>(request: &Request<B>) -> Protocol {
    let operation = Operation::parse(request.method().as_str(), request.uri().path());
    operation.map_or(Protocol::Opaque, |operation| operation.endpoint.protocol())
}

/// The request as it goes over the link.
fn outgoing(request: Request<Incoming>) -> Request<BoxBody> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned();
    parts.uri = link::at(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.version = Version::HTTP_2;
    parts.extensions.clear();
    without_connection(&mut parts.headers);
    parts.headers.remove(header::HOST);
    parts.headers.remove(header::ORIGIN);
    // Answered here.
    parts.headers.remove(header::EXPECT);
    Request::from_parts(parts, BoxBody::new(body.map_err(BoxError::from)))
}

/// RFC 9110 section 7.6.1, and what HTTP/2 has no place for (RFC 9113 section 8.2.2).
fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "te",
    ] {
        headers.remove(name);
    }
}
