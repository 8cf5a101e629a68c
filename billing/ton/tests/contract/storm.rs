//! A hundred thousand random messages, most of them wrong: after each the books are right, and at the end nothing is locked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use billing::Nano;
use billing::channel::{Network, Tag, Terms};
use billing_ton::contract::{self, Remittance, Request, Settle, State};
use billing_ton_sim::{Machine, Prices, slim};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily};
use tycho_types::models::MsgInfo;

use crate::books;
use crate::codec::opened;
use crate::machine::{Live, Pair, Sent, TON, nano, party, sent, terms};
use crate::random::Random;

const MESSAGES: usize = 100_000;
const MESSAGES_EACH: usize = 50;
const THREADS: usize = 4;
/// Most faults show in the first.
const HISTORIES_OF_A_FAULT: usize = 400;

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
                        History::new(history, &machines[history / THREADS % 2], contract::code()).play(&mut counts);
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

/// The contract with one thing wrong (`billing/ton/contracts/faults.mjs`), each time.
#[test]
fn every_fault_is_noticed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/fixtures/faults");
    let faults: Vec<_> = std::fs::read_dir(folder)
        .expect("the faults are checked in")
        .map(|file| file.expect("a file").path())
        .collect();
    assert!(faults.len() >= 25, "{faults:?}");
    let survived: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = faults
            .chunks(faults.len().div_ceil(THREADS))
            .map(|faults| scope.spawn(|| faults.iter().filter(|fault| survives(fault)).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("what fails is caught"))
            .collect()
    });
    assert!(survived.is_empty(), "nobody noticed {survived:?}");
}

fn survives(fault: &Path) -> bool {
    let code = Boc::decode(std::fs::read(fault).expect("a file")).expect("a cell");
    let machine = Machine::new(slim(), Prices::New).expect("embedded");
    (0..HISTORIES_OF_A_FAULT).all(|history| {
        let history = History::new(history, &machine, code.clone());
        catch_unwind(AssertUnwindSafe(|| history.play(&mut Counts::default()))).is_ok()
    })
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
    /// Small sums over many years, so that rent bites.
    is_long: bool,
    live: Live<'a>,
    /// The greatest that each side signed, and every close.
    voucher: Nano,
    take: Nano,
    closes: Vec<Nano>,
    /// Signed and sent before: to be sent again.
    old: Vec<Settle>,
}

impl<'a> History<'a> {
    fn new(history: usize, machine: &'a Machine, code: Cell) -> Self {
        let seed = history as u64;
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
            is_long: random.once_in(4),
            random,
            live: Live::with_code(machine, terms, code),
            voucher: Nano::ZERO,
            take: Nano::ZERO,
            closes: Vec::new(),
            old: Vec::new(),
        }
    }

    fn play(mut self, counts: &mut Counts) {
        for at in 0..MESSAGES_EACH {
            self.pass_time();
            let is_gone = self.live.kept().is_none();
            let is_opening = at == 0 || is_gone && self.random.once_in(2);
            let sent = self.some_message(is_opening);
            self.deliver(&sent, counts, at);
        }
        self.end(counts);
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(40) {
            0..12 if self.is_long => self.random.below(60_000_000),
            0 => 31_000_000 * self.random.below(3),
            1..4 => 400_000,
            4..10 => self.random.below(90_000),
            _ => self.random.below(60),
        };
        self.live.now = self.live.now.saturating_add(seconds as u32).min(3_000_000_000);
    }

    fn amount(&mut self) -> Nano {
        let kinds = if self.is_long { 4 } else { 6 };
        let most = [1, 10, 1_000, TON / 100, TON, 10 * TON][self.random.below(kinds) as usize];
        nano(self.random.below(most + 1))
    }

    fn some_message(&mut self, is_opening: bool) -> Sent {
        let froms = [party(0x11), party(0x11), party(0x22), party(0x44)];
        let from = froms[self.random.below(4) as usize];
        let request = if is_opening { 0 } else { self.random.below(20) };
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
        sent.init = is_opening || self.random.once_in(30);
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
        // Each right signature is out now, whatever else is wrong, and may be joined with another's half.
        let right = self.live.settle(close, take, max);
        if settle.payee_signature == right.payee_signature {
            self.take = self.take.max(take);
            if close {
                self.closes.push(take);
            }
        }
        if settle.voucher_signature == right.voucher_signature {
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
        let kept = books::check(&told, &before, &message, &outcome);

        // What we cannot read, the contract does not act on; and the other way round.
        match (Request::decode(&sent.body), outcome.exit_code()) {
            (Err(error), Some(0)) => {
                // Of a voucher that it does not need it reads the reference alone.
                let is_close = outcome.destroyed && claimed_in(&outcome.messages).is_none();
                assert!(is_close, "{told}: {error}, and the contract acted on it");
            }
            (Ok(request), Some(9 | 65_535)) => panic!("{told}: the contract cannot read {request:?}"),
            _ => {}
        }

        // Nobody has what was not signed for by both.
        let claimed = claimed_in(&outcome.messages);
        if let Some(claimed) = claimed {
            counts.paid += 1;
            assert!(claimed <= self.take, "{told}: more than the payee signed");
            assert!(claimed <= self.voucher, "{told}: more than the payer signed");
        }
        let Some(was) = was else { return };
        if let Ok(Request::Settle(settle)) = Request::decode(&sent.body)
            && sent.value >= TON / 20
        {
            let due = self.due(&was, &settle, kept);
            assert_eq!(
                outcome.succeeded(),
                due.is_some(),
                "{told}: {settle:?}, where {due:?} is due"
            );
            let due = due.filter(|due| *due > was.on_chain.claimed);
            assert_eq!(claimed, due, "{told}: {settle:?}");
        }
        if self.live.kept().is_none() && !books::is_frozen(&self.live.state) && outcome.succeeded() {
            counts.ended += 1;
            match Request::decode(&sent.body) {
                Ok(Request::Settle(Settle { close: true, take, .. })) => {
                    counts.closed += 1;
                    assert!(self.closes.contains(&take), "{told}: closed without the payee");
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

    /// What is claimed in all after `settle`, by the rules of `docs/contract.md`; `None` where it should be refused.
    fn due(&self, was: &State, settle: &Settle, kept: u128) -> Option<Nano> {
        let right = self.live.settle(settle.close, settle.take, settle.max);
        if settle.payee_signature != right.payee_signature {
            return None;
        }
        let claimed = was.on_chain.claimed;
        let kept = u64::try_from(kept).map_or(Nano::MOST, Nano::saturating);
        let delta = settle
            .take
            .min(was.on_chain.deposited)
            .saturating_sub(claimed)
            .min(kept);
        if delta.is_zero() {
            return (settle.close && settle.take >= claimed).then_some(claimed);
        }
        let is_allowed = settle.take <= settle.max && settle.voucher_signature == right.voucher_signature;
        is_allowed.then_some(claimed.saturating_add(delta))
    }

    /// Whatever happened, the payer gets the rest.
    fn end(mut self, counts: &mut Counts) {
        let Some(kept) = self.live.kept() else { return };
        let told = format!("seed {}, the end", self.seed);
        if kept.on_chain.close_at.is_none() {
            let request = sent(self.live.terms.payer, TON / 20, &Request::RequestClose { query_id: 5 });
            self.must(&request, &told);
        }
        if books::is_frozen(&self.live.state) {
            // It had nothing left and owed years of rent.
            return;
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
fn claimed_in(messages: &[Cell]) -> Option<Nano> {
    messages.iter().find_map(|message| {
        let (info, _, body) = opened(message);
        match (info, Remittance::decode(&body)) {
            (MsgInfo::Int(_), Ok(Remittance::Payout { cumulative, .. })) => Some(cumulative),
            _ => None,
        }
    })
}
