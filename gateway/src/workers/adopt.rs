//! Adopt: a connection whose other end is accepted becomes an upstream, until it ends.
//!
//! The roles turn here: whoever dialled, the gateway speaks HTTP/2 as the client and the worker as the server, on a connection that can start nothing from its side.
//! Nothing but the control stream crosses it before both ends have accepted the evidence of both, on this connection.
//! What a hostile server might do is bounded: frames, headers and resets by hyper's HTTP/2, the control stream by [`Listening`], the answers by the clocks and limits of the backend.

use std::{sync::Arc, time::Duration};

use attestation_ratls::{
    Connection, Peer,
    channel::{Attested, Binder, Status},
};
use backends::{
    body::Outgoing,
    worker::{Connected, Standing},
};
use http::{Request, StatusCode};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::Executor as _,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use openapi::model::Model;
use tokio::{net::TcpStream, sync::oneshot};

use attestation::Tier;
use billing::channel::payer::Trust;

use super::{Asks, Known, Meeting, Named, Roster, TurnedAway};
use crate::{
    control::{
        BINDING, Bond, BondError, ControlError, FromGateway, FromWorker, GREETING, Heard, Listening, MAX_MODELS,
        Notices, PATH, PayOffer, SILENCE, Speaking, VERSION, notices, speaking,
    },
    crew::Crew,
    wages::{Post, Who},
    wall_clock::unix_seconds,
};

/// Pings find a peer that is gone without a word within twice this.
const PING: Duration = Duration::from_secs(5);
/// What a worker that leaves has still on the way.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// For a worker to hear why it may not serve.
const PARTING: Duration = Duration::from_millis(200);
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that the peer reset and we still remember.
const MAX_RESETS: usize = 1024;

/// Why a connection serves no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptError {
    #[error("it showed no certificate")]
    NoCertificate,
    #[error("HTTP/2 could not be begun")]
    Http(#[source] hyper::Error),
    #[error("the worker answered the control stream with {0}")]
    Refused(StatusCode),
    #[error("the greeting failed")]
    Greeting(#[source] ControlError),
    #[error(transparent)]
    Bond(#[from] BondError),
    #[error("the two ends did not accept each other within {BINDING:?}")]
    Unbound,
    #[error("the worker said what is out of order")]
    OutOfOrder,
    #[error("it was turned away")]
    TurnedAway(#[source] TurnedAway),
    #[error("what it proves is less than what it must")]
    Tier,
    #[error("the worker offers more than {MAX_MODELS} models")]
    TooManyModels,
    #[error("the worker has drained")]
    Left,
    #[error("a newer connection of the worker is in use, and what ran on this one has ended")]
    Relieved,
    #[error("the configuration no longer names the worker")]
    Dismissed,
}

impl AdoptError {
    /// For logs and metrics.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Http(_) | Self::Refused(_) => "http",
            Self::Greeting(_) | Self::OutOfOrder | Self::TooManyModels | Self::Bond(BondError::Control(_)) => "control",
            Self::Bond(BondError::Cut(cut)) => cut.code(),
            Self::Unbound => "unbound",
            Self::TurnedAway(turned) => turned.code(),
            Self::Tier => "tier_too_low",
            Self::Left => "left",
            Self::Relieved => "relieved",
            Self::Dismissed => "dismissed",
        }
    }
}

/// How a connection ended, and which worker it was, if that was found out.
pub(super) struct Ended {
    pub(super) place: Option<Arc<str>>,
    pub(super) why: AdoptError,
}

/// Serves requests over this connection until it ends, and says why it did. `dialled`: whom we meant to reach.
pub(super) async fn adopt(
    connection: Connection<TcpStream>,
    meeting: &Meeting,
    roster: &Roster,
    dialled: Option<&Known>,
) -> Ended {
    // Dropped with us, whatever is open on it: the connection has no life of its own.
    let dismissed = Crew::hire();
    let mut place = None;
    let why = match follow(connection, meeting, roster, dialled, dismissed.crew(), &mut place).await {
        Ok(never) => match never {},
        Err(why) => why,
    };
    Ended { place, why }
}

async fn follow(
    connection: Connection<TcpStream>,
    meeting: &Meeting,
    roster: &Roster,
    dialled: Option<&Known>,
    crew: &Crew,
    place: &mut Option<Arc<str>>,
) -> Result<std::convert::Infallible, AdoptError> {
    let binder = meeting.endpoint().binder(&connection);
    let peer = connection.peer().ok_or(AdoptError::NoCertificate)?.clone();
    let (mut sender, ended) = begin(connection, crew).await?;
    let (mut listening, speaking) = greet(&mut sender).await?;
    let mut bond = bind(binder, &speaking, crew);
    let bound = tokio::time::timeout(BINDING, joined(&mut bond, &mut listening));
    let (attested, asks) = bound.await.map_err(|_| AdoptError::Unbound)??;
    // Whom we dial, we dial on one line.
    let line = match dialled {
        Some(_) => Some([0; 16]),
        None => asks.line.map(|line| line.0),
    };
    let found = roster.place(&peer, &attested, &asks, dialled);
    let named = match found {
        Ok(named) => named,
        Err(turned) => {
            let code = turned.code().to_owned();
            speaking.say(&FromGateway::TurnedAway { code }).await.ok();
            tokio::time::sleep(PARTING).await;
            return Err(AdoptError::TurnedAway(turned));
        }
    };
    *place = Some(named.place.clone());
    let welcome = FromGateway::Welcome {
        name: named.place.to_string(),
    };
    speaking.say(&welcome).await.map_err(AdoptError::Greeting)?;
    tracing::info!(worker = %named.place, tier = %attested.verdict().tier(), image = attested.verdict().image(), "worker connected");
    let connected = named
        .worker
        .connect(sender, roster.assurance(&named, &peer, &attested), line);
    let mut stays = named.stays.clone();
    let (notices, waiting) = notices();
    crew.execute(async move {
        // Whoever listens hears why a connection ended.
        let line = |message| FromGateway::Pay {
            message: Box::new(message),
        };
        drop(waiting.say(speaking, line).await);
    });
    let mut wage = Wage {
        notices,
        who: Who {
            is_named: named.seated.is_none(),
            key: *peer.spki_sha256(),
            platform: attested.verdict().platform().map(|platform| platform.ppid.0),
        },
        claimed: attested.verdict().claims().payee_key.map(|key| key.0),
        is_attested: attested.verdict().tier() >= Tier::Tee,
        offer: None,
        post: None,
    };
    let why = tokio::select! {
        why = serve(&connected, &mut bond, &mut listening, roster, &peer, &named, &mut wage) => why,
        () = connected.relieved() => AdoptError::Relieved,
        _ = stays.changed() => AdoptError::Dismissed,
    };
    if matches!(why, AdoptError::Left) {
        // The ends of its answers may be behind its last word.
        drop(tokio::time::timeout(LAST_WORDS, ended).await);
    }
    Err(why)
}

/// HTTP/2, and what is ready when the connection is over.
async fn begin(
    connection: Connection<TcpStream>,
    crew: &Crew,
) -> Result<(SendRequest<Outgoing>, oneshot::Receiver<()>), AdoptError> {
    let (sender, connection) = http2::Builder::new(crew.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_reset_streams(MAX_RESETS)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(AdoptError::Http)?;
    let (over, ended) = oneshot::channel();
    crew.execute(async move {
        let _over = over;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection of a worker ended");
        }
    });
    Ok((sender, ended))
}

/// Opens the control stream; each end says that it is there.
async fn greet(sender: &mut SendRequest<Outgoing>) -> Result<(Listening<Incoming>, Speaking), AdoptError> {
    let (speaking, body) = speaking();
    let mut request = Request::new(Outgoing::upload(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("worker")
        .path_and_query(PATH)
        .build()
        .map_err(|_| AdoptError::OutOfOrder)?;
    let silent = |_| AdoptError::Greeting(ControlError::Silent(GREETING));
    let answered = tokio::time::timeout(GREETING, sender.send_request(request));
    let response = answered.await.map_err(silent)?.map_err(AdoptError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(AdoptError::Refused(response.status()));
    }
    let mut listening = Listening::new(response.into_body());
    let hello = FromGateway::Hello {
        v: VERSION,
        now: unix_seconds(),
    };
    speaking.say(&hello).await.map_err(AdoptError::Greeting)?;
    match listening.next(GREETING).await.map_err(AdoptError::Greeting)? {
        FromWorker::Hello { v: VERSION, .. } => Ok((listening, speaking)),
        FromWorker::Hello { v, .. } => Err(AdoptError::Greeting(ControlError::Version { theirs: v })),
        _ => Err(AdoptError::OutOfOrder),
    }
}

fn bind(binder: Binder, speaking: &Speaking, crew: &Crew) -> Bond {
    let bond = Bond::begin(binder, speaking.clone(), crew);
    // The control stream is open from our side for as long as the connection is.
    let speaking = speaking.clone();
    crew.execute(async move {
        let _speaking = speaking;
        std::future::pending::<()>().await;
    });
    bond
}

/// Waits until both ends accept each other and the worker has asked to serve.
async fn joined(bond: &mut Bond, listening: &mut Listening<Incoming>) -> Result<(Arc<Attested>, Asks), AdoptError> {
    let mut asked = None;
    loop {
        if let Some(attested) = bond.footing().ready()
            && let Some(asks) = asked.take()
        {
            return Ok((attested.clone(), asks));
        }
        match bond.next(listening, BINDING).await? {
            Heard::Footing => {}
            Heard::Said(FromWorker::Join { engine, token, line }) if asked.is_none() => {
                asked = Some(Asks {
                    engine,
                    token: token.map(|token| token.0),
                    line,
                });
            }
            Heard::Said(_) => return Err(AdoptError::OutOfOrder),
        }
    }
}

/// What the worker is paid, if it wants to be.
struct Wage {
    notices: Notices,
    /// By what it is known, whatever it says.
    who: Who,
    /// The key that its claims name.
    claimed: Option<[u8; 32]>,
    /// A quote vouches for its claims.
    is_attested: bool,
    offer: Option<PayOffer>,
    post: Option<Post>,
}

impl Wage {
    /// What the worker says of it now.
    fn hear(&mut self, roster: &Roster, named: &Named, offer: Option<PayOffer>) {
        let place = &named.place;
        if self.offer == offer {
            return;
        }
        self.offer = offer;
        self.post = None;
        let Some(offer) = offer else { return };
        if self.claimed != Some(offer.payee_key.0) {
            tracing::warn!(worker = %place, "a worker names another key for its payment than its claims do, and works for nothing");
            return;
        }
        let trust = if self.is_attested {
            Trust::Attested
        } else {
            Trust::Credit
        };
        let notices = self.notices.clone();
        self.post = roster.wages.meet(place, &self.who, offer, trust, notices);
    }
}

/// Hears the worker out.
async fn serve(
    connected: &Connected,
    bond: &mut Bond,
    listening: &mut Listening<Incoming>,
    roster: &Roster,
    peer: &Peer,
    named: &Named,
    wage: &mut Wage,
) -> AdoptError {
    let place = &named.place;
    let mut is_leaving = false;
    // The answer that is in force: a footing comes often, a new answer seldom.
    let mut assured: Option<Arc<Attested>> = None;
    // It never falls: requests may wait in HTTP/2's queue that were let through under the higher tier, and they end with
    // the connection.
    let mut least = named.min_tier;
    loop {
        match bond.next(listening, SILENCE).await {
            Ok(Heard::Footing) => match bond.footing().peer {
                Some(Status::Bound(attested))
                    if assured.as_ref().is_some_and(|known| Arc::ptr_eq(known, &attested)) => {}
                Some(Status::Bound(attested)) if attested.verdict().tier() >= least => {
                    least = attested.verdict().tier();
                    connected.assure(roster.assurance(named, peer, &attested));
                    assured = Some(attested);
                }
                Some(Status::Bound(_)) => return AdoptError::Tier,
                Some(Status::Late(_) | Status::Pending) | None => {
                    tracing::info!(worker = %place, "a worker is late to prove itself anew, and gets no requests");
                    connected.lapse();
                    assured = None;
                }
            },
            Ok(Heard::Said(FromWorker::Hello { .. } | FromWorker::Join { .. })) => return AdoptError::OutOfOrder,
            Ok(Heard::Said(FromWorker::Pay { message })) => {
                if let Some(post) = &wage.post {
                    post.hear(*message);
                }
            }
            Ok(Heard::Said(FromWorker::Offer { engine, models, pay })) => {
                if models.len() > MAX_MODELS {
                    return AdoptError::TooManyModels;
                }
                tracing::debug!(worker = %place, %engine, models = models.len(), "a worker offers");
                wage.hear(roster, named, pay);
                connected.offer(models.into_iter().map(|model| Model::new(model.id, 0, "")).collect());
            }
            Ok(Heard::Said(FromWorker::Load {
                ready,
                running,
                waiting,
            })) => connected.set(&Standing {
                is_ready: ready && !is_leaving,
                busy: usize::try_from(u64::from(running) + u64::from(waiting)).unwrap_or(usize::MAX),
            }),
            Ok(Heard::Said(FromWorker::Drain {})) => {
                is_leaving = true;
                connected.set(&Standing {
                    is_ready: false,
                    busy: 0,
                });
                tracing::info!(worker = %place, "worker drains");
            }
            Err(BondError::Control(ControlError::Closed)) if is_leaving => return AdoptError::Left,
            Err(error) => return AdoptError::Bond(error),
        }
    }
}
