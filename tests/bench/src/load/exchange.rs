//! One question, its answer, and the verdict on it.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::tally::Tally;
use crate::http1::{Framing, Head, Wire, WireError, status_line};
use crate::question::{Address, Pace, Question};
use crate::verdict::{self, Piece, StreamCheck, Wrong};

/// Who asks: an address, a question, and a connection while there is one.
pub struct Asker {
    address: Address,
    question: Question,
    wire: Option<Wire>,
    body: Vec<u8>,
}

impl Asker {
    pub fn new(address: Address, question: Question) -> Self {
        Self {
            address,
            question,
            wire: None,
            body: Vec::new(),
        }
    }

    /// The same question on a connection of its own.
    pub fn another(&self) -> Self {
        Self::new(self.address.clone(), self.question.clone())
    }

    pub fn streams(&self) -> bool {
        self.question.pace.is_some()
    }

    /// Asks once and counts the outcome. A wrong answer costs the connection.
    pub(super) async fn ask(&mut self, tally: &Tally) -> bool {
        let id = tally.id();
        let outcome = match self.question.pace {
            Some(pace) => self.ask_stream(id, pace, tally).await,
            None => self.ask_unary(id, tally).await,
        };
        if let Err(wrong) = &outcome {
            self.wire = None;
            tally.fault(wrong);
        }
        outcome.is_ok()
    }

    async fn ask_unary(&mut self, id: u32, tally: &Tally) -> Result<(), Wrong> {
        let mut wire = self.wire().await?;
        let start = Instant::now();
        wire.write(self.question.ask(id)).await?;
        let head = head(&mut wire).await?;
        let body = &mut self.body;
        body.clear();
        wire.body(head.framing, |bytes| body.extend_from_slice(bytes)).await?;
        let took = start.elapsed();
        if head.start != 200 {
            return Err(Wrong::Status(head.start));
        }
        verdict::unary(&self.question, body)?;
        tally.count(|counts| {
            counts.requests += 1;
            counts.latency.add(took);
        });
        self.keep(wire, &head);
        Ok(())
    }

    async fn ask_stream(&mut self, id: u32, pace: Pace, tally: &Tally) -> Result<(), Wrong> {
        let mut wire = self.wire().await?;
        let start = Instant::now();
        wire.write(self.question.ask(id)).await?;
        let head = head(&mut wire).await?;
        if head.start != 200 {
            return Err(Wrong::Status(head.start));
        }
        let mut check = StreamCheck::new(id);
        let mut last = start;
        let read = wire
            .body(head.framing, |bytes| {
                let now = Instant::now();
                check.feed(bytes, |piece| {
                    let since = now.saturating_duration_since(last);
                    last = now;
                    if piece == Piece::FirstChunk {
                        tally.begun.set(tally.begun.get() + 1);
                    }
                    tally.count(|counts| {
                        counts.chunks += 1;
                        match piece {
                            Piece::FirstChunk => counts.ttft.add(since),
                            Piece::Chunk => counts.gap.add(since),
                        }
                    });
                });
            })
            .await;
        tally.ended.set(tally.ended.get() + 1);
        read?;
        check.end(&self.question, pace.chunks)?;
        let took = start.elapsed();
        tally.count(|counts| {
            counts.requests += 1;
            counts.latency.add(took);
        });
        self.keep(wire, &head);
        Ok(())
    }

    async fn wire(&mut self) -> Result<Wire, WireError> {
        match self.wire.take() {
            Some(wire) => Ok(wire),
            None => {
                let socket = TcpStream::connect(&self.address.authority).await?;
                Ok(Wire::new(socket)?)
            }
        }
    }

    fn keep(&mut self, wire: Wire, head: &Head<u16>) {
        if !head.close && head.framing != Framing::Unframed {
            self.wire = Some(wire);
        }
    }
}

async fn head(wire: &mut Wire) -> Result<Head<u16>, WireError> {
    wire.head(status_line).await?.ok_or(WireError::Closed)
}

/// Asks until one answer is right. After `patience`, says what the last one lacked.
pub async fn ready(mut asker: Asker, patience: Duration) -> Result<(), String> {
    let tally = Tally::windowed(Duration::ZERO, patience);
    let (_, deadline) = tally.window();
    let mut last = "nothing was asked".to_owned();
    while Instant::now() < deadline {
        let attempt = tokio::time::timeout_at(deadline.into(), asker.ask_unary(tally.id(), &tally));
        match attempt.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(wrong)) => last = wrong.to_string(),
            Err(_) => last = Wrong::Late.to_string(),
        }
        asker.wire = None;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(last)
}
