//! Worker: the role beside an engine. It dials gateways, or is dialled by them, and serves what they ask from its engine.
//!
//! It needs no open port, no root and no money: it opens a connection, both ends prove themselves, and then the roles turn: the worker speaks HTTP/2 as the server on the socket that it dialled.
//! Nothing is answered before both ends have accepted each other and the control stream has welcomed it, and nothing but what an inference engine is asked: see [`proxy`].
//! The engine is on this machine: a loopback address or a Unix socket.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use attestation::{Hex, Role};
use attestation_ratls::{Admit, Connection, Endpoint, Expect};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    backoff::Backoff,
    config::{Address, KeyDigest},
    control::{self, Token},
    drain::{Drain, Phase, drain},
    identity::{self, Shown},
    layers::rescue::Chain,
    redial::{self, Succession},
    tls,
    trust::Judging,
};

pub(crate) use engine::{Engine, EngineSettings};
pub(crate) use income::{Income, IncomeSettings};
use session::Session;
pub(crate) use statements::Statements;

pub(crate) mod engine;
pub(crate) mod gpu;
pub(crate) mod income;
mod proxy;
mod session;
pub(crate) mod statements;
pub(crate) mod visit;

/// From "not there" to "there" in less than five seconds, whenever the gateway comes back.
const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// What was written last must reach the gateway.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Connections of gateways that dial us, at a time.
const CONNECTIONS: usize = 256;

/// A gateway that is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// By which it is known; without one it must prove a guest of the policy.
    pub(crate) key: Option<KeyDigest>,
    pub(crate) address: Address,
}

impl Gateway {
    /// Reads `KEY@HOST:PORT`, where the key is the SHA-256 that the gateway prints when it starts, or `HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (key, address) = match text.split_once('@') {
            Some((key, address)) => {
                let key = KeyDigest::parse(key);
                let key = key.ok_or("the part before @ is not a SHA-256 digest: 64 hexadecimal digits")?;
                (Some(key), address)
            }
            None => (None, text),
        };
        let address = Address::parse(address).ok_or(
            "write KEY@HOST:PORT, where KEY is the key_sha256 that the gateway logs when it starts, or HOST:PORT of one that proves itself",
        )?;
        Ok(Self { key, address })
    }
}

/// What a worker is set up with.
pub(crate) struct Settings {
    pub(crate) shown: Shown,
    pub(crate) judging: Judging,
    /// What it says where it has no key of its own.
    pub(crate) token: Option<Token>,
    pub(crate) gateways: Vec<Gateway>,
    /// Gateways that dial us, besides.
    pub(crate) callers: Vec<KeyDigest>,
    pub(crate) listener: Option<TcpListener>,
    /// Where its work is to be paid for.
    pub(crate) income: Option<Income>,
    /// How long open answers may take once the end has begun.
    pub(crate) patience: Duration,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("there is nobody to serve: name a gateway with --gateway KEY@HOST:PORT, or --listen and --gateway-key")]
    NoGateway,
    #[error(
        "the gateway at {0} has no key to be known by: give it as KEY@{0}, or say what it must prove with --gateway-policy"
    )]
    NoPolicy(String),
}

/// What each connection is made and held with.
#[derive(Clone)]
pub(super) struct Party {
    endpoint: Endpoint,
    token: Option<Token>,
    /// By which a gateway sees that one connection follows another; no two gateways that we dial are told the same.
    /// None where the system has no random numbers.
    line: Option<Hex<16>>,
    engine: Arc<Engine>,
    income: Option<Income>,
    ending: Drain,
}

/// Serves until `stop` is ready, then drains; `hurry` ends what is left.
pub(crate) async fn run(
    settings: Settings,
    engine: Arc<Engine>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let Settings {
        shown,
        judging,
        token,
        gateways,
        callers,
        listener,
        income,
        patience,
    } = settings;
    let pinned = gateways.iter().filter_map(|gateway| gateway.key);
    let known: HashSet<KeyDigest> = pinned.chain(callers).collect();
    let accepts_evidence = !judging.trust().written().images.is_empty();
    let is_alone = known.is_empty() && !accepts_evidence;
    if is_alone || gateways.is_empty() && listener.is_none() {
        return Err(WorkerError::NoGateway);
    }
    if let Some(gateway) = gateways
        .iter()
        .find(|gateway| gateway.key.is_none() && !accepts_evidence)
    {
        return Err(WorkerError::NoPolicy(gateway.address.as_str().to_owned()));
    }
    judging.trust().know(move |key| known.contains(&KeyDigest(*key)));
    let endpoint = endpoint(&shown, &judging);
    let (control, ending) = drain();
    let watching = tokio::spawn(engine.clone().watch());
    let mut serving = JoinSet::new();
    let party = Party {
        endpoint,
        token,
        line: tls::random().map(Hex),
        engine: engine.clone(),
        income: income.clone(),
        ending,
    };
    let earning = income.clone().map(|income| tokio::spawn(income.run()));
    for gateway in gateways {
        serving.spawn(keep(gateway, party.clone()));
    }
    if let Some(listener) = listener {
        serving.spawn(listen(listener, party));
    } else {
        drop(party);
    }
    stop.await;
    tracing::info!(
        ?patience,
        under_way = engine.under_way(),
        "draining; a second signal ends what is left"
    );
    control.enter(Phase::Draining);
    let quiet = async {
        tokio::select! {
            () = engine.idle() => {}
            () = tokio::time::sleep(patience) => tracing::warn!("the drain timeout has passed: ending open answers"),
        }
        control.enter(Phase::Closing);
        // What is left is the end of connections on which nothing is under way.
        let all = async { while serving.join_next().await.is_some() {} };
        drop(tokio::time::timeout(LAST_WORDS, all).await);
    };
    tokio::select! {
        () = quiet => {}
        () = hurry => tracing::warn!("told twice: ending open answers now"),
    }
    serving.abort_all();
    watching.abort();
    if let Some(earning) = earning {
        earning.abort();
    }
    if let Some(income) = income {
        income.flush().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What connections to gateways are made with.
pub(crate) fn endpoint(shown: &Shown, judging: &Judging) -> Endpoint {
    Endpoint {
        trust: judging.trust().clone(),
        identities: Some(shown.identities().clone()),
        alpn: vec![control::ALPN.to_vec()],
        clock: identity::clock(),
    }
}

/// Keeps a connection to one gateway until the end, and has a new one before a certificate on it ends.
async fn keep(gateway: Gateway, party: Party) {
    let party = Party {
        line: tls::random().map(Hex),
        ..party
    };
    let address = gateway.address.as_str();
    let ending = party.ending.clone();
    let mut backoff = Backoff::new(FIRST, LAST);
    let mut told = None;
    let mut line = Succession::new();
    loop {
        let began = tokio::time::Instant::now();
        let opened = tokio::select! {
            opened = open(&gateway, &party.endpoint) => opened,
            () = ending.reached(Phase::Draining) => break,
        };
        let why = match opened {
            Ok(connection) => {
                let due = redial::due(&connection);
                let (name, party) = (address.to_owned(), party.clone());
                line.follow(async move { Session::serve(connection, &name, party).await }, due);
                let ended = tokio::select! {
                    ended = line.next() => ended,
                    () = ending.reached(Phase::Draining) => break,
                };
                match ended {
                    Some(ended) => ended.to_string(),
                    None => {
                        tracing::info!(gateway = address, "a certificate ends some day: connecting anew");
                        backoff.reset();
                        continue;
                    }
                }
            }
            Err(why) => why,
        };
        if ending.phase() >= Phase::Draining {
            break;
        }
        if began.elapsed() > GOOD {
            backoff.reset();
            told = None;
        }
        // The same news is told once: a gateway may be away for hours.
        if told.as_ref() != Some(&why) {
            tracing::warn!(gateway = address, %why, "not connected; trying again");
            told = Some(why);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = ending.reached(Phase::Draining) => break,
        }
    }
    // They drain by themselves.
    line.end().await;
}

/// A connection to the gateway that was meant.
async fn open(gateway: &Gateway, endpoint: &Endpoint) -> Result<Connection<TcpStream>, String> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(gateway.address.as_str()));
    let tcp = connecting
        .await
        .map_err(|_| format!("no connection within {CONNECT:?}"))?
        .map_err(|error| format!("cannot connect: {}", error.kind()))?;
    tcp.set_nodelay(true).map_err(|error| error.kind().to_string())?;
    let expect = expect(&tcp).map_err(|error| error.kind().to_string())?;
    let connected = endpoint.connect(tcp, expect).await;
    let connection = connected.map_err(|error| format!("{} ({})", Chain(&error), error.code()))?;
    let peer = connection.peer().ok_or("it showed no certificate")?;
    let key = KeyDigest(*peer.spki_sha256());
    match gateway.key {
        Some(pinned) if pinned != key => Err(format!("another gateway answers there, with the key {key}")),
        None if !peer.is_attested() => Err("it showed no evidence, and no key was given for it".to_owned()),
        Some(_) | None => Ok(connection),
    }
}

/// A gateway, from where it is.
pub(crate) fn expect(tcp: &TcpStream) -> std::io::Result<Expect> {
    Ok(Expect {
        role: Role::Gateway,
        address: tcp.peer_addr()?.ip(),
    })
}

/// Lets gateways in that dial us, until the end.
async fn listen(listener: TcpListener, party: Party) {
    let ending = party.ending.clone();
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (tcp, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a gateway");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = ending.reached(Phase::Draining) => break,
        };
        let party = party.clone();
        open.spawn(async move {
            answer(tcp, from, party).await;
            drop(place);
        });
    }
    while open.join_next().await.is_some() {}
}

async fn answer(tcp: TcpStream, from: SocketAddr, party: Party) {
    let (Ok(()), Ok(expect)) = (tcp.set_nodelay(true), expect(&tcp)) else {
        return;
    };
    match party.endpoint.accept(tcp, expect, Admit::Certified).await {
        Ok(connection) => {
            let ended = Session::serve(connection, &from.ip().to_string(), party).await;
            tracing::info!(gateway = %from, why = %ended, "gateway gone");
        }
        Err(error) => {
            tracing::debug!(gateway = %from, code = error.code(), error = %Chain(&error), "a caller was not let in")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let key = "ab".repeat(32);
        let good = Gateway::parse(&format!("{key}@gw.example:8444")).expect("a gateway");
        assert_eq!(
            (good.key, good.address.as_str()),
            (KeyDigest::parse(&key), "gw.example:8444")
        );
        let proves_itself = Gateway::parse("gw.example:8444").expect("a gateway");
        assert_eq!(proves_itself.key, None);
        for bad in [
            "gw.example",
            "abcd@gw.example:8444",
            &format!("{key}@gw.example"),
            &format!("{key}@https://gw.example:1"),
        ] {
            assert!(Gateway::parse(bad).is_err(), "{bad}");
        }
    }
}
