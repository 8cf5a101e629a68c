use billing_ton::Chain;
use billing_ton::chain::{AccountState, ChainError, Status, Transaction};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::forwarder::{ask_to_send, forwarder};

const TON: u64 = 1_000_000_000;

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("far from the limit")
}

/// Nothing in this chain waits.
fn now<T>(future: BoxFuture<'_, T>) -> T {
    future.now_or_never().expect("ready")
}

fn chain(settings: Settings) -> Simulated {
    Simulated::in_memory(settings).expect("embedded configuration")
}

fn account(chain: &Simulated, account: Account) -> AccountState {
    now(chain.account(account)).expect("answered")
}

fn history(chain: &Simulated, account: Account) -> Vec<Transaction> {
    now(chain.transactions(account, None, 1_000)).expect("answered")
}

/// A chain with two forwarders, the first of which is deployed and rich.
fn with_a_forwarder(settings: Settings) -> (Simulated, Account, Account) {
    let chain = chain(settings);
    let (rich, _) = forwarder(1);
    let (poor, _) = forwarder(2);
    chain.fund(rich, nano(10 * TON)).expect("taken");
    chain.tick().expect("made");
    now(chain.send(&ask_to_send(1, &poor, 1_000, true))).expect("taken");
    chain.tick().expect("made");
    (chain, rich, poor)
}

#[test]
fn coins_come_and_a_contract_sends_them_on() {
    let (chain, rich, poor) = with_a_forwarder(Settings::for_tests(1));
    now(chain.send(&ask_to_send(1, &poor, u128::from(TON), false))).expect("taken");
    let made = chain.tick().expect("made");
    assert!(made.refused.is_empty());
    // The external message, and in the same block the internal one that it made.
    assert_eq!(
        made.transactions
            .iter()
            .map(|(account, _)| *account)
            .collect::<Vec<_>>(),
        [rich, poor]
    );
    let state = account(&chain, poor);
    assert_eq!(state.status, Status::Uninitialised);
    assert_eq!(state.last, Some(made.transactions[1].1));
    assert!(state.balance > u128::from(TON) - 1_000_000, "{state:?}");
    let left = account(&chain, rich);
    assert!(matches!(left.status, Status::Active { .. }));
    assert!(left.balance < 9 * u128::from(TON));
    assert_eq!(history(&chain, rich).len(), 3);
    let untouched = account(
        &chain,
        Account {
            workchain: 0,
            hash: [5; 32],
        },
    );
    assert_eq!(
        (untouched.status, untouched.last, untouched.balance),
        (Status::Nonexistent, None, 0)
    );
}

#[test]
fn a_history_is_read_from_a_cursor() {
    let (chain, rich, poor) = with_a_forwarder(Settings::for_tests(1));
    for _ in 0..3 {
        now(chain.send(&ask_to_send(1, &poor, 1_000, false))).expect("taken");
        chain.tick().expect("made");
    }
    let all = history(&chain, rich);
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by_key(|transaction| transaction.at.lt));
    let after = now(chain.transactions(rich, Some(all[1].at), 2)).expect("answered");
    assert_eq!(after, all[2..4]);
    assert!(
        now(chain.transactions(rich, Some(all[4].at), 2))
            .expect("answered")
            .is_empty()
    );
    let elsewhere = Cursor {
        hash: [0; 32],
        ..all[1].at
    };
    assert!(matches!(
        now(chain.transactions(rich, Some(elsewhere), 2)),
        Err(ChainError::Contradiction(_))
    ));
}

#[test]
fn what_no_account_pays_for_is_refused_with_its_reason() {
    let (chain, ..) = with_a_forwarder(Settings::for_tests(1));
    let check = |message: &[u8], expected: &str| match now(chain.send(message)) {
        Err(ChainError::Refused(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    };
    check(b"no cells", "cannot be read");
    check(&vec![0; 70_000], "70000 bytes");
    // The second forwarder has coins but no code yet.
    let (rich, _) = forwarder(1);
    check(&ask_to_send(2, &rich, 1, false), "no code to run");
    assert_eq!(chain.waiting(), 0);
}

#[test]
fn the_same_calls_give_the_same_chain() {
    let play = |seed| {
        let (chain, _, poor) = with_a_forwarder(Settings::for_tests(seed));
        chain.advance(100).expect("moved");
        now(chain.send(&ask_to_send(1, &poor, 77, false))).expect("taken");
        chain.tick().expect("made");
        let state = chain.state();
        *state.world.tip()
    };
    assert_eq!(play(1), play(1));
}

#[test]
fn time_is_moved_and_never_goes_back() {
    let chain = chain(Settings::for_tests(1));
    let before = now(chain.head()).expect("answered");
    chain.advance(86_400).expect("moved");
    assert_eq!(now(chain.head()).expect("answered"), before, "no block yet");
    let made = chain.tick().expect("made");
    assert_eq!(made.head.seqno, before.seqno + 1);
    assert_eq!(made.head.time, before.time + 86_400);
    // The end of 32-bit time is a wall, not a wrap.
    chain.advance(u32::MAX).expect("moved");
    assert_eq!(chain.tick().expect("made").head.time, u32::MAX);
}

#[test]
fn blocks_on_demand_need_no_tick() {
    let chain = chain(Settings {
        blocks: Blocks::OnDemand,
        ..Settings::for_tests(1)
    });
    let (rich, _) = forwarder(1);
    let (poor, _) = forwarder(2);
    chain.fund(rich, nano(TON)).expect("made");
    now(chain.send(&ask_to_send(1, &poor, 1_000, true))).expect("made");
    assert!(account(&chain, poor).balance > 0);
    // Who asks an idle chain gets a young block.
    let old = now(chain.head()).expect("answered");
    chain.advance(4).expect("moved");
    chain.advance(60).expect("moved");
    let head = now(chain.head()).expect("answered");
    assert_eq!(head.time, old.time + 64);
    assert_eq!(now(chain.head()).expect("answered"), head, "young enough");
}

#[test]
fn on_demand_a_block_becomes_final_as_time_passes() {
    let chain = chain(Settings {
        blocks: Blocks::OnDemand,
        finality_lag: 2,
        ..Settings::for_tests(1)
    });
    let (rich, _) = forwarder(1);
    chain.fund(rich, nano(TON)).expect("made");
    assert_eq!(account(&chain, rich).status, Status::Nonexistent);
    chain.advance(1).expect("moved");
    assert_eq!(account(&chain, rich).status, Status::Nonexistent);
    chain.advance(1).expect("moved");
    assert_eq!(account(&chain, rich).balance, u128::from(TON));
}

#[test]
fn a_block_is_told_of_when_it_is_final() {
    let chain = chain(Settings {
        finality_lag: 2,
        ..Settings::for_tests(1)
    });
    let (rich, _) = forwarder(1);
    chain.fund(rich, nano(TON)).expect("taken");
    chain.tick().expect("made");
    chain.tick().expect("made");
    assert_eq!(account(&chain, rich).status, Status::Nonexistent);
    assert!(history(&chain, rich).is_empty());
    chain.tick().expect("made");
    assert_eq!(account(&chain, rich).balance, u128::from(TON));
    assert_eq!(history(&chain, rich).len(), 1);
    assert_eq!(now(chain.head()).expect("answered").seqno, 2);
}

#[test]
fn a_fork_takes_back_what_was_not_final() {
    let (chain, rich, poor) = with_a_forwarder(Settings {
        finality_lag: 2,
        ..Settings::for_tests(1)
    });
    chain.tick().expect("made");
    chain.tick().expect("made");
    let (before, told) = (account(&chain, rich), history(&chain, rich));
    now(chain.send(&ask_to_send(1, &poor, u128::from(TON), false))).expect("taken");
    let lost = chain.tick().expect("made");
    assert_eq!(lost.transactions.len(), 2);
    assert_eq!(chain.take_back(9).expect("taken back"), 2, "not more than is not final");
    for _ in 0..3 {
        chain.tick().expect("made");
    }
    let after = account(&chain, rich);
    assert_eq!((after.balance, after.last), (before.balance, before.last));
    assert_eq!(history(&chain, rich), told);
    // The message is free to come again.
    now(chain.send(&ask_to_send(1, &poor, u128::from(TON), false))).expect("taken");
}

#[test]
fn a_halted_chain_answers_and_makes_nothing() {
    let (chain, _, poor) = with_a_forwarder(Settings::for_tests(1));
    chain.halt();
    let (head, state) = (now(chain.head()).expect("answered"), account(&chain, poor));
    now(chain.send(&ask_to_send(1, &poor, 5, false))).expect("taken");
    assert!(matches!(chain.tick(), Err(TickError::Halted)));
    assert_eq!(now(chain.head()).expect("answered"), head);
    assert_eq!(account(&chain, poor), state);
    assert_eq!(chain.waiting(), 1);
    chain.resume().expect("resumed");
    assert_eq!(chain.tick().expect("made").transactions.len(), 2);
}

#[test]
fn what_waits_can_be_lost() {
    let (chain, _, poor) = with_a_forwarder(Settings::for_tests(1));
    now(chain.send(&ask_to_send(1, &poor, 5, false))).expect("taken");
    now(chain.send(&ask_to_send(1, &poor, 5, false))).expect("the same again is one");
    assert_eq!(chain.drop_waiting(), 1);
    assert!(chain.tick().expect("made").transactions.is_empty());
}

#[test]
fn prices_change_at_a_block() {
    let (chain, rich, poor) = with_a_forwarder(Settings::for_tests(1));
    let seqno = now(chain.head()).expect("answered").seqno;
    chain.change_prices(Prices::New, seqno + 2);
    let cost = || {
        let before = account(&chain, rich).balance;
        now(chain.send(&ask_to_send(1, &poor, 0, false))).expect("taken");
        chain.tick().expect("made");
        before - account(&chain, rich).balance
    };
    let gas = || now(chain.config_parameter(21)).expect("answered");
    let (dear, old) = (cost(), gas());
    let (cheap, new) = (cost(), gas());
    assert!(cheap < dear / 5, "{cheap} after {dear}");
    assert_ne!(old, new);
    assert!(now(chain.config_parameter(21_000)).expect("answered").is_none());
}

#[test]
fn more_than_a_block_holds_goes_into_the_next() {
    let (chain, rich, poor) = with_a_forwarder(Settings::for_tests(1));
    for amount in 0..400 {
        now(chain.send(&ask_to_send(1, &poor, amount, false))).expect("taken");
    }
    let first = chain.tick().expect("made");
    assert_eq!(first.transactions.len(), 512);
    let second = chain.tick().expect("made");
    assert_eq!(second.transactions.len(), 288);
    assert!(chain.tick().expect("made").transactions.is_empty());
    let lts: Vec<_> = history(&chain, rich).iter().map(|told| told.at.lt).collect();
    assert!(lts.is_sorted_by(|a, b| a < b));
}

mod durable;
