//! The last minute, for the admin status page: rates and quantiles.
//!
//! Counters only grow; the first event of each second leaves a copy of them as they were.
//! What the last 60 seconds held is the difference to the copy of the oldest second among them.
//! An event costs a few additions, and one of each second a copy of 4 KiB; nothing wakes up for it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::histogram::micros;

/// What the last 60 seconds were like. Times are of jobs: what no upstream was to be asked for is in the rate only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Snapshot {
    /// Answers that ended, refusals included.
    pub(crate) requests_per_second: f64,
    /// Prompt and completion together, counted when their answer ends.
    pub(crate) tokens_per_second: f64,
    /// From arrival to the first byte of the answer's body.
    pub(crate) ttft_ms: Quantiles,
    /// From arrival to the end of the answer.
    pub(crate) duration_ms: Quantiles,
}

/// In milliseconds, to about 6 per cent; `None` where nothing ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
}

const WINDOW: u64 = 60;

#[derive(Debug)]
pub(super) struct Recent {
    since: Instant,
    counts: Counts,
    /// The second that the newest copy belongs to, and one more: 0 is none.
    copied: AtomicU64,
    /// Copies with their second, oldest first; at most one for each second of the window.
    copies: Mutex<VecDeque<(u64, Totals)>>,
}

#[derive(Debug)]
struct Counts {
    requests: AtomicU64,
    tokens: AtomicU64,
    first_frames: Box<[AtomicU32]>,
    durations: Box<[AtomicU32]>,
}

#[derive(Debug)]
struct Totals {
    requests: u64,
    tokens: u64,
    first_frames: Box<[u32]>,
    durations: Box<[u32]>,
}

impl Recent {
    pub(super) fn new(since: Instant) -> Self {
        let buckets = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self {
            since,
            counts: Counts {
                requests: AtomicU64::new(0),
                tokens: AtomicU64::new(0),
                first_frames: buckets(),
                durations: buckets(),
            },
            copied: AtomicU64::new(0),
            copies: Mutex::default(),
        }
    }

    pub(super) fn request(&self, now: Instant) {
        self.turn(now);
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn job(&self, now: Instant, tokens: u64, first_frame: Option<Duration>, took: Duration) {
        self.turn(now);
        self.counts.tokens.fetch_add(tokens, Ordering::Relaxed);
        if let Some(first_frame) = first_frame {
            self.counts.first_frames[bucket(first_frame)].fetch_add(1, Ordering::Relaxed);
        }
        self.counts.durations[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let second = self.second(now);
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, before)) = copies.iter().find(|(copied, _)| copied + WINDOW > second) else {
            return Snapshot::default();
        };
        // A gateway that has run for less has had less time.
        let seconds = now.duration_since(self.since).as_secs_f64().clamp(1.0, WINDOW as f64);
        let rate = |now: &AtomicU64, before: u64| now.load(Ordering::Relaxed).wrapping_sub(before) as f64 / seconds;
        Snapshot {
            requests_per_second: rate(&self.counts.requests, before.requests),
            tokens_per_second: rate(&self.counts.tokens, before.tokens),
            ttft_ms: quantiles(&self.counts.first_frames, &before.first_frames),
            duration_ms: quantiles(&self.counts.durations, &before.durations),
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }

    /// Leaves a copy if this is the first event of its second.
    fn turn(&self, now: Instant) {
        let second = self.second(now);
        if self.copied.load(Ordering::Relaxed) > second {
            return;
        }
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if self.copied.load(Ordering::Relaxed) > second {
            return;
        }
        while copies.front().is_some_and(|(copied, _)| copied + WINDOW <= second) {
            copies.pop_front();
        }
        copies.push_back((second, self.counts.totals()));
        self.copied.store(second + 1, Ordering::Relaxed);
    }
}

impl Counts {
    fn totals(&self) -> Totals {
        let copy = |counts: &[AtomicU32]| counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            first_frames: copy(&self.first_frames),
            durations: copy(&self.durations),
        }
    }
}

/// Each power of two in eighths, from 64 µs to 19 minutes.
const EIGHTHS: u64 = 8;
const FIRST_OCTAVE: u32 = 6;
const OCTAVES: u32 = 24;
const BUCKETS: usize = OCTAVES as usize * EIGHTHS as usize;

fn bucket(took: Duration) -> usize {
    let micros = micros(took).clamp(1 << FIRST_OCTAVE, (1 << (FIRST_OCTAVE + OCTAVES)) - 1);
    let octave = micros.ilog2();
    let eighth = (micros >> (octave - 3)) & (EIGHTHS - 1);
    (octave - FIRST_OCTAVE) as usize * EIGHTHS as usize + eighth as usize
}

/// The middle of a bucket, in milliseconds.
fn middle_ms(bucket: usize) -> f64 {
    let octave = FIRST_OCTAVE + (bucket / EIGHTHS as usize) as u32;
    let eighth = (bucket % EIGHTHS as usize) as f64;
    f64::from(octave).exp2() * (1.0 + (eighth + 0.5) / EIGHTHS as f64) / 1000.0
}

fn quantiles(now: &[AtomicU32], before: &[u32]) -> Quantiles {
    let counts: Vec<u64> = now
        .iter()
        .zip(before)
        .map(|(now, before)| u64::from(now.load(Ordering::Relaxed).wrapping_sub(*before)))
        .collect();
    let all: u64 = counts.iter().sum();
    let at = |per_cent: u64| {
        let rank = (all * per_cent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(|bucket| (middle_ms(bucket) * 1000.0).round() / 1000.0)
    };
    Quantiles {
        p50: at(50),
        p95: at(95),
        p99: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, ms: f64) {
        let found = found.expect("something ended");
        assert!((found / ms - 1.0).abs() < 0.07, "{found} is not about {ms}");
    }

    #[test]
    fn quantiles_are_near_the_truth() {
        let start = Instant::now();
        let recent = Recent::new(start);
        for ms in 1..=1000 {
            recent.job(
                start,
                3,
                Some(Duration::from_millis(ms)),
                Duration::from_millis(ms * 10),
            );
            recent.request(start);
        }
        let snapshot = recent.snapshot(start + Duration::from_secs(10));
        near(snapshot.ttft_ms.p50, 500.0);
        near(snapshot.ttft_ms.p95, 950.0);
        near(snapshot.duration_ms.p99, 9900.0);
        assert_eq!(snapshot.requests_per_second, 100.0);
        assert_eq!(snapshot.tokens_per_second, 300.0);
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let start = Instant::now();
        let recent = Recent::new(start);
        let at = |second| start + Duration::from_secs(second);
        for second in 0..200 {
            recent.request(at(second));
        }
        assert_eq!(recent.snapshot(at(199)).requests_per_second, 1.0);
        assert_eq!(recent.snapshot(at(229)).requests_per_second, 0.5);
        assert_eq!(recent.snapshot(at(300)), Snapshot::default());
        recent.request(at(301));
        assert_eq!(recent.snapshot(at(301)).requests_per_second, 1.0 / 60.0);
        let copies = recent.copies.lock().expect("no panic holds it").len();
        assert_eq!(copies, 1, "old copies are let go");
    }

    #[test]
    fn any_duration_has_its_bucket() {
        for micros in [0, 1, 63, 64, 65, 1_000, 123_456_789, u64::MAX] {
            assert!(bucket(Duration::from_micros(micros)) < BUCKETS);
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }
}
