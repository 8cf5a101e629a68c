//! What goes on by itself: each in its own time, so that whoever waits for the chain holds up nobody else.

use std::{sync::PoisonError, time::Duration};

use attestation::Hex;
use billing::{
    Nano,
    channel::{
        Payer,
        payer::{Act, Event, Phase},
    },
};
use billing_ton::settler::drive::{News, Orders};
use tokio::sync::mpsc;

use super::{
    Payments, Shared,
    payee::{Opening, PayeeId},
    state::{Entry, State},
};
use crate::{facts::Facts, layers::rescue::Chain, metrics::WagesMetrics, tls, wall_clock::unix_ms};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(200);
/// After the settler took no deposit, because another is on its way or there is too much to do.
const DECLINED: Duration = Duration::from_secs(10);
/// After the chain's source gave no answer.
const REST: Duration = Duration::from_secs(5);

impl Shared {
    pub(super) async fn run(&self, metrics: &WagesMetrics) {
        let taken = self.payments.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Payments { drive, orders, news }) = taken else {
            return;
        };
        let facts = self.restored();
        let pay = async {
            if let Err(error) = drive.run().await {
                tracing::error!(cause = %Chain(&error), "the wallet that pays workers has stopped; what is signed stays good");
            }
        };
        tokio::join!(
            pay,
            self.read(news),
            self.follow(facts),
            self.tend_all(metrics),
            self.carry(&orders)
        );
    }

    /// What was under way when we ended goes on.
    fn restored(&self) -> Facts {
        let mut facts = Facts::new(self.settings.follow);
        self.with(|state, _| {
            for account in state.accounts.keys() {
                facts.follow(*account);
            }
            // Of what was never sent the chain knows nothing, and what was is seen there before it is sent again.
            let payers = state.payees.values().filter_map(|payee| payee.channel.as_ref());
            let pending = payers.filter_map(|payer| Some((payer.channel().id.account, payer.pending_payment()?)));
            for (account, act) in pending.collect::<Vec<_>>() {
                state.acts.want(account, act);
            }
        });
        facts
    }

    /// What comes of payments. Unread news would hold the settler up.
    async fn read(&self, mut news: mpsc::Receiver<News>) {
        while let Some(news) = news.recv().await {
            self.hear(&news);
        }
    }

    /// What the chain says of channels.
    async fn follow(&self, mut facts: Facts) {
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let (new, over) = self.with(|state, _| (std::mem::take(&mut state.new), std::mem::take(&mut state.over)));
            for account in new {
                facts.follow(account);
            }
            for account in over {
                facts.forget(&account);
            }
            // A payer loses nothing by what a source hides: vouchers are within what it has shown.
            for (account, fact) in facts.ask(self.chain.sources(), &|_| Nano::ZERO).await {
                self.with(|state, entry| {
                    if let Some(key) = state.payee_of(&account) {
                        state.step(entry, &key, Event::Chain(fact), unix_ms());
                    }
                });
            }
        }
    }

    /// Hands out what is to be done on the chain.
    async fn carry(&self, orders: &Orders) {
        let mut ticks = ticks();
        let mut is_silent = false;
        loop {
            ticks.tick().await;
            let (acts, ended) = self.with(|state, _| state.acts.take());
            for account in ended {
                self.forget(orders, account).await;
            }
            let Err(error) = self.carry_out(orders, &acts).await else {
                is_silent = false;
                continue;
            };
            if !std::mem::replace(&mut is_silent, true) {
                tracing::warn!(cause = %Chain(&error), "payments to workers wait for the chain's prices");
            }
            self.with(|state, _| state.acts.put_back(acts));
            tokio::time::sleep(REST).await;
        }
    }

    /// What is due by itself.
    async fn tend_all(&self, metrics: &WagesMetrics) {
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            let keys: Vec<PayeeId> = self.lock().payees.keys().copied().collect();
            for key in keys {
                self.with(|state, entry| self.tend(state, entry, &key));
            }
            metrics.set(&self.now());
        }
    }

    /// What is due for one worker.
    fn tend(&self, state: &mut State, entry: &mut Entry, key: &PayeeId) {
        let now_ms = unix_ms();
        let Some(payee) = state.payees.get_mut(key) else { return };
        if let Some(matured) = payee.mature(self.settings.matures_after, now_ms) {
            state.step(entry, key, Event::Matured(matured), now_ms);
        }
        let Some(payee) = state.payees.get_mut(key) else { return };
        if payee.is_away_for_good(now_ms) {
            state.step(entry, key, Event::Close, now_ms);
        }
        self.open_if_due(state, entry, key, now_ms);
        self.pay_in_again(state, entry, key, now_ms);
        state.step(entry, key, Event::Tick, now_ms);
        self.settle_if_due(state, key);
    }

    fn open_if_due(&self, state: &mut State, entry: &mut Entry, key: &PayeeId, now_ms: i64) {
        let Some(payee) = state.payees.get_mut(key) else { return };
        if !payee.is_due(self.settings.open_above) {
            return;
        }
        let Some(salt) = tls::random().map(u128::from_be_bytes) else {
            return;
        };
        let opening = Opening {
            signer: &self.signer,
            wallet: self.wallet,
            salt,
            deposit: self.settings.deposit,
            policy: self.policy,
        };
        match payee.open(&mut state.purse, &opening, now_ms) {
            Ok(None) => {}
            Ok(Some(id)) => {
                tracing::info!(channel = %id.account, payee = %Hex(*key), deposit = %self.settings.deposit, "a channel to a worker is opened");
                state.opened(entry, key, id.account);
            }
            Err(error) => {
                tracing::warn!(payee = %Hex(*key), why = %Chain(&error), "a worker has earned enough for a channel, and none is opened");
            }
        }
    }

    /// What was paid in and not taken is wanted anew after a while.
    fn pay_in_again(&self, state: &mut State, entry: &mut Entry, key: &PayeeId, now_ms: i64) {
        let Some(payee) = state.payees.get_mut(key) else { return };
        if payee.declined.is_none_or(|since| since.elapsed() < DECLINED) {
            return;
        }
        payee.declined = None;
        if let Some(act) = payee.channel.as_ref().and_then(Payer::pending_payment) {
            state.step(entry, key, Event::Failed(act), now_ms);
        }
    }

    /// The worker asks by signing what it takes; we pay the gas.
    fn settle_if_due(&self, state: &mut State, key: &PayeeId) {
        let Some(payee) = state.payees.get_mut(key) else { return };
        let Some(payer) = &payee.channel else { return };
        let Some(settlement) = payer.settlement() else { return };
        let take = settlement.take();
        let unclaimed = take.amount().saturating_sub(payer.claimed());
        // What a thief signed it may bring to the chain itself.
        let is_earned = take.amount() <= payer.spent() && payer.phase() != Phase::Quarantined;
        // The last one the payer shows by itself.
        let is_due = unclaimed >= self.settings.settle_least && !take.is_last() && is_earned;
        if is_due && payee.settling.is_new(take.amount()) {
            let account = payer.channel().id.account;
            state.acts.want(account, Act::Settle(settlement));
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
