//! Session: one connection to a gateway, from the greeting on the control stream to its end.
//!
//! The gateway might be hostile, or broken: how many streams, resets and headers it may send is bounded here.
//! A request before both ends have accepted each other, or while the gateway is late to prove itself anew, is refused.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use attestation_ratls::{
    Connection,
    channel::{Binder, Footing},
};
use backends::{body::BoxBody, serve::BoxError, statement::Signer};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, rt::Executor as _, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
};

use super::{Party, income::Income, proxy};
use crate::{
    config::KeyDigest,
    control::{
        BINDING, Bond, BondError, ControlError, EVERY, FromGateway, FromWorker, GREETING, Heard, Listening, PATH,
        Speaking, VERSION, notices, speaking,
    },
    crew::Crew,
    drain::Phase,
    layers::rescue::Chain,
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

/// For the reason of an end, once the connection is over.
const REASON: Duration = Duration::from_millis(200);

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By us, or by a gateway that leaves in good order.
    Closed,
    Http(hyper::Error),
    Bond(BondError),
    TurnedAway(String),
}

impl<E: Into<BondError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Bond(error.into())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the gateway closed the connection"),
            Self::Http(error) => write!(f, "the connection broke: {}", Chain(error)),
            Self::Bond(BondError::Cut(cut)) => write!(f, "the connection was cut: {cut} ({})", cut.code()),
            Self::Bond(error) => write!(f, "{}", Chain(error)),
            Self::TurnedAway(code) => write!(f, "the gateway does not let this worker serve: {code}"),
        }
    }
}

pub(super) struct Session {
    gateway: String,
    /// As whom its work is paid for.
    key: Option<KeyDigest>,
    party: Party,
    /// Taken by the control stream, of which there is one.
    binder: Mutex<Option<Binder>>,
    /// Whether both ends accept each other now.
    footing: watch::Receiver<Footing>,
    /// What our certificate on this connection says, of who states answers.
    shown: Option<Signer>,
    /// Every task of the connection.
    crew: Crew,
    /// Requests are answered.
    is_welcome: AtomicBool,
    greeted: Notify,
    welcomed: Notify,
    /// Where the control stream tells why it ended.
    over: mpsc::Sender<Ended>,
}

impl Session {
    /// Serves one connection until it ends.
    pub(super) async fn serve(stream: Connection<TcpStream>, gateway: &str, party: Party) -> Ended {
        let (over, mut ended) = mpsc::channel(1);
        let binder = party.endpoint.binder(&stream);
        let ending = party.ending.clone();
        // Whatever is open on the connection ends with it.
        let dismissed = Crew::hire();
        let session = Arc::new(Self {
            gateway: gateway.to_owned(),
            key: stream.peer().map(|peer| KeyDigest(*peer.spki_sha256())),
            party,
            shown: stream.identity().and_then(|identity| Signer::of(identity.claims())),
            footing: binder.footing(),
            binder: Mutex::new(Some(binder)),
            crew: dismissed.crew().clone(),
            is_welcome: AtomicBool::new(false),
            greeted: Notify::new(),
            welcomed: Notify::new(),
            over,
        });
        let answering = session.clone();
        let service = service_fn(move |request| {
            let session = answering.clone();
            async move { Ok::<_, Infallible>(session.answer(request).await) }
        });
        let mut builder = http2::Builder::new(dismissed.crew().clone());
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
            let hello = tokio::time::timeout(GREETING, session.greeted.notified());
            if hello.await.is_err() {
                return GREETING;
            }
            let welcomed = tokio::time::timeout(BINDING, session.welcomed.notified());
            if welcomed.await.is_err() {
                return BINDING;
            }
            std::future::pending().await
        };
        let done = |result: Result<(), hyper::Error>| result.map_or_else(Ended::Http, |()| Ended::Closed);
        tokio::select! {
            // The reason is often told on the control stream just before.
            biased;
            Some(why) = ended.recv() => why,
            result = connection.as_mut() => {
                // It may be told a moment later than the connection is cut, and says more than that.
                match tokio::time::timeout(REASON, ended.recv()).await {
                    Ok(Some(why @ (Ended::Bond(BondError::Cut(_)) | Ended::TurnedAway(_)))) => why,
                    Ok(_) | Err(_) => done(result),
                }
            }
            patience = greeted => ControlError::Silent(patience).into(),
            () = ending.reached(Phase::Closing) => {
                connection.as_mut().graceful_shutdown();
                done(connection.await)
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<BoxBody> {
        if request.uri().path() == PATH {
            let binder = self.binder.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(binder) = binder.filter(|_| request.method() == Method::POST) else {
                return proxy::refusal(StatusCode::CONFLICT, "the control stream is opened once, with POST");
            };
            let (speaking, body) = speaking();
            let crew = self.crew.clone();
            crew.execute(async move {
                if let Err(why) = self.converse(request.into_body(), speaking, binder).await {
                    // Nobody listens where the connection has ended already.
                    drop(self.over.try_send(why));
                }
            });
            return Response::new(body);
        }
        if !self.is_welcome.load(Ordering::Acquire) || self.footing.borrow().ready().is_none() {
            return proxy::refusal(StatusCode::SERVICE_UNAVAILABLE, "the control stream comes first");
        }
        if self.party.ending.phase() >= Phase::Draining {
            return proxy::refusal(StatusCode::SERVICE_UNAVAILABLE, "this worker is about to stop");
        }
        let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        let begin = || self.income().map(|(income, gateway)| income.begin(gateway));
        proxy::forward(&self.party.engine, self.shown, begin, request).await
    }

    /// Where work for this gateway is paid for.
    fn income(&self) -> Option<(&Income, KeyDigest)> {
        self.party.income.as_ref().zip(self.key)
    }

    /// The control stream, from the greeting on.
    async fn converse(&self, body: Incoming, speaking: Speaking, binder: Binder) -> Result<(), Ended> {
        let mut listening = Listening::new(body);
        match listening.next(GREETING).await? {
            FromGateway::Hello { v: VERSION, .. } => {}
            FromGateway::Hello { v, .. } => return Err(ControlError::Version { theirs: v }.into()),
            FromGateway::Welcome { .. } | FromGateway::TurnedAway { .. } | FromGateway::Pay { .. } => {
                return Err(ControlError::NotUnderstood.into());
            }
        }
        self.greeted.notify_one();
        let software = format!("mulberry {}", env!("CARGO_PKG_VERSION"));
        speaking.say(&FromWorker::Hello { v: VERSION, software }).await?;
        let mut bond = Bond::begin(binder, speaking.clone(), &self.crew);
        let name = self.join(&mut bond, &mut listening, &speaking).await?;
        self.is_welcome.store(true, Ordering::Release);
        self.welcomed.notify_one();
        let footing = bond.footing();
        let verdict = footing.ready().map(|attested| attested.verdict());
        tracing::info!(gateway = %self.gateway, %name, tier = verdict.map(|verdict| verdict.tier().name()), "connected");
        let _link = self.income().map(|(income, gateway)| {
            let (notices, waiting) = notices();
            let speaking = speaking.clone();
            self.crew.execute(async move {
                // Whoever listens hears why a connection ended.
                let line = |message| FromWorker::Pay {
                    message: Box::new(message),
                };
                drop(waiting.say(speaking, line).await);
            });
            income.meet(gateway, &self.gateway, notices)
        });
        let heard = async {
            loop {
                match bond.next::<FromGateway, _>(&mut listening, NOTHING_TO_SAY).await {
                    Ok(Heard::Footing) => {}
                    Ok(Heard::Said(FromGateway::Pay { message })) => {
                        // Of a gateway that pays who asks for nothing, nothing is heard.
                        if let Some((income, gateway)) = self.income() {
                            income.hear(gateway, *message);
                        }
                    }
                    Ok(Heard::Said(_)) => return BondError::from(ControlError::NotUnderstood),
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            said = self.report(&speaking) => said?,
            error = heard => return Err(error.into()),
        }
        // What is under way may still have to be written.
        bond.fall_silent(&self.crew);
        Ok(())
    }

    /// Asks to serve as soon as both ends accept each other, and waits for the answer.
    async fn join(
        &self,
        bond: &mut Bond,
        listening: &mut Listening<Incoming>,
        speaking: &Speaking,
    ) -> Result<String, Ended> {
        let mut has_asked = false;
        loop {
            if !has_asked && bond.footing().ready().is_some() {
                has_asked = true;
                let engine = self.party.engine.state().borrow().kind.as_str().to_owned();
                let token = self.party.token.clone();
                let line = self.party.line;
                let join = FromWorker::Join { engine, token, line };
                speaking.say(&join).await?;
            }
            match bond.next(listening, BINDING).await? {
                Heard::Footing => {}
                Heard::Said(FromGateway::Welcome { name }) if has_asked => return Ok(name),
                Heard::Said(FromGateway::TurnedAway { code }) => {
                    let is_code = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    return Err(Ended::TurnedAway(if is_code {
                        code
                    } else {
                        "for a reason that is none".to_owned()
                    }));
                }
                Heard::Said(_) => return Err(ControlError::NotUnderstood.into()),
            }
        }
    }

    /// Tells how the engine is, when that changes and every few seconds.
    async fn report(&self, speaking: &Speaking) -> Result<(), ControlError> {
        let mut state = self.party.engine.state();
        let mut offered = None;
        let mut has_said_drain = false;
        let mut is_unserved = false;
        loop {
            let now = state.borrow_and_update().clone();
            let offer = (now.kind.as_str(), &now.models);
            if offered.as_ref() != Some(&(offer.0, offer.1.clone())) {
                offered = Some((offer.0, offer.1.clone()));
                let engine = offer.0.to_owned();
                let models = now.models.clone();
                let pay = self.party.income.as_ref().map(Income::offer);
                speaking.say(&FromWorker::Offer { engine, models, pay }).await?;
            }
            if self.party.ending.phase() >= Phase::Draining && !has_said_drain {
                has_said_drain = true;
                speaking.say(&FromWorker::Drain {}).await?;
            }
            let unserved = self
                .income()
                .and_then(|(income, gateway)| income.may_serve(&gateway).err());
            match unserved {
                Some(why) if !std::mem::replace(&mut is_unserved, true) => {
                    tracing::warn!(gateway = %self.gateway, %why, "this worker does no work for a gateway, and tells it that it is not ready");
                }
                None if std::mem::take(&mut is_unserved) => {
                    tracing::info!(gateway = %self.gateway, "this worker works for a gateway again");
                }
                _ => {}
            }
            let load = FromWorker::Load {
                ready: now.is_ready && !has_said_drain && unserved.is_none(),
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
                () = self.party.ending.reached(Phase::Draining), if !has_said_drain => {}
                // Nothing is under way any more: the connection may end.
                () = self.party.ending.reached(Phase::Closing) => return Ok(()),
            }
        }
    }
}
