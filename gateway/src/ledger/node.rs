//! Node: the part that this gateway has in the ledger: it joins, renews its lease, asks for what requests need, gives
//! back what nobody uses, and leaves.
//!
//! The end of the lease is counted from before a renewal was sent, by this machine's own clock, and a margin before
//! it nothing is held any more: when the ledger thinks that the lease has ended, so it has here.
//! A renewal whose answer is lost leaves no doubt for long: the next one learns what was granted in all, see
//! [`billing::book`].

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use billing::{Ask, Nano, Pot, Renewal, Return, book::Settled};
use billing_store::ledger::Renewed;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Fence, REFUSAL, Refusal, Shared,
    central::{Central, Journal, Trouble},
    identity::Lock,
    shipper::Shipper,
};
use crate::{
    layers::rescue::Chain,
    limiter::{Sharing, Until},
    wall_clock::unix_ms,
};

/// How often a lease is renewed.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one question to the ledger may take.
const TRY: Duration = Duration::from_secs(2);
/// Between two questions of which the first failed.
const PAUSE: Duration = Duration::from_millis(100);
/// What nobody asked for in so long goes back, where there are other nodes.
const IDLE_MS: i64 = 5000;
/// What was asked for so lately is kept filled.
const RECENT_MS: i64 = 2000;
/// How many renewals between two looks at what is over.
const SWEEP: u32 = 10;
/// How long the rest of the journal is shipped before the process ends.
const LAST_SHIPMENT: Duration = Duration::from_secs(10);

pub(super) struct Node {
    shared: Arc<Shared>,
    central: Arc<dyn Central>,
    /// `None` where charges become durable in the ledger itself.
    journal: Option<(Arc<dyn Journal>, Shipper)>,
    ttl: Duration,
    /// Where other nodes may be there: what this one may use of the limits of keys.
    sharing: Option<Arc<Sharing>>,
    /// The data directory, and the lock on it once this process is its node.
    folder: Option<PathBuf>,
    lock: Option<Lock>,
    /// 0 while it has not joined.
    epoch: u64,
    live_nodes: u32,
    /// What was granted last, of each pot.
    last_grants: HashMap<Pot, Nano>,
    joined_at: Option<Instant>,
    /// How long it waits before it joins again.
    patience: Duration,
    is_failing: bool,
    renewals: u32,
}

impl Node {
    pub(super) fn new(
        shared: Arc<Shared>,
        central: Arc<dyn Central>,
        journal: Option<Arc<dyn Journal>>,
        ttl: Duration,
        sharing: Option<Arc<Sharing>>,
        folder: Option<PathBuf>,
    ) -> Self {
        let journal = journal.map(|journal| (journal.clone(), Shipper::new(journal, central.clone())));
        Self {
            shared,
            central,
            journal,
            ttl,
            sharing,
            folder,
            lock: None,
            epoch: 0,
            live_nodes: 1,
            last_grants: HashMap::new(),
            joined_at: None,
            patience: PAUSE,
            is_failing: false,
            renewals: 0,
        }
    }

    /// Joins when the first key is charged, or the first limit is shared, and stays until `ending`.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let mut next = Instant::now();
        loop {
            let shared = self.shared.clone();
            let sharing = self.sharing.clone();
            let waiting = async {
                match &sharing {
                    Some(sharing) => sharing.wake.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = ending.wait_for(|ending| *ending) => break,
                () = shared.wake.notified(), if self.epoch != 0 || !self.is_needed() => {}
                () = waiting, if self.epoch != 0 || !self.is_needed_for_limits() => {}
                () = sleep_until(next) => {}
            }
            next = Instant::now() + self.step().await;
        }
        self.leave().await;
    }

    fn is_needed(&self) -> bool {
        self.shared.is_needed.load(Ordering::Relaxed) || self.is_needed_for_limits()
    }

    fn is_needed_for_limits(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.is_needed())
    }

    /// Does what is to be done, and says when to look again.
    pub(super) async fn step(&mut self) -> Duration {
        let wait = self.act().await;
        self.observe().await;
        wait
    }

    async fn observe(&self) {
        let metrics = &self.shared.metrics;
        let (holds, open) = {
            let state = self.shared.state();
            (state.book.open_holds(), state.open)
        };
        let left = open.map_or(Duration::ZERO, |fence| {
            fence.at.saturating_duration_since(Instant::now())
        });
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.holds.set(count(holds));
        metrics.queued.set(count(self.shared.queue.len()));
        metrics.lease.set(i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
        if let Some((journal, _)) = &self.journal
            && let Ok((unshipped, since_ms)) = journal.backlog().await
        {
            let age_ms = since_ms.map_or(0, |since_ms| unix_ms().saturating_sub(since_ms).max(0));
            metrics.unshipped.set(i64::try_from(unshipped).unwrap_or(i64::MAX));
            metrics.unshipped_age.set(age_ms / 1000);
        }
    }

    async fn act(&mut self) -> Duration {
        let outcome = match self.epoch {
            0 if !self.is_needed() => return PERIOD,
            0 => {
                let joined = self.join().await;
                self.shared.is_tried.send_replace(true);
                match joined {
                    // Requests wait for their shares.
                    Ok(()) if self.is_needed_for_limits() => self.renew().await,
                    joined => joined,
                }
            }
            // Refused charges are how one that is stopped for long learns of it first.
            epoch if self.shared.queue.over() == epoch => Err(Trouble::Closed),
            _ => self.renew().await,
        };
        match outcome {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the ledger answers again");
                }
                PERIOD
            }
            Err(trouble @ (Trouble::Closed | Trouble::Astray(_))) if self.epoch != 0 => self.closed(&trouble),
            Err(trouble) => {
                if self.epoch == 0
                    && let Some(sharing) = &self.sharing
                {
                    sharing.take(sharing.tell(now()), None, now());
                }
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(cause = %Chain(&trouble), "the ledger does not answer; what is leased is used up to the end of the lease");
                }
                tokio::time::sleep(PAUSE).await;
                if self.epoch == 0 { PERIOD } else { Duration::ZERO }
            }
        }
    }

    /// Ships what is left of the incarnation before, and begins one.
    async fn join(&mut self) -> Result<(), Trouble> {
        if self.lock.is_none()
            && let Some(folder) = &self.folder
        {
            let taken = Lock::take(folder).map_err(|error| Trouble::Passing(error.into()))?;
            self.lock = Some(taken.ok_or_else(|| Trouble::Passing("another gateway has this data_dir".into()))?);
        }
        // A capture of a hold that is left must not become durable behind what is shipped now: it would be of an
        // incarnation that is over when its turn comes, and its client had seen the end of its answer.
        {
            let mut state = self.shared.state();
            state.open = None;
            state.book.restart();
        }
        self.shared.queue.end();
        if let Some((_, shipper)) = &self.journal {
            // What was captured before is durable, and then it is with the ledger, which may then free what was leased.
            self.shared.queue.flush().await;
            shipper.ship_again().await?;
        }
        let fence = Fence::from_now(self.ttl);
        let joined = asked(self.central.join()).await?;
        let epoch = joined.epoch;
        let joined = match &self.journal {
            Some((journal, _)) => journal.begin(&joined).await?,
            None => joined,
        };
        self.shared.queue.begin(joined);
        {
            let mut state = self.shared.state();
            state.book.restart();
            state.epoch = epoch;
            state.asks.clear();
            state.refused.clear();
            state.give.clear();
            state.open = Some(fence);
        }
        self.epoch = epoch;
        self.joined_at = Some(Instant::now());
        self.last_grants.clear();
        tracing::info!(epoch, "joined the ledger");
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Trouble> {
        let now_ms = unix_ms();
        let (number, renewal, asked_for) = self.prepare(now_ms);
        let fence = Fence::from_now(self.ttl);
        let told = self.sharing.as_ref().map(|sharing| sharing.tell(now()));
        let rates = told.as_ref().map_or(&[][..], |told| &told.uses);
        let renewed = asked(self.central.renew(self.epoch, &renewal, rates)).await;
        if let (Some(sharing), Some(told)) = (&self.sharing, told) {
            let shares = renewed.as_ref().ok().map(|renewed| (&renewed.shares[..], fence.into()));
            sharing.take(told, shares, now());
        }
        let outcome = renewed.and_then(|renewed| self.take(&renewal, renewed, &asked_for, fence));
        // Whoever waits looks again, whatever came of it.
        self.shared.rounds.send_replace(number);
        outcome?;
        self.renewals = self.renewals.wrapping_add(1);
        if self.sharing.is_some() && self.renewals.is_multiple_of(SWEEP) {
            asked(self.central.reap()).await?;
        }
        Ok(())
    }

    /// What to say in the next renewal, and what requests wait for.
    fn prepare(&mut self, now_ms: i64) -> (u64, Renewal, HashMap<Pot, Nano>) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        state.begun += 1;
        if self.renewals.is_multiple_of(SWEEP) {
            state.book.forget_past(now_ms);
        }
        let asks = std::mem::take(&mut state.asks);
        let give = std::mem::take(&mut state.give);
        let mut returns = Vec::new();
        let mut more = Vec::new();
        for view in state.book.pots() {
            let idle_ms = now_ms.saturating_sub(view.wanted_at_ms);
            let is_idle = self.live_nodes > 1 && idle_ms >= IDLE_MS && !asks.contains_key(view.pot);
            if give.contains(view.pot) || is_idle {
                if !view.free.is_zero() {
                    returns.push(Return {
                        pot: view.pot.clone(),
                        amount: view.free,
                    });
                    // The ledger has it in a moment: who needs no more than both asks again.
                    if let Some(refusal) = state.refused.get_mut(view.pot) {
                        refusal.rest = refusal.rest.saturating_add(view.free);
                    }
                }
                continue;
            }
            let is_low = self
                .last_grants
                .get(view.pot)
                .is_some_and(|last| view.free.get() < last.get() / 2);
            let is_refused = state.refused.contains_key(view.pot);
            if is_low && !is_refused && idle_ms < RECENT_MS && !asks.contains_key(view.pot) && !view.wanted.is_zero() {
                more.push(Ask {
                    pot: view.pot.clone(),
                    need: view.wanted,
                });
            }
        }
        more.extend(asks.iter().map(|(pot, need)| Ask {
            pot: pot.clone(),
            need: *need,
        }));
        let renewal = state.book.renewal(&more, &returns);
        (state.begun, renewal, asks)
    }

    fn take(
        &mut self,
        renewal: &Renewal,
        renewed: Renewed,
        asked_for: &HashMap<Pot, Nano>,
        fence: Fence,
    ) -> Result<(), Trouble> {
        let Renewed { grants, live_nodes, .. } = renewed;
        self.live_nodes = live_nodes;
        let until = Instant::now() + REFUSAL;
        let mut is_refused = false;
        let mut guard = self.shared.state();
        let state = &mut *guard;
        match state.book.settle(renewal.round, &grants) {
            Ok(Settled::Now | Settled::Stale) => {}
            Err(refusal) => {
                tracing::error!(cause = %Chain(&refusal), "the ledger and this node do not agree on what is leased");
                return Err(Trouble::Closed);
            }
        }
        state.open = Some(fence);
        let now = Instant::now();
        state.refused.retain(|_, refusal| refusal.until > now);
        for grant in grants {
            if let Some(need) = asked_for.get(&grant.pot)
                && grant.more < *need
            {
                state.refused.insert(
                    grant.pot.clone(),
                    Refusal {
                        rest: grant.rest,
                        until,
                    },
                );
                if live_nodes > 1 && !state.book.free(&grant.pot).is_zero() {
                    // So that crumbs meet.
                    state.give.insert(grant.pot.clone());
                    is_refused = true;
                }
            } else if let Some(refusal) = state.refused.get_mut(&grant.pot) {
                refusal.rest = grant.rest;
            }
            if !grant.more.is_zero() {
                self.last_grants.insert(grant.pot, grant.more);
            }
        }
        drop(guard);
        if is_refused {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// This incarnation is over: nothing is held until another begins.
    fn closed(&mut self, trouble: &Trouble) -> Duration {
        let number = {
            let mut state = self.shared.state();
            state.open = None;
            state.begun += 1;
            state.begun
        };
        self.shared.rounds.send_replace(number);
        self.epoch = 0;
        // Two gateways of one name would end each other without an end.
        let is_again = self.joined_at.is_some_and(|at| at.elapsed() < self.ttl);
        self.patience = if is_again {
            (self.patience * 2).min(self.ttl)
        } else {
            PAUSE
        };
        tracing::error!(cause = %Chain(trouble), again_in = ?self.patience, "the ledger closed this node's lease: it was forgotten, its lease had ended, or another gateway has the same name");
        self.patience
    }

    /// Gives everything back, where all that was captured is with the ledger.
    async fn leave(self) {
        if let Some((_, shipper)) = &self.journal {
            let shipped = timeout(LAST_SHIPMENT, shipper.ship()).await;
            if !matches!(shipped, Ok(Ok(()))) {
                tracing::warn!("charges are left in the journal; the next start ships them");
                return;
            }
        }
        if self.epoch != 0
            && let Err(trouble) = asked(self.central.leave(self.epoch)).await
        {
            tracing::warn!(cause = %Chain(&trouble), "the lease was not given back; it ends by itself");
        }
    }
}

impl Fence {
    /// That of a lease which is asked for now.
    fn from_now(ttl: Duration) -> Self {
        let margin = (ttl / 10).max(Duration::from_secs(1));
        let usable = ttl.saturating_sub(margin);
        let usable_ms = i64::try_from(usable.as_millis()).unwrap_or(i64::MAX);
        Self {
            at: Instant::now() + usable,
            wall_ms: unix_ms().saturating_add(usable_ms),
        }
    }
}

impl From<Fence> for Until {
    fn from(fence: Fence) -> Self {
        Self {
            at: fence.at.into_std(),
            wall_ms: fence.wall_ms,
        }
    }
}

/// As limiters count it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn asked<T>(answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let answered = timeout(TRY, answer).await;
    answered.unwrap_or_else(|elapsed| Err(Trouble::Passing(elapsed.into())))
}
