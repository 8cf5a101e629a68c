//! How long a client may say nothing: two clocks on the socket, none while a request is under way.
//!
//! An idle connection stays open for `keep_alive`, which must be longer than a balancer in front of us keeps its own,
//! or the balancer writes into a connection that we just closed. A head that has begun must be whole within
//! `header_read`. Bodies have clocks of their own. HTTP/2 connections are pinged instead, from their first request on:
//! until it begins, a connection that said the preface of HTTP/2 has `keep_alive`, whatever else it says.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// Requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    under_way: AtomicUsize,
    begun: AtomicU64,
}

/// A request under way, until dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that loses patience with a silent client.
#[derive(Debug)]
pub(super) struct Patient<IO> {
    io: IO,
    activity: Arc<Activity>,
    keep_alive: Duration,
    header_read: Duration,
    /// Requests begun when `waiting` was last right.
    seen: u64,
    waiting: Option<Waiting>,
    timer: Option<Pin<Box<Sleep>>>,
    protocol: Protocol,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    head_has_begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// So many bytes came, and all are as the preface begins. No HTTP/1 method begins like the whole of it.
    Unknown {
        matched: usize,
    },
    Http1,
    Http2,
}

/// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Protocol {
    /// What is known after more bytes. They come in any pieces.
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Unknown { matched } = self else { return self };
        let rest = &PREFACE[matched..];
        let shared = rest.iter().zip(bytes).take_while(|(is, came)| is == came).count();
        if shared == rest.len() {
            Self::Http2
        } else if shared == bytes.len() {
            Self::Unknown {
                matched: matched + shared,
            }
        } else {
            Self::Http1
        }
    }
}

impl<IO> Patient<IO> {
    pub(super) fn new(io: IO, activity: Arc<Activity>, keep_alive: Duration, header_read: Duration) -> Self {
        Self {
            io,
            activity,
            keep_alive,
            header_read,
            seen: 0,
            waiting: None,
            timer: None,
            protocol: Protocol::Unknown { matched: 0 },
        }
    }

    /// Bytes came. Between requests they are the beginning of a head, or of the preface.
    fn note_read(&mut self, bytes: &[u8]) {
        let before = self.protocol;
        self.protocol = before.after(bytes);
        if self.protocol == Protocol::Http2 {
            if before != Protocol::Http2 {
                // The idle clock, once: frames that are no request do not wind it up again.
                self.waiting = Some(Waiting {
                    since: Instant::now(),
                    head_has_begun: false,
                });
            }
            return;
        }
        if self.is_between_requests() && !self.waiting.is_some_and(|waiting| waiting.head_has_begun) {
            self.waiting = Some(Waiting {
                since: Instant::now(),
                head_has_begun: true,
            });
        }
    }

    fn is_between_requests(&mut self) -> bool {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.seen {
            self.seen = begun;
            self.waiting = None;
        }
        self.activity.under_way.load(Ordering::Relaxed) == 0
    }

    /// Ready when patience is over. Called when there was nothing to read.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_between = self.is_between_requests();
        if !is_between || self.protocol == Protocol::Http2 && self.seen > 0 {
            return Poll::Pending;
        }
        loop {
            let waiting = *self.waiting.get_or_insert_with(|| Waiting {
                since: Instant::now(),
                head_has_begun: false,
            });
            let due = waiting.since
                + if waiting.head_has_begun {
                    self.header_read
                } else {
                    self.keep_alive
                };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if timer.deadline().into_std() > due {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Patient<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.note_read(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => {
                ready!(self.poll_patience(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Patient<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);
    const HEADER_READ: Duration = Duration::from_secs(10);

    fn pair() -> (tokio::io::DuplexStream, Patient<tokio::io::DuplexStream>, Arc<Activity>) {
        let (client, server) = tokio::io::duplex(1024);
        let activity = Arc::<Activity>::default();
        let patient = Patient::new(server, activity.clone(), KEEP_ALIVE, HEADER_READ);
        (client, patient, activity)
    }

    /// Reads until patience is over.
    async fn patience(server: &mut Patient<tokio::io::DuplexStream>) {
        loop {
            match server.read(&mut [0; 64]).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return,
                Err(error) => panic!("not a timeout: {error}"),
            }
        }
    }

    // The clock of `Instant` goes on while tokio's stands still, so that these wait for real, with short clocks.
    fn short(
        client: tokio::io::DuplexStream,
        server: Patient<tokio::io::DuplexStream>,
    ) -> (tokio::io::DuplexStream, Patient<tokio::io::DuplexStream>) {
        (
            client,
            Patient {
                keep_alive: Duration::from_secs(3),
                header_read: Duration::from_secs(1),
                ..server
            },
        )
    }

    /// With an idle clock that is far from that of a head.
    fn hasty(
        client: tokio::io::DuplexStream,
        server: Patient<tokio::io::DuplexStream>,
    ) -> (tokio::io::DuplexStream, Patient<tokio::io::DuplexStream>) {
        let (client, server) = short(client, server);
        let keep_alive = Duration::from_secs(60);
        (client, Patient { keep_alive, ..server })
    }

    /// That the idle clock of `short` has run from here, and not the other.
    fn assert_idle(begun: Instant) {
        assert!((3..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    /// That the clock of a head has run from here, and not that of `hasty`.
    fn assert_hasty(begun: Instant) {
        assert!((1..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_silent_connection_is_kept_longer_than_a_slow_head() {
        let begun = Instant::now();
        let (client, server, _) = pair();
        let (_client, mut server) = short(client, server);
        patience(&mut server).await;
        assert_idle(begun);

        let (client, server, _) = pair();
        let (mut client, mut server) = hasty(client, server);
        let begun = Instant::now();
        client.write_all(b"POST /v1").await.expect("there is room");
        patience(&mut server).await;
        assert_hasty(begun);
    }

    #[test]
    fn the_preface_is_known_in_any_pieces_and_only_whole() {
        let unknown = Protocol::Unknown { matched: 0 };
        for cut in 0..PREFACE.len() {
            let (start, rest) = PREFACE.split_at(cut);
            let started = unknown.after(start);
            assert_eq!(started, Protocol::Unknown { matched: cut });
            assert_eq!(started.after(rest), Protocol::Http2);
            assert_eq!(started.after(b"?"), Protocol::Http1);
        }
        let frames = [&PREFACE[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        assert_eq!(unknown.after(&frames), Protocol::Http2);
        assert_eq!(unknown.after(b"PRIVATE / HTTP/1.1"), Protocol::Http1);
    }

    #[tokio::test]
    async fn the_beginning_of_a_preface_is_a_slow_head() {
        for start in ["P", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (client, server, _) = pair();
            let (mut client, mut server) = hasty(client, server);
            let begun = Instant::now();
            client.write_all(start.as_bytes()).await.expect("there is room");
            patience(&mut server).await;
            assert_hasty(begun);
        }
    }

    #[tokio::test]
    async fn a_preface_has_the_idle_clock_until_a_request_begins() {
        let (client, server, activity) = pair();
        let (mut client, mut server) = short(client, server);
        client.write_all(&PREFACE[..1]).await.expect("there is room");
        assert_eq!(server.read(&mut [0; 64]).await.expect("the first byte"), 1);
        let begun = Instant::now();
        client.write_all(&PREFACE[1..]).await.expect("there is room");
        assert_eq!(server.read(&mut [0; 64]).await.expect("the rest"), 23);
        // An empty SETTINGS frame is no request.
        client
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .expect("there is room");
        patience(&mut server).await;
        assert_idle(begun);
        drop(activity.begin());
        let silent = tokio::time::timeout(Duration::from_secs(4), patience(&mut server)).await;
        assert!(silent.is_err(), "from the first request on it is pinged");
    }

    #[tokio::test]
    async fn no_clock_runs_while_a_request_is_under_way() {
        let (client, server, activity) = pair();
        let (mut client, mut server) = short(client, server);
        client
            .write_all(b"POST /v1 HTTP/1.1\r\n\r\n")
            .await
            .expect("there is room");
        let read = server.read(&mut [0; 64]).await.expect("the head");
        assert!(read > 0);
        let request = activity.begin();
        let silent = tokio::time::timeout(Duration::from_secs(2), patience(&mut server)).await;
        assert!(silent.is_err(), "it waited past the clock of a head");
        let begun = Instant::now();
        drop(request);
        patience(&mut server).await;
        // Then the idle clock starts anew.
        assert_idle(begun);
    }
}
