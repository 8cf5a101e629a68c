//! The machine itself: which event leads to which effects.

use billing::{Nano, channel::Account};

use super::{
    Alert, Declined, Effect, Event, GaveUp, Goal, InFlight, Job, Journal, JournalError, Key, Kind, MAX_JOBS, Pending,
    Phase, Seen, Settings, Settler, StartError, Trouble,
};
use crate::{
    chain::Head,
    seed::Seed,
    wallet::{Batch, MAX_PAYMENTS, Standing, StandingError, Wallet},
};

/// Between two readings of the same account, in the caller's seconds.
const POLL_S: u64 = 2;
const POLL_IN_TROUBLE_S: u64 = 20;
/// Between two hand-overs of the same message.
const RESEND_S: u64 = 10;
/// A block of a shard may come to light a little after the masterchain's time has passed its own.
const SLACK_S: u32 = 30;
/// A source that lags more does not lag: its clock is wrong, or the one before lied.
const MOST_LAG_S: u32 = 3600;
/// Channels that one tick asks for.
const MAX_READS: usize = 64;
const LEAST_REST_S: u64 = 5;
const MOST_REST_S: u64 = 3600;

impl Settler {
    pub fn new(wallet: Wallet, seed: Seed, settings: Settings) -> Result<Self, StartError> {
        if seed.public_key() != *wallet.public_key() {
            return Err(StartError);
        }
        Ok(Self {
            wallet,
            seed,
            settings,
            jobs: Default::default(),
            in_flight: None,
            trouble: None,
            latest: 0,
            number: 0,
            persisted: 0,
            held: Vec::new(),
            wallet_asked_s: None,
        })
    }

    /// Goes on where a journal ends: the newest that was made durable.
    pub fn restore(wallet: Wallet, seed: Seed, settings: Settings, journal: &Journal) -> Result<Self, JournalError> {
        let (in_flight, jobs) = journal.read(&wallet)?;
        let mut settler = Self::new(wallet, seed, settings).map_err(|StartError| JournalError::Wallet)?;
        settler.in_flight = in_flight;
        settler.jobs = jobs;
        settler.latest = journal.latest;
        Ok(settler)
    }

    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Why nothing can be sent, if so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// What is wanted and not done.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().map(|pending| &pending.job)
    }

    /// What the next payment into a channel comes to, if it is not there yet: so much depends on what is said of it.
    pub fn at_stake(&self, channel: &Account) -> Nano {
        let key = Key {
            kind: Kind::Deposit,
            channel: *channel,
        };
        self.jobs.get(&key).map_or(Nano::ZERO, |pending| pending.job.amount)
    }

    /// What must be durable, as of now.
    pub fn journal(&self) -> Journal {
        Journal::of(&self.wallet, self.latest, self.in_flight.as_ref(), &self.jobs)
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.in_flight.is_none()
    }

    /// `now_s` are seconds of any clock that mostly runs forward: it only paces. Whether a message is dead, the chain's
    /// own time says.
    pub fn step(&mut self, event: Event, now_s: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Want(job) => self.want(job, &mut effects),
            Event::Forget(key) => self.forget(key, &mut effects),
            Event::Wallet { head, standing } => self.wallet_seen(head, standing, now_s, &mut effects),
            Event::Channel { account, head, seen } => {
                for kind in [Kind::Settle, Kind::RequestClose, Kind::FinishClose, Kind::Deposit] {
                    let key = Key { kind, channel: account };
                    self.channel_seen(key, head, &seen, now_s, &mut effects);
                }
            }
            Event::Refused(reason) => effects.push(Effect::Alert(Alert::Refused(reason))),
            Event::Persisted(number) => {
                self.persisted = self.persisted.max(number.min(self.number));
                let persisted = self.persisted;
                let free = self.held.extract_if(.., |(number, _)| *number <= persisted);
                effects.extend(free.map(|(_, effect)| effect));
            }
            Event::Tick => {}
        }
        self.pace(now_s, &mut effects);
        effects
    }

    fn want(&mut self, job: Job, effects: &mut Vec<Effect>) {
        let key = job.key();
        // What could not be signed later must not be promised now.
        let fits =
            Batch::new(vec![job.payment()]).is_ok_and(|batch| self.wallet.sign(&self.seed, 0, 0, &batch).is_ok());
        if !fits {
            effects.push(Effect::Declined(key, Declined::TooLarge));
            return;
        }
        if let Some(pending) = self.jobs.get_mut(&key) {
            if pending.job == job {
                effects.push(Effect::Accepted(key));
                return;
            }
            // What a deposit attaches was counted from what was there before: two must not overlap.
            if key.kind == Kind::Deposit {
                effects.push(Effect::Declined(key, Declined::Busy));
                return;
            }
            if is_weaker(job.goal, pending.job.goal) {
                effects.push(Effect::Accepted(key));
                return;
            }
            // What is in flight for the weaker goal stays so; the channel will show when it arrived.
            pending.job = job;
        } else if self.jobs.len() >= MAX_JOBS {
            effects.push(Effect::Declined(key, Declined::Full));
            return;
        } else {
            let pending = Pending {
                job,
                phase: Phase::Unread {
                    not_before: self.latest,
                },
                sent: None,
                sends: 0,
                failures: 0,
                asked_s: None,
                is_told: false,
            };
            self.jobs.insert(key, pending);
        }
        self.persist(effects);
        self.hold(Effect::Accepted(key));
    }

    fn forget(&mut self, key: Key, effects: &mut Vec<Effect>) {
        if self.jobs.remove(&key).is_some() {
            self.persist(effects);
        }
    }

    fn wallet_seen(
        &mut self,
        head: Head,
        standing: Result<Standing, StandingError>,
        now_s: u64,
        effects: &mut Vec<Effect>,
    ) {
        let standing = match standing {
            Ok(standing) => standing,
            Err(error) => {
                self.trouble_is(Some(Trouble::Unusable(error)), effects);
                return;
            }
        };
        if matches!(self.trouble, Some(Trouble::Unusable(_))) {
            self.trouble_is(None, effects);
        }
        let is_dead = |flying: &InFlight| head.time > flying.valid_until.saturating_add(SLACK_S);
        match &self.in_flight {
            Some(flying) if standing.seqno > flying.seqno => self.executed(head, effects),
            Some(flying) if is_dead(flying) => self.expired(head, now_s, effects),
            Some(flying) if standing.seqno < flying.seqno => {
                let (said, known) = (standing.seqno, flying.seqno);
                effects.push(Effect::Alert(Alert::WentBack { said, known }));
                return;
            }
            // It may have an effect yet: nothing is built on this reading.
            Some(_) => return,
            None => {}
        }
        self.build(head, standing, effects);
    }

    /// Its number is used up: it had all the effect that it can have.
    fn executed(&mut self, head: Head, effects: &mut Vec<Effect>) {
        self.latest = self.latest.max(head.time);
        for pending in self.flown() {
            pending.sends = pending.sends.saturating_add(1);
            pending.phase = Phase::Awaiting { since: head.time };
        }
        self.in_flight = None;
        self.persist(effects);
    }

    /// The chain takes it no more.
    fn expired(&mut self, head: Head, now_s: u64, effects: &mut Vec<Effect>) {
        self.latest = self.latest.max(head.time);
        for pending in self.flown() {
            pending.failures = pending.failures.saturating_add(1);
            pending.phase = resting(pending.failures, now_s, head.time);
        }
        self.in_flight = None;
        effects.push(Effect::Alert(Alert::Expired));
        self.persist(effects);
    }

    /// The jobs of the message in flight that are still wanted.
    fn flown(&mut self) -> impl Iterator<Item = &mut Pending> {
        let keys = self
            .in_flight
            .as_ref()
            .map(|flying| flying.keys.clone())
            .unwrap_or_default();
        self.jobs
            .iter_mut()
            .filter(move |(key, pending)| pending.phase == Phase::InFlight && keys.contains(key))
            .map(|(_, pending)| pending)
    }

    fn channel_seen(&mut self, key: Key, head: Head, seen: &Seen, now_s: u64, effects: &mut Vec<Effect>) {
        let settings = self.settings;
        let Some(pending) = self.jobs.get_mut(&key) else {
            return;
        };
        let goal = pending.job.goal;
        if goal.is_met(seen) {
            self.jobs.remove(&key);
            // Else the same job, wanted again after a crash, could be sent on the word of a source that lags.
            self.latest = self.latest.max(head.time);
            self.persist(effects);
            effects.push(Effect::Done(key, goal));
            return;
        }
        // Of a block before what was done last: it cannot show it.
        let not_before = match pending.phase {
            Phase::Unread { not_before } => not_before,
            Phase::Awaiting { since } => since,
            Phase::Ready | Phase::InFlight | Phase::Resting { .. } => return,
        };
        if head.time < not_before {
            if not_before - head.time > MOST_LAG_S {
                pending.phase = Phase::Unread { not_before: head.time };
                self.latest = head.time;
                effects.push(Effect::Alert(Alert::TimeWentBack {
                    said: head.time,
                    known: not_before,
                }));
            }
            return;
        }
        if let Some(why) = hopeless(&pending.job, seen) {
            self.jobs.remove(&key);
            self.persist(effects);
            effects.push(Effect::GaveUp(key, why));
            return;
        }
        if !matches!(seen, Seen::Open(_)) && pending.job.init.is_none() {
            // What was earned is not given up on one source's word.
            if !std::mem::replace(&mut pending.is_told, true) {
                effects.push(Effect::Alert(Alert::NoChannel(key)));
            }
            pending.failures = pending.failures.saturating_add(1);
            pending.phase = resting(pending.failures, now_s, head.time);
            return;
        }
        match pending.phase {
            // The goal grew meanwhile, and what was sent for the smaller one arrived.
            Phase::Awaiting { .. } if pending.sent.is_some_and(|sent| sent != goal && sent.is_met(seen)) => {
                pending.phase = Phase::Ready;
            }
            Phase::Awaiting { since } => {
                let patience_s = match key.kind {
                    Kind::Deposit => settings.deposit_patience_s,
                    Kind::Settle | Kind::RequestClose | Kind::FinishClose => settings.settle_patience_s,
                };
                if head.time <= since.saturating_add(patience_s) {
                    return;
                }
                pending.failures = pending.failures.saturating_add(1);
                pending.phase = resting(pending.failures, now_s, head.time);
                let sends = pending.sends;
                effects.push(Effect::Alert(Alert::NotApplied(key, sends)));
                if key.kind == Kind::Deposit && sends >= settings.deposit_attempts {
                    self.jobs.remove(&key);
                    effects.push(Effect::GaveUp(key, GaveUp::Attempts(sends)));
                }
                self.persist(effects);
            }
            _ => pending.phase = Phase::Ready,
        }
    }

    /// Asks for what is to be known, and sends again what may have been lost.
    fn pace(&mut self, now_s: u64, effects: &mut Vec<Effect>) {
        let is_due =
            |asked_s: Option<u64>, poll_s: u64| asked_s.is_none_or(|asked_s| now_s.abs_diff(asked_s) >= poll_s);
        let mut reads = 0;
        let mut is_ready = false;
        for (key, pending) in &mut self.jobs {
            if let Phase::Resting { until_s, not_before } = pending.phase
                // A clock that was set back must not make it rest for years.
                && (now_s >= until_s || until_s - now_s > MOST_REST_S)
            {
                pending.phase = Phase::Unread { not_before };
            }
            is_ready |= pending.phase == Phase::Ready;
            let wants_reading = matches!(pending.phase, Phase::Unread { .. } | Phase::Awaiting { .. });
            if wants_reading && is_due(pending.asked_s, POLL_S) && reads < MAX_READS {
                pending.asked_s = Some(now_s);
                effects.push(Effect::ReadChannel(key.channel));
                reads += 1;
            }
        }
        // Coins come when somebody sends them.
        let poll_s = if self.trouble.is_some() {
            POLL_IN_TROUBLE_S
        } else {
            POLL_S
        };
        if (self.in_flight.is_some() || is_ready) && is_due(self.wallet_asked_s, poll_s) {
            self.wallet_asked_s = Some(now_s);
            effects.push(Effect::ReadWallet);
        }
        if let Some(flying) = &mut self.in_flight
            && self.persisted >= flying.number
            && flying.sent_s.is_none_or(|sent_s| now_s.abs_diff(sent_s) >= RESEND_S)
        {
            flying.sent_s = Some(now_s);
            effects.push(Effect::Send(flying.message.clone()));
        }
    }

    /// Signs one message for what is ready. Nothing is in flight, and the wallet was read just now.
    fn build(&mut self, head: Head, standing: Standing, effects: &mut Vec<Effect>) {
        if !self.jobs.values().any(|pending| pending.phase == Phase::Ready) {
            return;
        }
        let mut left = standing.balance.saturating_sub(self.settings.reserve);
        let mut keys = Vec::new();
        let mut payments = Vec::new();
        let mut first_cost = None;
        for (key, pending) in &self.jobs {
            if pending.phase != Phase::Ready || keys.len() >= MAX_PAYMENTS {
                continue;
            }
            let cost = pending.job.amount.saturating_add(self.settings.per_payment);
            first_cost.get_or_insert(cost);
            if let Some(rest) = left.checked_sub(cost) {
                left = rest;
                keys.push(*key);
                payments.push(pending.job.payment());
            }
        }
        let Ok(batch) = Batch::new(payments) else {
            let needs = first_cost.unwrap_or_default().saturating_add(self.settings.reserve);
            let broke = Trouble::Broke {
                account: self.wallet.account(),
                has: standing.balance,
                needs,
            };
            self.trouble_is(Some(broke), effects);
            return;
        };
        self.trouble_is(None, effects);
        let valid_until = head.time.saturating_add(self.settings.lifetime_s);
        // Each of them was signed alone when it was wanted, and the key is the wallet's.
        let Ok(signed) = self.wallet.sign(&self.seed, standing.seqno, valid_until, &batch) else {
            return;
        };
        for key in &keys {
            if let Some(pending) = self.jobs.get_mut(key) {
                pending.phase = Phase::InFlight;
                pending.sent = Some(pending.job.goal);
            }
        }
        self.in_flight = Some(InFlight {
            // Of the journal that `persist` makes below.
            number: self.number.saturating_add(1),
            seqno: signed.seqno,
            valid_until,
            message: signed.message,
            keys,
            sent_s: None,
        });
        // `pace` sends it, when it is durable.
        self.persist(effects);
    }

    fn trouble_is(&mut self, trouble: Option<Trouble>, effects: &mut Vec<Effect>) {
        if self.trouble != trouble {
            effects.push(Effect::Alert(trouble.map_or(Alert::Recovered, Alert::Trouble)));
            self.trouble = trouble;
        }
    }

    fn persist(&mut self, effects: &mut Vec<Effect>) {
        // Of several in one step the last has all.
        effects.retain(|effect| !matches!(effect, Effect::Persist(_)));
        self.number = self.number.saturating_add(1);
        effects.push(Effect::Persist(self.number));
    }

    fn hold(&mut self, effect: Effect) {
        self.held.push((self.number, effect));
    }
}

/// Whether it is true whenever the other is.
fn is_weaker(goal: Goal, than: Goal) -> bool {
    match (goal, than) {
        (Goal::Claimed(goal), Goal::Claimed(than)) => goal <= than,
        _ => false,
    }
}

/// Whether no message can bring it about. Only of deposits: they cost more coins the longer one tries.
fn hopeless(job: &Job, seen: &Seen) -> Option<GaveUp> {
    if job.key().kind != Kind::Deposit {
        return None;
    }
    match seen {
        Seen::Foreign => Some(GaveUp::Foreign),
        Seen::Absent if job.init.is_none() => Some(GaveUp::Absent),
        Seen::Open(state) if state.close_at.is_some() => Some(GaveUp::Closing),
        Seen::Absent | Seen::Open(_) => None,
    }
}

/// Twice as long after each failure.
fn resting(failures: u32, now_s: u64, not_before: u32) -> Phase {
    let rest_s = LEAST_REST_S.saturating_mul(2_u64.saturating_pow(failures.saturating_sub(1)));
    Phase::Resting {
        until_s: now_s.saturating_add(rest_s.min(MOST_REST_S)),
        not_before,
    }
}
