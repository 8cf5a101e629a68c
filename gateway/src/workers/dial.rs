//! Dial: a worker that listens is dialled, again and again; after the handshake nothing differs from one that dialled us.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{Named, adopt::adopt};
use crate::{
    backoff::Backoff,
    config::{Address, KeyDigest},
    layers::rescue::Chain,
    secure::{Secure, SecureError},
};

const CONNECT: Duration = Duration::from_secs(5);
/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("it cannot be connected to")]
    Tcp(#[source] std::io::Error),
    #[error("no connection within {CONNECT:?}")]
    Timeout,
    #[error(transparent)]
    Secure(#[from] SecureError),
    #[error("another worker answers there, with the key {0}")]
    Other(KeyDigest),
}

/// Keeps a connection to one worker until it is dropped.
pub(super) async fn keep(secure: Secure, key: KeyDigest, address: Address, named: Named) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));
    loop {
        let began = Instant::now();
        match open(&secure, key, &address).await {
            Ok((stream, peer)) => {
                let why = adopt(stream, &peer, named.clone()).await;
                tracing::info!(worker = %named.place, why = %Chain(&why), "worker gone");
            }
            Err(error) => {
                tracing::debug!(worker = %named.place, address = address.as_str(), error = %Chain(&error), "a worker cannot be dialled");
            }
        }
        if began.elapsed() > GOOD {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn open(
    secure: &Secure,
    key: KeyDigest,
    address: &Address,
) -> Result<(crate::secure::Stream, crate::secure::Peer), DialError> {
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(address.as_str()));
    let tcp = tcp.await.map_err(|_| DialError::Timeout)?.map_err(DialError::Tcp)?;
    tcp.set_nodelay(true).map_err(DialError::Tcp)?;
    let (stream, peer) = secure.dial(tcp).await?;
    // Known is not enough: each has a place of its own.
    if peer.key != key {
        return Err(DialError::Other(peer.key));
    }
    Ok((stream, peer))
}
