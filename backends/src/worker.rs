//! The connection of a worker, from the side that asks: it comes and goes, and its upstream stays.
//!
//! A worker dials us, or we dial it; whoever opened the connection hands it over with [`Worker::connect`] and holds
//! the [`Connected`] that it is given for as long as the connection lives.
//! Of two connections the newer counts: the older may be one whose end nobody has noticed.
//! Without a connection, or while the worker says that it is not ready, its upstream is no candidate, not even as a
//! last resort.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use hyper::client::conn::http2::SendRequest;
use openapi::model::Model;

use crate::{body::Outgoing, verdict::Tier};

/// One worker that the configuration names, connected or not.
#[derive(Debug)]
pub struct Worker {
    /// The operator's name for it.
    pub name: Arc<str>,
    line: Mutex<Option<Line>>,
    /// What it says it serves, for as long as it is connected.
    pub(crate) models: Arc<ArcSwap<Vec<Model>>>,
    is_ready: AtomicBool,
    /// Requests that its engine says are running or waiting, whoever sent them.
    busy: AtomicUsize,
}

#[derive(Debug)]
struct Line {
    serial: u64,
    sender: SendRequest<Outgoing>,
    tier: Tier,
    /// By which it signs statements.
    statement_key: Option<[u8; 32]>,
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
            line: Mutex::default(),
            models: Arc::default(),
            is_ready: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
        }
    }

    /// Takes a connection into use, in the place of one that was there. It serves nobody until [`Connected::set`].
    pub fn connect(self: &Arc<Self>, sender: SendRequest<Outgoing>, tier: Tier) -> Connected {
        let mut line = self.lock();
        let serial = line.as_ref().map_or(0, |line| line.serial.wrapping_add(1));
        self.is_ready.store(false, Ordering::Release);
        *line = Some(Line {
            serial,
            sender,
            tier,
            statement_key: None,
        });
        Connected {
            worker: self.clone(),
            serial,
        }
    }

    /// Why nothing may be sent to it now, if there is a reason.
    pub fn absence(&self) -> Option<&'static str> {
        match &*self.lock() {
            None => Some("its worker is not connected"),
            Some(line) if line.sender.is_closed() => Some("its worker is not connected"),
            Some(_) if !self.is_ready.load(Ordering::Acquire) => Some("its worker is not ready"),
            Some(_) => None,
        }
    }

    /// The tier of its connection; without one there is none above the lowest.
    pub fn tier(&self) -> Tier {
        self.lock().as_ref().map_or(Tier::Open, |line| line.tier)
    }

    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Its connection, and the key by which who answers there signs statements.
    pub(crate) fn line(&self) -> Option<(SendRequest<Outgoing>, Option<[u8; 32]>)> {
        self.lock()
            .as_ref()
            .map(|line| (line.sender.clone(), line.statement_key))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Dropped, the worker is gone, unless a newer connection has taken its place.
#[derive(Debug)]
pub struct Connected {
    worker: Arc<Worker>,
    serial: u64,
}

impl Connected {
    /// Notes what the worker says. A connection that was replaced says nothing any more.
    pub fn set(&self, standing: &Standing) {
        self.if_current(|worker| {
            worker.busy.store(standing.busy, Ordering::Relaxed);
            worker.is_ready.store(standing.is_ready, Ordering::Release);
        });
    }

    /// Notes the Ed25519 key by which it signs statements. Without one none are asked for.
    pub fn states_by(&self, key: [u8; 32]) {
        let mut line = self.worker.lock();
        if let Some(line) = line.as_mut().filter(|line| line.serial == self.serial) {
            line.statement_key = Some(key);
        }
    }

    /// Notes which models it serves.
    pub fn offer(&self, models: Vec<Model>) {
        self.if_current(|worker| worker.models.store(Arc::new(models)));
    }

    fn if_current(&self, act: impl FnOnce(&Worker)) {
        let line = self.worker.lock();
        if line.as_ref().is_some_and(|line| line.serial == self.serial) {
            act(&self.worker);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut line = self.worker.lock();
        if line.as_ref().is_some_and(|line| line.serial == self.serial) {
            *line = None;
            self.worker.is_ready.store(false, Ordering::Release);
            self.worker.busy.store(0, Ordering::Relaxed);
            self.worker.models.store(Arc::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    /// The sending half of a connection, and what keeps it open.
    async fn line() -> (SendRequest<Outgoing>, impl Sized) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
            .await
            .expect("a client's handshake waits for nobody");
        (sender, (tokio::spawn(connection), theirs))
    }

    const READY: Standing = Standing {
        is_ready: true,
        busy: 3,
    };

    #[tokio::test]
    async fn a_worker_is_there_when_it_is_connected_and_ready() {
        let worker = Arc::new(Worker::new("box"));
        assert_eq!(worker.absence(), Some("its worker is not connected"));
        let (sender, _open) = line().await;
        let connected = worker.connect(sender, Tier::Tee);
        assert_eq!(worker.absence(), Some("its worker is not ready"));
        connected.set(&READY);
        connected.offer(vec![Model::new("m", 0, "")]);
        assert_eq!((worker.absence(), worker.tier(), worker.busy()), (None, Tier::Tee, 3));
        assert_eq!(worker.models.load().len(), 1);
        drop(connected);
        assert_eq!(worker.absence(), Some("its worker is not connected"));
        assert_eq!(
            (worker.tier(), worker.busy(), worker.models.load().len()),
            (Tier::Open, 0, 0)
        );
    }

    #[tokio::test]
    async fn the_newer_of_two_connections_counts() {
        let worker = Arc::new(Worker::new("box"));
        let (sender, _open) = line().await;
        let first = worker.connect(sender, Tier::Tee);
        first.set(&READY);
        let (sender, _open) = line().await;
        let second = worker.connect(sender, Tier::Open);
        assert_eq!(
            worker.absence(),
            Some("its worker is not ready"),
            "the newer must say so itself"
        );
        first.set(&READY);
        assert_eq!(
            worker.absence(),
            Some("its worker is not ready"),
            "the older is not heard"
        );
        second.set(&READY);
        drop(first);
        assert_eq!((worker.absence(), worker.tier()), (None, Tier::Open));
    }
}
