//! The way of a record from a request to the disk.
//!
//! A request must never wait for the disk, so [`Recorder::record`] puts the record into a bounded queue and returns.
//! When the queue is full the record is dropped and counted.
//! A [`RecorderTask`] writes what is queued, many records in one transaction.

mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use billing::RequestRecord;
use tokio::sync::{mpsc, watch};

pub use task::RecorderTask;

use crate::pool::Pool;

/// Records that wait for the disk at most: some 25 MB of ordinary ones, 135 MB where every text has its full length.
const QUEUE: usize = 65_536;

/// Takes records from requests. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<RequestRecord>,
    /// True asks the task to end.
    closing: watch::Sender<bool>,
    /// Its sender falls when the task has ended.
    ended: watch::Receiver<()>,
    state: Arc<State>,
}

/// What the handles and the task both write.
#[derive(Debug)]
struct State {
    dropped: AtomicU64,
    stalled: AtomicBool,
    /// Whole seconds since `born` at the last warning, plus one; 0 before the first.
    warned: AtomicU64,
    born: Instant,
}

pub(crate) fn recorder(writer: Pool, node: Option<Arc<str>>) -> (Recorder, RecorderTask) {
    let (queue, records) = mpsc::channel(QUEUE);
    let (closing, close_asked) = watch::channel(false);
    let (alive, ended) = watch::channel(());
    let state = Arc::new(State {
        dropped: AtomicU64::new(0),
        stalled: AtomicBool::new(false),
        warned: AtomicU64::new(0),
        born: Instant::now(),
    });
    let task = RecorderTask::new((writer, node), records, close_asked, alive, state.clone());
    let inner = Arc::new(Inner {
        queue,
        closing,
        ended,
        state,
    });
    (Recorder { inner }, task)
}

impl Recorder {
    /// Queues a record. Never blocks and never fails; see [`Recorder::dropped`].
    ///
    /// Texts longer than 256 bytes are cut.
    pub fn record(&self, mut record: RequestRecord) {
        crate::rows::bound(&mut record);
        if self.inner.queue.try_send(record).is_err() {
            self.inner.state.drop_records(1);
        }
    }

    /// Records lost since the start: the queue was full, the recorder closed, or the disk refused to the end.
    pub fn dropped(&self) -> u64 {
        self.inner.state.dropped.load(Ordering::Relaxed)
    }

    /// Whether the disk refused the last write; records wait in the queue meanwhile.
    pub fn stalled(&self) -> bool {
        self.inner.state.stalled.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the task; returns when that is done.
    ///
    /// Where the disk refuses, it returns after some seconds and the rest is lost and counted.
    pub async fn close(&self) {
        self.inner.closing.send_replace(true);
        let mut ended = self.inner.ended.clone();
        // Nothing is ever sent: this returns when the task, run or not, is gone.
        while ended.changed().await.is_ok() {}
    }
}

impl State {
    fn drop_records(&self, count: u64) {
        let total = self.dropped.fetch_add(count, Ordering::Relaxed) + count;
        let now = self.born.elapsed().as_secs() + 1;
        let last = self.warned.load(Ordering::Relaxed);
        if now > last
            && self
                .warned
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(
                dropped = total,
                "usage records are lost: the database does not keep up or does not accept them"
            );
        }
    }
}
