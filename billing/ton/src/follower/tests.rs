use tycho_types::models::AccountStatus;

use super::*;
use crate::{
    chain::Status,
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
