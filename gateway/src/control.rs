//! Control: the one stream on which a gateway and a worker speak about their connection, before and beside the requests.
//!
//! The gateway opens it, as the first stream of a connection, with `POST` on [`PATH`]; both bodies are open until the connection ends.
//! Each line is one JSON object with a `type`; [`VERSION`] says which there are, and what is not known is refused: both ends are this program.
//!
//! ```text
//! gateway  {"type":"hello","v":1,"now":1795337378}
//! worker   {"type":"hello","v":1,"software":"mulberry 0.1.0"}
//! both     challenges, evidence and what came of it, now and for ever: see [`Bond`]
//! worker   {"type":"join","engine":"vllm","token":"…","line":"…"}   when it accepts the gateway; the token if it has one
//! gateway  {"type":"welcome","name":"gpu/box-1"}         when it accepts the worker; only now are other streams answered
//!      or  {"type":"turned_away","code":"tier_too_low"}
//! worker   {"type":"offer","engine":"vllm","models":[{"id":"m","context":32768}]}
//! worker   {"type":"load","ready":true,"running":3,"waiting":0}        every few seconds at least
//! worker   {"type":"drain"}                              no new requests, please
//! both     {"type":"pay","message":{…}}                  a notice of a payment channel, from the welcome on: docs/channels.md
//! ```
//!
//! An offer has `pay` where the worker wants to be paid: its prices, its key, where it is paid and on what terms.
//!
//! A peer may lie or flood: a line has at most [`MAX_LINE`] bytes, lines come at most [`LINES_PER_SECOND`] a second over time, and silence is an end.

use std::{
    borrow::Cow,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use attestation::Hex;
use attestation_ratls::channel::{self, Message};
use backends::{body::BoxBody, serve::BoxError};
use billing::channel::Envelope;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

pub(crate) use bond::{Bond, BondError, Heard};
pub(crate) use pay::{Notices, PayOffer, Prices, notices};

mod bond;
mod pay;

/// What both ends must speak below it.
pub(crate) const ALPN: &[u8] = b"mulberry-worker/1";
/// Where a worker answers the control stream.
pub(crate) const PATH: &str = "/mulberry/worker/v1/control";
/// Of what is spoken.
pub(crate) const VERSION: u32 = 1;
/// How long the other may take for its next line of the greeting.
pub(crate) const GREETING: Duration = Duration::from_secs(10);
/// A worker says its load at least so often.
pub(crate) const EVERY: Duration = Duration::from_secs(3);
/// A worker that said nothing for so long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(15);

/// Evidence of GPUs is the longest that is said.
const MAX_LINE: usize = channel::MAX_LINE;
/// For both ends to accept each other: a quote takes seconds where a host is busy.
pub(crate) const BINDING: Duration = Duration::from_secs(45);
const LINES_PER_SECOND: u32 = 20;
/// Lines that may come at once.
const BURST: u32 = 100;
/// Frames of which one line may be made.
const FRAMES: usize = 4096;
/// Lines that wait to be sent.
const QUEUE: usize = 16;
/// A machine serves few models; a list beyond this is a lie.
pub(crate) const MAX_MODELS: usize = 1024;

/// What a gateway says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromGateway {
    Hello {
        v: u32,
        /// Its clock, in Unix seconds.
        now: u64,
    },
    /// Under which name the worker serves there.
    Welcome { name: String },
    /// It does not, and the connection ends.
    TurnedAway { code: String },
    /// Of a channel to the worker.
    Pay { message: Box<Envelope> },
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromWorker {
    Hello {
        v: u32,
        software: String,
    },
    /// It accepts the gateway, and wants to serve there.
    Join {
        /// The kind of its engine.
        engine: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
        /// A number that the worker drew for this gateway: of two connections it sees that the one follows the other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<Hex<16>>,
    },
    Offer {
        /// The kind of its engine, as the configuration names it.
        engine: String,
        models: Vec<Offered>,
        /// Where it wants to be paid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pay: Option<PayOffer>,
    },
    Load {
        /// The engine answers.
        ready: bool,
        running: u32,
        waiting: u32,
    },
    Drain {},
    /// Of a channel to it.
    Pay {
        message: Box<Envelope>,
    },
}

/// What a worker is known by where it has no key of its own. It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One line.
#[derive(Debug)]
pub(crate) enum Line<T> {
    Said(T),
    /// Of the binding.
    Attest(Message),
}

/// A model that a worker's engine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offered {
    pub(crate) id: String,
    /// Tokens of prompt and answer together, where the engine says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<u64>,
}

/// Why the control stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("the other end closed the control stream")]
    Closed,
    #[error("the control stream broke off")]
    Broken(#[source] BoxError),
    #[error("nothing was said for {0:?}")]
    Silent(Duration),
    #[error("a line of more than {most} bytes")]
    LineTooLong { most: usize },
    #[error("more than {LINES_PER_SECOND} lines a second")]
    Flood,
    #[error("a line that is not understood; are both ends of the same version?")]
    NotUnderstood,
    #[error("the other end speaks version {theirs}, and this one {VERSION}; upgrade the older")]
    Version { theirs: u32 },
}

/// The lines that come.
pub(crate) struct Listening<B> {
    body: B,
    /// Bytes of one line.
    most: usize,
    buffer: BytesMut,
    /// Without an end of line up to here.
    searched: usize,
    /// Frames since the last line: empty ones cost their sender next to nothing.
    frames: usize,
    allowed: f64,
    refilled: Instant,
}

impl<B> Listening<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    pub(crate) fn new(body: B) -> Self {
        Self::of_lines(body, MAX_LINE)
    }

    /// Of lines that are never longer than this.
    pub(crate) fn of_lines(body: B, most: usize) -> Self {
        Self {
            body,
            most,
            buffer: BytesMut::new(),
            searched: 0,
            frames: 0,
            allowed: f64::from(BURST),
            refilled: Instant::now(),
        }
    }

    /// The next line, of the greeting. What was read of it is kept when the wait is given up.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, ControlError> {
        match self.hear(patience, patience).await? {
            Line::Said(said) => Ok(said),
            Line::Attest(_) => Err(ControlError::NotUnderstood),
        }
    }

    /// The next line, whatever it is, for as long as is left of the patience.
    pub(crate) async fn hear<T: DeserializeOwned>(
        &mut self,
        left: Duration,
        patience: Duration,
    ) -> Result<Line<T>, ControlError> {
        let line = tokio::time::timeout(left, self.line());
        let line = line.await.map_err(|_| ControlError::Silent(patience))??;
        // What is in it is never repeated: it may be anything.
        understand(&line).ok_or(ControlError::NotUnderstood)
    }

    async fn line(&mut self) -> Result<Bytes, ControlError> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', unseen) {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                self.frames = 0;
                self.count()?;
                return Ok(line);
            }
            self.searched = self.buffer.len();
            if self.searched > self.most {
                return Err(ControlError::LineTooLong { most: self.most });
            }
            self.frames += 1;
            if self.frames > FRAMES {
                return Err(ControlError::Flood);
            }
            let frame = self.body.frame().await.ok_or(ControlError::Closed)?;
            let frame = frame.map_err(|error| ControlError::Broken(error.into()))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn count(&mut self) -> Result<(), ControlError> {
        let since = self.refilled.elapsed().as_secs_f64();
        self.refilled = Instant::now();
        self.allowed = (self.allowed + since * f64::from(LINES_PER_SECOND)).min(f64::from(BURST));
        if self.allowed < 1.0 {
            return Err(ControlError::Flood);
        }
        self.allowed -= 1.0;
        Ok(())
    }
}

fn understand<T: DeserializeOwned>(line: &[u8]) -> Option<Line<T>> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_slice(line).ok()?;
    match &*head.r#type {
        "challenge" | "evidence" | "accepted" | "refused" => Message::from_line(line).ok().map(Line::Attest),
        _ => serde_json::from_slice(line).ok().map(Line::Said),
    }
}

/// The lines that go.
#[derive(Debug, Clone)]
pub(crate) struct Speaking(mpsc::Sender<Bytes>);

/// What says lines, and the body that carries them. The body ends when nobody can say anything any more.
pub(crate) fn speaking() -> (Speaking, BoxBody) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Speaking(sender), Said(receiver).boxed_unsync())
}

impl Speaking {
    pub(crate) async fn say(&self, line: &impl Serialize) -> Result<(), ControlError> {
        let mut text = serde_json::to_vec(line).map_err(|error| ControlError::Broken(error.into()))?;
        text.push(b'\n');
        self.0.send(text.into()).await.map_err(|_| ControlError::Closed)
    }
}

struct Said(mpsc::Receiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn lines_arrive_as_they_were_said() {
        let (speaking, body) = speaking();
        let mut listening = Listening::new(body);
        let said = FromWorker::Offer {
            engine: "vllm".to_owned(),
            models: vec![Offered {
                id: "m".to_owned(),
                context: None,
            }],
            pay: None,
        };
        speaking.say(&said).await.expect("somebody listens");
        speaking.say(&FromWorker::Drain {}).await.expect("somebody listens");
        drop(speaking);
        assert_eq!(listening.next::<FromWorker>(PATIENCE).await.expect("a line"), said);
        assert_eq!(
            listening.next::<FromWorker>(PATIENCE).await.expect("a line"),
            FromWorker::Drain {}
        );
        let end = listening.next::<FromWorker>(PATIENCE).await;
        assert!(matches!(end, Err(ControlError::Closed)), "{end:?}");
    }

    #[tokio::test]
    async fn a_line_may_come_in_pieces() {
        let pieces = [
            r#"{"type":"#,
            "\"hello\",\"v\":1,\"now\":5}",
            "\n{\"type\":\"welcome\",",
            "\"name\":\"a/b\"}\n",
        ];
        let frames = pieces.map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        let mut listening = Listening::new(StreamBody::new(futures_util::stream::iter(frames)));
        let hello = listening.next::<FromGateway>(PATIENCE).await.expect("a line");
        assert_eq!(hello, FromGateway::Hello { v: 1, now: 5 });
        let welcome = listening.next::<FromGateway>(PATIENCE).await.expect("a line");
        assert_eq!(welcome, FromGateway::Welcome { name: "a/b".to_owned() });
    }

    #[tokio::test]
    async fn a_peer_that_misbehaves_is_heard_no_more() {
        async fn check(said: &[u8], expect: &str) {
            let mut listening = Listening::new(Full::new(Bytes::copy_from_slice(said)));
            let heard = loop {
                match listening.next::<FromWorker>(PATIENCE).await {
                    Ok(_) => {}
                    Err(error) => break error.to_string(),
                }
            };
            assert!(heard.contains(expect), "{heard}");
        }
        check(b"{\"type\":\"drain\"}", "closed").await;
        check(b"{\"type\":\"drain\",\"x\":1}\n", "not understood").await;
        check(b"{\"type\":\"dance\"}\n", "not understood").await;
        check(b"\xff\n", "not understood").await;
        check(&vec![b' '; MAX_LINE + 1], "bytes").await;
        check(&b"{\"type\":\"drain\"}\n".repeat(BURST as usize * 2), "lines a second").await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let (_speaking, body) = speaking();
        let heard = Listening::new(body).next::<FromWorker>(SILENCE).await;
        assert!(matches!(heard, Err(ControlError::Silent(_))), "{heard:?}");
    }
}
