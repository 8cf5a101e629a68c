//! Visit: to a gateway as far as its first word, and no further.
//!
//! The visitor never says hello, so that it takes no worker's place, not even its own worker's that is at work.

use std::{convert::Infallible, io};

use attestation_ratls::HandshakeError;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::mpsc};

use super::{CONNECT, Gateway, endpoint, expect};
use crate::{
    config::KeyDigest,
    control::{ControlError, FromGateway, GREETING, Listening, speaking},
    identity::Shown,
    trust::Judging,
};

/// What a gateway said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) version: u32,
    /// Its clock, in Unix seconds.
    pub(crate) now: u64,
    /// What its certificate proves.
    pub(crate) tier: &'static str,
}

/// Why it said nothing, in the order in which one gets there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    #[error("no connection within {CONNECT:?}")]
    Timeout,
    #[error(transparent)]
    Handshake(HandshakeError),
    #[error("another gateway answers there, with the key {0}")]
    Other(KeyDigest),
    #[error("it showed no evidence, and no key was given for it")]
    NoEvidence,
    #[error("it closed the connection")]
    Refused,
    #[error("it said nothing in order")]
    Control(#[source] ControlError),
}

pub(crate) async fn visit(gateway: &Gateway, shown: &Shown, judging: &Judging) -> Result<Heard, VisitError> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(gateway.address.as_str()));
    let tcp = connecting
        .await
        .map_err(|_| VisitError::Timeout)?
        .map_err(VisitError::Tcp)?;
    let expect = expect(&tcp).map_err(VisitError::Tcp)?;
    let connected = endpoint(shown, judging).connect(tcp, expect).await;
    let connection = connected.map_err(VisitError::Handshake)?;
    let peer = connection.peer().ok_or(VisitError::Refused)?;
    let key = KeyDigest(*peer.spki_sha256());
    match gateway.key {
        Some(pinned) if pinned != key => return Err(VisitError::Other(key)),
        None if !peer.is_attested() => return Err(VisitError::NoEvidence),
        Some(_) | None => {}
    }
    let tier = peer.shown().tier().name();
    let (tell, mut told) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let (speaking, body) = speaking();
            tokio::spawn(async move {
                let heard = Listening::new(request.into_body()).next::<FromGateway>(GREETING).await;
                // Only the first is waited for.
                drop(tell.send(heard).await);
                drop(speaking);
            });
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(connection), service);
    let heard = tokio::select! {
        heard = told.recv() => heard.ok_or(VisitError::Refused)?,
        _ = connection => return Err(VisitError::Refused),
        () = tokio::time::sleep(GREETING) => Err(ControlError::Silent(GREETING)),
    };
    match heard.map_err(VisitError::Control)? {
        FromGateway::Hello { v, now } => Ok(Heard { version: v, now, tier }),
        FromGateway::Welcome { .. } | FromGateway::TurnedAway { .. } | FromGateway::Pay { .. } => {
            Err(VisitError::Control(ControlError::NotUnderstood))
        }
    }
}
