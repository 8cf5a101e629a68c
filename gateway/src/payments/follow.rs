//! The watch over channels that are known: what other gateways changed, what the chain says, and what is to be signed.
//!
//! Nothing that the chain says stops us: a channel that closes takes no new work and has its take signed, one that is
//! gone is buried, and what does not fit is told in the log.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use billing::{Nano, channel};
use billing_store::{
    LedgerFault,
    ledger::{CloseError, Facts, Objection, Side, Stage, StoredChannel, Word},
};
use billing_ton::{
    chain::{AccountState, Status},
    sources::SourcesError,
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    ACTOR, Channel, PaymentError, Payments, Settling, Shared, accept, by, hear, settlement, settling::Cashier,
};
use crate::{absence::Absence, layers::rescue::Chain, metrics::PaymentsMetrics, wall_clock::unix_ms};

/// How long the start waits for the chain.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long the last take of a closed channel is brought to the chain: 90 days.
const PARTING_MS: i64 = 90 * 86_400_000;

/// What is remembered between two looks.
struct Watched {
    /// The generation of channels that was read last.
    generation: i64,
    /// When something was signed last, by channel.
    signed: HashMap<channel::Account, Instant>,
    /// What was told in the log already.
    objections: HashMap<channel::Account, Objection>,
    /// Of channels that were closed here, since when the chain does not show them.
    absences: HashMap<channel::Account, Absence>,
    is_failing: bool,
    cashier: Cashier,
}

impl Watched {
    fn new(cashier: Cashier) -> Self {
        Self {
            generation: 0,
            signed: HashMap::new(),
            objections: HashMap::new(),
            absences: HashMap::new(),
            is_failing: false,
            cashier,
        }
    }

    /// Tells of a objection once.
    fn objection(&mut self, channel: channel::Account, objection: Option<Objection>) {
        let Some(objection) = objection else {
            self.objections.remove(&channel);
            return;
        };
        if self.objections.insert(channel, objection) != Some(objection) {
            tracing::error!(%channel, %objection, "the chain is said to be what it cannot be; what may be true is taken");
        }
    }
}

impl Payments {
    /// Follows until dropped.
    pub(crate) async fn follow(self, metrics: PaymentsMetrics) {
        let Some(shared) = self.0 else { return };
        let settling = shared.settling.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (orders, settle) = settling.map(Settling::start).unzip();
        let settle = async {
            if let Some(settle) = settle {
                settle.await;
            }
        };
        let cashier = Cashier::new(orders, shared.settings.watch.clone());
        tokio::join!(shared.watch_over(cashier, &metrics), settle);
    }
}

impl Shared {
    /// What became of channels while nobody looked, before the first request: as far as the chain answers in time.
    pub(super) async fn first_look(&self) {
        let mut watched = Watched::new(Cashier::new(None, None));
        if timeout(FIRST_LOOK, self.look(&mut watched)).await.is_err() {
            tracing::warn!("the chain does not tell in time how channels stand; they are served up to what is known");
        }
    }

    async fn watch_over(&self, cashier: Cashier, metrics: &PaymentsMetrics) {
        let mut watched = Watched::new(cashier);
        loop {
            let (channels, unplaced) = (self.known.all().len(), self.unplaced().len());
            let is_idle = channels == 0 && self.parting().is_empty();
            let newest = self.newest.load(Ordering::Relaxed);
            metrics.set(channels, unplaced, (!is_idle && newest > 0).then_some(newest));
            sleep(self.settings.follow).await;
            self.look(&mut watched).await;
        }
    }

    /// Reads channels that changed after a generation.
    pub(super) async fn read(&self, since: i64) -> Result<i64, LedgerFault> {
        let mut since = since;
        loop {
            let changes = self.store.changes(since).await?;
            let is_all = changes.channels.is_empty();
            for stored in &changes.channels {
                self.heard(stored);
            }
            if is_all || changes.generation == since {
                return Ok(changes.generation);
            }
            since = changes.generation;
        }
    }

    /// What the database says of a channel, whoever changed it.
    fn heard(&self, stored: &StoredChannel) {
        if stored.side != Side::Payee || stored.id.network != self.offered.wanted.network {
            return;
        }
        if is_parting(stored, unix_ms()) {
            self.parting().insert(stored.id.account);
        }
        match self.known.find(&stored.id.account) {
            Some(channel) => {
                self.take_in(&channel, stored);
                if stored.stage == Stage::Closed {
                    self.known.forget(&stored.id.account);
                }
            }
            // Those that are closed are asked for by nobody but the payer, once.
            None if stored.stage == Stage::Closed => {
                self.unplaced().remove(&stored.id.account);
            }
            None if self.known.keep(Channel::new(stored)).is_some() => {
                self.unplaced().remove(&stored.id.account);
            }
            None => {
                let mut unplaced = self.unplaced();
                if unplaced.is_empty() {
                    tracing::error!(channel = %stored.id.account, "there are more open channels than are followed; whoever closes one of the others is not seen here: have a watch for them");
                }
                unplaced.insert(stored.id.account);
            }
        }
    }

    fn unplaced(&self) -> MutexGuard<'_, HashSet<channel::Account>> {
        self.unplaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, watched: &mut Watched) {
        let mut failed = None;
        match self.read(watched.generation).await {
            Ok(generation) => watched.generation = generation,
            Err(error) => failed = Some(Chain(&error).to_string()),
        }
        for channel in self.known.all() {
            if let Err(cause) = self.look_at(&channel, watched).await {
                failed = Some(cause);
            }
        }
        let parting: Vec<_> = self.parting().iter().copied().collect();
        for account in parting {
            match self.see_off(account, watched).await {
                Ok(true) => {
                    self.parting().remove(&account);
                    watched.absences.remove(&account);
                    watched.cashier.forget(&account);
                }
                Ok(false) => {}
                Err(cause) => failed = Some(cause),
            }
        }
        match failed {
            Some(cause) if !std::mem::replace(&mut watched.is_failing, true) => {
                tracing::warn!(%cause, "channels cannot be followed; those known are served up to what is known");
            }
            None if std::mem::take(&mut watched.is_failing) => tracing::info!("channels are followed again"),
            _ => {}
        }
    }

    async fn look_at(&self, channel: &Arc<Channel>, watched: &mut Watched) -> Result<(), String> {
        let heard = match self.hear(channel).await {
            Ok(Some(heard)) => {
                watched.objection(channel.id.account, heard.objection);
                heard.unsure.map_or(Ok(()), Err)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        // Whatever the chain says, or does not say: what was earned is signed.
        let stored = self.settle_when_due(channel, watched).await;
        let stored = stored.map_err(|error| Chain(&error).to_string())?;
        let signed = stored.and_then(|stored| Some((settlement(&stored)?, stored.facts.on_chain)));
        if let Some((settlement, on_chain)) = signed {
            let brought = watched.cashier.bring(&self.sources, &settlement, &on_chain).await;
            brought.map_err(|error| Chain(&error).to_string())?;
        }
        heard.map_err(|error| hear::cause(&error))
    }

    /// A channel that is closed here: its last take is to be paid. Says whether there is nothing more to do.
    async fn see_off(&self, account: channel::Account, watched: &mut Watched) -> Result<bool, String> {
        let id = self.id(account);
        let stored = self.store.channel(&id).await;
        let stored = stored.map_err(|error| Chain(&error).to_string())?;
        let Some(stored) = stored else { return Ok(true) };
        let Some(settlement) = settlement(&stored) else {
            return Ok(true);
        };
        let state = self.sources.first().account(account).await;
        let state = state.map_err(|error| Chain(&error).to_string())?;
        let absence = watched.absences.entry(account).or_default();
        let Some(now) = accept::read(&state) else {
            if matches!(state.status, Status::Active { .. } | Status::Frozen) {
                return Ok(false);
            }
            // Whoever keeps the last take and starts the clock would like nothing more than that we look away.
            let both = match self.sources.account(account, Nano::MOST).await {
                Ok(both) => both,
                Err(SourcesError::NoSecond { .. }) => state,
                Err(error) => return Err(Chain(&error).to_string()),
            };
            return Ok(accept::read(&both).is_none() && absence.is_gone(both.head));
        };
        absence.shown(state.head);
        // Its address follows from its terms: somebody lies.
        if (now.terms, now.keys) != (stored.terms, stored.keys) {
            return Ok(false);
        }
        let brought = watched.cashier.bring(&self.sources, &settlement, &now.on_chain).await;
        brought.map_err(|error| Chain(&error).to_string())?;
        Ok(false)
    }

    fn parting(&self) -> MutexGuard<'_, HashSet<channel::Account>> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of it cannot be true.
    pub(super) async fn observe(
        &self,
        channel: &Arc<Channel>,
        state: &AccountState,
        word: Word,
    ) -> Result<Option<Objection>, PaymentError> {
        let (id, before) = (&channel.id, channel.on_chain());
        let Some(now) = accept::read(state) else {
            return Ok(None);
        };
        if (now.terms, now.keys) != (channel.terms, channel.keys) {
            tracing::error!(channel = %id.account, "the chain shows other terms of a channel than it did; nothing of it is taken on");
            return Ok(None);
        }
        let facts = Facts {
            seqno: state.head.seqno,
            on_chain: now.on_chain,
        };
        let observed = self.store.observe(id, &facts, word, by(ACTOR)).await?;
        self.take_in(channel, &observed.channel);
        if let Some(close_at) = now.on_chain.close_at.filter(|_| before.close_at.is_none()) {
            tracing::warn!(
                channel = %id.account, close_at,
                "the payer asked to close a channel: what was earned has to be settled before"
            );
        }
        Ok(observed.objection)
    }

    /// There is no contract any more. What was earned and not settled is signed first, in case that is not so.
    pub(super) async fn gone(&self, channel: &Arc<Channel>, state: &AccountState) -> Result<(), PaymentError> {
        let id = &channel.id;
        if matches!(state.status, Status::Active { .. } | Status::Frozen) {
            tracing::error!(channel = %id.account, "the chain shows something else at the address of a channel; nothing of it is taken on");
            return Ok(());
        }
        self.store.take(id, &self.signer).await?;
        let stopped = self.store.stop(id, by(ACTOR)).await?;
        self.take_in(channel, &stopped);
        match self.store.bury_payees(id, &self.signer, by(ACTOR)).await {
            Ok(buried) => {
                tracing::info!(
                    channel = %id.account, earned = %buried.taken(), claimed = %buried.facts.on_chain.claimed,
                    "a channel is gone from the chain"
                );
                self.known.forget(&id.account);
                Ok(())
            }
            // Later, when nothing runs.
            Err(CloseError::InFlight { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs what was earned where that is enough, or the channel ends, or it is time.
    async fn settle_when_due(
        &self,
        channel: &Arc<Channel>,
        watched: &mut Watched,
    ) -> Result<Option<StoredChannel>, PaymentError> {
        let Some(mut stored) = self.store.channel(&channel.id).await? else {
            return Ok(None);
        };
        self.take_in(channel, &stored);
        let earned = stored.spent.min(stored.credited);
        // Whatever the chain is said to have paid: a source that lies must not keep us from signing.
        let unsigned = earned.saturating_sub(stored.taken());
        let since = *watched.signed.entry(channel.id.account).or_insert_with(Instant::now);
        let rule = &self.settings.settle;
        let is_due = is_due(unsigned, since.elapsed(), stored.stage, rule.above, rule.every);
        if is_due && let Some(take) = self.store.take(&channel.id, &self.signer).await? {
            watched.signed.insert(channel.id.account, Instant::now());
            tracing::info!(channel = %channel.id.account, take = %take.amount, "what a channel earned is signed, and can be settled");
            stored.take = Some(take);
        }
        Ok(Some(stored))
    }
}

/// Whether what was earned and not signed yet is to be signed now.
fn is_due(unsigned: Nano, since: Duration, stage: Stage, above: Nano, every: Duration) -> bool {
    !unsigned.is_zero() && (unsigned >= above || stage != Stage::Open || since >= every)
}

/// Whether a channel that was closed here may have something to be paid. After so long its payer has its rest.
fn is_parting(stored: &StoredChannel, now_ms: i64) -> bool {
    let is_last = stored.take.is_some_and(|take| take.is_last);
    let is_unpaid = stored.taken() > stored.facts.on_chain.claimed;
    let since_ms = stored
        .closed_at_ms
        .map_or(i64::MAX, |at_ms| now_ms.saturating_sub(at_ms));
    stored.stage == Stage::Closed && is_last && is_unpaid && since_ms < PARTING_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_earned_is_signed_in_time() {
        let check = |unsigned: u64, since_s: u64, stage, expect| {
            let (above, every) = (Nano::saturating(500), Duration::from_secs(60));
            let unsigned = Nano::saturating(unsigned);
            let due = is_due(unsigned, Duration::from_secs(since_s), stage, above, every);
            assert_eq!(due, expect, "{unsigned} after {since_s} s");
        };
        check(499, 59, Stage::Open, false);
        check(500, 0, Stage::Open, true);
        check(1, 60, Stage::Open, true);
        check(1, 0, Stage::Stopping, true);
        check(0, 1_000, Stage::Stopping, false);
    }
}
