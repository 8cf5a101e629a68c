//! HTTP to one upstream.
//!
//! An HTTP/1.1 connection has no task of its own: whoever waits for the answer drives it, so that a chunk costs one
//! wake-up and a client that leaves closes the upstream's socket at once, by dropping.
//! An idle connection is looked at when it is taken again: one that the server closed meanwhile is seen then, and
//! the race that remains (closed after we looked, before it answered) is answered by one try on a fresh connection.
//! HTTP/2 connections are shared and have a task.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::{
    body::{BoxBody, Outgoing, Unmet},
    serve::BoxError,
    statement::{Asking, Hearing, Passing, STATEMENT, Tallied},
    verdict::Reason,
    worker::{Passage, Using, Worker},
};

pub use connect::{ConnectError, Connector, HttpVersion, Target, TargetError};
use stream::Stream;

mod connect;
mod stream;

/// Idle connections kept for one upstream.
const MAX_IDLE: usize = 2048;
/// The largest head of an answer; more is hostile.
const MAX_HEAD: usize = 64 * 1024;

/// Connections to one upstream.
#[derive(Debug)]
pub struct Client {
    connector: Connector,
    keep_alive: Duration,
    idle: Arc<Idle>,
    shared: Mutex<Option<http2::SendRequest<Outgoing>>>,
    /// Whose connections these are, where none is ours to open.
    worker: Option<Arc<Worker>>,
}

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("no connection")]
    Connect(#[source] ConnectError),
    #[error("the connection ended before an answer began")]
    Dropped(#[source] hyper::Error),
    #[error("the answer was not valid HTTP")]
    Protocol(#[source] hyper::Error),
    #[error("the upload ended early")]
    Upload(#[source] BoxError),
    /// Of a worker's connection, on which the request waited: nothing of its body was sent.
    #[error("the worker may not be asked: {0}")]
    Unmet(Reason),
}

impl Client {
    /// `keep_alive`: how long an idle connection may be reused; stay below the server's own limit.
    pub fn new(connector: Connector, keep_alive: Duration) -> Self {
        Self {
            connector,
            keep_alive,
            idle: Arc::default(),
            shared: Mutex::default(),
            worker: None,
        }
    }

    /// For [`send_over`](Self::send_over) alone: the connection of a worker is never opened from here.
    pub fn of_worker(worker: Arc<Worker>) -> Self {
        let connector = Connector::new(Target::worker(), HttpVersion::Http2, Duration::ZERO, None);
        Self {
            worker: Some(worker),
            ..Self::new(connector, Duration::ZERO)
        }
    }

    pub fn worker(&self) -> Option<&Arc<Worker>> {
        self.worker.as_ref()
    }

    pub fn target(&self) -> &Target {
        self.connector.target()
    }

    /// Sends a request over a connection of our own and waits for the head of its answer.
    ///
    /// `again`: the request may be seen twice, should a connection turn out to have been closed while idle.
    pub async fn send(&self, request: Request<Outgoing>, again: bool) -> Result<Response<Answering>, SendError> {
        let failed = request.body().failed();
        self.send_unexplained(request, again)
            .await
            .map_err(|error| match failed.take() {
                // Whatever it looked like on the connection, this is why.
                Some(reason) => SendError::Upload(reason),
                None => error,
            })
    }

    /// The same over a connection of a worker, which is never one of ours.
    pub async fn send_over(
        &self,
        passage: Passage,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Answering>, SendError> {
        let Passage { sender, gate, using } = passage;
        if let Some(gate) = gate {
            request = request.map(|body| body.guarded(gate));
        }
        let failed = request.body().failed();
        let sent = self.send_shared(sender, request).await;
        let mut response = sent.map_err(|error| match failed.take() {
            Some(reason) => match reason.downcast_ref::<Unmet>() {
                Some(Unmet(reason)) => SendError::Unmet(*reason),
                None => SendError::Upload(reason),
            },
            None => error,
        })?;
        response.body_mut().using = Some(using);
        Ok(response)
    }

    /// To a worker, which is asked for its statement of the answer where there is what to ask with.
    pub(crate) async fn send_to_worker(
        &self,
        passage: Passage,
        request: Request<Outgoing>,
        asking: Option<Asking>,
    ) -> Result<Response<Answering>, SendError> {
        match asking {
            Some(asking) => self.send_asking(passage, request, asking).await,
            None => self.send_over(passage, request).await,
        }
    }

    async fn send_asking(
        &self,
        passage: Passage,
        mut request: Request<Outgoing>,
        asking: Asking,
    ) -> Result<Response<Answering>, SendError> {
        request.headers_mut().insert(STATEMENT, asking.header());
        let passing = Passing::new(&asking.salt);
        tally(request.body_mut(), &passing);
        let hearing = Hearing::new(asking, passing);
        let mut response = self.send_over(passage, request).await?;
        let status = response.status();
        response.body_mut().hearing = Some(Box::new(hearing.answered(status)));
        Ok(response)
    }

    async fn send_unexplained(
        &self,
        mut request: Request<Outgoing>,
        again: bool,
    ) -> Result<Response<Answering>, SendError> {
        if self.worker.is_some() {
            return Err(SendError::Connect(ConnectError::NoWorker));
        }
        if let Some(sender) = self.shared_sender() {
            return Box::pin(self.send_shared(sender, request)).await;
        }
        // What may not be seen twice takes no connection that may be about to close.
        if again
            && let Some(spare) = replay(&request)
            && let Some(link) = self.reuse().await
        {
            match link.exchange(request).await {
                // Nothing of an answer came: the server closed it while idle. One fresh try.
                Err(SendError::Dropped(_)) => request = spare,
                other => return other,
            }
        }
        // In a box: most requests find a connection, and have no room for this.
        match Box::pin(self.dial()).await? {
            Dialled::Shared(sender) => Box::pin(self.send_shared(sender, request)).await,
            Dialled::Own(link) => link.exchange(request).await,
        }
    }

    async fn dial(&self) -> Result<Dialled, SendError> {
        Ok(match self.connector.connect().await.map_err(SendError::Connect)? {
            (stream, HttpVersion::Http2) => Dialled::Shared(self.open_shared(stream).await?),
            (stream, _) => Dialled::Own(self.open(stream).await?),
        })
    }

    /// Closes connections that idled too long. Called now and then, so that none lingers when no request comes.
    pub fn sweep(&self) {
        let mut idle = self.idle.lock();
        idle.retain(|parked| parked.since.elapsed() < self.keep_alive);
    }

    async fn open(&self, stream: Stream) -> Result<Link, SendError> {
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(256 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Dropped)?;
        Ok(Link {
            sender,
            connection: Box::new(connection),
            idle: self.idle.clone(),
        })
    }

    async fn open_shared(&self, stream: Stream) -> Result<http2::SendRequest<Outgoing>, SendError> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_header_list_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Dropped)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection to an upstream ended");
            }
        });
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        Ok(sender)
    }

    fn shared_sender(&self) -> Option<http2::SendRequest<Outgoing>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *shared = None;
        }
        shared.clone()
    }

    async fn send_shared(
        &self,
        mut sender: http2::SendRequest<Outgoing>,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Answering>, SendError> {
        self.connector.make_absolute(request.uri_mut());
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().remove(http::header::HOST);
        sender.ready().await.map_err(SendError::Dropped)?;
        let response = sender.send_request(request).await.map_err(classify)?;
        Ok(response.map(|body| Answering {
            body,
            link: None,
            using: None,
            hearing: None,
        }))
    }

    /// Takes the idle connection that was used last and is still open.
    async fn reuse(&self) -> Option<Link> {
        loop {
            let parked = self.idle.lock().pop()?;
            if parked.since.elapsed() >= self.keep_alive {
                // The rest are older still.
                self.idle.lock().clear();
                return None;
            }
            let Parked {
                sender, mut connection, ..
            } = parked;
            let closed = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx).is_ready())).await;
            if !closed && sender.is_ready() {
                return Some(Link {
                    sender,
                    connection,
                    idle: self.idle.clone(),
                });
            }
        }
    }
}

/// A connection that was not there before.
enum Dialled {
    Shared(http2::SendRequest<Outgoing>),
    Own(Link),
}

type Connection = http1::Connection<TokioIo<Stream>, Outgoing>;

#[derive(Default)]
struct Idle(Mutex<Vec<Parked>>);

struct Parked {
    sender: http1::SendRequest<Outgoing>,
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Idle({})", self.lock().len())
    }
}

/// An open HTTP/1.1 connection, driven by who holds it.
struct Link {
    sender: http1::SendRequest<Outgoing>,
    connection: Box<Connection>,
    idle: Arc<Idle>,
}

impl Link {
    async fn exchange(mut self, request: Request<Outgoing>) -> Result<Response<Answering>, SendError> {
        let response = {
            let mut head = pin!(self.sender.send_request(request));
            let connection = &mut self.connection;
            let mut closed = false;
            std::future::poll_fn(|cx| {
                if !closed {
                    closed = Pin::new(&mut *connection).poll(cx).is_ready();
                }
                head.as_mut().poll(cx)
            })
            .await
            .map_err(classify)?
        };
        let (parts, body) = response.into_parts();
        let mut answering = Answering {
            body,
            link: Some(self),
            using: None,
            hearing: None,
        };
        if answering.body.is_end_stream() {
            // Nothing follows the head, so nobody will poll the body: park the connection now.
            std::future::poll_fn(|cx| {
                answering.park(cx);
                Poll::Ready(())
            })
            .await;
        }
        Ok(Response::from_parts(parts, answering))
    }

    /// Gives the connection back if it can carry another request.
    fn park(mut self, cx: &mut Context<'_>) {
        let closed = Pin::new(&mut self.connection).poll(cx).is_ready();
        if closed || !self.sender.is_ready() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(Parked {
                sender: self.sender,
                connection: self.connection,
                since: Instant::now(),
            });
        }
    }
}

/// The body of an answer. Dropping it before its end closes the connection, which tells the upstream to stop.
///
/// Trailers end here: what a client may see of an answer is decided by names, and of trailers none is let through.
pub struct Answering {
    body: Incoming,
    link: Option<Link>,
    /// Of a worker: held, so that the connection is.
    using: Option<Using>,
    /// Where its worker was asked for a statement, until the answer has ended.
    hearing: Option<Box<Hearing>>,
}

impl Answering {
    /// Whether a statement may still come behind the last byte.
    pub(crate) fn is_heard(&self) -> bool {
        self.hearing.is_some()
    }

    /// Nothing more is waited for: what was not stated until now is not stated.
    pub(crate) fn hear_no_more(&mut self) {
        if let Some(hearing) = self.hearing.take() {
            // That it broke off would be in trailers that have not come.
            let _whole = hearing.end();
        }
    }

    fn park(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = self.link.take() {
            link.park(cx);
        }
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(link) = &mut this.link {
            // What the connection has to say reaches us through the body; errors too.
            let closed = Pin::new(&mut link.connection).poll(cx).is_ready();
            if closed {
                this.link = None;
            }
        }
        loop {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
            match &frame {
                Some(Ok(_)) if !this.body.is_end_stream() => {}
                Some(Err(_)) => this.link = None,
                _ => this.park(cx),
            }
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(hearing) = &mut this.hearing {
                            hearing.hears(&data);
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Err(frame) => {
                        if let (Some(hearing), Ok(trailers)) = (&mut this.hearing, frame.into_trailers()) {
                            hearing.take_trailers(trailers);
                        }
                    }
                },
                Some(Err(error)) => {
                    this.hearing = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    let ended = this.hearing.take().map_or(Ok(()), |hearing| hearing.end());
                    return Poll::Ready(ended.err().map(|broken| Err(broken.into())));
                }
            }
        }
    }

    /// Not before what was asked for is heard out: nobody polls a body that says that it is over.
    fn is_end_stream(&self) -> bool {
        self.hearing.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering")
    }
}

/// Has the bytes of a body tallied: now if they are here, else as they pass.
fn tally(body: &mut Outgoing, passing: &Passing) {
    match body {
        Outgoing::Empty | Outgoing::Whole(None, _) => {}
        Outgoing::Whole(Some(bytes), _) => passing.update(bytes),
        Outgoing::Guarded(inside, ..) => tally(inside, passing),
        Outgoing::Upload(upload, _) => {
            let inside = std::mem::take(upload);
            *upload = BoxBody::new(Tallied::new(inside, passing.clone()));
        }
    }
}

/// A second copy of a request, if its body can be sent twice.
fn replay(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let mut copy = Request::new(request.body().replay()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Never an upload that failed, which its body notes: a user's error is to hyper also that the task of a connection is
/// gone, and whoever asked has no part in that.
fn classify(error: hyper::Error) -> SendError {
    if error.is_parse() {
        SendError::Protocol(error)
    } else {
        SendError::Dropped(error)
    }
}

#[cfg(test)]
mod tests;
