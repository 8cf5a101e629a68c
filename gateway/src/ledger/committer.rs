//! Committer: captures become durable in groups, in order.
//!
//! All that was queued while the last group was written is the next one: the disk sets the pace, and no timer does.
//! Numbers and receipts are given here, so that they follow each other without a gap.
//!
//! What the disk or the database does not take for now is tried again for as long as the gateway runs, ever more
//! slowly. Who waits is told after [`PATIENCE`] that it is late; the charge stays, and `(node, seq)` decides that it
//! counts once. A charge that will never be taken is dropped with an error in the log, for it would block all others.
//! Those of an incarnation of the node that is over are dropped too, unless a local journal takes them.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use billing::Charge;
use billing_store::{SealedCharge, ledger::Joined};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use super::central::Trouble;
use crate::layers::rescue::Chain;

pub(super) use sink::{Sink, Target};

mod sink;

/// Charges in one group at most.
const GROUP: usize = 512;
/// How long a request waits for its charge to be durable.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(15);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// A charge that is durable.
#[derive(Debug)]
pub(crate) struct Receipted {
    pub(crate) charge: Charge,
}

/// Why a capture is not known to be durable. The client must not see a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The database or the disk did not take it in time. It may still become durable.
    #[error("the ledger did not take the charge in time")]
    Late,
    /// This node may post nothing any more, or not this; the client pays nothing.
    #[error("the ledger refuses the charge")]
    Refused,
}

type Outcome = Result<Receipted, CaptureError>;

/// What is done once a charge is durable, whether or not somebody still waits for it then; dropped if it never is.
pub(crate) type Then = Box<dyn FnOnce(&Charge) + Send>;

/// A capture on its way to the disk.
#[derive(Debug)]
pub(crate) struct Captured(oneshot::Receiver<Outcome>);

impl Captured {
    pub(super) fn refused() -> Self {
        let (answer, waiting) = oneshot::channel();
        drop(answer.send(Err(CaptureError::Refused)));
        Self(waiting)
    }
}

impl Captured {
    /// The same, with a look at the charge once it is durable, whether or not somebody still waits for it then.
    pub(crate) fn inspect(self, look: impl FnOnce(&Charge) + Send + 'static) -> Self {
        let (answer, waiting) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = self.await;
            if let Ok(receipted) = &outcome {
                look(&receipted.charge);
            }
            // Who asked may have left.
            drop(answer.send(outcome));
        });
        Self(waiting)
    }
}

impl Future for Captured {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // Where nobody is left to answer, nobody knows either.
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(CaptureError::Late)))
    }
}

/// Where captures wait. Never full: how many may be under way is decided before anything is held.
pub(super) struct Queue {
    #[expect(clippy::disallowed_types, reason = "holds bound it: see the type")]
    sender: mpsc::UnboundedSender<Queued>,
    len: Arc<AtomicUsize>,
    over: Arc<AtomicU64>,
}

#[expect(clippy::large_enum_variant, reason = "nearly all are charges")]
enum Queued {
    Charge(Waiter, Charge),
    /// An incarnation begins, whose charges follow.
    Begin(Joined),
    /// Answered when all before it came to an end.
    Flush(oneshot::Sender<()>),
    Close,
}

/// Who waits for a charge, which is held apart from it.
struct Waiter {
    epoch: u64,
    since: Instant,
    /// `None` once it was told.
    answer: Option<oneshot::Sender<Outcome>>,
    then: Option<Then>,
}

impl Waiter {
    fn tell(mut self, outcome: Outcome) {
        // First: whoever waits finds it done.
        if let (Some(then), Ok(receipted)) = (self.then.take(), &outcome) {
            then(&receipted.charge);
        }
        if let Some(answer) = self.answer.take() {
            // Who asked may have left: its charge does not depend on it.
            drop(answer.send(outcome));
        }
    }
}

/// The far end of a [`Queue`].
pub(super) struct Waiting {
    #[expect(clippy::disallowed_types, reason = "holds bound it: see the type")]
    receiver: mpsc::UnboundedReceiver<Queued>,
    len: Arc<AtomicUsize>,
    /// The incarnation whose charges were refused.
    over: Arc<AtomicU64>,
}

pub(super) fn queue() -> (Queue, Waiting) {
    #[expect(clippy::disallowed_methods, reason = "holds bound it: see the type")]
    let (sender, receiver) = mpsc::unbounded_channel();
    let len = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicU64::new(0));
    (
        Queue {
            sender,
            len: len.clone(),
            over: over.clone(),
        },
        Waiting { receiver, len, over },
    )
}

impl Queue {
    pub(super) fn push(&self, epoch: u64, charge: Charge, then: Option<Then>) -> Captured {
        let (answer, waiting) = oneshot::channel();
        self.len.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter {
            epoch,
            since: Instant::now(),
            answer: Some(answer),
            then,
        };
        self.send(Queued::Charge(waiter, charge));
        Captured(waiting)
    }

    /// Charges that are not durable.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The incarnation whose charges were refused; 0 where none was.
    pub(super) fn over(&self) -> u64 {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, joined: Joined) {
        self.send(Queued::Begin(joined));
    }

    /// What comes after is of no incarnation, and is refused.
    pub(super) fn end(&self) {
        self.begin(Joined {
            epoch: 0,
            last_seq: 0,
            heads: Vec::new(),
        });
    }

    /// Ready when all that was pushed before came to an end.
    pub(super) async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        self.send(Queued::Flush(answer));
        // The committer is gone where there is no answer, and with it what it had.
        drop(flushed.await);
    }

    /// Nothing comes after.
    pub(super) fn close(&self) {
        self.send(Queued::Close);
    }

    fn send(&self, queued: Queued) {
        // Without a committer the answers are dropped, which tells who waits.
        drop(self.sender.send(queued));
    }
}

/// Charges that become durable together, all of one incarnation, and who waits for each.
#[derive(Default)]
struct Group {
    waiters: Vec<Waiter>,
    charges: Vec<SealedCharge>,
}

impl Group {
    fn epoch(&self) -> u64 {
        self.waiters.first().map_or(0, |waiter| waiter.epoch)
    }

    fn is_of(&self, epoch: u64) -> bool {
        self.waiters.is_empty() || self.epoch() == epoch
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self {
            waiters: self.waiters.split_off(at),
            charges: self.charges.split_off(at),
        }
    }
}

fn bare(charge: Charge) -> SealedCharge {
    SealedCharge {
        charge,
        receipt: None,
        receipt_hash: None,
    }
}

/// The task that writes.
pub(super) struct Committer {
    waiting: Waiting,
    /// What was received and is not written.
    backlog: VecDeque<Queued>,
    sink: Sink,
    /// Until when refusals are borne, once it closes.
    give_up_at: Option<Instant>,
}

/// How long refusals are borne after closing began.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

impl Committer {
    pub(super) fn new(waiting: Waiting, sink: Sink) -> Self {
        Self {
            waiting,
            backlog: VecDeque::new(),
            sink,
            give_up_at: None,
        }
    }

    /// Writes until it is closed and all is written; says how many charges were lost.
    pub(super) async fn run(mut self) -> usize {
        while self.receive().await {
            let group = self.group();
            if group.waiters.is_empty() || self.write(group).await {
                continue;
            }
            // It closes, and the disk or the database refuses for too long.
            return self.waiting.len.load(Ordering::Relaxed);
        }
        0
    }

    /// Waits for something to do; false when nothing will come.
    async fn receive(&mut self) -> bool {
        if !self.backlog.is_empty() {
            return true;
        }
        if self.give_up_at.is_some() {
            self.refill();
            return !self.backlog.is_empty();
        }
        match self.waiting.receiver.recv().await {
            Some(queued) => self.backlog.push_back(queued),
            None => return false,
        }
        true
    }

    /// The next charges of one incarnation, after what stands before them was done.
    fn group(&mut self) -> Group {
        let mut group = Group::default();
        while group.waiters.len() < GROUP {
            self.refill();
            let Some(queued) = self.backlog.pop_front() else { break };
            match queued {
                Queued::Charge(waiter, _) if !self.sink.takes(waiter.epoch) => self.refuse(waiter),
                Queued::Charge(waiter, charge) if group.is_of(waiter.epoch) => {
                    group.waiters.push(waiter);
                    group.charges.push(bare(charge));
                }
                Queued::Begin(joined) if group.waiters.is_empty() => self.sink.begin(joined),
                Queued::Flush(answer) if group.waiters.is_empty() => drop(answer.send(())),
                Queued::Close if group.waiters.is_empty() => self.close(),
                // Only after what is before it.
                other => {
                    self.backlog.push_front(other);
                    break;
                }
            }
        }
        group
    }

    /// One of what came in the meantime.
    fn refill(&mut self) {
        if self.backlog.is_empty()
            && let Ok(queued) = self.waiting.receiver.try_recv()
        {
            self.backlog.push_back(queued);
        }
    }

    fn close(&mut self) {
        self.give_up_at.get_or_insert_with(|| Instant::now() + CLOSING_PATIENCE);
    }

    /// Makes a group durable, as often as it takes; false where that was given up.
    async fn write(&mut self, mut group: Group) -> bool {
        let mut backoff = FIRST_BACKOFF;
        let began = Instant::now();
        self.sink.seal(&mut group.charges);
        loop {
            let patience = self
                .give_up_at
                .map_or(TRY, |at| at.saturating_duration_since(Instant::now()).min(TRY));
            let outcome = match timeout(patience, self.sink.commit(group.epoch(), &group.charges)).await {
                Ok(outcome) => outcome,
                Err(elapsed) => Err(Trouble::Passing(elapsed.into())),
            };
            let charges = group.waiters.len();
            match outcome {
                Ok(()) => {
                    self.sink.committed(&group.charges, began.elapsed());
                    self.done(charges);
                    for (waiter, sealed) in group.waiters.into_iter().zip(group.charges) {
                        waiter.tell(Ok(Receipted { charge: sealed.charge }));
                    }
                    return true;
                }
                Err(trouble @ (Trouble::Closed | Trouble::Astray(_))) => {
                    tracing::error!(
                        cause = %Chain(&trouble),
                        charges,
                        "the lease of this node is over: these charges are refused, and their clients pay nothing"
                    );
                    self.sink.closed(group.epoch());
                    self.waiting.over.store(group.epoch(), Ordering::Relaxed);
                    group.waiters.into_iter().for_each(|waiter| self.refuse(waiter));
                    return true;
                }
                Err(Trouble::Refused(error)) if charges > 1 => {
                    // One of them spoils it for all: it is found by halves.
                    tracing::warn!(cause = %Chain(&*error), charges, "a group of charges is refused");
                    let rest = group.split_off(charges / 2);
                    for (waiter, sealed) in rest.waiters.into_iter().zip(rest.charges).rev() {
                        self.backlog.push_front(Queued::Charge(waiter, sealed.charge));
                    }
                    self.sink.seal(&mut group.charges);
                }
                Err(Trouble::Refused(error)) => {
                    let request_id = group.charges.first().map(|sealed| sealed.charge.request_id.as_str());
                    tracing::error!(cause = %Chain(&*error), request_id, "a charge is refused for good, and its client pays nothing");
                    group.waiters.into_iter().for_each(|waiter| self.refuse(waiter));
                    return true;
                }
                Err(Trouble::Passing(error)) => {
                    self.sink.stalled(&*error);
                    if self.give_up_at.is_some_and(|at| Instant::now() + backoff > at) {
                        return false;
                    }
                    self.expire(&mut group.waiters);
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Tells who waited too long, those in the queue too.
    fn expire(&mut self, group: &mut [Waiter]) {
        while let Ok(queued) = self.waiting.receiver.try_recv() {
            self.backlog.push_back(queued);
        }
        if self.backlog.iter().any(|queued| matches!(queued, Queued::Close)) {
            self.close();
        }
        let queued = self.backlog.iter_mut().filter_map(|queued| match queued {
            Queued::Charge(waiter, _) => Some(waiter),
            Queued::Begin(_) | Queued::Flush(_) | Queued::Close => None,
        });
        for waiter in group.iter_mut().chain(queued) {
            if waiter.since.elapsed() >= PATIENCE
                && let Some(answer) = waiter.answer.take()
            {
                drop(answer.send(Err(CaptureError::Late)));
            }
        }
    }

    fn refuse(&self, waiter: Waiter) {
        self.done(1);
        waiter.tell(Err(CaptureError::Refused));
    }

    fn done(&self, charges: usize) {
        self.waiting.len.fetch_sub(charges, Ordering::Relaxed);
    }
}
