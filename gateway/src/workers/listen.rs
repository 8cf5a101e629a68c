//! Listen: where workers connect. A listener of its own, apart from that of the apps.

use std::{sync::Arc, time::Duration};

use attestation::Role;
use attestation_ratls::{Admit, Connection, Expect, HandshakeError, PeerRefusal};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{Meeting, Roster, Told, adopt::adopt};
use crate::layers::rescue::Chain;

/// Connections at a time, those of strangers until they are refused among them.
const CONNECTIONS: usize = 4096;
/// Handshakes at a time: what a flood of strangers may cost.
const HANDSHAKES: usize = 64;

/// Lets workers in until it is dropped.
pub(crate) async fn listen(listener: TcpListener, meeting: Arc<Meeting>, roster: Arc<Roster>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let told = Arc::new(Told::default());
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let (Ok(connection), Ok(handshake)) = (
            connections.clone().acquire_owned().await,
            handshakes.clone().acquire_owned().await,
        ) else {
            return;
        };
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of file descriptors, or a peer that left in the queue: neither is a reason to end.
                tracing::debug!(%error, "cannot accept a worker");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (meeting, roster, told) = (meeting.clone(), roster.clone(), told.clone());
        open.spawn(async move {
            let met = greet(tcp, &meeting, &told).await;
            drop(handshake);
            if let Some(met) = met {
                let ended = adopt(met, &meeting, &roster, None).await;
                match ended.place {
                    Some(place) => {
                        tracing::info!(worker = %place, code = ended.why.code(), why = %Chain(&ended.why), "worker gone");
                    }
                    None if told.may() => {
                        tracing::warn!(code = ended.why.code(), why = %Chain(&ended.why), "a worker may not serve");
                    }
                    None => {
                        tracing::debug!(code = ended.why.code(), why = %Chain(&ended.why), "a worker may not serve");
                    }
                }
            }
            drop(connection);
        });
    }
}

async fn greet(tcp: TcpStream, meeting: &Meeting, told: &Told) -> Option<Connection<TcpStream>> {
    // A token must not wait for the acknowledgement of the one before.
    tcp.set_nodelay(true).ok()?;
    let expect = Expect {
        role: Role::Worker,
        address: tcp.peer_addr().ok()?.ip(),
    };
    match meeting.endpoint().accept(tcp, expect, Admit::Certified).await {
        Ok(met) => Some(met),
        Err(error) => {
            // Of a stranger its key was told.
            let is_told = matches!(error, HandshakeError::Refused(PeerRefusal::Stranger));
            if matches!(error, HandshakeError::Refused(_)) && !is_told && told.may() {
                tracing::warn!(code = error.code(), why = %Chain(&error), "the evidence of a worker was refused");
            } else {
                tracing::debug!(code = error.code(), why = %Chain(&error), "a worker was not let in");
            }
            None
        }
    }
}
