//! When which platform's collateral is fetched. No I/O and no clock.
//!
//! What is in force is renewed long before it expires, and known platforms come before unknown ones: an unknown one may
//! be the invention of whoever connected. So unknown ones are few, wait their turn, and are forgotten when they fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Platform;

/// How many platforms without collateral may wait; past that new ones are not noted.
pub const MAX_UNKNOWN: usize = 64;
/// How often an unknown one is tried before it is forgotten; its peers may name it again.
const MAX_TRIES: u32 = 4;

/// How fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two renewals of a platform, at most. Intel signs anew every few hours, and revokes in between.
    pub renew: Duration,
    /// After a first failure; doubled with each further one.
    pub retry: Duration,
    pub max_retry: Duration,
    /// Between two fetches of unknown platforms, at least: a stranger can name one with each connection.
    pub spacing: Duration,
}

impl Pace {
    pub const NORMAL: Self = Self {
        renew: Duration::from_secs(6 * 60 * 60),
        retry: Duration::from_secs(30),
        max_retry: Duration::from_secs(60 * 60),
        spacing: Duration::from_secs(2),
    };
}

#[derive(Debug)]
struct Due {
    at: Instant,
    failures: u32,
    is_known: bool,
}

#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    due: BTreeMap<Platform, Due>,
    /// Before then no unknown platform is fetched.
    spaced: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            due: BTreeMap::new(),
            spaced: None,
        }
    }

    /// Of a platform without collateral that a peer came with. Named twice, or while it waits after a failure, nothing
    /// changes. Says whether it was noted.
    pub(super) fn want(&mut self, platform: Platform, now: Instant) -> bool {
        let unknown = self.due.values().filter(|due| !due.is_known).count();
        if self.due.contains_key(&platform) || unknown >= MAX_UNKNOWN {
            return false;
        }
        let due = Due {
            at: now,
            failures: 0,
            is_known: false,
        };
        self.due.insert(platform, due);
        true
    }

    /// Its collateral came, and holds for so long. `jitter` is from 0 to 1, so that not every gateway asks at once.
    pub(super) fn renewed(&mut self, platform: Platform, holds: Duration, jitter: f64, now: Instant) {
        let wait = (holds / 2).min(self.pace.renew).max(self.pace.retry.min(holds));
        let due = Due {
            at: now + wait.mul_f64(0.8 + 0.2 * jitter),
            failures: 0,
            is_known: true,
        };
        self.due.insert(platform, due);
    }

    /// It did not come. A known one is tried for ever, an unknown one a few times.
    pub(super) fn failed(&mut self, platform: Platform, jitter: f64, now: Instant) {
        let Some(due) = self.due.get_mut(&platform) else {
            return;
        };
        due.failures = due.failures.saturating_add(1);
        if !due.is_known && due.failures >= MAX_TRIES {
            self.due.remove(&platform);
            return;
        }
        let doublings = due.failures.saturating_sub(1).min(16);
        let wait = self.pace.retry.saturating_mul(1 << doublings).min(self.pace.max_retry);
        due.at = now + wait.mul_f64(0.8 + 0.4 * jitter);
    }

    /// The one to fetch now, or how long there is none.
    pub(super) fn next(&mut self, now: Instant) -> Result<Platform, Option<Duration>> {
        let ready = |known: bool| {
            let mut due = self
                .due
                .iter()
                .filter(|(_, due)| due.is_known == known && due.at <= now);
            due.next().map(|(platform, _)| *platform)
        };
        if let Some(platform) = ready(true) {
            return Ok(platform);
        }
        let is_spaced = self.spaced.is_none_or(|spaced| spaced <= now);
        if let Some(platform) = ready(false)
            && is_spaced
        {
            self.spaced = Some(now + self.pace.spacing);
            return Ok(platform);
        }
        let waits = self.due.values().map(|due| match (due.is_known, self.spaced) {
            (false, Some(spaced)) => due.at.max(spaced),
            _ => due.at,
        });
        Err(waits.min().map(|at| at.saturating_duration_since(now)))
    }

    /// Those that have collateral now and were not scheduled, such as those of a bundle.
    pub(super) fn missing(&self, known: impl Iterator<Item = Platform>) -> BTreeSet<Platform> {
        known
            .filter(|platform| self.due.get(platform).is_none_or(|due| !due.is_known))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use attestation::{Ca, Hex};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn platform(number: u8) -> Platform {
        Platform {
            fmspc: Hex([number; 6]),
            ca: Ca::Platform,
        }
    }

    fn schedule() -> (Schedule, Instant) {
        (Schedule::new(Pace::NORMAL), Instant::now())
    }

    #[test]
    fn nothing_known_is_nothing_to_do() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.next(now), Err(None));
    }

    #[test]
    fn a_wanted_platform_is_fetched_once_and_at_once() {
        let (mut schedule, now) = schedule();
        assert!(schedule.want(platform(1), now));
        assert!(!schedule.want(platform(1), now), "it is noted already");
        assert_eq!(schedule.next(now), Ok(platform(1)));
        schedule.renewed(platform(1), 30 * DAY, 1.0, now);
        assert_eq!(schedule.next(now), Err(Some(6 * HOUR)));
        assert!(!schedule.want(platform(1), now), "it is known");
        assert_eq!(schedule.next(now + 6 * HOUR), Ok(platform(1)));
    }

    #[test]
    fn what_expires_soon_is_renewed_sooner() {
        let (mut schedule, now) = schedule();
        schedule.renewed(platform(1), 2 * HOUR, 1.0, now);
        assert_eq!(schedule.next(now), Err(Some(HOUR)));
        schedule.renewed(platform(1), 2 * HOUR, 0.0, now);
        assert_eq!(schedule.next(now), Err(Some(HOUR.mul_f64(0.8))), "jitter");
        // It does not spin on what has run out.
        schedule.renewed(platform(1), Duration::from_secs(40), 1.0, now);
        assert_eq!(schedule.next(now), Err(Some(Duration::from_secs(30))));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_known_ones_never_end() {
        let (mut schedule, mut now) = schedule();
        schedule.renewed(platform(1), 30 * DAY, 1.0, now);
        now += 6 * HOUR;
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(schedule.next(now), Ok(platform(1)));
            schedule.failed(platform(1), 0.5, now);
            let Err(Some(wait)) = schedule.next(now) else {
                panic!("it waits")
            };
            waits.push(wait.as_secs_f64().round());
            now += wait;
        }
        assert_eq!(
            waits,
            [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]
        );
    }

    #[test]
    fn an_unknown_one_that_fails_is_forgotten() {
        let (mut schedule, mut now) = schedule();
        schedule.want(platform(1), now);
        for tried in 1..=4 {
            assert_eq!(schedule.next(now), Ok(platform(1)), "{tried}");
            schedule.failed(platform(1), 0.5, now);
            now += HOUR;
        }
        assert_eq!(schedule.next(now), Err(None));
        assert!(schedule.want(platform(1), now), "its peers may name it again");
    }

    #[test]
    fn strangers_cannot_fill_it_nor_keep_the_known_waiting() {
        let (mut schedule, now) = schedule();
        schedule.renewed(platform(255), 30 * DAY, 1.0, now);
        for number in 0..200 {
            let noted = schedule.want(platform(number), now);
            assert_eq!(noted, usize::from(number) < MAX_UNKNOWN, "{number}");
        }
        // One each two seconds, though all are due.
        assert_eq!(schedule.next(now), Ok(platform(0)));
        assert_eq!(schedule.next(now), Err(Some(Pace::NORMAL.spacing)));
        let later = now + Pace::NORMAL.spacing;
        schedule.failed(platform(0), 0.5, now);
        assert_eq!(schedule.next(later), Ok(platform(1)));
        // And the known one first of all.
        assert_eq!(schedule.next(now + 6 * HOUR), Ok(platform(255)));
    }

    #[test]
    fn what_a_bundle_brought_is_scheduled() {
        let (mut schedule, now) = schedule();
        schedule.want(platform(1), now);
        schedule.renewed(platform(2), DAY, 1.0, now);
        let known = [platform(1), platform(2), platform(3)];
        let missing = schedule.missing(known.into_iter());
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), [platform(1), platform(3)]);
    }
}
