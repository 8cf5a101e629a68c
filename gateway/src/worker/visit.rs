//! Visit: to a gateway as far as its first word, and no further.
//!
//! The visitor never says hello, so that it takes no worker's place, not even its own worker's that is at work.

use std::{convert::Infallible, io};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::mpsc};

use super::{CONNECT, Gateway};
use crate::{
    config::KeyDigest,
    control::{ControlError, FromGateway, GREETING, Listening, speaking},
    secure::{Identity, Secure, SecureError},
};

/// What a gateway said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) version: u32,
    /// Its clock, in Unix seconds.
    pub(crate) now: u64,
}

/// Why it said nothing, in the order in which one gets there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    #[error("no connection within {CONNECT:?}")]
    Timeout,
    #[error(transparent)]
    Secure(SecureError),
    #[error("another gateway answers there, with the key {0}")]
    Other(KeyDigest),
    #[error("it closed the connection")]
    Refused,
    #[error("it said nothing in order")]
    Control(#[source] ControlError),
}

pub(crate) async fn visit(gateway: &Gateway, identity: &Identity) -> Result<Heard, VisitError> {
    // Whoever it is, to be able to say who it is not.
    let (met, meeting) = std::sync::mpsc::sync_channel(1);
    let pinned = gateway.key;
    let admits = move |key: &KeyDigest| {
        // There is one handshake, and so one key to be told of.
        met.try_send(*key).is_ok() && *key == pinned
    };
    let secure = Secure::new(identity, std::sync::Arc::new(admits)).map_err(VisitError::Tls)?;
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(gateway.address.as_str()));
    let tcp = connecting
        .await
        .map_err(|_| VisitError::Timeout)?
        .map_err(VisitError::Tcp)?;
    let stream = match secure.dial(tcp).await {
        Ok((stream, _)) => stream,
        Err(error) => {
            return Err(match meeting.try_recv() {
                Ok(key) if key != pinned => VisitError::Other(key),
                _ => VisitError::Secure(error),
            });
        }
    };
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
        .serve_connection(TokioIo::new(stream), service);
    let heard = tokio::select! {
        heard = told.recv() => heard.ok_or(VisitError::Refused)?,
        _ = connection => return Err(VisitError::Refused),
        () = tokio::time::sleep(GREETING) => Err(ControlError::Silent(GREETING)),
    };
    match heard.map_err(VisitError::Control)? {
        FromGateway::Hello { v, now } => Ok(Heard { version: v, now }),
        FromGateway::Welcome { .. } => Err(VisitError::Control(ControlError::NotUnderstood)),
    }
}
