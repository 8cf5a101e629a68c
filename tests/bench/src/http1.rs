//! Just enough HTTP/1.1 for two programs that talk through a proxy.
//!
//! Reads heads and bodies (`content-length`, `chunked`, or until the end of the connection) and
//! writes ready-made bytes. It hands body bytes over as they lie in the read buffer, without a copy.
//! It refuses heads above [`HEAD_LIMIT`], lines above [`LINE_LIMIT`] and whatever is not HTTP/1.1.
//! Header folding, trailers' contents and upgrades are not understood.

use std::io;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD_LIMIT: usize = 64 * 1024;
const LINE_LIMIT: usize = 4 * 1024;
const READ_SIZE: usize = 16 * 1024;

/// One end of a connection.
pub struct Wire {
    socket: TcpStream,
    buf: BytesMut,
}

/// The head of a request or a response; `start` is its first line, parsed by the caller.
#[derive(Debug)]
pub struct Head<T> {
    pub start: T,
    pub framing: Framing,
    pub close: bool,
    pub expects_continue: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    /// A response then lasts until the connection ends; a request has no body.
    Unframed,
}

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("connection closed early")]
    Closed,
    #[error("too long: {0}")]
    TooLong(&'static str),
    #[error("malformed: {0}")]
    Malformed(&'static str),
    #[error("socket: {}", .0.kind())]
    Io(#[from] io::Error),
}

impl Wire {
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buf: BytesMut::with_capacity(READ_SIZE),
        })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        Ok(self.socket.write_all(bytes).await?)
    }

    /// The next head, or nothing if the peer left between two messages.
    pub async fn head<T>(&mut self, start: impl Fn(&str) -> Option<T>) -> Result<Option<Head<T>>, WireError> {
        loop {
            if let Some(end) = memmem::find(&self.buf, b"\r\n\r\n") {
                let head = parse_head(&self.buf[..end], start)?;
                self.buf.advance(end + 4);
                return Ok(Some(head));
            }
            if self.buf.len() > HEAD_LIMIT {
                return Err(WireError::TooLong("head"));
            }
            let idle = self.buf.is_empty();
            match self.fill().await {
                Err(WireError::Closed) if idle => return Ok(None),
                other => other?,
            }
        }
    }

    /// Hands the body to `take`, piece by piece, as it arrives.
    pub async fn body(&mut self, framing: Framing, mut take: impl FnMut(&[u8])) -> Result<(), WireError> {
        match framing {
            Framing::Length(length) => self.exactly(length, &mut take).await,
            Framing::Chunked => self.chunks(&mut take).await,
            Framing::Unframed => loop {
                take(&self.buf);
                self.buf.clear();
                match self.fill().await {
                    Err(WireError::Closed) => return Ok(()),
                    other => other?,
                }
            },
        }
    }

    async fn chunks(&mut self, take: &mut impl FnMut(&[u8])) -> Result<(), WireError> {
        loop {
            let line = self.line().await?;
            let size = chunk_size(&self.buf[..line])?;
            self.buf.advance(line + 2);
            if size == 0 {
                break;
            }
            self.exactly(size, take).await?;
            if self.line().await? != 0 {
                return Err(WireError::Malformed("no line end after a chunk"));
            }
            self.buf.advance(2);
        }
        // Trailers, up to the empty line.
        loop {
            let line = self.line().await?;
            self.buf.advance(line + 2);
            if line == 0 {
                return Ok(());
            }
        }
    }

    async fn exactly(&mut self, length: usize, take: &mut impl FnMut(&[u8])) -> Result<(), WireError> {
        let mut left = length;
        while left > 0 {
            if self.buf.is_empty() {
                self.fill().await?;
            }
            let here = left.min(self.buf.len());
            take(&self.buf[..here]);
            self.buf.advance(here);
            left -= here;
        }
        Ok(())
    }

    /// The length of the line at the front of the buffer, without its end.
    async fn line(&mut self) -> Result<usize, WireError> {
        loop {
            if let Some(end) = memmem::find(&self.buf, b"\r\n") {
                return Ok(end);
            }
            if self.buf.len() > LINE_LIMIT {
                return Err(WireError::TooLong("line"));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        if self.buf.capacity() - self.buf.len() < READ_SIZE / 4 {
            self.buf.reserve(READ_SIZE);
        }
        match self.socket.read_buf(&mut self.buf).await? {
            0 => Err(WireError::Closed),
            _ => Ok(()),
        }
    }
}

/// The status of a response.
pub fn status_line(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// The method and path of a request.
pub fn request_line(line: &str) -> Option<(String, String)> {
    let (method, rest) = line.split_once(' ')?;
    let (target, _version) = rest.split_once(" HTTP/1.")?;
    let path = target.split('?').next()?;
    Some((method.to_owned(), path.to_owned()))
}

fn parse_head<T>(bytes: &[u8], start: impl Fn(&str) -> Option<T>) -> Result<Head<T>, WireError> {
    let text = str::from_utf8(bytes).map_err(|_| WireError::Malformed("head is not text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut head = Head {
        start: start(first).ok_or(WireError::Malformed("first line"))?,
        framing: Framing::Unframed,
        close: false,
        expects_continue: false,
    };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(WireError::Malformed("header"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| WireError::Malformed("content-length"))?;
            head.framing = Framing::Length(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(WireError::Malformed("transfer-encoding"));
            }
            head.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("expect") {
            head.expects_continue = true;
        }
    }
    Ok(head)
}

fn chunk_size(line: &[u8]) -> Result<usize, WireError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = str::from_utf8(digits).map_err(|_| WireError::Malformed("chunk size"))?;
    usize::from_str_radix(digits.trim(), 16).map_err(|_| WireError::Malformed("chunk size"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `pieces` one by one over a real socket and closes; answers the status and the body.
    async fn receive(pieces: &'static [&'static str]) -> Result<(u16, String), WireError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sender = tokio::spawn(async move {
            let (socket, _) = listener.accept().await?;
            let mut wire = Wire::new(socket)?;
            for piece in pieces {
                wire.write(piece.as_bytes()).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, WireError>(())
        });
        let mut wire = Wire::new(TcpStream::connect(address).await?)?;
        let result = async {
            let head = wire.head(status_line).await?.ok_or(WireError::Closed)?;
            let mut body = Vec::new();
            wire.body(head.framing, |bytes| body.extend_from_slice(bytes)).await?;
            Ok((head.start, String::from_utf8_lossy(&body).into_owned()))
        }
        .await;
        sender.await.expect("the sender does not panic")?;
        result
    }

    #[tokio::test]
    async fn a_body_ends_where_its_length_says() {
        let got = receive(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "lloHTTP/1.1"]).await;
        assert_eq!(got.expect("a whole answer"), (200, "hello".to_owned()));
    }

    #[tokio::test]
    async fn chunks_may_be_cut_anywhere() {
        let pieces: &[&str] = &[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r",
            "\n\r\n",
            "5\r\nhel",
            "lo\r",
            "\n3;x=y\r\n!!!\r\n0\r",
            "\n\r\n",
        ];
        assert_eq!(
            receive(pieces).await.expect("a whole answer"),
            (200, "hello!!!".to_owned())
        );
    }

    #[tokio::test]
    async fn a_body_without_framing_lasts_until_the_end() {
        let got = receive(&["HTTP/1.1 503 No\r\n\r\n", "bus", "y"]).await;
        assert_eq!(got.expect("a whole answer"), (503, "busy".to_owned()));
    }

    #[tokio::test]
    async fn a_cut_body_is_an_error() {
        for pieces in [
            &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"][..],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"][..],
        ] {
            assert!(matches!(receive(pieces).await, Err(WireError::Closed)));
        }
    }

    #[tokio::test]
    async fn nonsense_is_malformed() {
        for pieces in [
            &["SSH-2.0-x\r\n\r\n"][..],
            &["HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"][..],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"][..],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"][..],
        ] {
            assert!(matches!(receive(pieces).await, Err(WireError::Malformed(_))));
        }
    }

    #[test]
    fn a_request_line_loses_its_query() {
        let got = request_line("POST /v1/chat/completions?a=b HTTP/1.1");
        assert_eq!(got, Some(("POST".to_owned(), "/v1/chat/completions".to_owned())));
        assert_eq!(request_line("POST /v1"), None);
    }
}
