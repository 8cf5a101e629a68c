//! Dial: a worker that listens is dialled, again and again; after the handshake nothing differs from one that dialled us.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use attestation::Role;
use attestation_ratls::{Connection, Expect, HandshakeError};
use tokio::net::TcpStream;

use super::{Known, Meeting, Roster, adopt::adopt};
use crate::{
    backoff::Backoff,
    config::Address,
    layers::rescue::Chain,
    redial::{self, Succession},
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
    Handshake(#[from] HandshakeError),
}

/// Keeps a connection to one worker until it is dropped, and has a new one before a certificate on it ends.
pub(super) async fn keep(roster: Weak<Roster>, meeting: Arc<Meeting>, known: Known, address: Address, place: Arc<str>) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));
    let mut line = Succession::new();
    loop {
        let began = Instant::now();
        match open(&meeting, &address).await {
            Ok(connection) => {
                let Some(roster) = roster.upgrade() else {
                    return;
                };
                let due = redial::due(&connection);
                let (meeting, known, place) = (meeting.clone(), known.clone(), place.clone());
                let adopted = async move {
                    let ended = adopt(connection, &meeting, &roster, Some(&known)).await;
                    tracing::info!(worker = %place, code = ended.why.code(), why = %Chain(&ended.why), "worker gone");
                };
                line.follow(adopted, due);
                if line.next().await.is_none() {
                    backoff.reset();
                    continue;
                }
            }
            Err(error) => {
                tracing::debug!(worker = %place, address = address.as_str(), error = %Chain(&error), "a worker cannot be dialled");
            }
        }
        if began.elapsed() > GOOD {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn open(meeting: &Meeting, address: &Address) -> Result<Connection<TcpStream>, DialError> {
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(address.as_str()));
    let tcp = tcp.await.map_err(|_| DialError::Timeout)?.map_err(DialError::Tcp)?;
    tcp.set_nodelay(true).map_err(DialError::Tcp)?;
    let expect = Expect {
        role: Role::Worker,
        address: tcp.peer_addr().map_err(DialError::Tcp)?.ip(),
    };
    Ok(meeting.endpoint().connect(tcp, expect).await?)
}
