//! One TLS connection whose peer is known, and which can be cut from outside at any moment.
//!
//! What was handed to it and is not sent yet when it is cut, is never sent: the socket is closed with it.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use attestation::binding::EXPORTER_LABEL;
use aws_lc_rs::rand;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::{channel::Session, identity::Identity, peer::Peer};

pub struct Connection<IO> {
    shared: Arc<Shared<IO>>,
    peer: Option<Arc<Peer>>,
    identity: Option<Arc<Identity>>,
}

/// A handle on a connection that somebody else reads and writes.
#[derive(Clone)]
pub struct Handle(Arc<dyn Control>);

trait Control: Session {
    fn cut(&self);
}

struct Shared<IO> {
    inner: Mutex<Inner<IO>>,
}

struct Inner<IO> {
    /// `None` once it is cut.
    tls: Option<TlsStream<IO>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<IO> Connection<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(crate) fn new(tls: TlsStream<IO>, peer: Option<Arc<Peer>>, identity: Option<Arc<Identity>>) -> Self {
        let inner = Inner {
            tls: Some(tls),
            reader: None,
            writer: None,
        };
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
            }),
            peer,
            identity,
        }
    }

    /// The peer, as its certificate showed it; `None` where it showed none.
    ///
    /// That is the first of two layers: before anything confidential is sent, [`channel`](crate::channel) must stand.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    /// What we showed.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared) as Arc<dyn Control>)
    }

    /// The protocol that both sides chose.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        let inner = self.shared.lock();
        let (_, state) = inner.tls.as_ref()?.get_ref();
        state.alpn_protocol().map(<[u8]>::to_vec)
    }
}

impl Handle {
    /// Ends the connection now. What reads or writes it gets an error.
    pub fn cut(&self) {
        self.0.cut();
    }
}

impl Session for Handle {
    fn export(&self, nonce: &[u8; 32]) -> Option<[u8; 32]> {
        self.0.export(nonce)
    }

    fn nonce(&self) -> Option<[u8; 32]> {
        self.0.nonce()
    }
}

impl<IO> Shared<IO> {
    fn lock(&self) -> MutexGuard<'_, Inner<IO>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO: Send> Session for Shared<IO> {
    fn export(&self, nonce: &[u8; 32]) -> Option<[u8; 32]> {
        let inner = self.lock();
        let exported = match inner.tls.as_ref()? {
            TlsStream::Client(tls) => tls
                .get_ref()
                .1
                .export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce)),
            TlsStream::Server(tls) => tls
                .get_ref()
                .1
                .export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce)),
        };
        exported.ok()
    }

    fn nonce(&self) -> Option<[u8; 32]> {
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).ok()?;
        Some(nonce)
    }
}

impl<IO: Send> Control for Shared<IO> {
    fn cut(&self) {
        let (tls, wakers) = {
            let mut inner = self.lock();
            (inner.tls.take(), [inner.reader.take(), inner.writer.take()])
        };
        drop(tls);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What a read or write finds on a connection that was cut.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.shared.lock();
        let Some(tls) = inner.tls.as_mut() else {
            return Poll::Ready(Err(gone()));
        };
        let read = Pin::new(tls).poll_read(cx, buf);
        if read.is_pending() {
            remember(&mut inner.reader, cx);
        }
        read
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |tls, cx| tls.poll_write(cx, bytes))
    }

    /// The head of a frame and what is in it leave together.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |tls, cx| tls.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        // As TLS below does it.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |tls, cx| tls.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |tls, cx| tls.poll_shutdown(cx))
    }
}

impl<IO> Connection<IO> {
    fn write<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TlsStream<IO>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        IO: Unpin,
    {
        let mut inner = self.shared.lock();
        let Some(tls) = inner.tls.as_mut() else {
            return Poll::Ready(Err(gone()));
        };
        let written = poll(Pin::new(tls), cx);
        if written.is_pending() {
            remember(&mut inner.writer, cx);
        }
        Poll::Ready(ready!(written))
    }
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl<IO> fmt::Debug for Connection<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
