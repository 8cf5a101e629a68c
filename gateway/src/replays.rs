//! Answers that were given once and may be given again, to a client that repeats its `Idempotency-Key`.
//!
//! Of each key: an answer is under way, or it is kept. Whoever comes first holds a [`Turn`]; dropped without an
//! answer to keep, it frees the key.
//! In memory only, and bounded: all answers together, those that are being recorded included, take no more than
//! `memory`; the oldest go first. Keys are held as hashes, under the account that sent them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// What may be kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) ttl: Duration,
    /// Of all answers together, in bytes.
    pub(crate) memory: usize,
    /// Of one answer, in bytes.
    pub(crate) answer: usize,
}

/// Why a key gives neither a turn nor an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnError {
    #[error("A request with this Idempotency-Key is still under way. Wait for its answer, or retry.")]
    UnderWay,
    #[error("This Idempotency-Key was used for another request. Use a new key for each request.")]
    Reused,
}

/// An answer as its client got it.
pub(crate) struct Replay {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a key has.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the request may run, and its answer be kept.
    Turn(Turn),
    Again(Arc<Replay>),
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<Digest, Entry>,
    /// Kept answers, the oldest first. A key whose answer was replaced since may stand in it more than once.
    kept: VecDeque<(Digest, Instant)>,
    /// What all answers take, in bytes.
    memory: usize,
    /// How often all was forgotten.
    cleared: u64,
}

#[derive(Debug)]
struct Entry {
    request: Digest,
    /// `None` while it is under way.
    answer: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    replay: Arc<Replay>,
    size: usize,
    since: Instant,
    until: Instant,
}

/// What an entry takes beside its body: two maps' slots, headers without their text.
const OVERHEAD: usize = 1024;
/// Recording takes memory in steps, so that a stream of small chunks does not ask for each.
const STEP: usize = 16 * 1024;

impl Replays {
    /// Looks a key up, and takes the turn if it is free. `request` is what must be the same.
    pub(crate) fn find(
        self: &Arc<Self>,
        key: Digest,
        request: Digest,
        bounds: Bounds,
        now: Instant,
    ) -> Result<Found, TurnError> {
        let mut table = self.lock();
        table.expire(now);
        table.shorten(&key, now, bounds.ttl);
        if let Some(entry) = table.by_key.get(&key) {
            return match &entry.answer {
                _ if entry.request != request => Err(TurnError::Reused),
                None => Err(TurnError::UnderWay),
                Some(kept) => Ok(Found::Again(kept.replay.clone())),
            };
        }
        table.by_key.insert(key, Entry { request, answer: None });
        Ok(Found::Turn(Turn {
            replays: self.clone(),
            key,
            bounds,
            taken: 0,
            cleared: table.cleared,
        }))
    }

    /// Forgets what is kept, and what is under way will not be: once this is off, nobody comes to let it go.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        table.cleared += 1;
        while table.evict() {}
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn expire(&mut self, now: Instant) {
        while let Some((key, _)) = self.kept.front() {
            let answer = self.by_key.get(key).and_then(|entry| entry.answer.as_ref());
            if answer.is_some_and(|kept| kept.until > now) {
                return;
            }
            self.evict();
        }
    }

    /// Drops an answer that is older than answers may be now: a reload may have changed that since it was kept.
    fn shorten(&mut self, key: &Digest, now: Instant, ttl: Duration) {
        let answer = self.by_key.get(key).and_then(|entry| entry.answer.as_ref());
        if let Some(kept) = answer.filter(|kept| kept.until <= now || kept.since + ttl <= now) {
            self.memory -= kept.size;
            self.by_key.remove(key);
        }
    }

    /// Drops the oldest answer; false if there is none.
    fn evict(&mut self) -> bool {
        let Some((key, since)) = self.kept.pop_front() else {
            return false;
        };
        if let Some(Entry { answer: Some(kept), .. }) = self.by_key.get(&key)
            && kept.since == since
        {
            self.memory -= kept.size;
            self.by_key.remove(&key);
        }
        true
    }

    /// Takes memory, from the oldest answers if need be.
    fn take(&mut self, size: usize, bound: usize) -> bool {
        while self.memory + size > bound {
            if !self.evict() {
                return false;
            }
        }
        self.memory += size;
        true
    }
}

/// The right to answer for a key.
pub(crate) struct Turn {
    replays: Arc<Replays>,
    key: Digest,
    bounds: Bounds,
    /// Memory that was taken for the answer, in bytes.
    taken: usize,
    /// As it was at the beginning.
    cleared: u64,
}

impl Turn {
    /// Whether an answer of so many bytes in all may be recorded; if so, its memory is taken.
    pub(crate) fn may_record(&mut self, size: usize) -> bool {
        if size > self.bounds.answer {
            return false;
        }
        let size = size + OVERHEAD;
        if size <= self.taken {
            return true;
        }
        let needed = size - self.taken;
        let mut table = self.replays.lock();
        for more in [needed + STEP, needed] {
            if table.take(more, self.bounds.memory) {
                self.taken += more;
                return true;
            }
        }
        false
    }

    /// Keeps the answer, whose body was allowed to be recorded.
    pub(crate) fn keep(mut self, replay: Replay, now: Instant) {
        let text: usize = replay
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let size = replay.body.len() + text + OVERHEAD;
        let mut table = self.replays.lock();
        table.memory -= std::mem::take(&mut self.taken);
        if table.cleared != self.cleared || !table.take(size, self.bounds.memory) {
            return;
        }
        let Some(entry) = table.by_key.get_mut(&self.key) else {
            table.memory -= size;
            return;
        };
        entry.answer = Some(Kept {
            replay: Arc::new(replay),
            size,
            since: now,
            until: now + self.bounds.ttl,
        });
        table.kept.push_back((self.key, now));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut table = self.replays.lock();
        table.memory -= self.taken;
        if table.by_key.get(&self.key).is_some_and(|entry| entry.answer.is_none()) {
            table.by_key.remove(&self.key);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turn({} bytes)", self.taken)
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({}, {} bytes)", self.status.as_u16(), self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        ttl: Duration::from_secs(60),
        memory: 100_000,
        answer: 50_000,
    };

    fn key(n: u8) -> Digest {
        [n; 32]
    }

    fn replay(len: usize) -> Replay {
        Replay {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; len]),
        }
    }

    fn turn_for(replays: &Arc<Replays>, n: u8, now: Instant) -> Turn {
        match replays.find(key(n), key(0), BOUNDS, now) {
            Ok(Found::Turn(turn)) => turn,
            other => panic!("key {n} is not free: {other:?}"),
        }
    }

    fn keep(replays: &Arc<Replays>, n: u8, len: usize, now: Instant) {
        let mut turn = turn_for(replays, n, now);
        assert!(turn.may_record(len), "{len} bytes for key {n}");
        turn.keep(replay(len), now);
    }

    fn is_kept(replays: &Arc<Replays>, n: u8, now: Instant) -> bool {
        matches!(replays.find(key(n), key(0), BOUNDS, now), Ok(Found::Again(_)))
    }

    #[test]
    fn a_key_is_free_then_under_way_then_kept_then_free() {
        let replays = Arc::new(Replays::default());
        let now = Instant::now();
        let turn = turn_for(&replays, 1, now);
        let again = replays.find(key(1), key(0), BOUNDS, now);
        assert!(matches!(again, Err(TurnError::UnderWay)), "{again:?}");
        let other = replays.find(key(1), key(9), BOUNDS, now);
        assert!(matches!(other, Err(TurnError::Reused)), "{other:?}");
        drop(turn);
        keep(&replays, 1, 10, now);
        assert!(is_kept(&replays, 1, now));
        let other = replays.find(key(1), key(9), BOUNDS, now);
        assert!(matches!(other, Err(TurnError::Reused)), "{other:?}");
        let later = now + BOUNDS.ttl;
        drop(turn_for(&replays, 1, later));
        let table = replays.lock();
        assert_eq!((table.memory, table.by_key.len(), table.kept.len()), (0, 0, 0));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let replays = Arc::new(Replays::default());
        let now = Instant::now();
        for n in 1..=5 {
            keep(&replays, n, 20_000, now + Duration::from_millis(u64::from(n)));
        }
        assert!(replays.lock().memory <= BOUNDS.memory);
        let later = now + Duration::from_secs(1);
        assert!(!is_kept(&replays, 1, later), "the oldest had to go");
        assert!(is_kept(&replays, 5, later));

        let mut recording = turn_for(&replays, 6, later);
        assert!(!recording.may_record(BOUNDS.answer + 1), "larger than one may be");
        assert!(recording.may_record(40_000), "kept answers make room");
        let mut second = turn_for(&replays, 7, later);
        assert!(!second.may_record(50_000), "what is being recorded does not");
        drop((recording, second));
        replays.clear();
        assert_eq!(replays.lock().memory, 0);
        assert!(replays.lock().by_key.is_empty());
    }

    #[test]
    fn a_time_that_became_shorter_holds_for_what_is_kept_already() {
        let replays = Arc::new(Replays::default());
        let now = Instant::now();
        keep(&replays, 1, 10, now);
        let short = Bounds {
            ttl: Duration::from_secs(1),
            ..BOUNDS
        };
        match replays.find(key(2), key(0), short, now) {
            Ok(Found::Turn(mut turn)) => {
                assert!(turn.may_record(10));
                turn.keep(replay(10), now);
            }
            other => panic!("key 2 is not free: {other:?}"),
        }
        let later = now + short.ttl;
        for n in [1, 2] {
            let found = replays.find(key(n), key(0), short, later);
            assert!(matches!(found, Ok(Found::Turn(_))), "{n}: {found:?}");
        }
        assert_eq!(replays.lock().memory, 0, "of both");
    }

    #[test]
    fn what_is_under_way_when_all_is_forgotten_is_not_kept() {
        let replays = Arc::new(Replays::default());
        let now = Instant::now();
        let mut turn = turn_for(&replays, 1, now);
        assert!(turn.may_record(10));
        replays.clear();
        turn.keep(replay(10), now);
        assert!(!is_kept(&replays, 1, now));
        let table = replays.lock();
        assert_eq!((table.memory, table.kept.len()), (0, 0));
    }

    #[test]
    fn an_answer_that_expired_makes_way_for_a_new_one() {
        let replays = Arc::new(Replays::default());
        let now = Instant::now();
        keep(&replays, 1, 10, now);
        let later = now + BOUNDS.ttl;
        keep(&replays, 1, 20, later);
        assert!(is_kept(&replays, 1, later + Duration::from_secs(1)));
        assert_eq!(replays.lock().kept.len(), 1);
    }
}
