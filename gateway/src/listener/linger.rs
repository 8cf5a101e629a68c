//! How a connection ends: we stop writing, and read on for a moment before we close.
//!
//! A refusal is often written while the client still sends its body. To close then, with bytes unread, resets the
//! connection (RFC 9112 section 9.6), and the client loses our answer: a wrong key would look like a broken network,
//! and be tried again.
//! What is read here is thrown away, and it is bounded in time: a client that is silent is not waited for, and one
//! that never ends is cut.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// A client that is still sending is heard again within this time.
const QUIET: Duration = Duration::from_millis(500);
/// How long a client may go on sending what nobody reads.
const LONGEST: Duration = Duration::from_secs(5);

/// A socket that lingers when it is shut down.
#[derive(Debug)]
pub(super) struct Linger<IO> {
    io: IO,
    quiet: Duration,
    longest: Duration,
    /// The peer has said that nothing more will come.
    at_end: bool,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    last_byte: Instant,
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<IO> Linger<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            quiet: QUIET,
            longest: LONGEST,
            at_end: false,
            ending: None,
        }
    }
}

impl<IO: AsyncRead + Unpin> Linger<IO> {
    /// Reads until the peer ends, is silent for too long, or goes on for too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (quiet, longest) = (self.quiet, self.longest);
        let ending = self.ending.get_or_insert_with(|| {
            let now = Instant::now();
            Ending {
                last_byte: now,
                due: now + longest,
                timer: Box::pin(tokio::time::sleep(quiet)),
            }
        });
        let mut scrap = [0; 16 << 10];
        loop {
            let now = Instant::now();
            if now >= ending.due {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => ending.last_byte = now,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let due = (ending.last_byte + quiet).min(ending.due);
                    if now >= due {
                        return Poll::Ready(());
                    }
                    ending.timer.as_mut().reset(due.into());
                    ready!(ending.timer.as_mut().poll(cx));
                }
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Linger<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let had_room = buffer.remaining() > 0;
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        self.at_end = read.is_err() || (had_room && buffer.filled().len() == before);
        Poll::Ready(read)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<IO> {
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
        if self.ending.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        if !self.at_end {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn pair() -> (DuplexStream, Linger<DuplexStream>) {
        let (client, server) = tokio::io::duplex(64);
        let server = Linger {
            quiet: Duration::from_millis(100),
            longest: Duration::from_millis(600),
            ..Linger::new(server)
        };
        (client, server)
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_the_answer() {
        let (mut client, mut server) = pair();
        let sent = tokio::spawn(async move {
            client.write_all(&[b'x'; 100_000]).await.expect("all of it is taken");
            let mut answer = String::new();
            client
                .read_to_string(&mut answer)
                .await
                .expect("then the answer is there");
            answer
        });
        server.write_all(b"no").await.expect("there is room");
        server.shutdown().await.expect("it ends");
        drop(server);
        assert_eq!(sent.await.expect("the client is content"), "no");
    }

    #[tokio::test]
    async fn a_silent_client_is_not_waited_for() {
        let (_client, mut server) = pair();
        server.longest = Duration::from_secs(30);
        let begun = Instant::now();
        server.shutdown().await.expect("it ends");
        assert!(
            (80..15_000).contains(&begun.elapsed().as_millis()),
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test]
    async fn a_client_that_left_is_not_waited_for() {
        let (client, mut server) = pair();
        (server.quiet, server.longest) = (Duration::from_secs(30), Duration::from_secs(30));
        drop(client);
        assert_eq!(server.read(&mut [0; 8]).await.expect("the end"), 0);
        let begun = Instant::now();
        server.shutdown().await.expect("it ends");
        assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_client_that_never_ends_is_cut() {
        let (mut client, mut server) = pair();
        let sending = tokio::spawn(async move { while client.write_all(b"more").await.is_ok() {} });
        let begun = Instant::now();
        server.shutdown().await.expect("it ends");
        assert!(
            (500..15_000).contains(&begun.elapsed().as_millis()),
            "{:?}",
            begun.elapsed()
        );
        drop(server);
        sending.await.expect("then the client notices");
    }
}
