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
    fn get_mut(&mut self, serial: u64) -> Option<&mut Line> {
        let lines = self.current.iter_mut().chain(&mut self.coming);
        lines.into_iter().find(|line| line.serial == serial)
    }
}

#[derive(Debug)]
struct Line {
    serial: u64,
    passage: Passage,
    assurance: Assurance,
    /// Its verdict is late to be renewed.
    is_late: bool,
}

/// A connection to send over. For as long as one is held, also in the body of an answer, the connection is not given up.
#[derive(Debug, Clone)]
pub struct Passage {
    pub(crate) sender: SendRequest<Outgoing>,
    /// Falls with the last.
    using: watch::Sender<()>,
}

impl Passage {
    pub(crate) fn new(sender: SendRequest<Outgoing>) -> Self {
        Self {
            sender,
            using: watch::Sender::new(()),
        }
    }
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
        let passage = Passage::new(sender);
        let used = passage.using.subscribe();
        let line = Some(Line {
            serial,
            passage,
            assurance,
            is_late: false,
        });
        let is_open = |line: &Line| !line.passage.sender.is_closed();
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
            Ok(line) => demand.refuses(&line.assurance, now),
            Err(reason) => Some(reason),
        }
    }

    /// What its connection has shown; without one, nothing.
    pub fn assurance(&self) -> Assurance {
        self.lock()
            .current
            .as_ref()
            .map_or_else(Assurance::none, |line| line.assurance.clone())
    }

    /// The tier of its connection; without one there is none above the lowest.
    pub fn tier(&self) -> Tier {
        let lines = self.lock();
        lines.current.as_ref().map_or(Tier::Open, |line| line.assurance.tier())
    }

    /// The way to it, if what its connection has shown meets the demand.
    pub(crate) fn way(self: &Arc<Self>, demand: &Demand, now: u64) -> Result<Way, Reason> {
        let lines = self.lock();
        let line = self.open(lines.current.as_ref())?;
        match demand.refuses(&line.assurance, now) {
            Some(reason) => Err(reason),
            None => Ok(Way {
                worker: self.clone(),
                serial: line.serial,
                assurance: line.assurance.clone(),
            }),
        }
    }

    fn open<'a>(&self, line: Option<&'a Line>) -> Result<&'a Line, Reason> {
        match line {
            None => Err(Reason::NotConnected),
            Some(line) if line.passage.sender.is_closed() => Err(Reason::NotConnected),
            Some(_) if !self.is_ready.load(Ordering::Acquire) => Err(Reason::NotReady),
            Some(line) if line.is_late => Err(Reason::VerdictLapsed),
            Some(line) => Ok(line),
        }
    }

    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
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
        match demand.refuses(&line.assurance, now) {
            Some(reason) => Err(reason),
            None => Ok(line.passage.clone()),
        }
    }
}

/// A connection in use. Dropped, the worker is gone, unless there is a newer connection.
#[derive(Debug)]
pub struct Connected {
    worker: Arc<Worker>,
    serial: u64,
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
        self.if_line(|_| self.worker.models.store(Arc::new(models)));
    }

    /// A new verdict stands, in the place of the last.
    pub fn assure(&self, assurance: Assurance) {
        self.if_line(|line| {
            line.assurance = assurance;
            line.is_late = false;
        });
    }

    /// The verdict is late to be renewed: nothing new is sent until [`assure`](Self::assure); what runs goes on.
    pub fn lapse(&self) {
        self.if_line(|line| line.is_late = true);
    }

    /// Ready when a newer connection has taken its place and no answer is under way on this one any more.
    pub async fn relieved(&self) {
        let mut used = self.used.clone();
        // Nothing is ever sent there: it is over when everybody has let go.
        while used.changed().await.is_ok() {}
    }

    fn if_line(&self, act: impl FnOnce(&mut Line)) {
        if let Some(line) = self.worker.lock().get_mut(self.serial) {
            act(line);
        }
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
