//! Attested: connections of `mulberry connect`, which verifies this gateway before an app's request leaves its machine.
//!
//! The app's side shows nothing of itself: who asks is told by the API key of each request, as everywhere.
//! What it does not do first, it cannot do later: a request before it has accepted our evidence is refused, so that nobody can go without looking.
//!
//! Making evidence is slow where it is real, and anybody may ask for it.
//! So greetings are few at a time, each has a clock, and [`Binder`](attestation_ratls::channel::Binder) bounds how often one connection may ask.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use attestation::Role;
use attestation_ratls::{
    Admit, Endpoint, Expect,
    channel::{Acceptance, FIRST_ANSWER, Footing},
};
use backends::{
    body::{BoxBody, OnEnd},
    serve::{BoxError, Serve},
};
use http::{Method, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
};

use super::{Connection, Stall};
use crate::{
    binding::{self, ALPN, Ends, Leave, PATH},
    call::Via,
    control::{Listening, speaking},
    layers::rescue::Chain,
    rescue::rescue,
};

/// Greetings at a time: handshakes, and first proofs.
const GREETINGS: usize = 64;
/// Of the app's side: questions and verdicts are short.
const MAX_LINE: usize = 4096;
/// Requests of one connection at a time.
const STREAMS: u32 = 1024;
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that were reset before we looked at them: more is an attack (CVE-2023-44487).
const MAX_RESETS: usize = 256;
/// Streams that we must reset for errors of the peer: more is an attack (CVE-2025-8671).
const MAX_ERRORS: usize = 256;
/// How far the app's word may be behind its first request.
const BEHIND: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(15);
/// What was written last must reach the peer.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Who we are to those who look.
#[derive(Debug, Clone)]
pub(crate) struct Attested {
    endpoint: Arc<Endpoint>,
    greetings: Arc<Semaphore>,
}

/// What does not belong on such a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("The channel of a connection is opened once, with POST.")]
    Twice,
    #[error(
        "This port is for `mulberry connect`, which verifies the gateway first; a request is served when it has accepted this gateway's evidence."
    )]
    Unverified,
}

impl Attested {
    /// What this endpoint shows, over a protocol of its own.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: Arc::new(Endpoint {
                alpn: vec![ALPN.to_vec()],
                ..endpoint.clone()
            }),
            greetings: Arc::new(Semaphore::new(GREETINGS)),
        }
    }

    pub(super) async fn serve<S>(self, connection: Connection<S>, tcp: TcpStream, from: SocketAddr)
    where
        S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
    {
        // A token must not wait for the acknowledgement of the one before.
        if tcp.set_nodelay(true).is_err() {
            return;
        }
        let Ok(greeting) = self.greetings.clone().acquire_owned().await else {
            return;
        };
        let io = Stall::new(tcp, connection.config.body_write);
        let expect = Expect {
            role: Role::Connect,
            address: from.ip(),
        };
        let met = match self.endpoint.accept(io, expect, Admit::Anyone).await {
            Ok(met) if met.alpn().as_deref() == Some(ALPN) => met,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(code = error.code(), error = %Chain(&error), "an app's side was not let in");
                return;
            }
        };
        let Connection {
            service, drain, closes, ..
        } = connection;
        let binder = self.endpoint.binder(&met);
        let mut footing = binder.footing();
        let (ends, incoming, outgoing) = binding::queues();
        let visit = Arc::new(Visit {
            service,
            footing: footing.clone(),
            ends: Mutex::new(Some(ends)),
            leave: watch::Sender::new(Leave::Stay),
            under_way: watch::Sender::new(0),
        });
        let visitor = visit.clone();
        let answer = service_fn(move |request| {
            let visit = visitor.clone();
            async move { Ok::<_, Infallible>(visit.answer(request).await) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(MAX_HEADERS)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_ERRORS);
        let mut http = std::pin::pin!(builder.serve_connection(TokioIo::new(met), answer));
        let mut bound = std::pin::pin!(binder.run(incoming, outgoing));
        let in_vain = async {
            let accepted = tokio::time::timeout(FIRST_ANSWER, footing.wait_for(is_accepted));
            let is_accepted = matches!(accepted.await, Ok(Ok(_)));
            drop(greeting);
            if is_accepted {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            cut = bound.as_mut() => tracing::debug!(code = cut.code(), "an app's side is gone"),
            ended = http.as_mut() => tell(ended),
            () = in_vain => tracing::debug!(code = "channel_unanswered", "an app's side is gone"),
            () = drain.reached(closes) => {
                visit.leave.send_replace(Leave::Soon);
                http.as_mut().graceful_shutdown();
                let quiet = async {
                    visit.quiet().await;
                    visit.leave.send_replace(Leave::Now);
                    tokio::time::sleep(LAST_WORDS).await;
                };
                tokio::select! {
                    _ = bound.as_mut() => {}
                    ended = http.as_mut() => tell(ended),
                    () = quiet => {}
                }
            }
        }
    }
}

fn tell(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection ended early");
    }
}

fn is_accepted(footing: &Footing) -> bool {
    matches!(footing.ours, Acceptance::Until(_))
}

/// One connection.
struct Visit<S> {
    service: Arc<S>,
    footing: watch::Receiver<Footing>,
    /// Taken by the stream that carries the binding.
    ends: Mutex<Option<Ends>>,
    leave: watch::Sender<Leave>,
    /// Requests that have not ended.
    under_way: watch::Sender<usize>,
}

impl<S> Visit<S>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Response<BoxBody> {
        if request.uri().path() == PATH {
            let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take();
            return match ends.filter(|_| request.method() == Method::POST) {
                Some(ends) => self.open(request, ends),
                None => refusal(ChannelError::Twice),
            };
        }
        if !self.is_verified().await {
            return refusal(ChannelError::Unverified);
        }
        request.extensions_mut().insert(Via::Attested);
        let under_way = UnderWay::begin(&self.under_way);
        let response = super::answer(&*self.service, request).await;
        response.map(|body| BoxBody::new(OnEnd::new(body, move |_| drop(under_way))))
    }

    /// Whether the app's side has accepted our evidence. Its word may be just behind its first request.
    async fn is_verified(&self) -> bool {
        let mut footing = self.footing.clone();
        if is_accepted(&footing.borrow_and_update()) {
            return true;
        }
        if self.ends.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            // It has not even asked.
            return false;
        }
        let accepted = tokio::time::timeout(BEHIND, footing.wait_for(is_accepted));
        matches!(accepted.await, Ok(Ok(_)))
    }

    fn open(&self, request: Request<Incoming>, ends: Ends) -> Response<BoxBody> {
        let (speaking, body) = speaking();
        let listening = Listening::of_lines(request.into_body(), MAX_LINE);
        let (leave, they_leave) = (self.leave.subscribe(), watch::Sender::new(false));
        // It ends with the connection, which ends both its queues and its stream.
        tokio::spawn(binding::converse(listening, speaking, ends, leave, they_leave));
        Response::new(body)
    }

    /// Waits until no request is under way.
    async fn quiet(&self) {
        let mut under_way = self.under_way.subscribe();
        // We hold the sender.
        drop(under_way.wait_for(|count| *count == 0).await);
    }
}

fn refusal(error: ChannelError) -> Response<BoxBody> {
    rescue(&BoxError::from(error)).into_response(None)
}

/// A request under way, until dropped.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
