//! Whole lives of a settler from one seed: messages that are late, lost and doubled, a source that lags, a wallet that
//! runs out of coins, and crashes between any two effects.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::wallet::Decoded;

/// Reproducible, and good enough to make trouble with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[derive(Clone)]
struct State {
    time: u32,
    seqno: u32,
    balance: u64,
    channels: BTreeMap<Account, OnChain>,
}

/// An internal message on its way.
struct Moving {
    arrives: u32,
    payment: Payment,
}

struct Chain {
    state: State,
    /// One state for each second, for sources that lag.
    past: VecDeque<State>,
    /// Externals that were handed over, and when they come in.
    pool: Vec<(u32, Vec<u8>)>,
    moving: Vec<Moving>,
    executed: u32,
}

impl Chain {
    fn pass(&mut self, seconds: u32, random: &mut Random) {
        for _ in 0..seconds {
            self.state.time += 1;
            let now = self.state.time;
            let (due, later) = self.pool.drain(..).partition::<Vec<_>, _>(|(at, _)| *at <= now);
            self.pool = later;
            for (_, message) in due {
                self.execute(&message, random);
            }
            let (due, later) = self
                .moving
                .drain(..)
                .partition::<Vec<_>, _>(|moving| moving.arrives <= now);
            self.moving = later;
            for moving in due {
                self.deliver(&moving.payment);
            }
            self.past.push_front(self.state.clone());
            self.past.truncate(20);
        }
    }

    fn execute(&mut self, message: &[u8], random: &mut Random) {
        let decoded = wallet().decode(message).expect("the settler makes good messages");
        if decoded.seqno != self.state.seqno || decoded.valid_until <= self.state.time {
            return;
        }
        self.state.seqno += 1;
        self.executed += 1;
        for payment in decoded.batch.payments() {
            let cost = payment.amount.get() + 1_000_000;
            // As the wallet does: what it cannot pay for it drops, and says nothing. Now and then for no reason.
            if self.state.balance < cost || random.once_in(20) {
                continue;
            }
            self.state.balance -= cost;
            self.moving.push(Moving {
                arrives: self.state.time + 1 + u32::try_from(random.below(30)).expect("small"),
                payment: payment.clone(),
            });
        }
    }

    fn deliver(&mut self, payment: &Payment) {
        let body = payment.body.as_ref().expect("it has one");
        let mut body = body.as_slice().expect("an ordinary cell");
        let kind = body.load_u8().expect("a kind");
        let number = nano(body.load_u64().expect("a number"));
        let channel = self.state.channels.get_mut(&payment.to);
        match (kind, channel) {
            (0, Some(channel)) => {
                channel.claimed = channel.claimed.max(number.min(channel.deposited));
                self.state.balance += payment.amount.get() - 1_000_000;
            }
            (1, Some(channel)) => {
                channel.deposited = channel.deposited.checked_add(payment.amount).expect("little");
            }
            (1, None) if payment.init.is_some() => {
                let fresh = OnChain {
                    close_at: None,
                    deposited: payment.amount,
                    claimed: Nano::ZERO,
                };
                self.state.channels.insert(payment.to, fresh);
            }
            // It bounces.
            _ => self.state.balance += payment.amount.get(),
        }
    }

    fn shown(&self, random: &mut Random) -> &State {
        let lag = usize::try_from(random.below(8)).expect("small");
        self.past.get(lag).unwrap_or(&self.state)
    }
}

/// A channel's life: opened, settled, topped up, settled.
struct Plan {
    channel: Account,
    stage: u64,
}

const OPENED: u64 = 1_000_000_000;
const STAGES: u64 = 4;

impl Plan {
    fn job(&self) -> Option<Job> {
        let (kind, goal, amount) = match self.stage {
            0 => (1, Goal::Deposited(nano(OPENED)), OPENED),
            1 => (0, Goal::Claimed(nano(OPENED / 2)), 50_000_000),
            2 => (1, Goal::Deposited(nano(3 * OPENED)), 2 * OPENED),
            3 => (0, Goal::Claimed(nano(2 * OPENED)), 50_000_000),
            _ => return None,
        };
        let (Goal::Claimed(number) | Goal::Deposited(number)) = goal else {
            return None;
        };
        let mut body = CellBuilder::new();
        body.store_u8(kind).expect("it fits");
        body.store_u64(number.get()).expect("it fits");
        Some(Job {
            channel: self.channel,
            goal,
            amount: nano(amount),
            body: body.build().expect("a cell"),
            init: (self.stage == 0).then(StateInit::default),
        })
    }
}

struct World {
    random: Random,
    chain: Chain,
    settler: Settler,
    plans: Vec<Plan>,
    disk: Option<Journal>,
    writing: Option<(u64, Journal)>,
    /// The caller's clock.
    now_s: u64,
    /// All that was ever sent.
    sent: Vec<(Decoded, Vec<u8>)>,
    crashes: u32,
    is_calm: bool,
}

impl World {
    fn new(seed_of_world: u64) -> Self {
        let mut random = Random(seed_of_world);
        let state = State {
            time: NOW,
            seqno: 0,
            balance: random.below(8_000_000_000),
            channels: BTreeMap::new(),
        };
        let plans = (1..=1 + u8::try_from(random.below(5)).expect("small")).map(|byte| Plan {
            channel: channel(byte),
            stage: 0,
        });
        Self {
            plans: plans.collect(),
            chain: Chain {
                past: VecDeque::from([state.clone()]),
                state,
                pool: Vec::new(),
                moving: Vec::new(),
                executed: 0,
            },
            random,
            settler: settler(),
            disk: None,
            writing: None,
            now_s: 0,
            sent: Vec::new(),
            crashes: 0,
            is_calm: false,
        }
    }

    fn run(&mut self) {
        for _ in 0..400 {
            self.round();
        }
        // No more faults, and coins enough: everything must come to its end.
        self.is_calm = true;
        self.chain.state.balance += 100_000_000_000;
        for _ in 0..20_000 {
            if self.plans.iter().all(|plan| plan.stage == STAGES) && self.settler.is_idle() {
                break;
            }
            self.round();
        }
        for plan in &self.plans {
            assert_eq!(
                plan.stage, STAGES,
                "a channel is not where it should be: {:?}",
                self.settler
            );
            let state = self.chain.state.channels[&plan.channel];
            assert_eq!((state.deposited, state.claimed), (nano(3 * OPENED), nano(2 * OPENED)));
        }
        assert!(self.settler.is_idle(), "{:?}", self.settler);
    }

    fn round(&mut self) {
        let seconds = u32::try_from(self.random.below(6)).expect("small");
        self.chain.pass(seconds, &mut self.random);
        self.now_s += u64::from(seconds);
        if !self.is_calm && self.random.once_in(50) {
            // A clock is set back or forward; the chain's is another.
            self.now_s = self.now_s.saturating_sub(500) + self.random.below(1000);
        }
        if !self.is_calm && self.random.once_in(10) {
            self.chain.state.balance += self.random.below(1_000_000_000);
        }
        for at in 0..self.plans.len() {
            let is_wanted = self.settler.jobs().any(|job| job.channel == self.plans[at].channel);
            if let Some(job) = self.plans[at].job()
                && !is_wanted
            {
                self.step(Event::Want(job));
            }
        }
        if let Some((number, journal)) = self.writing.take() {
            self.disk = Some(journal);
            self.step(Event::Persisted(number));
        }
        self.step(Event::Tick);
    }

    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.settler.step(event, self.now_s) {
                if !self.is_calm && self.random.once_in(60) {
                    self.crash();
                    return;
                }
                events.extend(self.perform(effect));
            }
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.writing = None;
        self.settler = match &self.disk {
            None => settler(),
            Some(journal) => {
                let read = Journal::from_json(&journal.to_json()).expect("what was written is read");
                Settler::restore(wallet(), seed(), Settings::USUAL, &read).expect("ours")
            }
        };
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist(number) => {
                let journal = self.settler.journal();
                // A disk may be slow, and what it has not written a crash takes away.
                if !self.is_calm && self.random.once_in(3) {
                    self.writing = Some((number, journal));
                    return None;
                }
                self.writing = None;
                self.disk = Some(journal);
                Some(Event::Persisted(number))
            }
            Effect::Send(message) => {
                self.check_sent(&message);
                let is_lost = !self.is_calm && self.random.once_in(3);
                if !is_lost {
                    let late = u32::try_from(self.random.below(if self.is_calm { 3 } else { 80 })).expect("small");
                    self.chain.pool.push((self.chain.state.time + late, message));
                }
                None
            }
            Effect::ReadWallet => self.answered().map(|state| Event::Wallet {
                head: head(state.time),
                standing: Ok(Standing {
                    seqno: state.seqno,
                    is_deployed: state.seqno > 0,
                    balance: nano(state.balance),
                }),
            }),
            Effect::ReadChannel(account) => self.answered().map(|state| Event::Channel {
                account,
                head: head(state.time),
                seen: state.channels.get(&account).copied().map_or(Seen::Absent, Seen::Open),
            }),
            Effect::Done(key, goal) => {
                let plan = self.plans.iter_mut().find(|plan| plan.channel == key.channel);
                let plan = plan.expect("it was wanted");
                // Perhaps of a stage that is over, after a crash.
                if plan.job().is_some_and(|job| job.goal == goal) {
                    plan.stage += 1;
                }
                None
            }
            Effect::Declined(key, why) => panic!("{key} was declined: {why}"),
            // The caller wants it again; a person would look first.
            Effect::GaveUp(..) | Effect::Accepted(_) | Effect::Alert(_) => None,
        }
    }

    fn answered(&mut self) -> Option<State> {
        let is_lost = !self.is_calm && self.random.once_in(4);
        (!is_lost).then(|| self.chain.shown(&mut self.random).clone())
    }

    /// Durable before it is sent; and whatever was sent before it is the same, or can have no effect any more.
    fn check_sent(&mut self, message: &[u8]) {
        let on_disk = self.disk.as_ref().and_then(|journal| journal.in_flight.as_ref());
        assert_eq!(
            on_disk.map(|flying| flying.message.as_slice()),
            Some(message),
            "sent before it was durable"
        );
        let state = &self.chain.state;
        for (other, _) in self.sent.iter().filter(|(_, other)| other != message) {
            let is_dead = other.seqno < state.seqno || other.valid_until <= state.time;
            assert!(is_dead, "two messages may have an effect");
        }
        if !self.sent.iter().any(|(_, other)| other == message) {
            let decoded = self.settler.wallet().decode(message).expect("our own message");
            self.sent.push((decoded, message.to_vec()));
        }
        for channel in state.channels.values() {
            assert!(channel.deposited <= nano(3 * OPENED), "paid in twice: {channel:?}");
        }
    }
}

#[test]
fn every_life_ends_well() {
    let (mut crashes, mut executed) = (0, 0);
    for seed_of_world in 0..400 {
        let caught = std::panic::catch_unwind(|| {
            let mut world = World::new(seed_of_world);
            world.run();
            (world.crashes, world.chain.executed)
        });
        let (more_crashes, more_executed) = caught.unwrap_or_else(|_| panic!("seed {seed_of_world}"));
        crashes += more_crashes;
        executed += more_executed;
    }
    // The worlds were not too quiet to find anything.
    assert!(
        crashes > 1500 && executed > 1500,
        "{crashes} crashes, {executed} messages"
    );
}
