//! Accept: bounded connections, a clock for the head of a request, TLS if configured, and a watch on the drain.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use backends::{
    body::{BoxBody, OnEnd},
    serve::Serve,
};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::drain::{Drain, Phase};

use attested::Attested;
use linger::Linger;
use patience::{Activity, Patient};
use stall::Stall;

pub(crate) mod attested;
mod linger;
mod patience;
mod stall;

/// Cannot listen where told.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", hint(source))]
pub(crate) struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": the port is in use; stop the other process or choose another port with --listen",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege; choose another with --listen",
        io::ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
        _ => "",
    }
}

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    /// Connections that wait while we accept others.
    const BACKLOG: u32 = 4096;
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| BindError { address, source })
}

/// How connections are served. Each connection keeps what was in force when it was accepted.
#[derive(Debug, Clone)]
pub(crate) struct ListenerConfig {
    /// From the first byte of a request to the end of its head.
    pub(crate) header_read: Duration,
    /// How long a connection may be idle.
    pub(crate) keep_alive: Duration,
    /// How long a client may read nothing of its answer.
    pub(crate) body_write: Duration,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// After the cut, a stream needs a moment to send its error event.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A socket that accepts, and how long.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    /// Open connections at a time; others wait in the kernel.
    pub(crate) connections: usize,
    /// The phase from which nobody new is let in.
    pub(crate) closes: Phase,
    /// Counts open connections.
    pub(crate) open: Gauge,
    pub(crate) speaks: Speaks,
}

/// What is spoken at a door.
#[derive(Debug, Clone)]
pub(crate) enum Speaks {
    /// HTTP, over TLS where the [`ListenerConfig`] says so.
    Http,
    /// HTTP/2 with whoever verifies us first.
    Attested(Attested),
}

/// Serves until the door closes, then until every connection has ended or the drain cuts.
pub(crate) async fn serve<S>(door: Door, config: Arc<ArcSwap<ListenerConfig>>, service: Arc<S>, drain: Drain)
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    let Door {
        listener,
        connections: limit,
        closes,
        open,
        speaks,
    } = door;
    let permits = Arc::new(Semaphore::new(limit));
    let mut connections = JoinSet::new();
    let mut complained = Instant::now() - Duration::from_secs(2);
    loop {
        // At the limit we stop accepting: the rest waits in the kernel rather than in our memory.
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = drain.reached(closes) => break,
        };
        let Ok(permit) = permit else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.reached(closes) => break,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that left in the queue: neither is a reason to end.
                if complained.elapsed() > Duration::from_secs(1) {
                    complained = Instant::now();
                    tracing::warn!(%error, "cannot accept connections; is the limit of open files (ulimit -n) above limits.connections twice over?");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let connection = Connection {
            config: config.load_full(),
            service: service.clone(),
            drain: drain.clone(),
            closes,
        };
        let speaks = speaks.clone();
        let open = OpenConnection::new(open.clone());
        connections.spawn(async move {
            match speaks {
                Speaks::Http => connection.serve(stream).await,
                Speaks::Attested(attested) => attested.serve(connection, stream, from).await,
            }
            drop((permit, open));
        });
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let out_of_time = async {
        drain.reached(Phase::Cutting).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = all_ended => return,
        () = out_of_time => {}
    }
    // Waits until each is dropped: only then are the records of its requests written.
    connections.shutdown().await;
}

struct Connection<S> {
    config: Arc<ListenerConfig>,
    service: Arc<S>,
    drain: Drain,
    closes: Phase,
}

impl<S> Connection<S>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    async fn serve(self, stream: TcpStream) {
        // A token must not wait for the acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Some(tls) = self.config.tls.clone().map(TlsAcceptor::from) else {
            return self.serve_http(stream).await;
        };
        match tokio::time::timeout(self.config.header_read, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream).await,
            Ok(Err(error)) if crate::tls::is_clients_fault(&error) => tracing::debug!(%error, "a TLS handshake failed"),
            Ok(Err(error)) => tracing::warn!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn serve_http<IO>(self, stream: IO)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = self.service;
        let activity = Arc::<Activity>::default();
        let stream = Patient::new(
            Stall::new(Linger::new(stream), self.config.body_write),
            activity.clone(),
            self.config.keep_alive,
            self.config.header_read,
        );
        let answer = service_fn(move |request| {
            let service = service.clone();
            let under_way = activity.begin();
            async move {
                let response = answer(&*service, request).await;
                let until_end = |body| BoxBody::new(OnEnd::new(body, move |_| drop(under_way)));
                Ok::<_, Infallible>(response.map(until_end))
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // Ours, below: hyper's has one clock for an idle connection and for a slow head.
            .header_read_timeout(None)
            // OpenAI's own limit for all headers.
            .max_buf_size(64 * 1024);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_concurrent_streams(1024)
            .max_header_list_size(64 * 1024);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = self.drain.reached(self.closes) => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a client connection ended early");
        }
    }
}

async fn answer<S>(service: &S, request: Request<Incoming>) -> Response<BoxBody>
where
    S: Serve<Request<Incoming>, Response = Response<BoxBody>>,
{
    service.call(request).await.unwrap_or_else(|error| {
        tracing::error!(%error, "an error passed Rescue");
        let mut response = Response::new(BoxBody::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Counts an open connection until dropped.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(open: Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
