//! Wages: what the workers of this gateway are paid, by a channel to each that has earned enough.
//!
//! What a worker earns is counted when the request ends, at the worker's price. Until it has a channel it is owed, and
//! what is owed goes into the channel once there is one.
//! - A worker whose key is in claims that a quote vouches for gets vouchers ahead of work, a window at a time.
//! - Any other works on credit; its vouchers cover what can no longer be disputed.
//! - A worker that takes more than it earned is quarantined: no request goes there, and the loss is booked.
//!
//! No request waits for a disk or for the chain: holds are in memory, the journal is written by a thread of its own
//! ([`Scribe`]), and messages go to the chain from the task here.
//! The gateway pays the gas of its workers' settlements: they need no coins.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use attestation::Hex;
use billing::{
    Nano, Tariff, Wage,
    channel::{
        Account, Channel, Envelope, HoldId, PublicKey, Purse, Signer,
        payer::{Act, Alert, Effect, Event, PayerPolicy, Phase, Trust},
    },
};
use billing_ton::settler::drive::{Drive, FileKeep, News, Orders};
use tokio::sync::{mpsc, oneshot};

use crate::{
    chain_source::ChainSource,
    config::Pay,
    control::{Notices, PayOffer, Prices},
    facts::Facts,
    frames::{Scribe, Then},
    layers::rescue::Chain,
    metrics::{WagesMetrics, WagesNow},
    tls,
    wall_clock::unix_ms,
};

pub(crate) use errand::{Ask, Errand};
pub(crate) use open::OpenError;

use journal::{Line, Payees};
use payee::{Opening, Payee, PayeeId};

mod acts;
mod errand;
mod journal;
mod open;
mod payee;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(200);
/// Entries after which the journal is made shorter.
const LONG: u64 = 200_000;
/// For the journal at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Workers with a key of their own that are known at a time: a stranger may show as many keys as it likes.
const PAYEES: usize = 10_000;

/// How workers are paid. Cheap to clone; off where the configuration says nothing of it.
#[derive(Clone, Default)]
pub(crate) struct Wages(Option<Arc<Shared>>);

struct Shared {
    settings: Pay,
    policy: PayerPolicy,
    signer: Arc<Signer>,
    wallet: Account,
    chain: ChainSource,
    state: Mutex<State>,
    /// Set when it has begun, before anybody is paid.
    scribe: OnceLock<Scribe<Line>>,
    payments: Mutex<Option<Payments>>,
    _lock: File,
}

/// What carries out messages to the chain.
struct Payments {
    drive: Drive<FileKeep>,
    orders: Orders,
    news: mpsc::Receiver<News>,
}

struct State {
    purse: Purse,
    payees: Payees,
    /// What is kept of channels that are over.
    tombstones: Vec<Vec<Line>>,
    /// Entries since the journal was made shorter.
    entries: u64,
    /// Who is at which upstream now.
    places: BTreeMap<Arc<str>, Place>,
    serial: u64,
    /// To be done on the chain.
    acts: Vec<(Account, Act)>,
    /// Channels to be followed from now on, and no more.
    new: Vec<Account>,
    over: Vec<Account>,
}

/// A worker that is connected and wants to be paid.
struct Place {
    serial: u64,
    payee: PayeeId,
    tariff: Tariff,
    /// It asks more than we pay.
    is_too_dear: bool,
}

/// What is to be written of one moment.
#[derive(Default)]
struct Entry {
    lines: Vec<Line>,
    then: Vec<Then>,
}

/// What is held for a worker that serves a request.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    payee: PayeeId,
    pub(crate) tariff: Tariff,
    /// The channel that it is held in; without one it will be owed.
    channel: Option<Account>,
    id: HoldId,
    ceiling: Nano,
}

/// Why no request goes to a worker. In order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the worker took more than it earned, and is quarantined")]
    Quarantined,
    #[error("the worker asks more than max_price")]
    TooDear,
    #[error("the disk does not keep up with what workers earn")]
    Disk,
}

/// What an administrator sees of a worker that is paid.
pub(crate) struct WorkerWages {
    pub(crate) payee: PublicKey,
    pub(crate) at: Vec<Arc<str>>,
    pub(crate) owed: Nano,
    pub(crate) is_quarantined: bool,
    pub(crate) loss: Nano,
    pub(crate) channel: Option<OpenChannel>,
}

/// Its channel.
pub(crate) struct OpenChannel {
    pub(crate) channel: Channel,
    pub(crate) phase: Phase,
    pub(crate) deposited: Nano,
    pub(crate) claimed: Nano,
    pub(crate) spent: Nano,
    pub(crate) held: Nano,
    pub(crate) voucher_max: Nano,
    /// Signed, and not earned.
    pub(crate) at_risk: Nano,
}

impl Wages {
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A worker that is connected says on what terms it works. `is_named`: an operator named it, so that nobody else is
    /// in its place. `None` where nobody is paid here, or it cannot be.
    pub(crate) fn meet(
        &self,
        place: &Arc<str>,
        is_named: bool,
        offer: PayOffer,
        trust: Trust,
        notices: Notices,
    ) -> Option<Post> {
        let shared = self.0.as_ref()?;
        if offer.network != shared.chain_network() {
            tracing::warn!(worker = %place, theirs = %offer.network, ours = %shared.chain_network(), "a worker wants to be paid on another network, and works for nothing");
            return None;
        }
        let is_too_dear = shared.is_too_dear(&offer.price);
        if is_too_dear {
            tracing::warn!(worker = %place, "a worker asks more than max_price, and gets no requests");
        }
        let key = payee::id(is_named.then_some(place), &offer);
        let serial = shared.with(|state, entry| {
            if state.payees.len() >= PAYEES && !state.payees.contains_key(&key) {
                return None;
            }
            state.serial = state.serial.saturating_add(1);
            let (serial, now_ms) = (state.serial, unix_ms());
            let payee = state.payees.entry(key).or_insert_with(|| Payee::new(key));
            payee.links.push((serial, notices));
            let events = payee.take_offer(offer, trust);
            let place_now = Place {
                serial,
                payee: key,
                tariff: offer.price.tariff(),
                is_too_dear,
            };
            state.places.insert(place.clone(), place_now);
            for event in events {
                state.step(entry, &key, event, now_ms);
            }
            Some(serial)
        })?;
        Some(Post {
            wages: self.clone(),
            place: place.clone(),
            payee: key,
            serial,
        })
    }

    /// Whether a request may go to this upstream.
    pub(crate) fn may_serve(&self, upstream: &str) -> Result<(), Refused> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let is_behind = shared.scribe.get().is_some_and(Scribe::is_behind);
        let state = shared.lock();
        let Some(place) = state.places.get(upstream) else {
            return Ok(());
        };
        if state.payees.get(&place.payee).is_some_and(|payee| payee.is_quarantined) {
            return Err(Refused::Quarantined);
        }
        if place.is_too_dear {
            return Err(Refused::TooDear);
        }
        if is_behind { Err(Refused::Disk) } else { Ok(()) }
    }

    /// Holds for a request that goes to this upstream, where that is a worker that is paid.
    fn hold(&self, upstream: &str, id: HoldId, ceiling: impl FnOnce(Tariff) -> Nano) -> Result<Option<Held>, Refused> {
        self.may_serve(upstream)?;
        let Some(shared) = &self.0 else { return Ok(None) };
        Ok(shared.with(|state, entry| {
            let place = state.places.get(upstream)?;
            let (key, tariff) = (place.payee, place.tariff);
            let ceiling = ceiling(tariff);
            let payee = state.payees.get_mut(&key)?;
            let channel = payee.channel.as_mut().and_then(|payer| {
                // Where it does not fit, the worker works on credit: it is owed.
                let is_held = payer.hold(&mut state.purse, id, ceiling).is_ok();
                is_held.then_some(payer.channel().id.account)
            });
            state.after(entry, &key);
            Some(Held {
                payee: key,
                tariff,
                channel,
                id,
                ceiling,
            })
        }))
    }

    /// What was held for it is over, and `amount` of it was earned. Says where that went; where a part of it is owed
    /// besides, the channel is named that has the other part.
    fn settle(&self, held: &Held, amount: Nano) -> Option<Wage> {
        let shared = self.0.as_ref()?;
        shared.with(|state, entry| {
            let payee = state.payees.get_mut(&held.payee)?;
            let mut channel = None;
            payee.note(amount, unix_ms());
            let mut left = amount;
            let same = |payer: &&mut billing::channel::Payer| Some(payer.channel().id.account) == held.channel;
            if let Some(payer) = payee.channel.as_mut().filter(same) {
                let part = amount.min(held.ceiling);
                if part.is_zero() {
                    payer.release(held.id).ok();
                } else if payer.capture(&mut state.purse, held.id, part).is_ok() {
                    left = left.saturating_sub(part);
                    channel = held.channel;
                }
            }
            if !left.is_zero() {
                payee.owed = payee.owed.saturating_add(left);
                entry.owed(payee);
            }
            state.after(entry, &held.payee);
            // With what was signed for it just now.
            let payer = state.payees.get(&held.payee).and_then(|payee| payee.channel.as_ref());
            let payer = payer.filter(|payer| Some(payer.channel().id.account) == channel);
            Some(Wage {
                amount,
                channel,
                voucher_max: payer.map_or(Nano::ZERO, |payer| payer.voucher_max()),
            })
        })
    }

    /// All workers that are or were paid.
    pub(crate) fn list(&self) -> Vec<WorkerWages> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let state = shared.lock();
        let wage = |payee: &Payee| WorkerWages {
            payee: payee.public().unwrap_or_default(),
            at: state
                .places
                .iter()
                .filter(|(_, place)| place.payee == payee.key)
                .map(|(name, _)| name.clone())
                .collect(),
            owed: payee.owed,
            is_quarantined: payee.is_quarantined,
            loss: payee.loss,
            channel: payee.channel.as_ref().map(|payer| OpenChannel {
                channel: *payer.channel(),
                phase: payer.phase(),
                deposited: payer.deposited(),
                claimed: payer.claimed(),
                spent: payer.spent(),
                held: payer.held(),
                voucher_max: payer.voucher_max(),
                at_risk: payer.exposure(),
            }),
        };
        state.payees.values().map(wage).collect()
    }

    /// Looks after channels until dropped.
    pub(crate) async fn run(self, metrics: WagesMetrics) {
        let Some(shared) = self.0 else { return };
        let Some(payments) = shared.payments.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let Payments {
            drive,
            orders,
            mut news,
        } = payments;
        let mut facts = Facts::new(shared.settings.follow);
        let known: Vec<Account> = shared.restored();
        for account in known {
            facts.follow(account);
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let look = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        shared.look(&mut facts, &orders).await;
                        metrics.set(&shared.now());
                    }
                    Some(news) = news.recv() => shared.hear(&news),
                }
            }
        };
        tokio::select! {
            () = look => {}
            ended = drive.run() => {
                if let Err(error) = ended {
                    tracing::error!(cause = %Chain(&error), "the wallet that pays workers has stopped; what is signed stays good");
                }
            }
        }
    }

    /// Waits until all that was earned is on the disk, or the disk is too slow.
    pub(crate) async fn flush(&self) {
        let Some(scribe) = self.0.as_ref().and_then(|shared| shared.scribe.get()) else {
            return;
        };
        let (wake, woken) = oneshot::channel();
        scribe.add(Vec::new(), vec![Then::Wake(wake)]);
        drop(tokio::time::timeout(LAST_WORDS, woken).await);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written of it goes to the scribe, in the order in which it happened.
    fn with<T>(&self, act: impl FnOnce(&mut State, &mut Entry) -> T) -> T {
        let mut state = self.lock();
        let mut entry = Entry::default();
        let outcome = act(&mut state, &mut entry);
        if let Some(scribe) = self.scribe.get()
            && !(entry.lines.is_empty() && entry.then.is_empty())
        {
            scribe.add(entry.lines, entry.then);
            state.entries = state.entries.saturating_add(1);
            if state.entries > LONG {
                state.entries = 0;
                scribe.replace(journal::snapshot(&state.payees, &state.tombstones));
            }
        }
        outcome
    }

    fn now(&self) -> WagesNow {
        let state = self.lock();
        let mut now = WagesNow::default();
        for payee in state.payees.values() {
            now.owed = now.owed.saturating_add(payee.owed);
            now.lost = now.lost.saturating_add(payee.loss);
            now.quarantined += usize::from(payee.is_quarantined);
            if let Some(payer) = &payee.channel {
                now.channels += 1;
                now.exposure = now.exposure.saturating_add(payer.exposure());
            }
        }
        now
    }

    fn chain_network(&self) -> billing::channel::Network {
        self.settings.network()
    }

    fn is_too_dear(&self, price: &Prices) -> bool {
        let most = &self.settings.max_price;
        let is_above = |price: u64, most: Option<Nano>| most.is_some_and(|most| price > most.get());
        is_above(price.prompt.max(price.cached), most.prompt)
            || is_above(price.completion, most.completion)
            || is_above(price.request, most.request)
    }

    /// What was under way when we ended goes on.
    fn restored(&self) -> Vec<Account> {
        self.with(|state, _| {
            let payers = state.payees.values().filter_map(|payee| payee.channel.as_ref());
            let payers: Vec<_> = payers
                .map(|payer| (payer.channel().id.account, payer.pending_payment()))
                .collect();
            for (account, pending) in &payers {
                // Of what was never sent the chain knows nothing, and what was is seen there before it is sent again.
                state.acts.extend(pending.map(|act| (*account, act)));
            }
            payers.into_iter().map(|(account, _)| account).collect()
        })
    }

    /// What is due by itself, and what the chain says.
    async fn look(&self, facts: &mut Facts, orders: &Orders) {
        // A payer loses nothing by what a source hides: vouchers are within what it has shown.
        for (account, fact) in facts.ask(self.chain.sources(), &|_| Nano::ZERO).await {
            self.with(|state, entry| {
                if let Some(key) = state.payee_of(&account) {
                    state.step(entry, &key, Event::Chain(fact), unix_ms());
                }
            });
        }
        let keys: Vec<PayeeId> = self.lock().payees.keys().copied().collect();
        for key in keys {
            self.with(|state, entry| self.tend(state, entry, &key));
        }
        let (acts, new, over) = self.with(|state, _| {
            (
                std::mem::take(&mut state.acts),
                std::mem::take(&mut state.new),
                std::mem::take(&mut state.over),
            )
        });
        for account in new {
            facts.follow(account);
        }
        for account in over {
            facts.forget(&account);
            self.forget(orders, account).await;
        }
        self.carry_out(orders, acts).await;
    }

    /// What is due for one worker.
    fn tend(&self, state: &mut State, entry: &mut Entry, key: &PayeeId) {
        let now_ms = unix_ms();
        let Some(payee) = state.payees.get_mut(key) else { return };
        if let Some(matured) = payee.mature(self.settings.matures_after, now_ms) {
            state.step(entry, key, Event::Matured(matured), now_ms);
        }
        let Some(payee) = state.payees.get_mut(key) else { return };
        if payee
            .fold(&mut state.purse, &self.policy, || {
                HoldId(fastrand::u128(..).to_be_bytes())
            })
            .is_some()
        {
            entry.owed(payee);
            state.after(entry, key);
        }
        let Some(payee) = state.payees.get_mut(key) else { return };
        if payee.is_away_for_good(now_ms) {
            state.step(entry, key, Event::Close, now_ms);
        }
        self.open_if_due(state, entry, key, now_ms);
        state.step(entry, key, Event::Tick, now_ms);
        self.settle_if_due(state, key);
    }

    fn open_if_due(&self, state: &mut State, entry: &mut Entry, key: &PayeeId, now_ms: i64) {
        let Some(payee) = state.payees.get_mut(key) else { return };
        let Some(salt) = tls::random().map(u128::from_be_bytes) else {
            return;
        };
        let opening = Opening {
            signer: &self.signer,
            wallet: self.wallet,
            salt,
            deposit: self.settings.deposit,
            policy: self.policy,
            open_above: self.settings.open_above,
        };
        match payee.open(&mut state.purse, &opening, now_ms) {
            Ok(None) => {}
            Ok(Some(id)) => {
                tracing::info!(channel = %id.account, payee = %Hex(*key), deposit = %self.settings.deposit, "a channel to a worker is opened");
                state.new.push(id.account);
                state.after(entry, key);
            }
            Err(error) => {
                tracing::warn!(payee = %Hex(*key), why = %Chain(&error), "a worker has earned enough for a channel, and none is opened");
            }
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
        if is_due && take.amount() > payee.settling {
            payee.settling = take.amount();
            let account = payer.channel().id.account;
            state.acts.push((account, Act::Settle(settlement)));
        }
    }
}

impl State {
    fn payee_of(&self, account: &Account) -> Option<PayeeId> {
        let has = |payee: &&Payee| {
            let channel = payee.channel.as_ref();
            channel.is_some_and(|payer| payer.channel().id.account == *account)
        };
        self.payees.values().find(has).map(|payee| payee.key)
    }

    fn step(&mut self, entry: &mut Entry, key: &PayeeId, event: Event, now_ms: i64) {
        if let Some(payee) = self.payees.get_mut(key) {
            let effects = payee.step(&mut self.purse, event, now_ms);
            self.perform(entry, key, effects);
        }
    }

    /// What a call has caused.
    fn after(&mut self, entry: &mut Entry, key: &PayeeId) {
        if let Some(payee) = self.payees.get_mut(key) {
            let effects = payee.effects();
            self.perform(entry, key, effects);
        }
    }

    fn perform(&mut self, entry: &mut Entry, key: &PayeeId, effects: Vec<Effect>) {
        let Some(payee) = self.payees.get_mut(key) else { return };
        let Some(id) = payee.channel.as_ref().map(|payer| payer.channel().id) else {
            return;
        };
        let account = id.account;
        for effect in effects {
            match effect {
                Effect::Persist(record, ticket) => {
                    entry.lines.push(Line::Channel {
                        payee: Hex(*key),
                        account,
                        record,
                    });
                    entry.then.push(Then::Tell(account, ticket));
                }
                Effect::Send(notice) => {
                    // Whoever cannot be reached is told again.
                    if let Some((_, notices)) = payee.links.last() {
                        drop(notices.try_send(Envelope::new(&id, notice)));
                    }
                }
                Effect::Act(act) => self.acts.push((account, act)),
                Effect::Covered(_) | Effect::Captured(_) => {}
                Effect::Owed { more } => {
                    tracing::info!(channel = %account, %more, "a worker says what it earned before a crash, and it is owed");
                }
                Effect::Alert(alert) => {
                    if let Alert::Overtaken { loss, .. } = &alert {
                        payee.is_quarantined = true;
                        payee.loss = payee.loss.max(*loss);
                        tracing::error!(channel = %account, payee = %Hex(*key), why = %Chain(&alert), "a worker took more than it earned; it gets no requests any more");
                    } else {
                        tracing::warn!(channel = %account, payee = %Hex(*key), why = %Chain(&alert), "something is wrong with a channel to a worker");
                    }
                }
                Effect::Buried(tombstone) => {
                    tracing::info!(channel = %account, spent = %tombstone.spent, claimed = %tombstone.claimed, "a channel to a worker is over");
                    payee.buried.insert(account);
                    if let Some(payer) = payee.channel.take() {
                        self.tombstones.extend(journal::lines(*key, &payer));
                    }
                    self.over.push(account);
                }
            }
        }
    }
}

impl Entry {
    fn owed(&mut self, payee: &Payee) {
        self.lines.push(Line::Owed {
            payee: Hex(payee.key),
            amount: payee.owed,
        });
    }
}

/// What is on the disk now.
fn written(shared: &Weak<Shared>, thens: Vec<Then>) {
    let Some(shared) = shared.upgrade() else { return };
    // A ticket speaks for all before it.
    let mut last = BTreeMap::new();
    for then in thens {
        match then {
            Then::Tell(account, ticket) => drop(last.insert(account, ticket)),
            Then::Wake(wake) => drop(wake.send(())),
        }
    }
    for (account, ticket) in last {
        shared.with(|state, entry| {
            if let Some(key) = state.payee_of(&account) {
                state.step(entry, &key, Event::Persisted(ticket), unix_ms());
            }
        });
    }
}

/// A worker that is connected and paid. Dropped, it is gone.
pub(crate) struct Post {
    wages: Wages,
    place: Arc<str>,
    payee: PayeeId,
    serial: u64,
}

impl Post {
    /// What the worker says of its channel.
    pub(crate) fn hear(&self, message: Envelope) {
        let Some(shared) = &self.wages.0 else { return };
        shared.with(|state, entry| {
            let id = state.payees.get(&self.payee).and_then(|payee| payee.channel.as_ref());
            if id.is_some_and(|payer| payer.channel().id == message.channel()) {
                state.step(entry, &self.payee, Event::Notice(message.notice), unix_ms());
            }
        });
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let Some(shared) = &self.wages.0 else { return };
        let mut state = shared.lock();
        if let Some(payee) = state.payees.get_mut(&self.payee) {
            payee.links.retain(|(serial, _)| *serial != self.serial);
        }
        if state
            .places
            .get(&self.place)
            .is_some_and(|place| place.serial == self.serial)
        {
            state.places.remove(&self.place);
        }
    }
}

impl std::fmt::Debug for Wages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Wages(on)" } else { "Wages(off)" })
    }
}
