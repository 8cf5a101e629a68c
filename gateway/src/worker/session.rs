//! Session: one connection to a gateway, from the greeting on the control stream to its end.
//!
//! The gateway might be hostile, or broken: how many streams, resets and headers it may send is bounded here, and a request before the welcome is refused.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backends::{body::BoxBody, serve::BoxError};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, mpsc};

use super::{Engine, Statements, proxy};
use crate::{
    control::{ControlError, EVERY, FromGateway, FromWorker, GREETING, Listening, PATH, Speaking, VERSION, speaking},
    drain::{Drain, Phase},
    layers::rescue::Chain,
    secure::Stream,
};

/// Requests of one gateway at a time.
const STREAMS: u32 = 1024;
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that were reset before we looked at them: more is an attack (CVE-2023-44487).
const MAX_RESETS: usize = 64;
/// Streams that we must reset for errors of the peer: more is an attack (CVE-2025-8671).
const MAX_ERRORS: usize = 64;
const PING: Duration = Duration::from_secs(5);
/// For as long as the gateway says nothing, which after the welcome is its right.
const NOTHING_TO_SAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By us, or by a gateway that leaves in good order.
    Closed,
    Http(hyper::Error),
    Control(ControlError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the gateway closed the connection"),
            Self::Http(error) => write!(f, "the connection broke: {}", Chain(error)),
            Self::Control(error) => write!(f, "{}", Chain(error)),
        }
    }
}

pub(super) struct Session {
    gateway: String,
    engine: Arc<Engine>,
    ending: Drain,
    /// The control stream was opened; there is one.
    has_control: AtomicBool,
    /// Requests are answered.
    is_welcome: AtomicBool,
    welcomed: Notify,
    /// Where the control stream tells why it ended.
    over: mpsc::Sender<ControlError>,
}

impl Session {
    /// Serves one connection until it ends.
    pub(super) async fn serve(stream: Stream, gateway: &str, engine: Arc<Engine>, ending: Drain) -> Ended {
        let (over, mut ended) = mpsc::channel(1);
        let session = Arc::new(Self {
            gateway: gateway.to_owned(),
            engine,
            ending: ending.clone(),
            has_control: AtomicBool::new(false),
            is_welcome: AtomicBool::new(false),
            welcomed: Notify::new(),
            over,
        });
        let answering = session.clone();
        let service = service_fn(move |request| {
            let session = answering.clone();
            async move { Ok::<_, Infallible>(session.answer(request).await) }
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
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let greeted = async {
            let welcomed = tokio::time::timeout(GREETING, session.welcomed.notified());
            if welcomed.await.is_err() {
                return;
            }
            std::future::pending::<()>().await;
        };
        let done = |result: Result<(), hyper::Error>| result.map_or_else(Ended::Http, |()| Ended::Closed);
        tokio::select! {
            // The reason is often told on the control stream just before.
            biased;
            Some(why) = ended.recv() => Ended::Control(why),
            result = connection.as_mut() => done(result),
            () = greeted => Ended::Control(ControlError::Silent(GREETING)),
            () = ending.reached(Phase::Closing) => {
                connection.as_mut().graceful_shutdown();
                done(connection.await)
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<BoxBody> {
        if request.uri().path() == PATH {
            if request.method() != Method::POST || self.has_control.swap(true, Ordering::AcqRel) {
                return proxy::refusal(StatusCode::CONFLICT, "the control stream is opened once, with POST");
            }
            let (speaking, body) = speaking();
            tokio::spawn(async move {
                if let Err(why) = self.converse(request.into_body(), speaking).await {
                    // Nobody listens where the connection has ended already.
                    drop(self.over.try_send(why));
                }
            });
            return Response::new(body);
        }
        if !self.is_welcome.load(Ordering::Acquire) {
            return proxy::refusal(StatusCode::SERVICE_UNAVAILABLE, "the control stream comes first");
        }
        if self.ending.phase() >= Phase::Draining {
            return proxy::refusal(StatusCode::SERVICE_UNAVAILABLE, "this worker is about to stop");
        }
        let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        proxy::forward(&self.engine, request).await
    }

    /// The control stream, from the greeting on.
    async fn converse(&self, body: Incoming, speaking: Speaking) -> Result<(), ControlError> {
        let mut listening = Listening::new(body);
        match listening.next(GREETING).await? {
            FromGateway::Hello { v: VERSION, .. } => {}
            FromGateway::Hello { v, .. } => return Err(ControlError::Version { theirs: v }),
            FromGateway::Welcome { .. } => return Err(ControlError::NotUnderstood),
        }
        let software = format!("mulberry {}", env!("CARGO_PKG_VERSION"));
        let statement_key = self.engine.statements().map(Statements::public);
        let hello = FromWorker::Hello {
            v: VERSION,
            software,
            statement_key,
        };
        speaking.say(&hello).await?;
        let FromGateway::Welcome { name } = listening.next(GREETING).await? else {
            return Err(ControlError::NotUnderstood);
        };
        self.is_welcome.store(true, Ordering::Release);
        self.welcomed.notify_one();
        tracing::info!(gateway = %self.gateway, %name, "connected");
        tokio::select! {
            said = self.report(&speaking) => said,
            heard = listening.next::<FromGateway>(NOTHING_TO_SAY) => Err(heard.err().unwrap_or(ControlError::NotUnderstood)),
        }
    }

    /// Tells how the engine is, when that changes and every few seconds.
    async fn report(&self, speaking: &Speaking) -> Result<(), ControlError> {
        let mut state = self.engine.state();
        let mut offered = None;
        let mut has_said_drain = false;
        loop {
            let now = state.borrow_and_update().clone();
            let offer = (now.kind.as_str(), &now.models);
            if offered.as_ref() != Some(&(offer.0, offer.1.clone())) {
                offered = Some((offer.0, offer.1.clone()));
                let engine = offer.0.to_owned();
                let models = now.models.clone();
                speaking.say(&FromWorker::Offer { engine, models }).await?;
            }
            if self.ending.phase() >= Phase::Draining && !has_said_drain {
                has_said_drain = true;
                speaking.say(&FromWorker::Drain {}).await?;
            }
            let load = FromWorker::Load {
                ready: now.is_ready && !has_said_drain,
                running: now.running,
                waiting: now.waiting,
            };
            speaking.say(&load).await?;
            tokio::select! {
                changed = state.changed() => {
                    if changed.is_err() {
                        return Err(ControlError::Closed);
                    }
                }
                () = tokio::time::sleep(EVERY) => {}
                () = self.ending.reached(Phase::Draining), if !has_said_drain => {}
                // Nothing is under way any more: the connection may end.
                () = self.ending.reached(Phase::Closing) => return Ok(()),
            }
        }
    }
}
