//! The shell around [`Party`]: tasks, clocks, queues, and the connection that is cut in the end.
//!
//! Messages go through two queues, so that the stream that carries them may carry others too; [`Binder::over`] is for
//! one that carries nothing else. However this ends, also when it is dropped, the connection is cut.

use std::{sync::Arc, time::Duration};

use attestation::Hex;
use rustls::time_provider::TimeProvider;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Answer, Cut, Effect, Event, Footing, Message, Now, Party, message::BadLine, message::MAX_LINE};
use crate::{connection::Handle, identity::Identity, peer::Peer};

/// For the last message, which says why; after that the connection is cut whether it was written or not.
const PARTING: Duration = Duration::from_millis(200);

/// How long at most between two looks at the clock of the day, which may jump.
const LOOK: Duration = Duration::from_secs(30);

/// Of what goes out. An honest peer reads what it is sent; a question, an answer and a verdict may wait at once.
const OUT: usize = 8;
/// Of what comes in. A peer that sends more waits.
const IN: usize = 1;

/// Keeps one connection bound, or cuts it.
#[derive(Debug)]
pub struct Binder {
    handle: Handle,
    identity: Option<Arc<Identity>>,
    peer: Option<Arc<Peer>>,
    generation: watch::Receiver<u64>,
    clock: Arc<dyn TimeProvider>,
    footing: watch::Sender<Footing>,
}

/// A message to be sent.
#[derive(Debug)]
pub struct Outgoing {
    pub message: Message,
    /// Told, or dropped, when it is written.
    pub written: Option<oneshot::Sender<()>>,
}

impl Binder {
    pub(crate) fn new(
        handle: Handle,
        identity: Option<Arc<Identity>>,
        peer: Option<Arc<Peer>>,
        generation: watch::Receiver<u64>,
        clock: Arc<dyn TimeProvider>,
    ) -> Self {
        Self {
            handle,
            identity,
            peer,
            generation,
            clock,
            footing: watch::Sender::new(Footing::default()),
        }
    }

    /// Where the connection stands, from now to its end. The sender is gone when it is cut.
    pub fn footing(&self) -> watch::Receiver<Footing> {
        self.footing.subscribe()
    }

    /// Until the connection ends; says why. The queue out has eight places or more.
    pub async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Result<Message, BadLine>>,
        outgoing: mpsc::Sender<Outgoing>,
    ) -> Cut {
        let _cut = CutOnDrop(self.handle.clone());
        let began = Instant::now();
        let now = |clock: &dyn TimeProvider| Now {
            // Without a clock every date has passed.
            unix: clock.current_time().map_or(u64::MAX, |time| time.as_secs()),
            elapsed: began.elapsed(),
        };
        let mut party = Party::new(self.identity.as_deref(), self.peer.as_ref(), now(&*self.clock));
        let mut proving: Option<Proving> = None;
        let mut event = Event::Opened;
        loop {
            for effect in party.step(event, now(&*self.clock), &self.handle) {
                match effect {
                    Effect::Send(message) if party.is_over() => part(&outgoing, message).await,
                    Effect::Send(message) => {
                        let sent = Outgoing { message, written: None };
                        // Never waited for: a peer that reads nothing must not keep us from cutting it.
                        match outgoing.try_send(sent) {
                            Ok(()) => {}
                            Err(mpsc::error::TrySendError::Full(_)) => return Cut::Stalled,
                            Err(mpsc::error::TrySendError::Closed(_)) => return Cut::Closed,
                        }
                    }
                    Effect::Prove { nonce, report_data } => {
                        proving = self
                            .identity
                            .clone()
                            .map(|identity| Proving::begin(identity, nonce, report_data));
                    }
                    Effect::Footing(footing) => {
                        self.footing.send_replace(footing);
                    }
                    Effect::Cut(cut) => return cut,
                }
            }
            let wake = party
                .wake()
                .map_or(LOOK, |wake| wake.elapsed.saturating_sub(began.elapsed()).min(LOOK));
            event = tokio::select! {
                message = incoming.recv() => match message {
                    Some(Ok(message)) => Event::Received(message),
                    Some(Err(BadLine::TooLong)) => Event::Broken("a line is too long"),
                    Some(Err(BadLine::Malformed)) => Event::Broken("a line is not a message"),
                    None => return Cut::Closed,
                },
                proved = Proving::done(&mut proving) => proved,
                changed = self.generation.changed() => match changed {
                    Ok(()) => Event::TrustChanged,
                    // Nobody decides any more what we trust.
                    Err(_gone) => return Cut::Closed,
                },
                () = tokio::time::sleep(wake) => Event::Tick,
            };
        }
    }

    /// The same, over a stream of lines that carries nothing else.
    pub async fn over(self, io: impl AsyncRead + AsyncWrite) -> Cut {
        let (reader, writer) = tokio::io::split(io);
        let (to_us, incoming) = mpsc::channel(IN);
        let (outgoing, from_us) = mpsc::channel(OUT);
        let pumps = async {
            // What ends writing ends nothing by itself: the next message to send finds the queue closed.
            tokio::join!(read(reader, to_us), write(writer, from_us));
            std::future::pending::<Cut>().await
        };
        tokio::select! {
            cut = self.run(incoming, outgoing) => cut,
            cut = pumps => cut,
        }
    }
}

/// Says why before the connection is cut, if that can be said at once.
async fn part(outgoing: &mpsc::Sender<Outgoing>, message: Message) {
    let (written, done) = oneshot::channel();
    let last = Outgoing {
        message,
        written: Some(written),
    };
    if outgoing.try_send(last).is_ok() {
        // Written, dropped or too slow: it is cut all the same.
        drop(tokio::time::timeout(PARTING, done).await);
    }
}

async fn read(io: impl AsyncRead, to: mpsc::Sender<Result<Message, BadLine>>) {
    let mut io = std::pin::pin!(BufReader::new(io));
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut io).take(most).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(length) if length > 0) {
            return;
        }
        let message = match line.strip_suffix(b"\n") {
            Some(line) => Message::from_line(line),
            None if line.len() > MAX_LINE => Err(BadLine::TooLong),
            None => return,
        };
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn write(io: impl AsyncWrite, mut from: mpsc::Receiver<Outgoing>) {
    let mut io = std::pin::pin!(io);
    while let Some(Outgoing { message, written }) = from.recv().await {
        if io.write_all(&message.to_line()).await.is_err() || io.flush().await.is_err() {
            return;
        }
        if let Some(written) = written {
            // Whoever waited may have stopped waiting.
            written.send(()).ok();
        }
    }
}

/// A proof in the making, on a thread that may block.
struct Proving {
    nonce: Hex<32>,
    task: JoinHandle<Option<Answer>>,
}

impl Proving {
    fn begin(identity: Arc<Identity>, nonce: Hex<32>, report_data: [u8; 64]) -> Self {
        let task = tokio::task::spawn_blocking(move || match identity.prove(&report_data) {
            Ok(answer) => Some(answer),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "this machine could not say what it is");
                None
            }
        });
        Self { nonce, task }
    }

    async fn done(proving: &mut Option<Self>) -> Event {
        let Some(Self { nonce, task }) = proving else {
            return std::future::pending().await;
        };
        let proved = Event::Proved {
            nonce: *nonce,
            answer: task.await.unwrap_or_default(),
        };
        *proving = None;
        proved
    }
}

struct CutOnDrop(Handle);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}
