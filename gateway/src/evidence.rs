//! Evidence of those who serve: a bundle of each answer that was accepted, and an archive of those that receipts name.
//!
//! A bundle is kept while its verdict may still be cited, which is bounded by number and by size, and written down when
//! the first request under that verdict is answered: once, beside the request, in a folder of the data directory, under
//! its own digest. What nobody cites is never written.
//! A receipt waits until the bundle that it names is on the disk ([`Citation::durable`]); mostly it is long before the
//! answer ends.
//!
//! Pieces of collateral and policies are shared in memory among bundles.

mod archive;
mod own;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use attestation::{Bundle, Hex, Verdict};
use attestation_ratls::{Peer, channel::Attested};
use billing::RestsOn;
use tokio::sync::{mpsc, watch};

use crate::wall_clock::unix_seconds;
use archive::Archive;
pub(crate) use archive::{Archivist, ReadError};
pub(crate) use own::{Own, OwnError};

/// SHA-256 of a bundle's text.
pub(crate) type EvidenceId = Hex<32>;

/// Verdicts stand for ten minutes at most, so that this is some hundred workers.
const MAX_KEPT: usize = 4096;
/// Of the texts of all that are kept. One with GPUs may have several hundred KiB.
const MAX_BYTES: usize = 128 * 1024 * 1024;
/// How long after its verdict a bundle may still be cited: a request was sent just before the end.
const LINGER: u64 = 60;
/// Bundles on their way to the disk.
const MAX_ORDERS: usize = 256;
/// How long the end of an answer waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence(Option<Arc<Cabinet>>);

#[derive(Debug)]
struct Cabinet {
    kept: Mutex<Kept>,
    archive: Archive,
    orders: mpsc::Sender<Arc<Noted>>,
}

#[derive(Debug, Default)]
struct Kept {
    noted: HashMap<EvidenceId, Arc<Noted>>,
    bytes: usize,
    /// Counts what was noted.
    serial: u64,
}

/// A bundle with its id.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) id: EvidenceId,
    /// SHA-256 of the verdict in it.
    pub(crate) verdict: Hex<32>,
    pub(crate) bundle: Bundle,
    len: usize,
    serial: u64,
    expires: u64,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In memory alone, as long as nobody names it.
    Kept,
    Ordered,
    Durable,
}

/// The bundle that a receipt is about to name.
#[derive(Debug, Clone)]
pub(crate) struct Citation(Arc<Noted>);

impl Evidence {
    /// Bundles are archived in `data_dir` for so long by the task that comes with it. Without a folder nothing is kept.
    pub(crate) fn open(data_dir: Option<&Path>, keep: Duration) -> (Self, Option<Archivist>) {
        let Some(data_dir) = data_dir else {
            return (Self(None), None);
        };
        let archive = Archive::new(data_dir);
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        let archivist = Archivist::new(archive.clone(), keep, ordered);
        let cabinet = Cabinet {
            kept: Mutex::default(),
            archive,
            orders,
        };
        (Self(Some(Arc::new(cabinet))), Some(archivist))
    }

    /// Keeps what an answer of this peer rests on; `None` for evidence that answers no question, and where nothing is
    /// kept.
    pub(crate) fn note(&self, peer: &Peer, attested: &Attested) -> Option<EvidenceId> {
        let cabinet = self.0.as_ref()?;
        Some(cabinet.keep(peer.bundle(attested)?, attested.verdict(), unix_seconds()))
    }

    /// What a verdict in use rests on.
    pub(crate) fn kept(&self, id: EvidenceId) -> Option<Arc<Noted>> {
        self.0.as_ref()?.kept().noted.get(&id).cloned()
    }

    /// The receipt of a request under way will name this bundle, which is written from here on.
    pub(crate) fn cite(&self, id: EvidenceId) -> Option<Citation> {
        let noted = self.kept(id)?;
        self.0.as_ref()?.order(&noted);
        Some(Citation(noted))
    }

    /// A bundle of now or of the archive, as it was written.
    pub(crate) async fn read(&self, id: EvidenceId) -> Result<Option<String>, ReadError> {
        match (self.kept(id), &self.0) {
            (Some(noted), _) => Ok(Some(noted.bundle.text())),
            (None, Some(cabinet)) => cabinet.archive.read(id).await,
            (None, None) => Ok(None),
        }
    }
}

impl Citation {
    /// What the receipt says: the bundle, and the verdict in it.
    pub(crate) fn rests_on(&self) -> RestsOn {
        RestsOn {
            bundle: self.0.id.0,
            verdict: self.0.verdict.0,
        }
    }

    /// Ready when the bundle is on the disk; false if that took too long.
    pub(crate) async fn durable(&self) -> bool {
        let mut state = self.0.state.subscribe();
        // Nobody writes what is not ordered: the disk was behind, or refused it.
        let settled = state.wait_for(|state| *state != State::Ordered);
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        matches!(settled, Ok(Ok(state)) if *state == State::Durable)
    }
}

impl Cabinet {
    fn keep(&self, bundle: Bundle, verdict: &Verdict, now: u64) -> EvidenceId {
        let text = bundle.text();
        let id = Bundle::id_of(text.as_bytes());
        let mut kept = self.kept();
        if kept.noted.contains_key(&id) {
            return id;
        }
        kept.serial += 1;
        let noted = Noted {
            id,
            verdict: bundle.verdict_digest(),
            bundle,
            len: text.len(),
            serial: kept.serial,
            expires: verdict.expires(),
            state: watch::Sender::new(State::Kept),
        };
        kept.forget_expired(now);
        kept.insert(Arc::new(noted));
        kept.bound();
        id
    }

    /// Once: whoever comes later finds that it was ordered.
    fn order(&self, noted: &Arc<Noted>) {
        let is_first = |state: &mut State| {
            *state == State::Kept && {
                *state = State::Ordered;
                true
            }
        };
        if noted.state.send_if_modified(is_first) && self.orders.try_send(Arc::clone(noted)).is_err() {
            // The disk is behind: the next request under this verdict orders it again.
            noted.state.send_replace(State::Kept);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, noted: Arc<Noted>) {
        self.bytes += noted.len;
        self.noted.insert(noted.id, noted);
    }

    fn forget_expired(&mut self, now: u64) {
        let bytes = &mut self.bytes;
        self.noted.retain(|_, noted| {
            let stays = now < noted.expires.saturating_add(LINGER);
            if !stays {
                *bytes -= noted.len;
            }
            stays
        });
    }

    fn bound(&mut self) {
        while self.noted.len() > MAX_KEPT || self.bytes > MAX_BYTES {
            let oldest = self.noted.iter().min_by_key(|(_, noted)| noted.serial);
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            if let Some(noted) = self.noted.remove(&oldest) {
                self.bytes -= noted.len;
            }
        }
    }
}
