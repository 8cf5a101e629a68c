//! Writes queued records in batches.
//!
//! A batch that the database refuses is kept and tried again, ever more slowly, for as long as the gateway runs; the queue bounds what piles up behind it.
//! Once the recorder closes, refusals are borne for a few seconds only.
//! A batch that the database will never accept is dropped and counted at once: it would block all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use billing::RequestRecord;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::State;
use crate::fault::Fault;
use crate::pool::Pool;
use crate::rows;

/// Records in one transaction at most.
const BATCH: usize = 512;
/// How long the first record of a batch waits for company: twenty small transactions a second, not thousands.
const LINGER: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// How long refusals are borne after closing began.
const CLOSING_PATIENCE: Duration = Duration::from_secs(5);

/// The writing half of a [`Recorder`](super::Recorder). Spawn [`RecorderTask::run`].
#[derive(Debug)]
pub struct RecorderTask {
    writer: Pool,
    /// This gateway, where several share a server.
    node: Option<Arc<str>>,
    records: mpsc::Receiver<RequestRecord>,
    close_asked: watch::Receiver<bool>,
    /// When to give up, once closing.
    give_up_at: Option<Instant>,
    /// Falls with the task, which tells those who wait for its end.
    _alive: watch::Sender<()>,
    state: Arc<State>,
}

impl RecorderTask {
    pub(super) fn new(
        (writer, node): (Pool, Option<Arc<str>>),
        records: mpsc::Receiver<RequestRecord>,
        close_asked: watch::Receiver<bool>,
        alive: watch::Sender<()>,
        state: Arc<State>,
    ) -> Self {
        Self {
            writer,
            node,
            records,
            close_asked,
            give_up_at: None,
            _alive: alive,
            state,
        }
    }

    /// Writes until the recorder is closed, or all its handles are gone, and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.fill(&mut batch).await {
            if !self.write(&batch).await {
                self.abandon();
            }
            batch.clear();
        }
    }

    /// Waits for records; false when there will be none.
    async fn fill(&mut self, batch: &mut Vec<RequestRecord>) -> bool {
        while batch.is_empty() {
            if self.give_up_at.is_some() {
                return self.records.recv_many(batch, BATCH).await > 0;
            }
            tokio::select! {
                count = self.records.recv_many(batch, BATCH) => {
                    if count == 0 {
                        return false;
                    }
                }
                () = closing(&mut self.close_asked) => self.begin_closing(),
            }
        }
        if batch.len() < BATCH && self.give_up_at.is_none() {
            tokio::select! {
                () = sleep(LINGER) => {}
                () = closing(&mut self.close_asked) => self.begin_closing(),
            }
        }
        while batch.len() < BATCH
            && let Ok(record) = self.records.try_recv()
        {
            batch.push(record);
        }
        true
    }

    /// Writes a batch, as often as it takes; false when it was given up because we are closing.
    async fn write(&mut self, batch: &[RequestRecord]) -> bool {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let Err(error) = rows::insert(&self.writer, self.node.as_deref(), batch).await else {
                if self.state.stalled.swap(false, Ordering::Relaxed) {
                    tracing::info!("usage records are written again");
                }
                return true;
            };
            let fault = Fault::of(&error);
            if !fault.may_pass() {
                tracing::error!(%error, records = batch.len(), advice = fault.advice(), "usage records were refused and are lost");
                self.state.drop_records(batch.len() as u64);
                return true;
            }
            self.state.stalled.store(true, Ordering::Relaxed);
            if self.give_up_at.is_some_and(|at| Instant::now() + backoff > at) {
                tracing::error!(%error, advice = fault.advice(), "closing without all usage records written");
                self.state.drop_records(batch.len() as u64);
                return false;
            }
            tracing::warn!(%error, advice = fault.advice(), retry_in = ?backoff, waiting = self.records.len() + batch.len(), "cannot write usage records");
            self.pause(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn pause(&mut self, backoff: Duration) {
        if self.give_up_at.is_some() {
            return sleep(backoff).await;
        }
        tokio::select! {
            () = sleep(backoff) => {}
            () = closing(&mut self.close_asked) => self.begin_closing(),
        }
    }

    /// Takes no more records; those queued are still written.
    fn begin_closing(&mut self) {
        self.records.close();
        self.give_up_at = Some(Instant::now() + CLOSING_PATIENCE);
    }

    /// Counts all that is queued as lost.
    fn abandon(&mut self) {
        let mut lost = 0;
        while self.records.try_recv().is_ok() {
            lost += 1;
        }
        if lost > 0 {
            self.state.drop_records(lost);
        }
    }
}

/// Returns when the recorder is closed or all its handles are gone.
async fn closing(close_asked: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and it goes with the last handle.
    let _gone = close_asked.wait_for(|asked| *asked).await;
}
