//! One client connection: hyper drives it until a fault takes the socket over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::journal::Exchange;
use crate::routes::{self, Mock};
use crate::script::Script;
use crate::socket::Shared;

/// What a request may know of, and do to, the connection it came on.
pub(crate) struct Peer {
    takeover: mpsc::Sender<(Script, Exchange)>,
    requests: AtomicUsize,
}

impl Peer {
    /// Counts one more request; the first is 1.
    pub(crate) fn count_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Takes the socket from hyper, once hyper has written what it has, and plays `script` on it.
    /// The first of several wins: after it there is no socket left to take.
    pub(crate) fn take_over(&self, script: Script, exchange: Exchange) {
        if self.takeover.try_send((script, exchange)).is_err() {
            tracing::debug!("socket already taken");
        }
    }
}

pub(crate) async fn drive(stream: TcpStream, mock: Arc<Mock>, mut drain: watch::Receiver<()>) {
    // Without it, chunks a few milliseconds apart arrive in lumps.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay refused");
    }
    let stream = Arc::new(stream);
    let (takeover, mut taken) = mpsc::channel(1);
    let peer = Arc::new(Peer {
        takeover,
        requests: AtomicUsize::new(0),
    });
    let script = {
        let service = service_fn(|request| routes::answer(mock.clone(), peer.clone(), request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection(TokioIo::new(Shared(stream.clone())), service);
        let mut connection = std::pin::pin!(connection);
        let mut draining = false;
        loop {
            tokio::select! {
                // First, so that hyper flushes an answer before a takeover that follows it.
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended early");
                    }
                    break None;
                }
                script = taken.recv() => break script,
                _ = drain.changed(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    };
    // Hyper's share was dropped with the block above.
    if let Some((script, exchange)) = script
        && let Some(stream) = Arc::into_inner(stream)
        && let Err(error) = script.play(stream, exchange).await
    {
        tracing::debug!(%error, "client left a scripted socket");
    }
}
