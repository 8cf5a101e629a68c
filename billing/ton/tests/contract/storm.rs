//! A hundred thousand random messages, most of them wrong: after each the books are right, and at the end nothing is locked.

use billing::Nano;
use billing::channel::{Network, Tag, Terms};
use billing_ton::contract::{Remittance, Request, Settle};
use billing_ton_sim::{Machine, Prices, slim};
use tycho_types::cell::{Cell, CellBuilder, CellFamily};
use tycho_types::models::MsgInfo;

use crate::books;
use crate::codec::opened;
use crate::machine::{Live, Pair, Sent, TON, nano, party, sent, terms};
use crate::random::Random;

const MESSAGES: usize = 100_000;
const MESSAGES_EACH: usize = 50;
const THREADS: usize = 4;

#[test]
fn a_hundred_thousand_messages_keep_the_books() {
    let histories = MESSAGES / MESSAGES_EACH;
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let machines =
                        [Prices::Old, Prices::New].map(|prices| Machine::new(slim(), prices).expect("embedded"));
                    let mut counts = Counts::default();
                    for history in (thread..histories).step_by(THREADS) {
                        let seed = history as u64;
                        History::new(seed, &machines[history / THREADS % 2]).play(&mut counts);
                    }
                    counts
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a history failed"))
            .collect()
    });
    let sum = |count: fn(&Counts) -> usize| counts.iter().map(count).sum::<usize>();
    let (messages, succeeded, paid) = (sum(|of| of.messages), sum(|of| of.succeeded), sum(|of| of.paid));
    assert!(messages >= MESSAGES, "{messages}");
    // A storm of refusals would say little.
    assert!(succeeded > messages / 5, "{succeeded} of {messages} succeeded");
    assert!(paid > 2_000, "{paid} paid");
    let (ended, closed) = (sum(|of| of.ended), sum(|of| of.closed));
    assert!(ended > 500 && closed > 100, "{ended} ended, {closed} of them together");
}

#[derive(Default)]
struct Counts {
    messages: usize,
    succeeded: usize,
    paid: usize,
    ended: usize,
    closed: usize,
}

/// One channel, and what was signed for it.
struct History<'a> {
    seed: u64,
    random: Random,
    live: Live<'a>,
    /// The greatest that each side signed, and whether the payee signed a close.
    voucher: Nano,
    take: Nano,
    /// Signed and sent before: to be sent again.
    old: Vec<Settle>,
}

impl<'a> History<'a> {
    fn new(seed: u64, machine: &'a Machine) -> Self {
        let mut random = Random(seed);
        let fees = [0, 0, 1, 250, 500, 3_333, 9_999, 10_000];
        let fee_bps = fees[random.below(8) as usize];
        let fee_dest = [party(0x33), party(0x22), party(0x11), party(0x33)][random.below(4) as usize];
        let terms = Terms {
            close_delay_s: [0, 3_600, 86_400, 700_000][random.below(4) as usize],
            fee_bps,
            fee_dest,
            salt: u128::from(random.next()),
            network: if random.once_in(2) {
                Network::MAINNET
            } else {
                Network::TESTNET
            },
            ..terms()
        };
        Self {
            seed,
            random,
            live: Live::new(machine, terms),
            voucher: Nano::ZERO,
            take: Nano::ZERO,
            old: Vec::new(),
        }
    }

    fn play(mut self, counts: &mut Counts) {
        for at in 0..MESSAGES_EACH {
            self.pass_time();
            let sent = self.some_message(at == 0);
            self.deliver(&sent, counts, at);
        }
        self.end(counts);
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(40) {
            0 => 31_000_000 * self.random.below(3),
            1..4 => 400_000,
            4..10 => self.random.below(90_000),
            _ => self.random.below(60),
        };
        self.live.now = self.live.now.saturating_add(seconds as u32).min(3_000_000_000);
    }

    fn amount(&mut self) -> Nano {
        let most = [1, 10, 1_000, TON / 100, TON, 10 * TON][self.random.below(6) as usize];
        nano(self.random.below(most + 1))
    }

    fn some_message(&mut self, is_first: bool) -> Sent {
        let froms = [party(0x11), party(0x11), party(0x22), party(0x44)];
        let from = froms[self.random.below(4) as usize];
        let request = if is_first { 0 } else { self.random.below(20) };
        let mut sent = match request {
            0..4 => {
                let amount = self.amount();
                // Sometimes all that is needed, sometimes not.
                let beside = [0, TON / 50, TON / 10, TON][self.random.below(4) as usize];
                sent(from, amount.get() + beside, &Request::TopUp { query_id: 2, amount })
            }
            4..6 => {
                let value = self.amount().get();
                sent(from, value, &Request::Transfer)
            }
            6..15 => {
                let settle = self.some_settle();
                let value = self.gas();
                sent(from, value, &Request::Settle(settle))
            }
            15 => sent(from, self.gas(), &Request::RequestClose { query_id: 3 }),
            16..18 => sent(from, self.gas(), &Request::FinishClose { query_id: 4 }),
            _ => Sent {
                body: self.noise(),
                ..sent(from, self.gas(), &Request::Transfer)
            },
        };
        sent.init = is_first || self.random.once_in(30);
        sent.bounce = !self.random.once_in(10);
        sent
    }

    fn gas(&mut self) -> u64 {
        match self.random.below(8) {
            0 => self.random.below(1_000_000),
            1 => self.random.below(6_000_000),
            _ => TON / 20,
        }
    }

    fn some_settle(&mut self) -> Settle {
        if !self.old.is_empty() && self.random.once_in(5) {
            let at = self.random.below(self.old.len() as u64) as usize;
            return self.old[at];
        }
        let close = self.random.once_in(12);
        let (id, claimed) = (self.live.id(), self.claimed());
        let take = claimed.saturating_add(self.amount());
        let max = match self.random.below(6) {
            0 => take.saturating_sub(self.amount()),
            _ => take.saturating_add(self.amount()),
        };
        let mut settle = self.live.settle(close, take, max);
        match self.random.below(16) {
            0 => settle.payee_signature = Pair::new(3).sign(Tag::Take, &id, take),
            1 => settle.voucher_signature = Some(Pair::new(3).sign(Tag::Voucher, &id, max)),
            2 => settle.close = !settle.close,
            3 => settle.voucher_signature = None,
            4 => settle.max = max.saturating_add(nano(1)),
            5 => settle.take = take.saturating_add(nano(1)),
            _ => {}
        }
        // What has one right signature may be joined with another's half.
        if settle.take == take && settle.payee_signature == self.live.settle(close, take, max).payee_signature {
            self.take = self.take.max(take);
        }
        if settle.max == max && settle.voucher_signature == self.live.settle(close, take, max).voucher_signature {
            self.voucher = self.voucher.max(max);
        }
        self.old.push(settle);
        settle
    }

    fn claimed(&self) -> Nano {
        self.live.kept().map_or(Nano::ZERO, |state| state.on_chain.claimed)
    }

    /// Bits and references that mean something now and then.
    fn noise(&mut self) -> Cell {
        let mut builder = CellBuilder::new();
        let operations = [
            0x7063_7470,
            0x7063_736c,
            0x7063_7271,
            0x7063_6663,
            0,
            self.random.next() as u32,
        ];
        let operation = operations[self.random.below(6) as usize];
        builder.store_u32(operation).expect("it fits");
        for _ in 0..self.random.below(14) {
            builder.store_u64(self.random.next()).expect("it fits");
        }
        builder
            .store_uint(self.random.next(), self.random.below(64) as u16)
            .expect("it fits");
        for _ in 0..self.random.below(3) {
            builder.store_reference(Cell::empty_cell()).expect("it fits");
        }
        builder.build().expect("ordinary")
    }

    fn deliver(&mut self, sent: &Sent, counts: &mut Counts, at: usize) {
        let told = format!("seed {}, message {at}", self.seed);
        let before = self.live.state.clone();
        let was = self.live.kept();
        let (message, outcome) = self.live.send(sent);
        let outcome = outcome.expect("internal messages are always taken");
        counts.messages += 1;
        counts.succeeded += usize::from(outcome.succeeded());
        books::check(&told, &before, &message, &outcome);

        // Nobody has what was not signed for by both.
        let claimed = payout(&outcome.messages);
        if let Some(claimed) = claimed {
            counts.paid += 1;
            assert!(claimed <= self.take, "{told}: more than the payee signed");
            assert!(claimed <= self.voucher, "{told}: more than the payer signed");
        }
        let Some(was) = was else { return };
        if self.live.kept().is_none() && outcome.succeeded() {
            counts.ended += 1;
            match Request::decode(&sent.body) {
                Ok(Request::Settle(Settle { close: true, take, .. })) => {
                    counts.closed += 1;
                    assert!(take <= self.take, "{told}: closed without the payee");
                }
                Ok(Request::FinishClose { .. }) => {
                    let close_at = was.on_chain.close_at;
                    assert!(
                        close_at.is_some_and(|at| at <= self.live.now),
                        "{told}: closed too early"
                    );
                }
                other => panic!("{told}: {other:?} ended the channel"),
            }
            // The address may be opened again, which makes what was signed good again: that is why nobody should.
        }
    }

    /// Whatever happened, the payer gets the rest.
    fn end(mut self, counts: &mut Counts) {
        let Some(kept) = self.live.kept() else { return };
        let told = format!("seed {}, the end", self.seed);
        if kept.on_chain.close_at.is_none() {
            let request = sent(self.live.terms.payer, TON / 20, &Request::RequestClose { query_id: 5 });
            self.must(&request, &told);
        }
        self.live.now += self.live.terms.close_delay_s + 60;
        let finish = sent(party(0x44), TON / 20, &Request::FinishClose { query_id: 6 });
        self.must(&finish, &told);
        assert!(self.live.kept().is_none(), "{told}: the channel is still there");
        counts.ended += 1;
    }

    fn must(&mut self, sent: &Sent, told: &str) {
        let before = self.live.state.clone();
        let (message, outcome) = self.live.send(sent);
        let outcome = outcome.expect("internal messages are always taken");
        books::check(told, &before, &message, &outcome);
        assert!(
            outcome.succeeded(),
            "{told}: exit {:?}, action {:?}",
            outcome.exit_code(),
            outcome.action
        );
    }
}

/// What was claimed in all, where the transaction paid.
fn payout(messages: &[Cell]) -> Option<Nano> {
    messages.iter().find_map(|message| {
        let (info, _, body) = opened(message);
        match (info, Remittance::decode(&body)) {
            (MsgInfo::Int(_), Ok(Remittance::Payout { cumulative, .. })) => Some(cumulative),
            _ => None,
        }
    })
}
