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
        Account, Channel, HoldId, PublicKey, Signer,
        payer::{Event, PayerPolicy, Phase, Trust},
    },
};
use billing_ton::{
    contract,
    settler::drive::{Drive, FileKeep, News, Orders},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    chain_source::ChainSource,
    config::Pay,
    control::{Notices, PayOffer, Prices},
    frames::{Scribe, Then},
    layers::rescue::Chain,
    metrics::{WagesMetrics, WagesNow},
    wall_clock::unix_ms,
};

pub(crate) use errand::{Ask, Errand};
pub(crate) use open::OpenError;
pub(crate) use payee::PayeeId;
pub(crate) use post::Post;
pub(crate) use quarantine::Who;

use journal::Line;
use payee::{Link, Payee};
use quarantine::Mark;
use state::{Entry, Place, State};

mod acts;
mod errand;
mod journal;
mod open;
mod payee;
mod post;
mod quarantine;
mod run;
mod state;

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
    started: Instant,
    _lock: File,
}

/// What carries out messages to the chain.
struct Payments {
    drive: Drive<FileKeep>,
    orders: Orders,
    news: mpsc::Receiver<News>,
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

/// Why no channel is opened on a worker's terms. In order of precedence.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the contract does not take them")]
    Terms(#[source] contract::BadTerms),
    #[error("it wants {asked_s} seconds to settle in, and workers.pay.max_close_delay is {most_s}")]
    Delay { asked_s: u32, most_s: u64 },
}

/// What an administrator sees of a worker that is paid.
pub(crate) struct WorkerWages {
    /// Of this worker as one who is paid; stays the same.
    pub(crate) id: PayeeId,
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

    /// A worker that is connected says on what terms it works. `None` where nobody is paid here, or it cannot be.
    pub(crate) fn meet(
        &self,
        place: &Arc<str>,
        who: &Who,
        offer: PayOffer,
        trust: Trust,
        notices: Notices,
    ) -> Option<Post> {
        let shared = self.0.as_ref()?;
        if offer.network != shared.chain_network() {
            tracing::warn!(worker = %place, theirs = %offer.network, ours = %shared.chain_network(), "a worker wants to be paid on another network, and works for nothing");
            return None;
        }
        if let Err(refusal) = shared.takes(&offer) {
            tracing::warn!(worker = %place, why = %Chain(&refusal), "a worker wants to be paid on terms that are not taken here, and works for nothing");
            return None;
        }
        let is_too_dear = shared.is_too_dear(&offer.price);
        if is_too_dear {
            tracing::warn!(worker = %place, "a worker asks more than max_price, and gets no requests");
        }
        let key = payee::id(who.is_named.then_some(place), &offer);
        let met = shared.with(|state, entry| {
            if state.payees.len() >= PAYEES && !state.payees.contains_key(&key) {
                return None;
            }
            state.serial = state.serial.saturating_add(1);
            let (serial, now_ms) = (state.serial, unix_ms());
            let marks = who.marks(place);
            let payee = state.payees.entry(key).or_insert_with(|| Payee::new(key));
            payee.marks.clone_from(&marks);
            if payee.is_quarantined {
                for mark in &marks {
                    entry.quarantined(&mut state.quarantine, key, mark.clone());
                }
            }
            let events = payee.take_offer(offer, Link { serial, notices, trust });
            // Nobody can have a worker that an operator named shut out by stealing for its address.
            let payout = (!who.is_named).then_some(Mark::Payout(offer.payout));
            let marks = marks.into_iter().chain([Mark::Payee(Hex(key))]).chain(payout);
            let place_now = Place {
                serial,
                payee: key,
                tariff: offer.price.tariff(),
                marks: marks.collect(),
                is_too_dear,
            };
            let is_held = state.quarantine.holds(&place_now.marks);
            state.places.entry(place.clone()).or_default().push(place_now);
            for event in events {
                state.step(entry, &key, event, now_ms);
            }
            Some((serial, is_held))
        });
        let Some((serial, is_held)) = met else {
            tracing::warn!(worker = %place, "so many workers are paid that no more are, and a worker works for nothing");
            return None;
        };
        if is_held {
            tracing::warn!(worker = %place, payee = %Hex(key), "a worker is quarantined, and gets no requests; POST /admin/v1/wages/ID/lift lifts it");
        }
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
        let Some(place) = state.at(upstream) else {
            return Ok(());
        };
        if state.quarantine.holds(&place.marks) {
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
            let place = state.at(upstream)?;
            let (key, tariff) = (place.payee, place.tariff);
            let ceiling = ceiling(tariff);
            let payee = state.payees.get_mut(&key)?;
            let channel = payee.channel.as_mut().and_then(|payer| {
                // Where it does not fit, the worker works on credit: it is owed.
                let is_held = payer.hold(&mut state.purse, id, ceiling).is_ok();
                is_held.then_some(payer.channel().id.account)
            });
            if channel.is_none() {
                payee.under_way = payee.under_way.saturating_add(ceiling);
            }
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
            payee.note(amount, shared.elapsed_ms());
            if held.channel.is_none() {
                payee.under_way = payee.under_way.saturating_sub(held.ceiling);
            }
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
            payee.tell_what_is_beside(&mut state.purse);
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
            id: payee.key,
            payee: payee.public().unwrap_or_default(),
            at: state
                .places
                .iter()
                .filter(|(_, places)| places.last().is_some_and(|place| place.payee == payee.key))
                .map(|(name, _)| name.clone())
                .collect(),
            owed: payee.owed,
            is_quarantined: payee.is_quarantined || !state.held_for(&payee.key).is_empty(),
            loss: payee.loss(),
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

    /// Lifts the quarantine of a worker, and of all that it is known by: requests go to it again. Says whether there is
    /// such a worker.
    pub(crate) async fn lift(&self, id: &PayeeId) -> bool {
        let Some(shared) = &self.0 else { return false };
        let is_known = shared.with(|state, entry| {
            if !state.payees.contains_key(id) {
                return false;
            }
            // It may be held for what another did whose place, key, processor or address it has.
            for thief in state.held_for(id) {
                if let Some(payee) = state.payees.get_mut(&thief) {
                    payee.is_quarantined = false;
                }
                state.quarantine.lift(&thief);
                entry.lines.push(Line::Lifted { payee: Hex(thief) });
            }
            true
        });
        if is_known {
            tracing::info!(payee = %Hex(*id), "the quarantine of a worker was lifted");
            self.flush().await;
        }
        is_known
    }

    /// Looks after channels until dropped.
    pub(crate) async fn run(self, metrics: WagesMetrics) {
        if let Some(shared) = self.0 {
            shared.run(&metrics).await;
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
                scribe.replace(journal::snapshot(&state.payees, &state.quarantine, &state.set_apart));
            }
        }
        outcome
    }

    fn now(&self) -> WagesNow {
        let state = self.lock();
        let mut now = WagesNow::default();
        for payee in state.payees.values() {
            now.owed = now.owed.saturating_add(payee.owed);
            now.lost = now.lost.saturating_add(payee.loss());
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

    /// Since this began, by no clock that can be set.
    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether a channel can be opened on such terms.
    fn takes(&self, offer: &PayOffer) -> Result<(), NotTaken> {
        contract::check_terms(&offer.terms(self.wallet, 0)).map_err(NotTaken::Terms)?;
        let most_s = self.settings.max_close_delay.as_secs();
        if u64::from(offer.close_delay_s) > most_s {
            let asked_s = offer.close_delay_s;
            return Err(NotTaken::Delay { asked_s, most_s });
        }
        Ok(())
    }

    fn is_too_dear(&self, price: &Prices) -> bool {
        let most = &self.settings.max_price;
        let is_above = |price: u64, most: Option<Nano>| most.is_some_and(|most| price > most.get());
        is_above(price.prompt.max(price.cached), most.prompt)
            || is_above(price.completion, most.completion)
            || is_above(price.request, most.request)
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

impl std::fmt::Debug for Wages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Wages(on)" } else { "Wages(off)" })
    }
}
