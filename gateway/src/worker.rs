//! Worker: the role beside an engine. It dials gateways, or is dialled by them, and serves what they ask from its engine.
//!
//! It needs no open port, no root and no money: it opens a connection, both ends show their keys, and then the roles turn: the worker speaks HTTP/2 as the server on the socket that it dialled.
//! Nothing is answered before the control stream has welcomed it, and nothing but what an inference engine is asked: see [`proxy`].
//! The engine is on this machine: a loopback address or a Unix socket.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    backoff::Backoff,
    config::{Address, KeyDigest},
    drain::{Drain, Phase, drain},
    layers::rescue::Chain,
    secure::{Identity, Secure, Stream},
};

pub(crate) use engine::{Engine, EngineSettings};
use session::Session;
pub(crate) use statements::Statements;

pub(crate) mod engine;
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
    pub(crate) key: KeyDigest,
    pub(crate) address: Address,
}

impl Gateway {
    /// Reads `KEY@HOST:PORT`, where the key is the SHA-256 that the gateway prints when it starts.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (key, address) = text
            .split_once('@')
            .ok_or("write KEY@HOST:PORT, where KEY is the key_sha256 that the gateway logs when it starts")?;
        Ok(Self {
            key: KeyDigest::parse(key).ok_or("the part before @ is not a SHA-256 digest: 64 hexadecimal digits")?,
            address: Address::parse(address).ok_or("the part after @ is not a host and a port")?,
        })
    }
}

/// What a worker is set up with.
pub(crate) struct Settings {
    pub(crate) identity: Identity,
    pub(crate) gateways: Vec<Gateway>,
    /// Gateways that dial us, besides.
    pub(crate) callers: Vec<KeyDigest>,
    pub(crate) listener: Option<TcpListener>,
    /// How long open answers may take once the end has begun.
    pub(crate) patience: Duration,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("there is nobody to serve: name a gateway with --gateway KEY@HOST:PORT, or --listen and --gateway-key")]
    NoGateway,
    #[error("connections to gateways cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Serves until `stop` is ready, then drains; `hurry` ends what is left.
pub(crate) async fn run(
    settings: Settings,
    engine: Arc<Engine>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let Settings {
        identity,
        gateways,
        callers,
        listener,
        patience,
    } = settings;
    let known: HashSet<KeyDigest> = gateways.iter().map(|gateway| gateway.key).chain(callers).collect();
    if known.is_empty() || gateways.is_empty() && listener.is_none() {
        return Err(WorkerError::NoGateway);
    }
    let secure = Secure::new(&identity, Arc::new(move |key| known.contains(key)))?;
    let (control, ending) = drain();
    let watching = tokio::spawn(engine.clone().watch());
    let mut serving = JoinSet::new();
    for gateway in gateways {
        serving.spawn(keep(gateway, secure.clone(), engine.clone(), ending.clone()));
    }
    if let Some(listener) = listener {
        serving.spawn(listen(listener, secure, engine.clone(), ending));
    } else {
        drop(ending);
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
    tracing::info!("stopped");
    Ok(())
}

/// Keeps a connection to one gateway until the end.
async fn keep(gateway: Gateway, secure: Secure, engine: Arc<Engine>, ending: Drain) {
    let address = gateway.address.as_str();
    let mut backoff = Backoff::new(FIRST, LAST);
    let mut told = None;
    loop {
        let began = tokio::time::Instant::now();
        let opened = tokio::select! {
            opened = open(&gateway, &secure) => opened,
            () = ending.reached(Phase::Draining) => return,
        };
        let why = match opened {
            Ok(stream) => Session::serve(stream, address, engine.clone(), ending.clone())
                .await
                .to_string(),
            Err(why) => why,
        };
        if ending.phase() >= Phase::Draining {
            return;
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
            () = ending.reached(Phase::Draining) => return,
        }
    }
}

/// A connection to the gateway that was meant.
async fn open(gateway: &Gateway, secure: &Secure) -> Result<Stream, String> {
    let connecting = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(gateway.address.as_str()));
    let tcp = connecting
        .await
        .map_err(|_| format!("no connection within {CONNECT:?}"))?
        .map_err(|error| format!("cannot connect: {}", error.kind()))?;
    tcp.set_nodelay(true).map_err(|error| error.kind().to_string())?;
    let (stream, peer) = secure.dial(tcp).await.map_err(|error| Chain(&error).to_string())?;
    if peer.key != gateway.key {
        return Err(format!("another gateway answers there, with the key {}", peer.key));
    }
    Ok(stream)
}

/// Lets gateways in that dial us, until the end.
async fn listen(listener: TcpListener, secure: Secure, engine: Arc<Engine>, ending: Drain) {
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
        let (secure, engine, ending) = (secure.clone(), engine.clone(), ending.clone());
        open.spawn(async move {
            answer(tcp, from, &secure, engine, ending).await;
            drop(place);
        });
    }
    while open.join_next().await.is_some() {}
}

async fn answer(tcp: tokio::net::TcpStream, from: SocketAddr, secure: &Secure, engine: Arc<Engine>, ending: Drain) {
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    match secure.accept(tcp).await {
        Ok((stream, _)) => {
            let ended = Session::serve(stream, &from.to_string(), engine, ending).await;
            tracing::info!(gateway = %from, why = %ended, "gateway gone");
        }
        Err(error) => tracing::debug!(gateway = %from, error = %Chain(&error), "a caller was not let in"),
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
            (good.key.to_string(), good.address.as_str()),
            (key.clone(), "gw.example:8444")
        );
        for bad in [
            "gw.example:8444",
            "abcd@gw.example:8444",
            &format!("{key}@gw.example"),
            &format!("{key}@https://gw.example:1"),
        ] {
            assert!(Gateway::parse(bad).is_err(), "{bad}");
        }
    }
}
