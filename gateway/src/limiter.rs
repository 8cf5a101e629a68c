//! How much an account used in the last 60 seconds, and whether it may have more.
//!
//! A [`Limiter`] holds what one account consumed and no limits: those come with each question, from the snapshot
//! that the request was authenticated with, so that a changed limit meets what was already used.
//! The table of all limiters outlives snapshots. Nothing of it is kept on disk: a restart begins anew.
//!
//! Exact: no window of 60 s has more requests than the limit, whatever the moment at which it begins, and however
//! many clients ask at once.
//! Tokens are known only at the end; until then an estimate is reserved. A request that uses more than was reserved
//! takes the account over its limit by the difference, and the next one waits for it.
//!
//! Where several gateways share a database they share the limits too: a gateway uses no more of one than its
//! [`share`]. Alone there are no shares, and nothing of them is touched.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use share::Shares;
pub(crate) use share::{Kind, Sharing, Until};
use window::{Mark, Window};

use crate::config::KeyLimits;

mod share;
mod window;

/// Accounts that no configuration names, at most: subjects of an issuer.
const MAX_SUBJECTS: usize = 65_536;
/// Below so many the table is not searched for what rests.
const SMALL: usize = 1024;

/// Whose use is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AccountId {
    /// By the name of the API key. Several keys may share it, as after a rotation.
    Key(Arc<str>),
    /// By the subject of a token, which is unique to its issuer.
    Subject { issuer: Arc<str>, subject: Arc<str> },
}

/// What all accounts consumed.
#[derive(Debug, Default)]
pub(crate) struct Limiters {
    table: Mutex<Table>,
    /// With other gateways; `None` where there are none.
    sharing: Option<Arc<Sharing>>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<AccountId, Arc<Limiter>>,
    /// At how many the table is searched for what rests.
    sweep_at: usize,
}

impl Limiters {
    /// Of a gateway that may not be the only one.
    pub(crate) fn shared() -> Self {
        Self {
            table: Mutex::default(),
            sharing: Some(Arc::default()),
        }
    }

    pub(crate) fn sharing(&self) -> Option<&Arc<Sharing>> {
        self.sharing.as_ref()
    }

    /// The limiter of a key. The same one for the same name, as long as it counts anything or somebody holds it.
    pub(crate) fn of_key(&self, name: &str) -> Arc<Limiter> {
        self.lock().find(AccountId::Key(name.into()), self.sharing.as_ref())
    }

    /// The limiter of a subject; `None` when there are more subjects than we count.
    pub(crate) fn of_subject(&self, id: AccountId) -> Option<Arc<Limiter>> {
        let mut table = self.lock();
        let is_full = table.by_id.len() >= MAX_SUBJECTS && !table.by_id.contains_key(&id);
        if is_full {
            table.sweep(Instant::now());
        }
        (!is_full || table.by_id.len() < MAX_SUBJECTS).then(|| table.find(id, self.sharing.as_ref()))
    }

    /// What a key of this name used lately.
    pub(crate) fn recent(&self, name: &str) -> Recent {
        let limiter = self.lock().by_id.get(&AccountId::Key(name.into())).cloned();
        limiter.map_or_else(Recent::default, |limiter| limiter.recent(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn find(&mut self, id: AccountId, sharing: Option<&Arc<Sharing>>) -> Arc<Limiter> {
        if let Some(limiter) = self.by_id.get(&id) {
            return limiter.clone();
        }
        if self.by_id.len() >= self.sweep_at.max(SMALL) {
            self.sweep(Instant::now());
        }
        let limiter = Limiter {
            sharing: sharing.map(|sharing| (sharing.clone(), share::name(&id))),
            ..Limiter::default()
        };
        self.by_id.entry(id).or_insert(Arc::new(limiter)).clone()
    }

    /// Forgets what nobody holds and what counts nothing: it would be the same if it were made anew.
    fn sweep(&mut self, now: Instant) {
        self.by_id
            .retain(|_, limiter| Arc::strong_count(limiter) > 1 || limiter.recent(now) != Recent::default());
        self.sweep_at = 2 * self.by_id.len();
    }
}

/// What an account used in the last 60 seconds, and what is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) requests: u64,
    /// Reserved ones included.
    pub(crate) tokens: u64,
    pub(crate) in_flight: u32,
}

/// What one account consumed.
pub(crate) struct Limiter {
    start: Instant,
    state: Mutex<State>,
    /// With whom, and under which name.
    sharing: Option<(Arc<Sharing>, Box<str>)>,
}

#[derive(Default)]
struct State {
    requests: Window,
    tokens: Window,
    in_flight: u32,
    shares: Shares,
}

/// Why an account may not have more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error(
        "Rate limit reached for requests per minute: Limit {limit}, Used {used}. Please try again in {}.",
        GoDuration(*.wait)
    )]
    Requests { limit: u32, used: u64, wait: Duration },
    #[error(
        "Rate limit reached for tokens per minute: Limit {limit}, Used {used}, Requested {requested}. Please try again in {}.",
        GoDuration(*.wait)
    )]
    Tokens {
        limit: u32,
        used: u64,
        requested: u64,
        wait: Duration,
    },
    #[error(
        "This request may need {requested} tokens, more than the limit of {limit} tokens per minute, so it can never be admitted. Send a shorter prompt, or ask for fewer tokens or choices."
    )]
    NeverTokens { limit: u32, requested: u64 },
    #[error("Limit of {limit} requests at a time reached. Wait for one to end.")]
    Concurrency { limit: u32 },
    #[error(
        "Rate limit reached for {kind}: Limit {limit}, of which other gateways hold the rest. Please try again in 2s."
    )]
    Elsewhere {
        kind: Kind,
        limit: u32,
        /// The renewal of the lease that may bring more.
        round: Option<u64>,
    },
    /// Nobody can say how much other gateways use.
    #[error(
        "The gateway cannot reach its database, so that it does not know what is left of the limits of this key. Retry."
    )]
    Unavailable,
}

impl LimitError {
    /// The limit, for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Requests { .. } => "requests",
            Self::Tokens { .. } | Self::NeverTokens { .. } => "tokens",
            Self::Concurrency { .. } => "concurrency",
            Self::Elsewhere { kind, .. } => kind.word(),
            Self::Unavailable => "unavailable",
        }
    }
}

impl Limiter {
    /// Counts a request, if the limits allow one more.
    pub(crate) fn begin(self: &Arc<Self>, limits: &KeyLimits, now: Instant) -> Result<Allowance, LimitError> {
        let now_ms = self.millis(now);
        let mut guard = self.lock();
        let state = &mut *guard;
        if self.sharing.is_some() {
            state.shares.limited(limits);
        }
        if let Some(limit) = limits.concurrency {
            if state.in_flight >= limit {
                return Err(LimitError::Concurrency { limit });
            }
            self.within(
                &mut state.shares,
                Kind::Concurrency,
                limit,
                state.in_flight.into(),
                1,
                now,
            )?;
        }
        if let Some(limit) = limits.requests_per_minute {
            let used = state.requests.used(now_ms);
            if used >= u64::from(limit) {
                let wait = Duration::from_millis(state.requests.wait_ms(1, u64::from(limit)));
                return Err(LimitError::Requests { limit, used, wait });
            }
            self.within(&mut state.shares, Kind::Requests, limit, used, 1, now)?;
        }
        state.requests.add(now_ms, 1);
        state.in_flight += 1;
        Ok(Allowance(Some(Granted {
            limiter: self.clone(),
            reserved: None,
        })))
    }

    /// What the limits have left now.
    pub(crate) fn remainder(&self, limits: &KeyLimits, now: Instant) -> Remainder {
        let now_ms = self.millis(now);
        let mut state = self.lock();
        let mut read = |window: fn(&mut State) -> &mut Window, limit: Option<u32>| {
            limit.map(|limit| {
                let window = window(&mut state);
                let used = window.used(now_ms);
                let reset_ms = window.wait_ms(used, used);
                Reading {
                    limit,
                    remaining: u64::from(limit).saturating_sub(used) as u32,
                    reset: Duration::from_millis(reset_ms),
                }
            })
        };
        Remainder {
            requests: read(|state| &mut state.requests, limits.requests_per_minute),
            tokens: read(|state| &mut state.tokens, limits.tokens_per_minute),
        }
    }

    fn recent(&self, now: Instant) -> Recent {
        let now_ms = self.millis(now);
        let mut state = self.lock();
        Recent {
            requests: state.requests.used(now_ms),
            tokens: state.tokens.used(now_ms),
            in_flight: state.in_flight,
        }
    }

    fn reserve(self: &Arc<Self>, tokens: u64, limit: Option<u32>, now: Instant) -> Result<Reserved, LimitError> {
        let now_ms = self.millis(now);
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(limit) = limit {
            let limit_tokens = u64::from(limit);
            if tokens > limit_tokens {
                return Err(LimitError::NeverTokens {
                    limit,
                    requested: tokens,
                });
            }
            let used = state.tokens.used(now_ms);
            // What was taken over the limit by an estimate that was too low must pass first, for others too.
            if used + tokens > limit_tokens {
                let wait = Duration::from_millis(state.tokens.wait_ms(tokens, limit_tokens));
                return Err(LimitError::Tokens {
                    limit,
                    used,
                    requested: tokens,
                    wait,
                });
            }
            self.within(&mut state.shares, Kind::Tokens, limit, used, tokens, now)?;
        }
        let mark = state.tokens.add(now_ms, tokens);
        Ok(Reserved { tokens, mark })
    }

    /// The request is over and used so many tokens.
    fn end(&self, reserved: Option<Reserved>, used: u64, now: Instant) {
        let now_ms = self.millis(now);
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        let before = reserved.map_or(0, |reserved| reserved.tokens);
        if used > before {
            state.tokens.add(now_ms, used - before);
        } else if let Some(reserved) = reserved {
            state.tokens.used(now_ms);
            state.tokens.take_back(reserved.mark, before - used);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::default(),
            sharing: None,
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

/// What a request was granted, until it ends: it travels with the request and falls with it.
///
/// Dropped, it gives its tokens back; [`Allowance::settle`] keeps those that were used. The request stays counted.
#[derive(Debug, Default)]
pub(crate) struct Allowance(Option<Granted>);

#[derive(Debug)]
struct Granted {
    limiter: Arc<Limiter>,
    reserved: Option<Reserved>,
}

#[derive(Debug, Clone, Copy)]
struct Reserved {
    tokens: u64,
    mark: Mark,
}

impl Allowance {
    #[cfg(test)]
    fn reserve(&mut self, tokens: u64, limit: Option<u32>, now: Instant) -> Result<(), LimitError> {
        if let Some(granted) = &mut self.0 {
            debug_assert!(granted.reserved.is_none(), "a request reserves once");
            granted.reserved = Some(granted.limiter.reserve(tokens, limit, now)?);
        }
        Ok(())
    }

    /// Sets tokens aside, if the limit allows them. Once for each request.
    pub(crate) async fn set_aside(&mut self, tokens: u64, limit: u32) -> Result<(), LimitError> {
        let Some(granted) = &mut self.0 else { return Ok(()) };
        debug_assert!(granted.reserved.is_none(), "a request reserves once");
        let limiter = granted.limiter.clone();
        let reserved = limiter
            .patiently(|now| limiter.reserve(tokens, Some(limit), now))
            .await?;
        granted.reserved = Some(reserved);
        Ok(())
    }

    /// The request has ended, and this is what it used.
    pub(crate) fn settle(&mut self, tokens: u64, now: Instant) {
        if let Some(granted) = self.0.take() {
            granted.limiter.end(granted.reserved, tokens, now);
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.settle(0, Instant::now());
        }
    }
}

/// What is left of an account's limits; `None` where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remainder {
    pub(crate) requests: Option<Reading>,
    pub(crate) tokens: Option<Reading>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// How long until nothing counts any more, if nothing else comes.
    pub(crate) reset: Duration,
}

/// A duration as Go prints it, to the millisecond: `12ms`, `1.5s`, `6m0s`.
pub(crate) struct GoDuration(pub(crate) Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => return f.write_str("0s"),
            1..1000 => return write!(f, "{ms}ms"),
            _ => {}
        }
        let (minutes, ms) = (ms / 60_000, ms % 60_000);
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        let (seconds, ms) = (ms / 1000, ms % 1000);
        if ms == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{ms:03}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: Option<u32>, tokens: Option<u32>, concurrency: Option<u32>) -> KeyLimits {
        KeyLimits {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            concurrency,
        }
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn durations_as_go_prints_them() {
        let check = |ms, expect: &str| {
            assert_eq!(GoDuration(Duration::from_millis(ms)).to_string(), expect);
        };
        check(0, "0s");
        check(12, "12ms");
        check(1_000, "1s");
        check(1_500, "1.5s");
        check(59_940, "59.94s");
        check(60_001, "1m0.001s");
        check(360_000, "6m0s");
    }

    #[test]
    fn a_changed_limit_meets_what_was_used() {
        let limiter = Arc::new(Limiter::default());
        let now = Instant::now();
        let none = limits(None, None, None);
        let held: Vec<_> = (0..5).map(|_| limiter.begin(&none, now).expect("no limit")).collect();
        let refused = limiter.begin(&limits(Some(5), None, None), now);
        assert!(
            matches!(
                refused,
                Err(LimitError::Requests {
                    limit: 5,
                    used: 5,
                    wait
                }) if wait <= Duration::from_millis(60_001)
            ),
            "{refused:?}"
        );
        assert!(limiter.begin(&limits(Some(6), None, None), now).is_ok());
        drop(held);
        let remainder = limiter.remainder(&limits(Some(3), None, None), now);
        assert_eq!(remainder.requests.expect("it has a limit").remaining, 0);
        assert!(limiter.begin(&limits(Some(1), None, None), after(now, 60_002)).is_ok());
    }

    #[test]
    fn a_place_is_free_when_the_request_ends() {
        let limiter = Arc::new(Limiter::default());
        let one = limits(None, None, Some(1));
        let now = Instant::now();
        let held = limiter.begin(&one, now).expect("the first");
        assert_eq!(
            limiter.begin(&one, now).expect_err("one at a time"),
            LimitError::Concurrency { limit: 1 }
        );
        drop(held);
        limiter.begin(&one, now).expect("the place is free");
        assert_eq!(limiter.recent(now).requests, 2, "a refused request is not counted");
    }

    #[test]
    fn tokens_are_reserved_settled_and_given_back() {
        let limiter = Arc::new(Limiter::default());
        let all = limits(None, Some(100), None);
        let now = Instant::now();
        let begin = || limiter.begin(&all, now).expect("requests have no limit");
        let left = |now| limiter.remainder(&all, now).tokens.expect("it has a limit").remaining;

        let mut first = begin();
        first.reserve(60, Some(100), now).expect("there is room");
        assert_eq!(left(now), 40);
        let refused = begin().reserve(41, Some(100), now);
        assert!(
            matches!(
                refused,
                Err(LimitError::Tokens {
                    used: 60,
                    requested: 41,
                    ..
                })
            ),
            "{refused:?}"
        );
        first.settle(10, now);
        assert_eq!(left(now), 90);

        let mut dropped = begin();
        dropped.reserve(90, Some(100), now).expect("there is room");
        drop(dropped);
        assert_eq!(left(now), 90, "it never reached an upstream");

        let mut long = begin();
        long.reserve(50, Some(100), now).expect("there is room");
        long.settle(200, after(now, 30_000));
        assert_eq!(left(after(now, 30_000)), 0, "more than was reserved");
        assert_eq!(left(after(now, 60_101)), 0, "what was not reserved counts from its end");
        assert_eq!(left(after(now, 90_101)), 100);

        assert_eq!(
            begin().reserve(101, Some(100), now),
            Err(LimitError::NeverTokens {
                limit: 100,
                requested: 101
            })
        );
    }

    #[test]
    fn exact_under_many_threads() {
        let limiter = Arc::new(Limiter::default());
        let fifty = limits(Some(50), None, None);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        (0..20)
                            .filter(|_| limiter.begin(&fifty, Instant::now()).is_ok())
                            .count()
                    })
                })
                .collect();
            let counts = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            counts.sum()
        });
        assert_eq!(admitted, 50);
    }

    #[test]
    fn what_rests_is_forgotten_and_what_counts_is_not() {
        let limiters = Limiters::default();
        let none = limits(None, None, None);
        let busy = limiters.of_key("busy");
        drop(busy.begin(&none, Instant::now()));
        drop(busy);
        let held = limiters.of_key("held");
        for i in 0..3 * SMALL {
            drop(limiters.of_key(&format!("idle-{i}")));
        }
        assert!(limiters.lock().by_id.len() <= SMALL + 1, "idle accounts are dropped");
        assert_eq!(limiters.recent("busy").requests, 1);
        assert!(Arc::ptr_eq(&held, &limiters.of_key("held")));
    }
}
