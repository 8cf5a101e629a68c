use billing::Nano;
use billing_ton::chain::Status;
use futures_util::FutureExt;

use super::*;
use crate::forwarder::{ask_to_send, forwarder};
use crate::simulated::{Settings, Simulated};

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready")
}

/// A deployed forwarder that has coins, and one that gets some.
fn scene() -> (Faulty<Simulated>, Account, Account) {
    let chain = Simulated::in_memory(Settings::for_tests(1)).expect("embedded");
    let (rich, _) = forwarder(1);
    let (poor, _) = forwarder(2);
    chain
        .fund(rich, Nano::new(10_000_000_000).expect("small"))
        .expect("taken");
    chain.tick().expect("made");
    now(chain.send(&ask_to_send(1, &poor, 1, true))).expect("taken");
    chain.tick().expect("made");
    (Faulty::new(chain), rich, poor)
}

/// Sends an amount to the poor one, makes a block, and tells how many transactions it has.
fn blocks_transactions(chain: &Faulty<Simulated>) -> usize {
    chain.chain().tick().expect("made").transactions.len()
}

#[test]
fn a_source_that_gives_no_answer() {
    let (chain, rich, poor) = scene();
    chain.fail_next(2, Fault::Unreachable);
    chain.fail_next(1, Fault::Unreadable);
    assert!(matches!(now(chain.head()), Err(ChainError::Unreachable(_))));
    assert!(matches!(
        now(chain.send(&ask_to_send(1, &poor, 5, false))),
        Err(ChainError::Unreachable(_))
    ));
    assert!(matches!(now(chain.account(rich)), Err(ChainError::Unreadable(_))));
    assert_eq!(blocks_transactions(&chain), 0, "it did not arrive");
    chain.fail_always(Some(Fault::Limited));
    assert!(matches!(
        now(chain.transactions(rich, None, 1)),
        Err(ChainError::Limited)
    ));
    assert!(matches!(now(chain.config_parameter(21)), Err(ChainError::Limited)));
    chain.fail_always(None);
    now(chain.head()).expect("answered");
}

#[test]
fn messages_are_refused_lost_doubled_or_not_answered() {
    let (chain, _, poor) = scene();
    let send = |amount| now(chain.send(&ask_to_send(1, &poor, amount, false)));
    chain.send_next(Sending::Refused("not today".to_owned()));
    chain.send_next(Sending::Lost);
    chain.send_next(Sending::Unanswered);
    assert!(matches!(send(1), Err(ChainError::Refused(reason)) if reason == "not today"));
    assert!(send(2).is_ok());
    assert_eq!(blocks_transactions(&chain), 0);
    assert!(matches!(send(3), Err(ChainError::Unreachable(_))));
    assert_eq!(blocks_transactions(&chain), 2, "it arrived all the same");
    assert!(send(4).is_ok());
    assert_eq!(blocks_transactions(&chain), 2);
}

#[test]
fn a_message_that_comes_twice_is_there_twice_if_its_contract_lets_it() {
    let simulated = Simulated::in_memory(Settings {
        blocks: crate::Blocks::OnDemand,
        ..Settings::for_tests(1)
    })
    .expect("embedded");
    let (rich, _) = forwarder(1);
    simulated
        .fund(rich, Nano::new(10_000_000_000).expect("small"))
        .expect("made");
    let chain = Faulty::new(simulated);
    chain.send_next(Sending::Twice);
    // Forwarders do not mind; wallets do.
    now(chain.send(&ask_to_send(1, &forwarder(2).0, 7, true))).expect("made");
    let told = now(chain.transactions(rich, None, 10)).expect("answered");
    assert_eq!(told.len(), 3, "coins, and twice the message");
}

#[test]
fn held_messages_come_late_and_in_another_order() {
    let (chain, rich, poor) = scene();
    for amount in [100, 200] {
        chain.send_next(Sending::Held);
        now(chain.send(&ask_to_send(1, &poor, amount, false))).expect("said to be taken");
    }
    assert_eq!(blocks_transactions(&chain), 0);
    assert_eq!(chain.held(), 2);
    assert_eq!(now(chain.release(Order::Reversed)).len(), 2);
    assert_eq!(blocks_transactions(&chain), 4);
    let told = now(chain.transactions(rich, None, 10)).expect("answered");
    let sent: Vec<Vec<u8>> = [200, 100].map(|amount| ask_to_send(1, &poor, amount, false)).to_vec();
    let received: Vec<Vec<u8>> = told[2..]
        .iter()
        .map(|transaction| {
            let cell = tycho_types::boc::Boc::decode(&transaction.cell).expect("ours");
            let transaction = cell.parse::<tycho_types::models::Transaction>().expect("ours");
            tycho_types::boc::Boc::encode(transaction.in_msg.expect("external"))
        })
        .collect();
    assert_eq!(received, sent);
}

#[test]
fn a_stale_source_stays_where_it_was() {
    let (chain, rich, poor) = scene();
    let before = now(chain.account(rich)).expect("answered");
    let told = now(chain.transactions(rich, None, 10)).expect("answered");
    now(chain.freeze()).expect("answered");
    now(chain.send(&ask_to_send(1, &poor, 5, false))).expect("taken");
    chain.chain().advance(60).expect("moved");
    assert_eq!(blocks_transactions(&chain), 2);
    assert_eq!(now(chain.account(rich)).expect("answered"), before);
    assert_eq!(now(chain.transactions(rich, None, 10)).expect("answered"), told);
    assert_eq!(now(chain.head()).expect("answered"), before.head);
    chain.thaw();
    assert_ne!(now(chain.account(rich)).expect("answered"), before);
    assert_eq!(
        now(chain.transactions(rich, None, 10)).expect("answered").len(),
        told.len() + 1
    );
}

#[test]
fn a_source_lies_about_an_account_and_about_prices() {
    let (chain, rich, poor) = scene();
    let honest = now(chain.account(poor)).expect("answered");
    chain.lie(rich, |state| AccountState {
        balance: 1,
        status: Status::Nonexistent,
        ..state
    });
    chain.lie_about_parameter(21, None);
    let told = now(chain.account(rich)).expect("answered");
    assert_eq!((told.balance, told.status), (1, Status::Nonexistent));
    assert_eq!(now(chain.account(poor)).expect("answered"), honest);
    assert!(now(chain.config_parameter(21)).expect("answered").is_none());
    chain.be_honest();
    assert!(now(chain.account(rich)).expect("answered").balance > 1);
    assert!(now(chain.config_parameter(21)).expect("answered").is_some());
}

#[test]
fn drawn_faults_are_those_of_the_seed() {
    let odds = Odds {
        unreachable: 100,
        limited: 50,
        refused: 100,
        lost: 100,
        held: 200,
        twice: 100,
        unanswered: 100,
    };
    let play = |seed| {
        let (plain, rich, poor) = scene();
        let chain = Faulty::drawn(plain.chain().clone(), seed, odds);
        let answers: Vec<String> = (0..200)
            .map(|amount| {
                let answer = now(chain.send(&ask_to_send(1, &poor, amount, false)));
                chain.chain().tick().expect("made");
                format!("{answer:?}")
            })
            .collect();
        (answers, now(plain.transactions(rich, None, 1_000)).expect("answered"))
    };
    let (answers, told) = play(1);
    assert_eq!(play(1), (answers.clone(), told));
    assert_ne!(play(2).0, answers);
    for expected in ["Ok(())", "Unreachable", "Limited", "Refused"] {
        assert!(
            answers.iter().any(|answer| answer.contains(expected)),
            "no {expected} in 200"
        );
    }
}
