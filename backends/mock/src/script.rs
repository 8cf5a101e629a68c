//! A response as a list of steps, played either as an HTTP body or on the bare socket.

use std::future;
use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::{task, time};

use crate::body::Body;
use crate::connection::Peer;
use crate::journal::Exchange;

pub(crate) enum Step {
    Write(Bytes),
    Pause(Duration),
    /// Lets what was written reach the socket before the next step.
    Flush,
    /// Nothing more, and no end, until the client leaves.
    Hang,
    /// FIN, whatever was promised.
    Close,
    /// RST.
    Reset,
}

impl Step {
    pub(crate) fn write(bytes: impl Into<Bytes>) -> Self {
        Self::Write(bytes.into())
    }
}

/// Steps are made as they are needed, so that a script may be endless.
pub(crate) struct Script(Peekable<Box<dyn Iterator<Item = Step> + Send>>);

impl Script {
    pub(crate) fn new<I>(steps: I) -> Self
    where
        I: IntoIterator<Item = Step>,
        I::IntoIter: Send + 'static,
    {
        let steps: Box<dyn Iterator<Item = Step> + Send> = Box::new(steps.into_iter());
        Self(steps.peekable())
    }

    /// Plays as the body of a response that hyper sends.
    ///
    /// The exchange is complete once the last bytes are with hyper: with a `content-length`, hyper
    /// does not ask a body for its end.
    pub(crate) fn into_body(self, peer: Arc<Peer>, whole_socket: bool, exchange: Exchange) -> Body {
        let play = Playing {
            script: self,
            peer,
            whole_socket,
            exchange: Some(exchange),
        };
        BodyExt::boxed_unsync(StreamBody::new(stream::unfold(play, Playing::frame)))
    }

    /// Plays on a socket that hyper no longer owns, then closes it.
    pub(crate) async fn play(mut self, mut socket: TcpStream, mut exchange: Exchange) -> io::Result<()> {
        for step in self.0.by_ref() {
            match step {
                Step::Write(bytes) => socket.write_all(&bytes).await?,
                Step::Pause(pause) => time::sleep(pause).await,
                Step::Flush => task::yield_now().await,
                Step::Hang => return read_to_end(&mut socket).await,
                Step::Close => break,
                Step::Reset => {
                    socket.set_zero_linger()?;
                    exchange.complete();
                    return Ok(());
                }
            }
        }
        exchange.complete();
        socket.shutdown().await
    }
}

async fn read_to_end(socket: &mut TcpStream) -> io::Result<()> {
    let mut scrap = [0; 4096];
    while socket.read(&mut scrap).await? > 0 {}
    Ok(())
}

struct Playing {
    script: Script,
    peer: Arc<Peer>,
    whole_socket: bool,
    exchange: Option<Exchange>,
}

impl Playing {
    async fn frame(mut self) -> Option<(Result<Frame<Bytes>, io::Error>, Self)> {
        loop {
            match self.script.0.next() {
                None => {
                    self.complete();
                    return None;
                }
                Some(Step::Write(bytes)) => {
                    if self.script.0.peek().is_none() {
                        self.complete();
                    }
                    return Some((Ok(Frame::data(bytes)), self));
                }
                Some(Step::Pause(pause)) => time::sleep(pause).await,
                Some(Step::Flush) => task::yield_now().await,
                Some(Step::Hang) => future::pending().await,
                Some(last @ (Step::Close | Step::Reset)) => {
                    if !self.whole_socket {
                        self.complete();
                        return Some((Err(io::Error::other("scripted reset")), self));
                    }
                    if let Some(exchange) = self.exchange.take() {
                        self.peer.take_over(Self::only(last), exchange);
                    }
                    future::pending().await
                }
            }
        }
    }

    fn only(step: Step) -> Script {
        Script::new([step])
    }

    fn complete(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.complete();
        }
    }
}
