//! Link: the one connection to the gateway, whether it may be used, and a new one when it is gone.
//!
//! What is known is a [`Standing`], which requests look at: up, with the channel's verdict; being dialled; or refused, and why.
//! A refusal is tried again more slowly than a gateway that is away, and at once when what we accept has changed.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use attestation::{Hex, Refusal, Role};
use attestation_ratls::{
    Connection, Endpoint, Expect, HandshakeError, Peer,
    channel::{Attested, Cut, Footing},
};
use backends::{body::BoxBody, serve::BoxError};
use http::{Method, Request, StatusCode, Uri, Version, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use hyper::{
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

use super::Gateway;
use crate::{
    backoff::Backoff,
    binding::{self, ALPN, Leave, PATH},
    config::KeyDigest,
    control::{Listening, speaking},
    redial::{self, Succession},
    wall_clock::unix_seconds,
};

const CONNECT: Duration = Duration::from_secs(5);
/// For the head of the channel's answer.
const GREETING: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(5);
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that we reset and whose frames may still come.
const MAX_RESETS: usize = 1024;
/// From "not there" to "there" in less than five seconds, whenever the gateway comes back.
const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(3);
/// Slower than refusals are forgiven, so that the reason stays the true one.
const REFUSED: Duration = Duration::from_secs(8);
/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Why there is no connection that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    /// Stable; of the refusal, where it is one.
    pub(crate) code: Cow<'static, str>,
    pub(crate) sentence: String,
    /// The gateway was there and is not believed.
    pub(crate) is_refusal: bool,
}

/// How it stands with the gateway.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// Nothing yet, or no longer; the reason of the last end.
    Dialling(Option<Why>),
    Refused(Why),
    Up(Up),
}

/// A connection whose gateway was verified.
#[derive(Debug, Clone)]
pub(crate) struct Up {
    pub(crate) sender: SendRequest<BoxBody>,
    footing: watch::Receiver<Footing>,
    pub(crate) peer: Arc<Peer>,
    /// Falls with the last who holds the connection; then it is closed.
    using: watch::Sender<()>,
}

impl Up {
    /// To be held until the answer to a request has ended.
    pub(super) fn using(&self) -> watch::Sender<()> {
        self.using.clone()
    }

    /// The verdict under which a request may be sent now.
    pub(crate) fn attested(&self) -> Option<Arc<Attested>> {
        let footing = self.footing.borrow();
        // A machine that slept has clocks that disagree, and nobody has looked yet.
        let ready = footing
            .ready()
            .filter(|attested| attested.verdict().holds_at(unix_seconds()));
        ready.cloned()
    }

    /// Waits until that may be another.
    pub(crate) async fn changed(&mut self) {
        if self.footing.changed().await.is_err() {
            // It was cut, which the standing tells.
            std::future::pending().await
        }
    }
}

/// Why a connection was not made, in the order in which one gets there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("no connection to the gateway")]
    Tcp(#[source] std::io::Error),
    #[error("no connection to the gateway within {CONNECT:?}")]
    Slow,
    #[error("the gateway's certificate was not accepted")]
    Refused(#[source] HandshakeError),
    #[error("no attested connection; is it the port of `attested_listen`, and does nothing between end TLS?")]
    Handshake(#[source] HandshakeError),
    #[error("another gateway answers there, with the key {0}")]
    OtherKey(KeyDigest),
    #[error("the gateway shows a key and no evidence of its machine")]
    NoEvidence,
    #[error("HTTP/2 could not be begun")]
    Http(#[source] hyper::Error),
    #[error("the gateway did not open the channel")]
    NoChannel,
    #[error("the gateway answered the channel with {0}")]
    Channel(StatusCode),
    #[error("the gateway did not prove itself on this connection: {}", .0.sentence)]
    Ended(Why),
}

impl OpenError {
    pub(crate) fn why(&self) -> Why {
        let code = match self {
            Self::Tcp(_) | Self::Slow | Self::Http(_) => Cow::Borrowed("gateway_unreachable"),
            Self::Refused(error) | Self::Handshake(error) => error.code().into(),
            Self::OtherKey(_) => "gateway_key".into(),
            Self::NoEvidence => Refusal::QuoteMissing.code().into(),
            Self::NoChannel | Self::Channel(_) => "gateway_channel".into(),
            Self::Ended(why) => why.code.clone(),
        };
        let is_refusal = match self {
            Self::Tcp(_) | Self::Slow | Self::Http(_) | Self::Handshake(_) => false,
            Self::Ended(why) => why.is_refusal,
            _ => true,
        };
        Why {
            code,
            sentence: crate::layers::rescue::Chain(self).to_string(),
            is_refusal,
        }
    }
}

impl Why {
    fn of_cut(cut: &Cut) -> Self {
        Self {
            code: cut.code().to_owned().into(),
            sentence: cut.to_string(),
            is_refusal: matches!(cut, Cut::Refused(_) | Cut::Statement),
        }
    }

    /// It may pass by itself within a moment: collateral is being fetched.
    pub(crate) fn may_pass(&self) -> bool {
        self.code == "collateral_missing"
    }
}

/// Keeps the connection.
pub(crate) struct Link {
    gateway: Gateway,
    endpoint: Endpoint,
    standing: watch::Sender<Standing>,
}

impl Link {
    /// The endpoint shows nothing; its trust says which gateway is believed.
    pub(crate) fn new(gateway: Gateway, endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            endpoint: Endpoint {
                identities: None,
                alpn: vec![ALPN.to_vec()],
                ..endpoint
            },
            standing: watch::Sender::new(Standing::Dialling(None)),
        })
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The digest of what is accepted, where that is a policy.
    pub(crate) fn policy(&self) -> Option<Hex<32>> {
        self.gateway
            .key
            .is_none()
            .then(|| self.endpoint.trust.policy().digest())
    }

    /// Connects, for ever, and anew before the gateway's certificate ends. Dropped, it cuts what is open.
    pub(crate) async fn keep(self: Arc<Self>) {
        let address = self.gateway.address.as_str();
        let mut generation = self.endpoint.trust.generation();
        let mut away = Backoff::new(FIRST, LAST);
        let mut refused = Backoff::new(REFUSED, REFUSED);
        let mut told = None;
        let mut line = Succession::new();
        // The newest connection is in use.
        let mut is_up = false;
        loop {
            generation.mark_unchanged();
            let began = Instant::now();
            let why = match self.open().await {
                Ok(opened) => {
                    let up = opened.up.clone();
                    let due = redial::of(None, Some(&up.peer));
                    let attested = up.attested();
                    let verdict = attested.as_deref().map(Attested::verdict);
                    tracing::info!(
                        gateway = address,
                        tier = verdict.map(|verdict| verdict.tier().name()),
                        image = verdict.and_then(|verdict| verdict.image()),
                        "connected to the gateway"
                    );
                    told = None;
                    self.standing.send_replace(Standing::Up(up));
                    let Opened { mut leaves, run, .. } = opened;
                    line.follow(run, due);
                    let ended = tokio::select! {
                        // It cannot fail before the connection has ended.
                        Ok(_) = leaves.wait_for(|leaves| *leaves) => None,
                        ended = line.next() => match ended {
                            Some(why) => Some(why),
                            None => {
                                is_up = true;
                                away.reset();
                                continue;
                            }
                        },
                    };
                    is_up = false;
                    ended
                }
                Err(error) => Some(error.why()),
            };
            let is_refusal = why.as_ref().is_some_and(|why| why.is_refusal);
            // The same news is told once: a gateway may be away for hours.
            if let Some(why) = &why
                && told.as_ref() != Some(why)
            {
                tracing::warn!(gateway = address, code = %why.code, why = why.sentence, "not connected to the gateway; trying again");
                told = Some(why.clone());
            }
            if !is_up {
                self.fallen(why);
            }
            if began.elapsed() > GOOD {
                away.reset();
            }
            let wait = if is_refusal { refused.next() } else { away.next() };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What was refused may be accepted now.
                Ok(()) = generation.changed() => {}
                Some(why) = line.next(), if is_up => {
                    is_up = false;
                    self.fallen(Some(why));
                }
            }
        }
    }

    fn fallen(&self, why: Option<Why>) {
        self.standing.send_replace(match why {
            Some(why) if why.is_refusal => Standing::Refused(why),
            why => Standing::Dialling(why),
        });
    }

    /// One connection, as far as the verdict over it.
    pub(crate) async fn open(&self) -> Result<Opened, OpenError> {
        let connecting = timeout(CONNECT, TcpStream::connect(self.gateway.address.as_str()));
        let tcp = connecting.await.map_err(|_| OpenError::Slow)?.map_err(OpenError::Tcp)?;
        tcp.set_nodelay(true).map_err(OpenError::Tcp)?;
        let from: SocketAddr = tcp.peer_addr().map_err(OpenError::Tcp)?;
        let expect = Expect {
            role: Role::Gateway,
            address: from.ip(),
        };
        let met = self.endpoint.connect(tcp, expect).await.map_err(|error| match error {
            HandshakeError::Refused(_) => OpenError::Refused(error),
            _ => OpenError::Handshake(error),
        })?;
        let peer = self.meant(&met)?;
        let binder = self.endpoint.binder(&met);
        let mut footing = binder.footing();
        let (working, mut at_work) = watch::channel(());
        let (mut sender, http) = http2::Builder::new(Tasks(working))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_reset_streams(MAX_RESETS)
            .handshake(TokioIo::new(met))
            .await
            .map_err(OpenError::Http)?;
        let (ends, incoming, outgoing) = binding::queues();
        let (they_leave, leaves) = watch::channel(false);
        let (using, mut used) = watch::channel(());
        let mut run: Run = Box::pin(async move {
            let over = async {
                // Done as soon as the gateway leaves; what runs on the connection has tasks of its own.
                drop(http.await);
                while at_work.changed().await.is_ok() {}
            };
            // A newer connection is in use, and the last answer on this one has ended.
            let unused = async { while used.changed().await.is_ok() {} };
            tokio::select! {
                cut = binder.run(incoming, outgoing) => Why::of_cut(&cut),
                () = over => gone(),
                () = unused => gone(),
            }
        });
        let greeting = async {
            let (speaking, body) = speaking();
            let answered = timeout(GREETING, sender.send_request(channel(body))).await;
            let response = answered.map_err(|_| OpenError::NoChannel)?.map_err(OpenError::Http)?;
            if response.status() != StatusCode::OK {
                return Err(OpenError::Channel(response.status()));
            }
            let listening = Listening::new(response.into_body().map_err(BoxError::from).boxed_unsync());
            // We never leave first: when we do, the connection is cut.
            let (stay, leave) = watch::channel(Leave::Stay);
            let conversing = binding::converse(listening, speaking, ends, leave, they_leave);
            tokio::spawn(async move {
                let _stay = stay;
                conversing.await;
            });
            // An end of this wait is the end of the connection, which says why.
            if footing.wait_for(|footing| footing.ready().is_some()).await.is_err() {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            greeted = greeting => greeted?,
            why = &mut run => return Err(OpenError::Ended(why)),
        }
        Ok(Opened {
            up: Up {
                sender,
                footing,
                peer,
                using,
            },
            leaves,
            run,
        })
    }

    /// Whether the handshake's peer is the gateway that was named.
    fn meant(&self, met: &Connection<TcpStream>) -> Result<Arc<Peer>, OpenError> {
        let peer = met.peer().ok_or(OpenError::NoEvidence)?;
        match self.gateway.key {
            Some(key) if key.0 != *peer.spki_sha256() => Err(OpenError::OtherKey(KeyDigest(*peer.spki_sha256()))),
            None if !peer.is_attested() => Err(OpenError::NoEvidence),
            _ => Ok(peer.clone()),
        }
    }
}

/// Spawns the tasks of one connection, each of which holds the sender until it ends.
#[derive(Clone)]
struct Tasks(watch::Sender<()>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let working = self.0.clone();
        tokio::spawn(async move {
            drop(task.await);
            drop(working);
        });
    }
}

type Run = std::pin::Pin<Box<dyn Future<Output = Why> + Send>>;

/// A connection in use.
pub(crate) struct Opened {
    pub(crate) up: Up,
    /// The gateway is about to go.
    leaves: watch::Receiver<bool>,
    /// The connection itself, until it ends. Dropped, it is cut.
    run: Run,
}

fn gone() -> Why {
    Why {
        code: "gateway_connection_lost".into(),
        sentence: "the connection to the gateway ended".to_owned(),
        is_refusal: false,
    }
}

fn channel(body: BoxBody) -> Request<BoxBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = at(PathAndQuery::from_static(PATH));
    *request.version_mut() = Version::HTTP_2;
    request
}

/// On the gateway; which one, the connection says.
pub(super) fn at(path: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    parts.authority = Some(http::uri::Authority::from_static("localhost"));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).expect("it has a scheme, an authority and a path")
}
