//! Random messages around a channel that holds a jetton, most of them wrong: after each the books are right, the wallet has
//! what everybody is owed, and at the end everybody has it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use billing::Nano;
use billing::channel::{Network, Tag, Terms};
use billing_ton::contract::Settle;
use billing_ton::jetton::{self, Request, State, Who};
use billing_ton_sim::{Machine, Prices, slim};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily};

use super::books;
use super::world::{FORTUNE, Kind, Live, PAYER, STRANGER, Sent, fee_dest, sent};
use crate::books::fee_on;
use crate::machine::{Pair, TON, nano, party, terms};
use crate::random::{Random, messages};

const MESSAGES: usize = 20_000;
const MESSAGES_EACH: usize = 40;
const THREADS: usize = 4;
/// Most faults show in the first.
const HISTORIES_OF_A_FAULT: usize = 150;
/// What one brings for gas and transfers.
const GAS: u64 = TON / 4;

#[test]
fn random_messages_keep_the_books() {
    let wanted = messages(MESSAGES);
    let histories = wanted.div_ceil(MESSAGES_EACH);
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let machines =
                        [Prices::Old, Prices::New].map(|prices| Machine::new(slim(), prices).expect("embedded"));
                    let mut counts = Counts::default();
                    for history in (thread..histories).step_by(THREADS) {
                        History::new(history, &machines[history / THREADS % 2], jetton::code()).play(&mut counts);
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
    let (messages, credited) = (sum(|of| of.messages), sum(|of| of.credited));
    let (paid, returned) = (sum(|of| of.paid), sum(|of| of.returned));
    let (ended, heard) = (sum(|of| of.ended), sum(|of| of.heard));
    assert!(
        messages >= wanted && heard >= wanted,
        "{messages} messages, {heard} heard"
    );
    // A storm of refusals would say little.
    assert!(
        credited > 1_000 && paid > 500 && returned > 200 && ended > 200,
        "{credited} credited, {paid} paid, {returned} returned, {ended} ended"
    );
}

/// The contract with one thing wrong (`billing/ton/contracts/faults.mjs`), each time.
#[test]
fn every_fault_is_noticed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/fixtures/jetton_faults");
    let faults: Vec<_> = std::fs::read_dir(folder)
        .expect("the faults are checked in")
        .map(|file| file.expect("a file").path())
        .collect();
    assert!(faults.len() >= 24, "{faults:?}");
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
    /// Transactions of the channel.
    heard: usize,
    credited: usize,
    paid: usize,
    returned: usize,
    ended: usize,
}

/// One channel, and what was signed for it.
struct History<'a> {
    seed: u64,
    random: Random,
    live: Live<'a>,
    is_fussy: bool,
    voucher: Nano,
    take: Nano,
    closes: Vec<Nano>,
    old: Vec<Settle>,
}

impl<'a> History<'a> {
    fn new(history: usize, machine: &'a Machine, code: Cell) -> Self {
        let seed = history as u64;
        let mut random = Random(seed);
        let is_fussy = random.once_in(3);
        let kind = match is_fussy {
            true => Kind::Fussy {
                least: [0, TON / 10, TON / 10][random.below(3) as usize],
            },
            false => Kind::Standard,
        };
        let terms = Terms {
            close_delay_s: [0, 3_600, 86_400][random.below(3) as usize],
            fee_bps: [0, 0, 1, 333, 5_000, 10_000][random.below(6) as usize],
            salt: u128::from(random.next()),
            network: [Network::MAINNET, Network::TESTNET][random.below(2) as usize],
            ..terms()
        };
        Self {
            seed,
            random,
            live: Live::new(machine, terms, kind, code),
            is_fussy,
            voucher: Nano::ZERO,
            take: Nano::ZERO,
            closes: Vec::new(),
            old: Vec::new(),
        }
    }

    fn play(mut self, counts: &mut Counts) {
        let told = format!("seed {}, the opening", self.seed);
        if self.random.once_in(8) {
            // Who is quicker than the master.
            let wallet = Some(STRANGER);
            let mut early = self.live.opening(GAS);
            early.from = STRANGER;
            early.body = Request::TakeWallet { query_id: 1, wallet }.encode();
            self.deliver(&early, &told, counts);
        }
        self.deliver(&self.live.opening(jetton::OPENING.get()), &told, counts);
        for at in 0..MESSAGES_EACH {
            self.pass_time();
            let message = self.some_message();
            self.deliver(&message, &format!("seed {}, message {at}", self.seed), counts);
        }
        self.end(counts);
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(30) {
            0 => 31_000_000,
            1..4 => 700_000,
            4..10 => self.random.below(90_000),
            _ => self.random.below(60),
        };
        self.live.world.now = self.live.world.now.saturating_add(seconds as u32);
    }

    fn amount(&mut self) -> Nano {
        let most = [1, 10, 1_000, 1_000_000, 100_000_000][self.random.below(5) as usize];
        nano(self.random.below(most + 1))
    }

    fn gas(&mut self) -> u64 {
        match self.random.below(8) {
            0 => self.random.below(10_000_000),
            1 => self.random.below(TON / 8),
            2 => TON,
            _ => GAS,
        }
    }

    fn some_message(&mut self) -> Sent {
        let froms = [PAYER, PAYER, party(0x22), STRANGER];
        let from = froms[self.random.below(4) as usize];
        let gas = self.gas();
        let request = match self.random.below(26) {
            0 => {
                let value = gas.max(self.random.below(TON));
                return self.live.opening(value);
            }
            1..7 => {
                let forward = [TON / 10, TON / 10, TON / 10, TON / 300, 0][self.random.below(5) as usize];
                let amount = self.amount();
                return self.live.deposit(amount, forward);
            }
            7 => Request::Notification {
                query_id: self.random.next(),
                amount: self.amount(),
                sender: [Some(from), None][self.random.below(2) as usize],
            },
            8 => Request::TakeWallet {
                query_id: 1,
                wallet: Some(from),
            },
            9..18 => Request::Settle(self.some_settle()),
            18 => Request::RequestClose { query_id: 3 },
            19 | 20 => Request::FinishClose { query_id: 4 },
            21 | 22 => Request::Retry {
                query_id: self.random.next(),
                who: [Who::Payee, Who::Fee, Who::Payer][self.random.below(3) as usize],
            },
            23 => Request::Sweep {
                query_id: 6,
                amount: self.amount(),
            },
            24 => Request::Rent,
            _ => return sent(from, self.live.account, gas, self.noise()),
        };
        let mut message = self.live.request(from, gas, &request);
        message.bounce = !self.random.once_in(10);
        message
    }

    fn some_settle(&mut self) -> Settle {
        if !self.old.is_empty() && self.random.once_in(5) {
            let at = self.random.below(self.old.len() as u64) as usize;
            return self.old[at];
        }
        let close = self.random.once_in(20);
        let claimed = self.live.kept().map_or(Nano::ZERO, |state| state.on_chain.claimed);
        let take = claimed.saturating_add(self.amount());
        let max = match self.random.below(6) {
            0 => take.saturating_sub(self.amount()),
            _ => take.saturating_add(self.amount()),
        };
        let id = self.live.id();
        let mut settle = self.live.settle(close, take, max);
        match self.random.below(14) {
            0 => settle.payee_signature = Pair::new(3).sign(Tag::Take, &id, take),
            1 => settle.voucher_signature = Some(Pair::new(3).sign(Tag::Voucher, &id, max)),
            2 => settle.close = !settle.close,
            3 => settle.voucher_signature = None,
            4 => settle.max = max.saturating_add(nano(1)),
            5 => settle.take = take.saturating_add(nano(1)),
            _ => {}
        }
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

    fn noise(&mut self) -> Cell {
        let mut builder = CellBuilder::new();
        let operations = [
            0x7063_6f70,
            0x7063_736c,
            0x7063_7279,
            0x7063_7377,
            0x7362_d09c,
            0xd173_5400,
            self.random.next() as u32,
        ];
        let operation = operations[self.random.below(7) as usize];
        builder.store_u32(operation).expect("it fits");
        for _ in 0..self.random.below(14) {
            builder.store_u64(self.random.next()).expect("it fits");
        }
        for _ in 0..self.random.below(3) {
            builder.store_reference(Cell::empty_cell()).expect("it fits");
        }
        builder.build().expect("ordinary")
    }

    fn deliver(&mut self, message: &Sent, told: &str, counts: &mut Counts) {
        let was = self.live.kept();
        let steps = self.live.world.send(message);
        counts.messages += 1;
        for step in steps.iter().filter(|step| step.to == self.live.account) {
            books::check(told, step);
            counts.heard += 1;
        }
        let Some(is) = self.live.kept() else { return };
        self.solvent(told, &is);
        assert!(is.on_chain.claimed <= self.take, "{told}: more than the payee signed");
        assert!(
            is.on_chain.claimed <= self.voucher,
            "{told}: more than the payer signed"
        );
        let Some(was) = was else { return };
        counts.credited += usize::from(is.on_chain.deposited > was.on_chain.deposited);
        counts.paid += usize::from(is.on_chain.claimed > was.on_chain.claimed);
        let dues = |state: &State| [Who::Payee, Who::Fee, Who::Payer].map(|who| books::owed(&state.held, who));
        counts.returned += usize::from(dues(&is) > dues(&was));
        if is.held.ended && !was.held.ended {
            counts.ended += 1;
            self.ended_rightly(told, message, &was);
        }
        self.live_rightly(told, message, &was, &is);
    }

    fn ended_rightly(&self, told: &str, message: &Sent, was: &State) {
        match Request::decode(&message.body) {
            Ok(Request::Settle(Settle { close: true, take, .. })) => {
                assert!(self.closes.contains(&take), "{told}: closed without the payee");
            }
            Ok(Request::FinishClose { .. }) => {
                let close_at = was.on_chain.close_at;
                assert!(
                    close_at.is_some_and(|at| at <= self.live.world.now),
                    "{told}: closed too early"
                );
            }
            other => panic!("{told}: {other:?} ended the channel"),
        }
    }

    /// Who signed and brought enough is served.
    fn live_rightly(&self, told: &str, message: &Sent, was: &State, is: &State) {
        if message.to != self.live.account || message.value < GAS {
            return;
        }
        match Request::decode(&message.body) {
            Ok(Request::Settle(settle)) => {
                let due = self.due(was, &settle);
                let claimed = (is.on_chain.claimed > was.on_chain.claimed).then_some(is.on_chain.claimed);
                let due_more = due.filter(|due| *due > was.on_chain.claimed);
                assert_eq!(claimed, due_more, "{told}: {settle:?}");
                let has_ended = is.held.ended && !was.held.ended;
                assert_eq!(has_ended, settle.close && due.is_some(), "{told}: {settle:?}");
            }
            Ok(Request::RequestClose { .. }) if message.from == PAYER => {
                assert!(is.on_chain.close_at.is_some(), "{told}: the payer cannot leave");
            }
            Ok(Request::Sweep { .. }) if !was.held.ended => {
                assert_eq!(was, is, "{told}: swept before the end");
            }
            _ => {}
        }
    }

    /// What is claimed in all after `settle`, by the rules of `docs/contract.md`; `None` where it should be refused.
    fn due(&self, was: &State, settle: &Settle) -> Option<Nano> {
        let right = self.live.settle(settle.close, settle.take, settle.max);
        if was.held.ended || settle.payee_signature != right.payee_signature {
            return None;
        }
        let claimed = was.on_chain.claimed;
        let delta = settle.take.min(was.on_chain.deposited).saturating_sub(claimed);
        if delta.is_zero() {
            return (settle.close && settle.take >= claimed).then_some(claimed);
        }
        let is_allowed = settle.take <= settle.max && settle.voucher_signature == right.voucher_signature;
        is_allowed.then_some(claimed.saturating_add(delta))
    }

    /// The wallet has what everybody is owed, and nobody has more than that.
    fn solvent(&self, told: &str, is: &State) {
        let live = &self.live;
        let dues: u128 = [Who::Payee, Who::Fee, Who::Payer]
            .map(|who| books::owed(&is.held, who))
            .iter()
            .sum();
        let on_chain = is.on_chain;
        let rest = match is.held.ended {
            true => 0,
            false => on_chain.deposited.get() - on_chain.claimed.get(),
        };
        let held = u128::from(live.holds(&live.account));
        // Once it has ended the payer may sweep what it is due itself.
        let owed = dues + u128::from(rest)
            - if is.held.ended {
                books::owed(&is.held, Who::Payer)
            } else {
                0
            };
        assert!(held >= owed, "{told}: {held} are there, and {owed} are owed");
        if self.is_fussy {
            return;
        }
        let fee = fee_on(on_chain.claimed, is.terms.fee_bps);
        let payee = u128::from(live.holds(&party(0x22))) + books::owed(&is.held, Who::Payee);
        assert_eq!(payee, u128::from(on_chain.claimed.get()) - fee, "{told}: the payee");
        let fees = u128::from(live.holds(&fee_dest())) + books::owed(&is.held, Who::Fee);
        assert_eq!(fees, fee, "{told}: the fee");
        let all = live.holds(&PAYER) + live.holds(&party(0x22)) + live.holds(&fee_dest()) + live.holds(&live.account);
        assert_eq!(all, FORTUNE, "{told}: jettons came or went");
    }

    /// Whatever happened: the payer can leave, what is due is paid, and the rest can be had.
    fn end(mut self, counts: &mut Counts) {
        let Some(kept) = self.live.kept() else { return };
        let told = format!("seed {}, the end", self.seed);
        if kept.on_chain.close_at.is_none() {
            let request = self.live.request(PAYER, GAS, &Request::RequestClose { query_id: 5 });
            self.deliver(&request, &told, counts);
        }
        self.live.world.now += self.live.terms.close_delay_s + 60;
        if !kept.held.ended {
            let finish = self.live.request(STRANGER, GAS, &Request::FinishClose { query_id: 6 });
            self.deliver(&finish, &told, counts);
        }
        for who in [Who::Payee, Who::Fee, Who::Payer] {
            let retry = self.live.request(STRANGER, TON, &Request::Retry { query_id: 7, who });
            self.deliver(&retry, &told, counts);
        }
        let is = self.live.kept().expect("it stays");
        assert!(is.held.ended, "{told}: it goes on");
        let has_swept = self.live.holds(&self.live.account) < is.held.payer_due.get();
        let dues = [Who::Payee, Who::Fee, Who::Payer].map(|who| books::owed(&is.held, who));
        assert!(dues == [0; 3] || has_swept, "{told}: {dues:?} is due yet");
        self.live.world.now += 700_000;
        let amount = nano(self.live.holds(&self.live.account));
        let sweep = self.live.request(PAYER, TON, &Request::Sweep { query_id: 8, amount });
        self.deliver(&sweep, &told, counts);
        assert_eq!(self.live.holds(&self.live.account), 0, "{told}: something is left");
    }
}
