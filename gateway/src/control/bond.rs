//! Bond: what binds a connection, beside what is said on its control stream.
//!
//! The two ends ask each other for evidence on the same lines on which they speak, from the greeting to the end.
//! Whoever listens gets what was said, and hears when the footing changes or the connection is cut.

use std::{sync::Arc, time::Duration};

use attestation_ratls::channel::{BadLine, Binder, Cut, Footing, Message, Outgoing};
use backends::serve::BoxError;
use bytes::Bytes;
use http_body::Body;
use hyper::rt::Executor as _;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};

use super::{ControlError, Line, Listening, Speaking};
use crate::crew::Crew;

/// Messages that wait to be written: a question, an answer and a verdict, twice.
const OUT: usize = 8;

/// Why nothing more will be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BondError {
    #[error("the connection was cut: {0}")]
    Cut(Cut),
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    Said(T),
    /// It is another now: see [`Bond::footing`].
    Footing,
}

/// A binder at work. Its tasks are the connection's.
#[derive(Debug)]
pub(crate) struct Bond {
    messages: mpsc::Sender<Result<Message, BadLine>>,
    footing: watch::Receiver<Footing>,
    cut: oneshot::Receiver<Cut>,
    /// Nothing more is to be written.
    quiet: Arc<Notify>,
}

impl Bond {
    /// Begins to ask and to answer.
    pub(crate) fn begin(binder: Binder, speaking: Speaking, crew: &Crew) -> Self {
        let (messages, incoming) = mpsc::channel(1);
        let (outgoing, mut sent) = mpsc::channel::<Outgoing>(OUT);
        let (over, cut) = oneshot::channel();
        let footing = binder.footing();
        let quiet = Arc::new(Notify::new());
        let hushed = quiet.clone();
        crew.execute(async move {
            // Who listened may have gone.
            drop(over.send(binder.run(incoming, outgoing).await));
        });
        crew.execute(async move {
            // Nobody can see a line arrive on a stream of HTTP/2: who waits for that waits out its patience.
            let mut waiting = Vec::new();
            let write = async {
                while let Some(Outgoing { message, written }) = sent.recv().await {
                    waiting.extend(written);
                    if speaking.say(&message).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = write => {}
                () = hushed.notified() => {}
            }
        });
        Self {
            messages,
            footing,
            cut,
            quiet,
        }
    }

    /// Says nothing more and cuts nothing, so that the stream can end before the connection does.
    pub(crate) fn fall_silent(self, crew: &Crew) {
        self.quiet.notify_one();
        crew.execute(async move {
            let _bond = self;
            std::future::pending::<()>().await;
        });
    }

    pub(crate) fn footing(&self) -> Footing {
        self.footing.borrow().clone()
    }

    /// What is said next, or that the footing changed. May be given up at any time.
    pub(crate) async fn next<T, B>(
        &mut self,
        listening: &mut Listening<B>,
        patience: Duration,
    ) -> Result<Heard<T>, BondError>
    where
        T: DeserializeOwned,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = tokio::select! {
                biased;
                cut = &mut self.cut => return Err(BondError::Cut(cut.unwrap_or(Cut::Closed))),
                changed = self.footing.changed() => {
                    if changed.is_ok() {
                        return Ok(Heard::Footing);
                    }
                    let cut = (&mut self.cut).await;
                    return Err(BondError::Cut(cut.unwrap_or(Cut::Closed)));
                }
                line = listening.hear(left, patience) => line?,
            };
            match line {
                Line::Said(said) => return Ok(Heard::Said(said)),
                // A binder that ended says so above.
                Line::Attest(message) => drop(self.messages.send(Ok(message)).await),
            }
        }
    }
}
