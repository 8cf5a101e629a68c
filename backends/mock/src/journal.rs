//! What arrived and how it ended: `/_log`, `/_counts`, `/_inflight`, `/_cancelled`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::connection::Peer;
use crate::script::{Script, Step};

const ENTRIES: usize = 500;
const BODY_TEXT_BYTES: usize = 64 << 10;
/// Names of models come from outside; past this many, new ones share the key `other`.
const COUNT_KEYS: usize = 10_000;

pub(crate) struct Journal {
    book: Mutex<Book>,
    inflight: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
}

#[derive(Default)]
struct Book {
    next: u64,
    entries: VecDeque<Entry>,
    counts: BTreeMap<String, u64>,
}

/// One request. No Debug and no Display: it holds a prompt and credentials.
#[derive(Serialize, Clone)]
pub(crate) struct Entry {
    seq: u64,
    at_ms: u64,
    method: String,
    path: String,
    version: String,
    headers: Map<String, Value>,
    model: String,
    body_bytes: usize,
    body: String,
}

impl Journal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::new(Book::default()),
            inflight: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        })
    }

    /// Opens a request. It counts as cancelled unless it is completed before it is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Exchange {
        self.inflight.fetch_add(1, Ordering::SeqCst);
        Exchange {
            journal: self.clone(),
            complete: false,
            close: None,
        }
    }

    /// Writes a request down and says how many like it (method, path, model) have come.
    pub(crate) fn record(&self, parts: &Parts, model: &str, body: &[u8], body_bytes: usize) -> u64 {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let text = &body[..body.len().min(BODY_TEXT_BYTES)];
        let mut book = self.book();
        let entry = Entry {
            seq: book.next,
            at_ms: now_ms(),
            method: parts.method.to_string(),
            path: path.to_owned(),
            version: format!("{:?}", parts.version),
            headers: headers(parts),
            model: model.to_owned(),
            body_bytes,
            body: String::from_utf8_lossy(text).into_owned(),
        };
        book.next += 1;
        if book.entries.len() == ENTRIES {
            book.entries.pop_front();
        }
        book.entries.push_back(entry);
        let mut key = format!("{} {} {model}", parts.method, parts.uri.path());
        if book.counts.len() >= COUNT_KEYS && !book.counts.contains_key(&key) {
            "other".clone_into(&mut key);
        }
        let count = book.counts.entry(key).or_insert(0);
        *count += 1;
        *count
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.book().entries.iter().cloned().collect()
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.book().counts.clone()
    }

    pub(crate) fn inflight(&self) -> u64 {
        self.inflight.load(Ordering::SeqCst)
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::SeqCst)
    }

    pub(crate) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Forgets everything but the requests that are open now.
    pub(crate) fn reset(&self) {
        let mut book = self.book();
        book.entries.clear();
        book.counts.clear();
        self.completed.store(0, Ordering::SeqCst);
        self.cancelled.store(0, Ordering::SeqCst);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every update leaves the book whole, so a panic elsewhere does not spoil it.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn headers(parts: &Parts) -> Map<String, Value> {
    let mut all = Map::new();
    for name in parts.headers.keys() {
        let values: Vec<_> = parts.headers.get_all(name).iter().collect();
        let joined: Vec<_> = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        all.insert(name.to_string(), Value::String(joined.join(", ")));
    }
    all
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log of a test instrument shows the time of day"
)]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A request from its first byte to the last of its answer. It rides in the answer's body.
pub(crate) struct Exchange {
    journal: Arc<Journal>,
    complete: bool,
    close: Option<Arc<Peer>>,
}

impl Exchange {
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Closes the connection when this exchange has ended.
    pub(crate) fn close_after(&mut self, peer: Arc<Peer>) {
        self.close = Some(peer);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(peer) = self.close.take() {
            // The closing is a part of this exchange, so it takes over this one's place.
            let rest = Self {
                journal: self.journal.clone(),
                complete: self.complete,
                close: None,
            };
            peer.take_over(Script::new([Step::Close]), rest);
            return;
        }
        let ended = if self.complete {
            &self.journal.completed
        } else {
            &self.journal.cancelled
        };
        ended.fetch_add(1, Ordering::SeqCst);
        self.journal.inflight.fetch_sub(1, Ordering::SeqCst);
    }
}
