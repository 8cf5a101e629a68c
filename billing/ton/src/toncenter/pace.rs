//! How fast a server is asked: as fast as it lets us, found out by asking.
//!
//! Each question takes the next place in time; places are some interval apart. Where the server says that it was too
//! much, the interval doubles; with each answer it shrinks a little. So nobody has to know what a server allows, and
//! nobody is starved: places are given in the order in which they are asked for.
//! Who would wait too long has no place, and is told so at once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Between two questions to a public server, to begin with: what it allows who has no key, and who has one.
pub(super) const WITHOUT_KEY: Duration = Duration::from_secs(1);
pub(super) const WITH_KEY: Duration = Duration::from_millis(100);
/// However willing a server is.
const LEAST: Duration = Duration::from_millis(5);
/// Once it was too much.
const LEAST_AFTER: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(10);
/// Longer waits nobody for its place.
const MOST_WAIT: Duration = Duration::from_secs(30);
/// A fiftieth less after each answer: one question in some dozens is too much for a server that counts.
const SHRINKS_BY: u32 = 50;

#[derive(Debug)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    interval: Duration,
    /// The first place that is free.
    next: Instant,
    /// When the server last said that it was too much.
    slowed: Option<Instant>,
}

/// Others have all places for a while.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Pace {
    /// Zero: no interval until the server asks for one.
    pub(super) fn new(interval: Duration) -> Self {
        Self(Mutex::new(State {
            interval,
            next: Instant::now(),
            slowed: None,
        }))
    }

    pub(super) fn interval(&self) -> Duration {
        self.state().interval
    }

    /// Waits for the next place.
    pub(super) async fn turn(&self) -> Result<(), Crowded> {
        self.turn_after(self.interval()).await
    }

    /// The same, where somebody else knows how far places are apart.
    pub(super) async fn turn_after(&self, interval: Duration) -> Result<(), Crowded> {
        let at = {
            let mut state = self.state();
            let now = Instant::now();
            let at = state.next.max(now);
            if at - now > MOST_WAIT {
                return Err(Crowded);
            }
            state.next = at + interval;
            at
        };
        sleep_until(at).await;
        Ok(())
    }

    /// The server answered.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        let shrunk = state.interval - state.interval / SHRINKS_BY;
        if state.interval > LEAST {
            state.interval = shrunk.max(LEAST);
        }
    }

    /// The server said that it was too much. Many that were under way at once say it once.
    pub(super) fn too_much(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if state.slowed.is_none_or(|slowed| now - slowed >= state.interval) {
            state.interval = state.interval.saturating_mul(2).clamp(LEAST_AFTER, MOST);
            state.slowed = Some(now);
        }
        state.next = state.next.max(now + state.interval);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn places_are_an_interval_apart_and_come_in_order() {
        let pace = Pace::new(Duration::from_secs(1));
        let start = Instant::now();
        for place in 0..5 {
            assert_eq!(pace.turn().await, Ok(()));
            assert_eq!(start.elapsed().as_secs(), place);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once() {
        let pace = Pace::new(Duration::from_secs(1));
        let turns: Vec<_> = (0..=40).map(|_| pace.turn()).collect();
        let start = Instant::now();
        let taken = futures_util::future::join_all(turns).await;
        let crowded = taken.iter().filter(|turn| **turn == Err(Crowded)).count();
        assert_eq!((crowded, start.elapsed()), (10, MOST_WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn it_finds_what_a_server_allows() {
        let pace = Pace::new(WITH_KEY);
        // Too much for a burst is too much once.
        for _ in 0..10 {
            pace.too_much();
        }
        assert_eq!(pace.interval(), LEAST_AFTER);
        for _ in 0..500 {
            pace.answered();
        }
        assert_eq!(pace.interval(), LEAST);
        let free = Pace::new(Duration::ZERO);
        free.answered();
        assert_eq!(free.interval(), Duration::ZERO, "who never minded is never slowed down");
    }
}
