use billing::channel::{Keys, Network, Terms};
use futures_util::future::{BoxFuture, FutureExt as _};
use tycho_types::{boc::Boc, models::AccountStatus};

use super::*;
use crate::{
    chain::{Chain, Status},
    contract::{self, State},
    transaction::fake::{self, Fake, message},
};

const CHANNEL: Account = Account {
    workchain: 0,
    hash: [1; 32],
};
const PAYEE: Account = Account {
    workchain: 0,
    hash: [2; 32],
};

fn nano(nano: u64) -> Nano {
    Nano::saturating(nano)
}

fn on_chain(deposited: u64, claimed: u64) -> OnChain {
    OnChain {
        close_at: None,
        deposited: nano(deposited),
        claimed: nano(claimed),
    }
}

fn state(seqno: u32, last: Option<Cursor>) -> AccountState {
    AccountState {
        head: Head { seqno, time: seqno },
        balance: 5,
        last,
        status: Status::Nonexistent,
    }
}

/// A transaction in which the channel says these things.
fn said(lt: u64, previous: Option<Cursor>, remittances: &[Remittance]) -> Fake {
    let mut fake = Fake::new(CHANNEL, lt, previous);
    let messages = remittances
        .iter()
        .map(|remittance| message(CHANNEL, PAYEE, nano(1), remittance.encode()));
    fake.outbound = messages.collect();
    fake
}

fn follower() -> Follower {
    let mut follower = Follower::new(30);
    assert!(follower.follow(CHANNEL, Position::START));
    follower
}

fn whats(events: &[Event]) -> Vec<&What> {
    let told = events.iter().map(|event| &event.what);
    told.filter(|what| !matches!(what, What::Current { .. })).collect()
}

/// Opened with 10, taken 4 of them, asked to close, gone.
fn life() -> Vec<Transaction> {
    let mut birth = said(
        10,
        None,
        &[Remittance::Event {
            query_id: 0,
            on_chain: on_chain(10, 0),
        }],
    );
    birth.before = AccountStatus::NotExists;
    let birth = birth.made();
    let taken = said(
        20,
        Some(birth.at),
        &[Remittance::Payout {
            query_id: 0,
            cumulative: nano(4),
        }],
    )
    .made();
    let closing = OnChain {
        close_at: Some(99),
        ..on_chain(10, 4)
    };
    let asked = said(
        30,
        Some(taken.at),
        &[Remittance::Event {
            query_id: 0,
            on_chain: closing,
        }],
    )
    .made();
    let mut end = said(40, Some(asked.at), &[Remittance::Refund { query_id: 0 }]);
    end.after = AccountStatus::NotExists;
    vec![birth, taken, asked, end.made()]
}

const LIFE: [What; 5] = [
    What::Opened,
    What::Deposited {
        deposited: Nano::saturating(10),
    },
    What::Claimed {
        claimed: Nano::saturating(4),
    },
    What::CloseRequested { close_at: 99 },
    What::Closed,
];

fn expected() -> Vec<&'static What> {
    static ALL: [What; 5] = LIFE;
    ALL.iter().collect()
}

#[test]
fn a_life_is_told_once_whatever_is_repeated() {
    let mut follower = follower();
    assert_eq!(follower.asks(0), [Ask::State(CHANNEL)]);
    let life = life();
    assert_eq!(follower.step(Told::State(CHANNEL, state(5, Some(life[3].at)))), []);
    let ask = Ask::History {
        account: CHANNEL,
        after: None,
        limit: PAGE,
    };
    assert_eq!(follower.asks(1), [ask]);
    let mut events = follower.step(Told::History(CHANNEL, life[..2].to_vec()));
    // The same again, and more.
    events.extend(follower.step(Told::History(CHANNEL, life.clone())));
    assert_eq!(whats(&events), expected());
    assert_eq!(events[2].at, Some(life[1].at));
    assert_eq!(follower.step(Told::History(CHANNEL, life.clone())), []);
    let position = follower.position(&CHANNEL).expect("followed");
    assert_eq!((position.cursor, position.life), (Some(life[3].at), Life::Ended));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let life = life();
    for stop in 0..life.len() {
        let mut follower = follower();
        follower.step(Told::State(CHANNEL, state(5, Some(life[3].at))));
        let mut events = follower.step(Told::History(CHANNEL, life[..stop].to_vec()));
        let kept = follower.position(&CHANNEL).expect("followed").to_json();
        // What is not kept happens again: here nothing is lost with the process.
        let mut follower = Follower::new(30);
        follower.follow(CHANNEL, Position::from_json(&kept).expect("what was written"));
        assert_eq!(follower.asks(0), [Ask::State(CHANNEL)]);
        follower.step(Told::State(CHANNEL, state(5, Some(life[3].at))));
        let [Ask::History { after, .. }] = follower.asks(0)[..] else {
            panic!("it is behind");
        };
        assert_eq!(after, stop.checked_sub(1).map(|at| life[at].at));
        events.extend(follower.step(Told::History(CHANNEL, life.clone())));
        assert_eq!(whats(&events), expected(), "stopped after {stop}");
    }
    for wrong in [
        "",
        "{}",
        "{\"lt\":\"1\",\"hash\":null,\"life\":\"open\",\"close_at\":null,\"deposited\":1,\"claimed\":1}",
    ] {
        assert_eq!(Position::from_json(wrong).err(), Some(PositionError), "{wrong}");
    }
}

#[test]
fn a_gap_is_asked_again_and_is_lost_in_the_end() {
    let mut follower = follower();
    let life = life();
    follower.step(Told::State(CHANNEL, state(5, Some(life[3].at))));
    for round in 0..MAX_GAPS {
        assert!(!follower.is_lost(&CHANNEL), "{round}");
        let events = follower.step(Told::History(CHANNEL, life[1..].to_vec()));
        let expect: &[&What] = if round + 1 == MAX_GAPS { &[&What::Lost] } else { &[] };
        assert_eq!(whats(&events), expect);
    }
    assert_eq!(follower.asks(1000), []);
    // Whoever looked may start anew.
    follower.restart(&CHANNEL);
    assert_eq!(follower.asks(1000), [Ask::State(CHANNEL)]);
    follower.step(Told::State(CHANNEL, state(5, Some(life[3].at))));
    assert_eq!(whats(&follower.step(Told::History(CHANNEL, life))), expected());
}

#[test]
fn a_contradiction_is_lost_at_once() {
    let mut follower = follower();
    let limited = follower.step(Told::Failed(CHANNEL, ChainError::Limited));
    assert_eq!(limited, []);
    let told = Told::Failed(CHANNEL, ChainError::Contradiction("a fork".to_owned()));
    assert_eq!(whats(&follower.step(told)), [&What::Lost]);
    assert_eq!(follower.step(Told::State(CHANNEL, state(5, None))), []);
}

#[test]
fn a_life_whose_end_nobody_tells_is_not_followed_into_the_next() {
    let at = Cursor { lt: 7, hash: [7; 32] };
    let mut follower = Follower::new(30);
    follower.follow(CHANNEL, Position::of_open(at, on_chain(10, 4)));
    let life = life();
    follower.step(Told::State(CHANNEL, state(5, Some(life[1].at))));
    let events = follower.step(Told::Failed(CHANNEL, ChainError::Anew { after: 7 }));
    assert_eq!(whats(&events), [&What::Closed, &What::Redeployed, &What::Lost]);
    assert!(follower.is_lost(&CHANNEL));
    // Nor is its second life taken for a first one by who starts anew.
    let kept = follower.position(&CHANNEL).expect("followed").to_json();
    assert_eq!(Position::from_json(&kept).expect("what was written").life, Life::Ended);
    follower.restart(&CHANNEL);
    follower.step(Told::State(CHANNEL, state(5, Some(life[1].at))));
    let events = follower.step(Told::History(CHANNEL, life[..2].to_vec()));
    assert_eq!(whats(&events)[0], &What::Redeployed);
}

#[test]
fn a_source_that_lags_is_not_heard() {
    let mut follower = follower();
    let life = life();
    follower.step(Told::State(CHANNEL, state(5, Some(life[1].at))));
    let mut newest = Vec::new();
    for told in [life[..1].to_vec(), life[1..2].to_vec()] {
        newest = follower.step(Told::History(CHANNEL, told));
    }
    assert!(
        matches!(newest.last().map(|event| &event.what), Some(What::Current { .. })),
        "{newest:?}"
    );
    assert_eq!(follower.head(&CHANNEL), Some(Head { seqno: 5, time: 5 }));
    assert_eq!(follower.step(Told::State(CHANNEL, state(4, Some(life[0].at)))), []);
    // Nor one whose block is newer and whose account is not.
    assert_eq!(follower.step(Told::State(CHANNEL, state(6, Some(life[0].at)))), []);
    assert_eq!(follower.asks(1000), [Ask::State(CHANNEL)]);
}

#[test]
fn an_account_that_is_gone_is_closed_though_nobody_tells_how() {
    let mut follower = Follower::new(30);
    let at = Cursor { lt: 7, hash: [7; 32] };
    follower.follow(CHANNEL, Position::of_open(at, on_chain(10, 4)));
    follower.step(Told::State(CHANNEL, state(5, None)));
    assert_eq!(
        whats(&follower.step(Told::History(CHANNEL, Vec::new()))),
        [&What::Closed]
    );
    // Some sources only fail.
    let mut follower = Follower::new(30);
    follower.follow(CHANNEL, Position::of_open(at, on_chain(10, 4)));
    follower.step(Told::State(CHANNEL, state(5, None)));
    let mut events = Vec::new();
    for _ in 0..MAX_GAPS {
        events.extend(follower.step(Told::Failed(CHANNEL, ChainError::Limited)));
    }
    assert_eq!(whats(&events), [&What::Closed]);
}

#[test]
fn a_second_life_is_told() {
    let mut follower = Follower::new(30);
    let at = Cursor { lt: 7, hash: [7; 32] };
    let ended = Position {
        life: Life::Ended,
        ..Position::of_open(at, on_chain(10, 10))
    };
    follower.follow(CHANNEL, ended);
    let mut birth = said(
        50,
        None,
        &[Remittance::Event {
            query_id: 0,
            on_chain: on_chain(3, 0),
        }],
    );
    birth.before = AccountStatus::NotExists;
    let birth = birth.made();
    follower.step(Told::State(CHANNEL, state(6, Some(birth.at))));
    let events = follower.step(Told::History(CHANNEL, vec![birth]));
    let deposited = What::Deposited { deposited: nano(3) };
    assert_eq!(whats(&events)[..2], [&What::Redeployed, &deposited]);
}

#[test]
fn another_contract_is_told_once() {
    let mut follower = follower();
    let foreign = |seqno| AccountState {
        status: Status::Frozen,
        ..state(seqno, None)
    };
    assert_eq!(
        whats(&follower.step(Told::State(CHANNEL, foreign(5)))),
        [&What::Foreign]
    );
    assert_eq!(
        whats(&follower.step(Told::State(CHANNEL, foreign(6)))),
        [] as [&What; 0]
    );
}

#[test]
fn rounds_are_bounded_and_reach_everybody() {
    let mut follower = Follower::new(1);
    for number in 0..200_u8 {
        let account = Account {
            workchain: 0,
            hash: [number; 32],
        };
        follower.follow(account, Position::START);
    }
    let mut asked = std::collections::BTreeSet::new();
    // Each second all are due again, and still everybody has a turn.
    for now_s in 0..4 {
        let asks = follower.asks(now_s);
        assert!(asks.len() <= MAX_ASKS);
        for ask in asks {
            let Ask::State(account) = ask else {
                panic!("nobody is behind");
            };
            asked.insert(account);
        }
    }
    assert_eq!(asked.len(), 200);
}

#[test]
fn an_unknown_history_is_read_from_its_beginning() {
    // Transactions that say nothing, as transfers to an account do.
    let history = fake::history(CHANNEL, &[10, 20, 30]);
    let mut follower = follower();
    follower.step(Told::State(CHANNEL, state(5, Some(history[2].at))));
    let events = follower.step(Told::History(CHANNEL, history.clone()));
    assert_eq!(whats(&events), [] as [&What; 0]);
    assert_eq!(
        follower.position(&CHANNEL).and_then(|position| position.cursor),
        Some(history[2].at)
    );
}

/// A channel of ours that is closing, at an address of its own.
fn closing(seqno: u32, last: Cursor) -> (Account, AccountState) {
    let terms = Terms {
        network: Network::TESTNET,
        close_delay_s: 3600,
        fee_bps: 0,
        salt: 1,
        payer: CHANNEL,
        payee: PAYEE,
        fee_dest: PAYEE,
    };
    let keys = Keys {
        payer: [3; 32],
        payee: [4; 32],
    };
    let newborn = State::newborn(terms, keys);
    let now = State {
        on_chain: OnChain {
            close_at: Some(9_000),
            ..on_chain(10, 4)
        },
        ..newborn
    };
    let status = Status::Active {
        code: contract::CODE.to_vec(),
        data: Boc::encode(now.encode()),
    };
    let state = AccountState {
        status,
        ..state(seqno, Some(last))
    };
    (contract::account(&terms, &keys), state)
}

/// Dust in its history costs less than what a payee loses who does not hear of it.
#[test]
fn a_close_is_told_before_the_history_that_leads_there() {
    let (channel, state) = closing(5, Cursor { lt: 900, hash: [9; 32] });
    let mut follower = Follower::new(30);
    follower.follow(channel, Position::START);
    assert_eq!(follower.asks(0), [Ask::State(channel)]);
    let events = follower.step(Told::State(channel, state.clone()));
    assert_eq!(whats(&events), [&What::CloseRequested { close_at: 9_000 }]);
    assert_eq!(whats(&follower.step(Told::State(channel, state))), [] as [&What; 0]);
}

/// One whose history cannot be read, or is being read for long, shows a close all the same.
#[test]
fn states_are_asked_while_a_history_is_read() {
    let (channel, closing) = closing(7, Cursor { lt: 900, hash: [9; 32] });
    let mut follower = Follower::new(30);
    follower.follow(channel, Position::START);
    follower.asks(0);
    let open = state(5, Some(Cursor { lt: 800, hash: [8; 32] }));
    follower.step(Told::State(channel, open));
    assert!(matches!(follower.asks(1)[..], [Ask::History { .. }]));
    assert_eq!(follower.asks(31), [Ask::State(channel)]);
    // A failure is not met with the same question at once.
    follower.step(Told::Failed(channel, ChainError::Limited));
    assert_eq!(follower.asks(32), []);
    assert_eq!(follower.asks(61), [Ask::State(channel)]);
    let events = follower.step(Told::State(channel, closing));
    assert_eq!(whats(&events), [&What::CloseRequested { close_at: 9_000 }]);
}

/// A source that lets nobody in, or hangs, costs three questions a round; who was left out is first in the next one.
#[tokio::test]
async fn a_source_that_does_not_answer_is_not_asked_for_everybody() {
    struct Silent(std::sync::Mutex<Vec<Account>>);
    impl Chain for Silent {
        fn network(&self) -> Network {
            Network::TESTNET
        }
        fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
            async { Err(ChainError::Limited) }.boxed()
        }
        fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
            self.0.lock().expect("no test panicked").push(account);
            async { Err(ChainError::Limited) }.boxed()
        }
        fn transactions(
            &self,
            _: Account,
            _: Option<Cursor>,
            _: usize,
        ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
            async { Err(ChainError::Limited) }.boxed()
        }
        fn send<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
            async { Err(ChainError::Limited) }.boxed()
        }
        fn config_parameter(&self, _: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
            async { Err(ChainError::Limited) }.boxed()
        }
    }
    let silent = Silent(std::sync::Mutex::default());
    let mut follower = Follower::new(30);
    for number in 0..9 {
        let account = Account {
            workchain: 0,
            hash: [number; 32],
        };
        follower.follow(account, Position::START);
    }
    for round in 0..3 {
        poll(&mut follower, &silent, round).await;
    }
    let asked: Vec<u8> = silent
        .0
        .lock()
        .expect("no test panicked")
        .iter()
        .map(|at| at.hash[0])
        .collect();
    assert_eq!(asked, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}
