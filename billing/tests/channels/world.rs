//! The world around one channel. A step is one thing that happens somewhere; what breaks an invariant is an `Err` that
//! says which.

mod faults;
mod lies;
mod payee;
mod payer;
mod tower;

use std::collections::{BTreeMap, VecDeque};

use billing::{
    Nano,
    channel::{
        Blob, Caps, Channel, Envelope, Notice, Purse, Slack, State, Watchtower,
        payee::{Books, PayeePolicy},
        payer::{PayerPolicy, Trust},
    },
};

use crate::{
    chain::{Chain, Message, Sender},
    disk::Disk,
    nodes::{PayeeNode, PayerNode, TowerNode, nano, terms},
    random::Random,
    stats::Stats,
    work::{Part, Work},
};

pub(crate) type Step = Result<(), String>;

/// 2026-11-22, noon.
const START: i64 = 1_795_348_800_000;
/// Notices under way; more are lost.
const WIRE: usize = 24;
pub(crate) const RESEND: i64 = 1000;
pub(crate) const PATIENCE: i64 = 600_000;

/// What is wrong in this history, beside the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Honest,
    /// Honest, and the payee is not attested.
    Credit,
    /// Somebody has the payee's key and takes all that vouchers allow.
    Thief,
    /// Somebody speaks for the payer.
    LyingPayer,
    /// Somebody speaks for the payee.
    LyingPayee,
    /// The payer's disk is set back at a crash.
    Rewound,
    /// The payee ends for good; only the watchtower is left.
    DeadPayee,
    /// Honest, and whatever finds no room in the channel is served all the same, and owed beside it.
    Beside,
}

pub(crate) struct World {
    pub(crate) random: Random,
    /// Kept when a history is replayed.
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) stats: Stats,
    pub(crate) nature: Nature,
    pub(crate) now_ms: i64,
    pub(crate) is_calm: bool,
    pub(crate) channel: Channel,
    pub(crate) chain: Chain,
    pub(crate) payer: PayerNode,
    pub(crate) payee: PayeeNode,
    pub(crate) tower: TowerNode,
    pub(crate) to_payer: Vec<Vec<u8>>,
    pub(crate) to_payee: Vec<Vec<u8>>,
    pub(crate) to_tower: Vec<Blob>,
    pub(crate) works: BTreeMap<u64, Work>,
    pub(crate) next_work: u64,
    pub(crate) parts: VecDeque<(u64, Part)>,
    /// The greatest voucher that ever left the payer, and its bytes on their way to who steals them.
    pub(crate) best_sent: Nano,
    pub(crate) stolen: Option<billing::channel::ClaimedVoucher>,
    pub(crate) has_lied: bool,
    /// The payee waits for the payer's word as long as it takes.
    pub(crate) is_patient: bool,
    /// The payee's machine was shown that the payer closes.
    pub(crate) is_closing_seen: bool,
    /// Something happened after which books of both sides need not be equal.
    pub(crate) is_apart: bool,
    /// Of work that is over on both sides, what the payee counted more.
    pub(crate) difference: u64,
    halted_for: u64,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Option<Vec<String>>) -> Self {
        let mut random = Random::new(seed);
        let nature = match random.below(14) {
            0..5 => Nature::Honest,
            5 => Nature::Credit,
            6 => Nature::Thief,
            7 => Nature::LyingPayer,
            8 => Nature::LyingPayee,
            9 | 10 => Nature::Rewound,
            11 => Nature::DeadPayee,
            _ => Nature::Beside,
        };
        let (channel, payer, payee) = terms(&mut random);
        let is_credit = nature == Nature::Credit;
        let cap = nano(400 + random.below(1500));
        let caps = Caps {
            exposure: nano(500 + random.below(3000)),
            capital: nano(30_000),
            capital_of_owner: nano(20_000),
            open_above: Nano::ZERO,
        };
        let payer_policy = PayerPolicy {
            trust: if is_credit { Trust::Credit } else { Trust::Attested },
            exposure_cap: cap,
            window: nano(50 + random.below(300)),
            top_up_below: nano(random.below(3) * 400),
            top_up_by: nano(1000),
            tally_every: nano(1 + random.below(200)),
            cooperate_ms: if nature == Nature::DeadPayee { 2000 } else { 120_000 },
            resend_ms: RESEND,
            tolerance: if random.is_one_in(3) {
                Slack {
                    amount: nano(random.below(200)),
                    permille: 10,
                }
            } else {
                Slack::NONE
            },
            books: Books::Own,
        };
        let is_patient = random.is_one_in(2);
        let payee_policy = PayeePolicy {
            credit: match nature {
                Nature::Credit => nano(600),
                Nature::Beside => Nano::MOST,
                _ => Nano::ZERO,
            },
            low_water: nano(random.below(200)),
            sign_every: nano(1 + random.below(300)),
            settle_above: nano(200 + random.below(2000)),
            settle_every_ms: 86_400_000,
            dust: Nano::ZERO,
            waive: if random.is_one_in(4) && nature != Nature::Beside {
                Slack::NONE
            } else {
                Slack {
                    amount: nano(1_000_000),
                    permille: 0,
                }
            },
            patience_ms: if is_patient { i64::MAX } else { PATIENCE },
            resend_ms: RESEND,
            books: Books::Own,
        };
        let mut world = Self {
            random,
            trace,
            stats: Stats::default(),
            nature,
            now_ms: START,
            is_calm: false,
            channel,
            chain: Chain::new(channel.terms.close_delay_s),
            payer: PayerNode {
                signer: payer,
                policy: payer_policy,
                machine: None,
                caps,
                purse: Purse::new(caps),
                todo: VecDeque::new(),
                disk: Disk::new(),
                owed: 0,
                skew_ms: 0,
                durable_max: Nano::ZERO,
                durable_spent: Nano::ZERO,
                covered: Nano::ZERO,
                is_buried: false,
            },
            payee: PayeeNode {
                signer: payee,
                policy: payee_policy,
                machine: None,
                todo: VecDeque::new(),
                disk: Disk::new(),
                owed: 0,
                off: VecDeque::new(),
                is_asked: false,
                next_fold: 1 << 60,
                skew_ms: 0,
                durable_max: Nano::ZERO,
                durable_spent: Nano::ZERO,
                durable_take: Nano::ZERO,
                durable_ids: std::collections::BTreeSet::new(),
                is_last_shown: false,
                is_buried: false,
                is_dead: false,
            },
            tower: TowerNode {
                machine: Some(Watchtower::new(RESEND)),
                todo: VecDeque::new(),
                disk: Disk::new(),
                skew_ms: 0,
                kept: Nano::ZERO,
            },
            to_payer: Vec::new(),
            to_payee: Vec::new(),
            to_tower: Vec::new(),
            works: BTreeMap::new(),
            next_work: 1,
            parts: VecDeque::new(),
            best_sent: Nano::ZERO,
            stolen: None,
            has_lied: false,
            is_patient,
            is_closing_seen: false,
            is_apart: false,
            difference: 0,
            halted_for: 0,
        };
        world.stats.histories = 1;
        world.open();
        world
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub(crate) fn time_s(&self) -> u32 {
        u32::try_from(self.now_ms / 1000).expect("before 2106")
    }

    pub(crate) fn step(&mut self) -> Step {
        match self.random.below(1000) {
            0..90 => self.begin_guessed_work()?,
            90..330 => self.work()?,
            330..420 => self.read_part()?,
            420..520 => self.do_payer()?,
            520..620 => self.do_payee()?,
            620..650 => self.do_tower(),
            650..690 => self.sync_payer(),
            690..730 => self.sync_payee(),
            730..740 => self.sync_tower(),
            740..840 => self.deliver()?,
            840..850 => self.deliver_blob(),
            850..880 => self.block(),
            880..920 => self.facts()?,
            920..950 => self.tick()?,
            950..970 => self.let_time_pass(),
            970..974 => self.disconnect(),
            974..978 => self.crash_payer()?,
            978..983 => self.crash_payee()?,
            983..985 => self.crash_tower()?,
            985..988 => self.halt_or_go_on(),
            988..990 => self.step_a_clock(),
            990..993 => self.lie()?,
            993 => self.leave(),
            994 => self.mature(),
            995..997 => self.snapshot(),
            997 => self.contradict()?,
            _ => self.top_up(),
        }
        self.look()
    }

    /// Something under way arrives: any of it, perhaps twice, perhaps not.
    pub(crate) fn deliver(&mut self) -> Step {
        let is_to_payee = self.random.is_one_in(2);
        let wire = if is_to_payee {
            &mut self.to_payee
        } else {
            &mut self.to_payer
        };
        if wire.is_empty() {
            return Ok(());
        }
        let at = if self.is_calm { 0 } else { self.random.place(wire.len()) };
        let is_kept = !self.is_calm && self.random.is_one_in(10);
        let bytes = if is_kept { wire[at].clone() } else { wire.remove(at) };
        if !self.is_calm && self.random.is_one_in(12) {
            return Ok(());
        }
        let envelope = Envelope::read(&bytes).map_err(|_| "an honest notice cannot be read".to_owned())?;
        if is_to_payee {
            self.tell_payee(envelope)
        } else {
            self.tell_payer(envelope.notice)
        }
    }

    pub(crate) fn post(&mut self, is_to_payee: bool, notice: Notice) {
        let text = format!("{notice:?}");
        self.note(|| format!("{} is sent {text}", if is_to_payee { "payee" } else { "payer" }));
        let envelope = Envelope::new(&self.channel.id, notice);
        let bytes = serde_json::to_vec(&envelope).expect("plain");
        assert!(
            bytes.len() <= Envelope::MOST_BYTES,
            "an honest notice is too long: {}",
            bytes.len()
        );
        let wire = if is_to_payee {
            &mut self.to_payee
        } else {
            &mut self.to_payer
        };
        if self.is_calm || wire.len() < WIRE {
            wire.push(bytes);
        }
    }

    pub(crate) fn block(&mut self) {
        if self.halted_for > 0 {
            self.halted_for -= 1;
            self.chain.is_halted = self.halted_for > 0;
        }
        let time_s = self.time_s();
        let failed = self.chain.block(time_s, &mut self.random, self.is_calm);
        for Message { from, act } in failed {
            self.stats.chain_refused += 1;
            self.note(|| format!("the chain did not do {act:?} for {from:?}"));
            if from == Sender::Payer {
                self.payer_event(billing::channel::payer::Event::Failed(act));
            }
        }
    }

    pub(crate) fn facts(&mut self) -> Step {
        let Some(fact) = self.chain.fact(&mut self.random, self.is_calm) else {
            return Ok(());
        };
        match self.random.below(3) {
            0 => self.payer_event(billing::channel::payer::Event::Chain(fact)),
            1 => {
                let is_closing = matches!(fact.state, State::Open(open) if open.close_at.is_some());
                self.is_closing_seen |= is_closing && self.payee.machine.is_some();
                self.payee_event(billing::channel::payee::Event::Chain(fact));
            }
            _ => self.show_tower(fact),
        }
        Ok(())
    }

    pub(crate) fn tick(&mut self) -> Step {
        match self.random.below(3) {
            0 => self.payer_event(billing::channel::payer::Event::Tick),
            1 => {
                self.payee_event(billing::channel::payee::Event::Tick);
                self.payee_folds();
            }
            _ => self.tick_tower(),
        }
        Ok(())
    }

    fn let_time_pass(&mut self) {
        // Who has a day to settle is not asleep for all of it.
        let is_closing = self.chain.open.is_some_and(|open| open.close_at.is_some());
        let passed = match self.random.below(20) {
            0..8 => 10,
            8..14 => 400,
            14..18 => 1500,
            18 => 30_000,
            _ if is_closing => 5000,
            _ if self.random.is_one_in(8) => 86_400_000,
            _ => 200_000,
        };
        self.now_ms += passed;
        let now = self.now_ms;
        self.note(|| format!("it is {now}"));
    }

    /// What must hold of both at any time, by what is true.
    fn look(&mut self) -> Step {
        let open = self.chain.open;
        if let Some(open) = open
            && (open.claimed > open.deposited || open.claimed > self.best_sent)
        {
            return Err(format!("{open:?}, and vouchers for {} were sent", self.best_sent));
        }
        if let Some(payer) = &self.payer.machine {
            let exposure = payer.exposure();
            let is_bounded = exposure <= self.payer.policy.exposure_cap;
            // Whose disk forgets what it signed, or who signs beside its machine, is not protected from that.
            let is_own_fault = matches!(self.nature, Nature::Rewound | Nature::LyingPayer);
            if !is_bounded && !is_own_fault {
                return Err(format!(
                    "{exposure} is at risk, and {} may be",
                    self.payer.policy.exposure_cap
                ));
            }
            if payer.voucher_max() > self.chain.paid_in && !is_own_fault {
                return Err(format!(
                    "{} is signed, and {} was paid in",
                    payer.voucher_max(),
                    self.chain.paid_in
                ));
            }
            let is_credit = self.payer.policy.trust == Trust::Credit;
            if is_credit && !exposure.is_zero() {
                return Err(format!("{exposure} is at risk with a payee on credit"));
            }
        }
        Ok(())
    }
}
