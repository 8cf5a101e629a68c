//! Share: what this gateway may use of a limit that several gateways keep together.
//!
//! The database of the ledger gives shares with the lease of the node, which asks for them at each renewal, and at once
//! where a request finds too little. A request waits for the answer, two seconds at most.
//! A share is void when the lease ends: then nobody here knows what others use, and the account is refused.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use billing_store::ledger::{RateKind, RateShare, RateUse};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Notify, watch},
    time::timeout_at,
};

use super::{AccountId, LimitError, Limiter};
use crate::{config::KeyLimits, wall_clock::unix_ms};

/// How long a request waits for a share.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a share that was too small is not asked for again but by the renewals that come anyway.
const REFUSAL: Duration = Duration::from_secs(1);

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Requests,
    Tokens,
    Concurrency,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrency];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }

    fn stored(self) -> RateKind {
        match self {
            Self::Requests => RateKind::Requests,
            Self::Tokens => RateKind::Tokens,
            Self::Concurrency => RateKind::Concurrency,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests per minute",
            Self::Tokens => "tokens per minute",
            Self::Concurrency => "requests at a time",
        })
    }
}

/// How all gateways call an account. A subject is a person: its name does not leave this one.
pub(super) fn name(id: &AccountId) -> Box<str> {
    match id {
        AccountId::Key(name) => format!("key:{name}").into(),
        AccountId::Subject { issuer, subject } => {
            let hash = Sha256::new().chain_update(issuer.as_bytes()).chain_update([0]);
            let hash = hash.chain_update(subject.as_bytes()).finalize();
            let name = hash
                .iter()
                .fold("subject:".to_owned(), |name, byte| format!("{name}{byte:02x}"));
            name.into()
        }
    }
}

/// The end of the lease, by both clocks: the monotonic one stands while a machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    pub(crate) at: Instant,
    pub(crate) wall_ms: i64,
}

/// The shares of one account.
#[derive(Default)]
pub(super) struct Shares {
    by_kind: [Share; 3],
    /// Somebody asked since the last renewal.
    is_active: bool,
    /// The node knows of it.
    is_listed: bool,
}

#[derive(Clone, Copy, Default)]
struct Share {
    /// Of the snapshot that was used last.
    limit: Option<u32>,
    granted: u64,
    /// `None` before the first.
    until: Option<Until>,
    /// What a request lacked room for since the last renewal.
    wanted: u64,
    /// It was too small a moment ago.
    refused_until: Option<Instant>,
}

impl Share {
    fn held(&self, now: Instant) -> Option<u64> {
        let until = self.until?;
        (now < until.at && unix_ms() < until.wall_ms).then_some(self.granted)
    }
}

impl Shares {
    pub(super) fn limited(&mut self, limits: &KeyLimits) {
        self.by_kind[Kind::Requests as usize].limit = limits.requests_per_minute;
        self.by_kind[Kind::Tokens as usize].limit = limits.tokens_per_minute;
        self.by_kind[Kind::Concurrency as usize].limit = limits.concurrency;
    }
}

impl Limiter {
    /// Whether the share of this gateway has room, where it shares with others.
    pub(super) fn within(
        self: &Arc<Self>,
        shares: &mut Shares,
        kind: Kind,
        limit: u32,
        used: u64,
        amount: u64,
        now: Instant,
    ) -> Result<(), LimitError> {
        let Some((sharing, _)) = &self.sharing else {
            return Ok(());
        };
        shares.is_active = true;
        let share = &mut shares.by_kind[kind as usize];
        let held = share.held(now);
        if held.is_some_and(|held| used.saturating_add(amount) <= held) {
            return Ok(());
        }
        share.wanted = share.wanted.max(amount);
        if sharing.is_failing() {
            return Err(LimitError::Unavailable);
        }
        let is_refused = held.is_some() && share.refused_until.is_some_and(|until| now < until);
        let round = sharing.ask(self, &mut shares.is_listed, !is_refused);
        Err(LimitError::Elsewhere {
            kind,
            limit,
            round: (!is_refused).then_some(round),
        })
    }

    /// Tries, and again at each answer that may have brought a greater share.
    pub(crate) async fn patiently<T>(
        &self,
        mut attempt: impl FnMut(Instant) -> Result<T, LimitError>,
    ) -> Result<T, LimitError> {
        let mut outcome = attempt(Instant::now());
        let Some((sharing, _)) = &self.sharing else {
            return outcome;
        };
        let mut deadline = None;
        while let Err(LimitError::Elsewhere { round: Some(round), .. }) = outcome {
            let deadline = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + PATIENCE);
            if !sharing.answered(round, deadline).await {
                return Err(LimitError::Unavailable);
            }
            outcome = attempt(Instant::now());
        }
        outcome
    }

    /// Adds what the node tells of this account; `false` where there is nothing to tell any more.
    fn report(&self, name: &str, now: Instant, uses: &mut Vec<RateUse>) -> bool {
        let now_ms = self.millis(now);
        let mut guard = self.lock();
        let state = &mut *guard;
        let is_active = std::mem::take(&mut state.shares.is_active);
        let mut is_used = is_active;
        for kind in Kind::ALL {
            let used = match kind {
                Kind::Requests => state.requests.used(now_ms),
                Kind::Tokens => state.tokens.used(now_ms),
                Kind::Concurrency => state.in_flight.into(),
            };
            let share = &mut state.shares.by_kind[kind as usize];
            let Some(limit) = share.limit else { continue };
            let held = share.held(now).unwrap_or(0);
            is_used |= used > 0 || held > 0;
            uses.push(RateUse {
                key: name.to_owned(),
                kind: kind.stored(),
                limit: limit.into(),
                used,
                held,
                wanted: std::mem::take(&mut share.wanted),
                is_active,
            });
        }
        state.shares.is_listed = is_used;
        is_used
    }

    fn grant(&self, told: &RateUse, granted: u64, until: Until, now: Instant) {
        let mut state = self.lock();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.stored() == told.kind) else {
            return;
        };
        let share = &mut state.shares.by_kind[kind as usize];
        share.granted = granted;
        share.until = Some(until);
        let is_short = told.wanted > 0 && told.used.saturating_add(told.wanted) > granted;
        share.refused_until = is_short.then(|| now + REFUSAL);
    }
}

/// What the node tells the ledger in one renewal.
#[derive(Default)]
pub(crate) struct Told {
    /// The number of the renewal.
    round: u64,
    pub(crate) uses: Vec<RateUse>,
    /// To which account each of them belongs.
    limiters: Vec<Arc<Limiter>>,
}

/// How limiters and the node of this gateway speak with each other.
#[derive(Debug)]
pub(crate) struct Sharing {
    asking: Mutex<Asking>,
    /// Any account with a limit was used.
    is_needed: AtomicBool,
    /// The ledger did not answer the last time.
    is_failing: AtomicBool,
    /// Wakes the node: somebody waits for a share.
    pub(crate) wake: Notify,
    /// The number of the last renewal that came to an end.
    rounds: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Asking {
    /// The number of the last renewal that began.
    begun: u64,
    /// Accounts that are used, and those whose window is not over.
    used: Vec<Arc<Limiter>>,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            asking: Mutex::default(),
            is_needed: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            wake: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }
}

impl Sharing {
    /// Whether the node has to be there.
    pub(crate) fn is_needed(&self) -> bool {
        self.is_needed.load(Ordering::Relaxed)
    }

    fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// The number of the renewal that will tell of this account. Its state is locked.
    fn ask(&self, limiter: &Arc<Limiter>, is_listed: &mut bool, is_urgent: bool) -> u64 {
        let round = {
            let mut asking = self.asking();
            if !std::mem::replace(is_listed, true) {
                asking.used.push(limiter.clone());
            }
            asking.begun + 1
        };
        self.is_needed.store(true, Ordering::Relaxed);
        if is_urgent {
            self.wake.notify_one();
        }
        round
    }

    async fn answered(&self, round: u64, deadline: tokio::time::Instant) -> bool {
        let mut rounds = self.rounds.subscribe();
        let answered = timeout_at(deadline, rounds.wait_for(|done| *done >= round)).await;
        matches!(answered, Ok(Ok(_)))
    }

    /// What the renewal that begins now tells.
    pub(crate) fn tell(&self, now: Instant) -> Told {
        let (round, used) = {
            let mut asking = self.asking();
            asking.begun += 1;
            (asking.begun, std::mem::take(&mut asking.used))
        };
        let mut told = Told {
            round,
            ..Told::default()
        };
        let mut kept = Vec::with_capacity(used.len());
        for limiter in used {
            let Some((_, name)) = &limiter.sharing else { continue };
            let stays = limiter.report(name, now, &mut told.uses);
            told.limiters.resize(told.uses.len(), limiter.clone());
            if stays {
                kept.push(limiter);
            }
        }
        self.asking().used.append(&mut kept);
        told
    }

    /// Takes what the ledger answered, which is in the order of what it was told; `None` where it did not.
    pub(crate) fn take(&self, told: Told, shares: Option<(&[RateShare], Until)>, now: Instant) {
        self.is_failing.store(shares.is_none(), Ordering::Relaxed);
        if let Some((shares, until)) = shares {
            for ((limiter, one), share) in told.limiters.iter().zip(&told.uses).zip(shares) {
                debug_assert!(one.key == share.key && one.kind == share.kind, "the order is kept");
                limiter.grant(one, share.share, until, now);
            }
        }
        self.rounds.send_replace(told.round);
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        // A panic in between leaves at worst an account of which the others are not told for a moment.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{
        super::{Allowance, Limiters},
        *,
    };

    const LEASE: Duration = Duration::from_secs(30);

    fn limits(requests: u32) -> KeyLimits {
        KeyLimits {
            requests_per_minute: Some(requests),
            tokens_per_minute: None,
            concurrency: None,
        }
    }

    /// One gateway, whose ledger is the test.
    struct Gateway {
        limiters: Limiters,
        limiter: Arc<Limiter>,
    }

    impl Gateway {
        fn new() -> Self {
            let limiters = Limiters::shared();
            let limiter = limiters.of_key("alice");
            Self { limiters, limiter }
        }

        fn sharing(&self) -> &Arc<Sharing> {
            self.limiters.sharing().expect("it shares")
        }

        /// As a request asks, by the clock that a test moves.
        async fn ask(&self, limit: u32) -> Result<Allowance, LimitError> {
            let limits = limits(limit);
            self.limiter.patiently(|_| self.limiter.begin(&limits, now())).await
        }

        /// A renewal whose answer is this share. What was told of requests.
        fn renew(&self, share: u64) -> Option<RateUse> {
            let told = self.sharing().tell(now());
            let of_requests = told.uses.first().cloned();
            let shares: Vec<_> = told
                .uses
                .iter()
                .map(|one| RateShare {
                    key: one.key.clone(),
                    kind: one.kind,
                    share,
                })
                .collect();
            let until = Until {
                at: now() + LEASE,
                wall_ms: i64::MAX,
            };
            self.sharing().take(told, Some((&shares, until)), now());
            of_requests
        }

        fn fail(&self) {
            let told = self.sharing().tell(now());
            self.sharing().take(told, None, now());
        }
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_waits_for_its_share() {
        let gateway = Gateway::new();
        assert!(!gateway.sharing().is_needed());
        let first = gateway.ask(10);
        tokio::pin!(first);
        assert!(first.as_mut().now_or_never().is_none(), "nothing is known yet");
        assert!(gateway.sharing().is_needed());
        gateway.sharing().wake.notified().await;
        let told = gateway.renew(2).expect("it is told of");
        let expect = RateUse {
            key: "key:alice".to_owned(),
            kind: RateKind::Requests,
            limit: 10,
            used: 0,
            held: 0,
            wanted: 1,
            is_active: true,
        };
        assert_eq!(told, expect);
        drop(
            first
                .now_or_never()
                .expect("the answer is there")
                .expect("there is room"),
        );
        let second = gateway.ask(10).now_or_never().expect("nobody is asked");
        drop(second.expect("the share has room"));
        let third = gateway.ask(10);
        tokio::pin!(third);
        assert!(third.as_mut().now_or_never().is_none(), "there may be more elsewhere");
        let told = gateway.renew(3).expect("it is told of");
        assert_eq!((told.used, told.held, told.wanted), (2, 2, 1));
        drop(
            third
                .now_or_never()
                .expect("the answer is there")
                .expect("it brought more"),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_hold_is_refused_and_asked_for_once_a_second() {
        let gateway = Gateway::new();
        let asked = gateway.ask(10);
        tokio::pin!(asked);
        assert!(asked.as_mut().now_or_never().is_none());
        gateway.renew(0);
        let elsewhere = LimitError::Elsewhere {
            kind: Kind::Requests,
            limit: 10,
            round: None,
        };
        let refused = asked.now_or_never().expect("the answer is there");
        assert_eq!(refused.expect_err("others have all"), elsewhere);
        let again = gateway.ask(10).now_or_never().expect("nobody is asked");
        assert_eq!(again.expect_err("as before"), elsewhere);
        tokio::time::advance(REFUSAL).await;
        assert!(gateway.ask(10).now_or_never().is_none(), "it is asked for again");
        assert_eq!(gateway.renew(10).expect("it is told of").wanted, 1);
        // The limit of the key itself is told as ever.
        for _ in 0..10 {
            drop(gateway.ask(10).await.expect("the share has room"));
        }
        let refused = gateway.ask(10).await.expect_err("all is used");
        assert!(
            matches!(
                refused,
                LimitError::Requests {
                    limit: 10,
                    used: 10,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(gateway.ask(4).await.is_err(), "a lower limit holds at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_good_to_the_end_of_the_lease_and_no_longer() {
        let gateway = Gateway::new();
        drop(gateway.ask(10).now_or_never());
        gateway.renew(5);
        gateway.fail();
        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        drop(gateway.ask(10).await.expect("the lease lasts"));
        tokio::time::advance(Duration::from_millis(1)).await;
        let refused = gateway.ask(10).now_or_never().expect("the ledger is known to be away");
        assert_eq!(refused.expect_err("the lease is over"), LimitError::Unavailable);
        let told = gateway.renew(5).expect("its window is not over");
        assert_eq!(
            (told.used, told.held),
            (1, 0),
            "what was used counts, the share does not"
        );
        drop(gateway.ask(10).await.expect("the ledger is back"));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_two_seconds() {
        let gateway = Gateway::new();
        let began = tokio::time::Instant::now();
        let refused = gateway.ask(10).await.expect_err("nobody renews");
        assert_eq!(refused, LimitError::Unavailable);
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_at_rest_is_told_of_until_nothing_of_it_counts() {
        let gateway = Gateway::new();
        drop(gateway.ask(10).now_or_never());
        gateway.renew(5);
        drop(gateway.ask(10).await.expect("the share has room"));
        assert!(gateway.renew(3).is_some_and(|told| told.is_active && told.held == 5));
        assert!(gateway.renew(1).is_some_and(|told| !told.is_active && told.held == 3));
        tokio::time::advance(Duration::from_secs(61)).await;
        let told = gateway.renew(0).expect("once more");
        assert_eq!((told.used, told.held), (0, 0));
        assert_eq!(gateway.renew(0), None);
        assert!(
            gateway.ask(10).now_or_never().is_none(),
            "its share has to be asked for"
        );
        assert!(gateway.renew(3).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_and_requests_at_a_time_have_shares_too() {
        let gateway = Gateway::new();
        let limits = KeyLimits {
            tokens_per_minute: Some(1000),
            concurrency: Some(4),
            requests_per_minute: None,
        };
        let limiter = &gateway.limiter;
        let begin = || limiter.begin(&limits, now());
        assert!(begin().is_err());
        let told = gateway.sharing().tell(now());
        let wanted: Vec<_> = told.uses.iter().map(|one| (one.kind, one.wanted)).collect();
        assert_eq!(wanted, [(RateKind::Tokens, 0), (RateKind::Concurrency, 1)]);
        gateway.sharing().take(told, None, now());
        assert_eq!(begin().expect_err("the ledger is away"), LimitError::Unavailable);
        gateway.renew(2);
        let held = [begin().expect("a place"), begin().expect("a place")];
        let refused = begin().expect_err("two are under way");
        assert!(
            matches!(
                refused,
                LimitError::Elsewhere {
                    kind: Kind::Concurrency,
                    limit: 4,
                    ..
                }
            ),
            "{refused:?}"
        );
        let [mut first, _second] = held;
        let setting = first.set_aside(600, 1000);
        tokio::pin!(setting);
        assert!(setting.as_mut().now_or_never().is_none());
        let told = gateway.sharing().tell(now());
        assert_eq!(told.uses[0].wanted, 600);
        let shares = told.uses.iter().map(|one| RateShare {
            key: one.key.clone(),
            kind: one.kind,
            share: one.used + one.wanted,
        });
        let shares: Vec<_> = shares.collect();
        let until = Until {
            at: Instant::now() + LEASE,
            wall_ms: i64::MAX,
        };
        gateway.sharing().take(told, Some((&shares, until)), now());
        setting
            .now_or_never()
            .expect("the answer is there")
            .expect("it brought enough");
    }

    #[test]
    fn a_gateway_alone_has_no_shares() {
        let limiter = Limiters::default().of_key("alice");
        for _ in 0..3 {
            assert!(limiter.begin(&limits(3), Instant::now()).is_ok());
        }
        let state = limiter.lock();
        assert!(!state.shares.is_active && !state.shares.is_listed);
    }

    #[test]
    fn a_subject_is_told_by_its_hash() {
        let id = AccountId::Subject {
            issuer: "https://id.example".into(),
            subject: "jane".into(),
        };
        let name = name(&id);
        assert!(
            name.starts_with("subject:") && name.len() == 72 && !name.contains("jane"),
            "{name}"
        );
    }
}
