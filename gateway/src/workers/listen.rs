//! Listen: where workers connect. A listener of its own, apart from that of the apps.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{Roster, adopt::adopt};
use crate::{layers::rescue::Chain, secure::Secure};

/// Connections at a time, those of strangers until they are refused among them.
const CONNECTIONS: usize = 4096;
/// Handshakes at a time: what a flood of strangers may cost.
const HANDSHAKES: usize = 64;

/// Lets workers in until it is dropped.
pub(crate) async fn listen(listener: TcpListener, secure: Secure, roster: Arc<Roster>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
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
        let (secure, roster) = (secure.clone(), roster.clone());
        open.spawn(async move {
            let met = greet(tcp, &secure).await;
            drop(handshake);
            if let Some((stream, peer)) = met
                && let Some(named) = roster.member(&peer.key)
            {
                let place = named.place.clone();
                let why = adopt(stream, &peer, named).await;
                tracing::info!(worker = %place, why = %Chain(&why), "worker gone");
            }
            drop(connection);
        });
    }
}

async fn greet(tcp: TcpStream, secure: &Secure) -> Option<(crate::secure::Stream, crate::secure::Peer)> {
    // A token must not wait for the acknowledgement of the one before.
    tcp.set_nodelay(true).ok()?;
    match secure.accept(tcp).await {
        Ok(met) => Some(met),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "a worker was not let in");
            None
        }
    }
}
