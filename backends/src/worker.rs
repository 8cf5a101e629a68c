//! The connection of a worker, from the side that asks: it comes and goes, and its upstream stays.
//!
//! A worker dials us, or we dial it; whoever opened the connection hands it over with [`Worker::connect`] and holds
//! the [`Connected`] that it is given for as long as the connection lives.
//! Of two connections the newer counts, from its first word on whether it is ready: the older may be one whose end nobody
//! has noticed. Until then the older serves, so that a worker that dials anew is never away; what runs on it goes on, and
//! [`Connected::relieved`] says when that has ended.
//! Without a connection, or while the worker says that it is not ready or its verdict is late to be renewed, its
//! upstream is no candidate, not even as a last resort.
//! A request is sent over a [`Way`]: the connection that was looked at, and no other that may have come since.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use hyper::client::conn::http2::SendRequest;
use openapi::model::Model;
use tokio::sync::watch;

use crate::{
    body::Outgoing,
    clock::unix_seconds,
    verdict::{Assurance, Demand, Reason, Tier},
};

/// One worker that the configuration names, connected or not.
#[derive(Debug)]
pub struct Worker {
    /// The operator's name for it.
    pub name: Arc<str>,
    lines: Mutex<Lines>,
    /// Of the next connection, so that no two are taken for one.
    next: AtomicU64,
    /// What it says it serves, for as long as it is connected.
    pub(crate) models: Arc<ArcSwap<Vec<Model>>>,
    is_ready: AtomicBool,
    /// Requests that its engine says are running or waiting, whoever sent them.
    busy: AtomicUsize,
}

#[derive(Debug, Default)]
struct Lines {
    current: Option<Line>,
    /// It has not said yet whether it is ready.
    coming: Option<Line>,
}

impl Lines {
    fn has(&self, serial: u64) -> bool {
        let mut lines = self.current.iter().chain(&self.coming);
        lines.any(|line| line.serial == serial)
    }
}

#[derive(Debug)]
struct Line {
    serial: u64,
    sender: SendRequest<Outgoing>,
    using: Using,
    shown: Arc<Mutex<Shown>>,
}

/// What a connection has shown so far.
#[derive(Debug)]
struct Shown {
    assurance: Assurance,
    /// Its verdict is late to be renewed.
    is_late: bool,
}

impl Shown {
    fn refuses(&self, demand: &Demand, now: u64) -> Option<Reason> {
        match self.is_late {
            true => Some(Reason::VerdictLapsed),
            false => demand.refuses(&self.assurance, now),
        }
    }
}

impl Line {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shown)
    }
}

/// A connection to send one request over.
#[derive(Debug)]
pub struct Passage {
    pub(crate) sender: SendRequest<Outgoing>,
    pub(crate) gate: Option<Gate>,
    pub(crate) using: Using,
}

/// For as long as one is held, in the body of an answer too, the connection is not given up.
#[derive(Debug, Clone)]
pub(crate) struct Using {
    _held: watch::Sender<()>,
}

impl Passage {
    #[cfg(test)]
    pub(crate) fn new(sender: SendRequest<Outgoing>) -> Self {
        Self {
            sender,
            gate: None,
            using: Using {
                _held: watch::Sender::new(()),
            },
        }
    }
}

/// The last look at a connection: a request may wait long in HTTP/2's queue, for its peer says how many streams it takes.
#[derive(Debug)]
pub struct Gate {
    shown: Arc<Mutex<Shown>>,
    demand: Demand,
}

impl Gate {
    /// Whether the connection still meets the demand, also where a newer one has taken its place.
    pub(crate) fn look(&self) -> Result<(), Reason> {
        lock(&self.shown)
            .refuses(&self.demand, unix_seconds())
            .map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a worker says of itself while it is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its engine answers and it is not about to leave.
    pub is_ready: bool,
    pub busy: usize,
}

impl Worker {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            lines: Mutex::default(),
            next: AtomicU64::new(0),
            models: Arc::default(),
            is_ready: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
        }
    }

    /// Takes a connection into use. It serves nobody until [`Connected::set`], and then in the place of one that was there.
    pub fn connect(self: &Arc<Self>, sender: SendRequest<Outgoing>, assurance: Assurance) -> Connected {
        let mut lines = self.lock();
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let (held, used) = watch::channel(());
        let shown = Arc::new(Mutex::new(Shown {
            assurance,
            is_late: false,
        }));
        let line = Some(Line {
            serial,
            sender,
            using: Using { _held: held },
            shown: shown.clone(),
        });
        let is_open = |line: &Line| !line.sender.is_closed();
        if lines.current.as_ref().is_some_and(is_open) {
            lines.coming = line;
        } else {
            self.is_ready.store(false, Ordering::Release);
            *lines = Lines {
                current: line,
                coming: None,
            };
        }
        Connected {
            worker: self.clone(),
            serial,
            shown,
            used,
        }
    }

    /// Why nothing may be sent to it now, if there is a reason.
    pub fn absence(&self) -> Option<Reason> {
        self.open(self.lock().current.as_ref()).err()
    }

    /// Why this may not be sent to it now, if there is a reason. `now`: Unix time in seconds.
    pub fn refuses(&self, demand: &Demand, now: u64) -> Option<Reason> {
        match self.open(self.lock().current.as_ref()) {
            Ok(line) => line.shown().refuses(demand, now),
            Err(reason) => Some(reason),
        }
    }

    /// What its connection has shown; without one, nothing.
    pub fn assurance(&self) -> Assurance {
        self.lock()
            .current
            .as_ref()
            .map_or_else(Assurance::none, |line| line.shown().assurance.clone())
    }

    /// The tier of its connection; without one there is none above the lowest.
    pub fn tier(&self) -> Tier {
        let lines = self.lock();
        lines
            .current
            .as_ref()
            .map_or(Tier::Open, |line| line.shown().assurance.tier())
    }

    /// The way to it, if what its connection has shown meets the demand.
    pub(crate) fn way(self: &Arc<Self>, demand: &Demand, now: u64) -> Result<Way, Reason> {
        let lines = self.lock();
        let line = self.open(lines.current.as_ref())?;
        let shown = line.shown();
        match shown.refuses(demand, now) {
            Some(reason) => Err(reason),
            None => Ok(Way {
                worker: self.clone(),
                serial: line.serial,
                assurance: shown.assurance.clone(),
            }),
        }
    }

    fn open<'a>(&self, line: Option<&'a Line>) -> Result<&'a Line, Reason> {
        match line {
            None => Err(Reason::NotConnected),
            Some(line) if line.sender.is_closed() => Err(Reason::NotConnected),
            Some(_) if !self.is_ready.load(Ordering::Acquire) => Err(Reason::NotReady),
            Some(line) if line.shown().is_late => Err(Reason::VerdictLapsed),
            Some(line) => Ok(line),
        }
    }

    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }
}

/// One connection of a worker, whose assurance met a demand.
#[derive(Debug)]
pub(crate) struct Way {
    worker: Arc<Worker>,
    serial: u64,
    assurance: Assurance,
}

impl Way {
    /// What was shown on it when it was looked at.
    pub(crate) fn assurance(&self) -> &Assurance {
        &self.assurance
    }

    /// The connection, if it is still the one in use and still meets the demand.
    pub(crate) fn passage(&self, demand: &Demand, now: u64) -> Result<Passage, Reason> {
        let lines = self.worker.lock();
        let line = self.worker.open(lines.current.as_ref())?;
        if line.serial != self.serial {
            return Err(Reason::NotConnected);
        }
        match line.shown().refuses(demand, now) {
            Some(reason) => Err(reason),
            None => Ok(Passage {
                sender: line.sender.clone(),
                gate: Some(Gate {
                    shown: line.shown.clone(),
                    demand: demand.clone(),
                }),
                using: line.using.clone(),
            }),
        }
    }
}

/// A connection in use. Dropped, the worker is gone, unless there is a newer connection.
#[derive(Debug)]
pub struct Connected {
    worker: Arc<Worker>,
    serial: u64,
    shown: Arc<Mutex<Shown>>,
    used: watch::Receiver<()>,
}

impl Connected {
    /// Notes what the worker says. From the first time on this connection takes the place of an older one; an older one
    /// says nothing any more.
    pub fn set(&self, standing: &Standing) {
        let mut lines = self.worker.lock();
        if lines.coming.as_ref().is_some_and(|line| line.serial == self.serial) {
            lines.current = lines.coming.take();
        }
        if lines.current.as_ref().is_some_and(|line| line.serial == self.serial) {
            self.worker.busy.store(standing.busy, Ordering::Relaxed);
            self.worker.is_ready.store(standing.is_ready, Ordering::Release);
        }
    }

    /// Notes which models it serves.
    pub fn offer(&self, models: Vec<Model>) {
        let lines = self.worker.lock();
        if lines.has(self.serial) {
            self.worker.models.store(Arc::new(models));
        }
    }

    /// A new verdict stands, in the place of the last.
    pub fn assure(&self, assurance: Assurance) {
        *lock(&self.shown) = Shown {
            assurance,
            is_late: false,
        };
    }

    /// The verdict is late to be renewed: nothing new is sent until [`assure`](Self::assure), nor what waits to be sent;
    /// what runs goes on.
    pub fn lapse(&self) {
        lock(&self.shown).is_late = true;
    }

    /// Ready when a newer connection has taken its place and no answer is under way on this one any more.
    pub async fn relieved(&self) {
        let mut used = self.used.clone();
        // Nothing is ever sent there: it is over when everybody has let go.
        while used.changed().await.is_ok() {}
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut lines = self.worker.lock();
        if lines.coming.as_ref().is_some_and(|line| line.serial == self.serial) {
            lines.coming = None;
        }
        if lines.current.as_ref().is_some_and(|line| line.serial == self.serial) {
            lines.current = lines.coming.take();
            self.worker.is_ready.store(false, Ordering::Release);
            self.worker.busy.store(0, Ordering::Relaxed);
            if lines.current.is_none() {
                self.worker.models.store(Arc::default());
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
