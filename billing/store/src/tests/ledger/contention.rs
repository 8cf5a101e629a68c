//! Several nodes at once on one budget, and what they may use of rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use billing::{AccountId, Ask, Bounds, Budget, JournalKind, Level, Pot, Renewal, Span, Window};

use super::{BY, DAY, MONTH, charge, funded, id, nano, new_account, sealed};
use crate::ledger::{AccountChange, PostError, RateKind, RateUse};
use crate::tests::scene::{Scene, on_both};
use crate::{LedgerStore, Location, Store};

on_both!(nodes_together_never_spend_more_than_there_is);

const HOUR: Duration = Duration::from_secs(3600);
const MONEY: u64 = 20_000;

/// Each node asks for three pots at a time in an order of its own, and posts what it was granted.
async fn nodes_together_never_spend_more_than_there_is(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", MONEY).await;
    let mut team = new_account("team:acme/x", None);
    team.budget = Budget {
        day: Some(nano(15_000)),
        month: Some(nano(30_000)),
        ..Budget::default()
    };
    ledger.create_account(&team, BY).await.expect("the name is new");
    let spent = Arc::new(AtomicU64::new(0));
    let nodes: Vec<_> = (0..4_u64)
        .map(|at| {
            let (ledger, spent) = (ledger.clone(), spent.clone());
            tokio::spawn(async move { spend(&ledger, &format!("n{at}"), at, &spent).await })
        })
        .collect();
    for node in nodes {
        node.await.expect("no node panics");
    }
    let spent = spent.load(Ordering::Relaxed);
    assert!((14_000..=15_000).contains(&spent), "{spent}");
    let team = ledger
        .account(&id("team:acme/x"))
        .await
        .expect("readable")
        .expect("there");
    assert_eq!((team.total.spent, team.total.leased), (nano(spent), nano(0)));
    let report = ledger.verify().await.expect("it is checked");
    assert!(report.is_clean(), "{:?}", report.discrepancies);
}

async fn spend(ledger: &LedgerStore, name: &str, at: u64, spent: &AtomicU64) {
    let joined = ledger.join(name, JournalKind::Direct, HOUR).await.expect("it joins");
    let pots = [
        Pot {
            account: id("org:acme"),
            window: Window::Total,
        },
        Pot {
            account: id("team:acme/x"),
            window: Window::Day(DAY),
        },
        Pot {
            account: id("team:acme/x"),
            window: Window::Month(MONTH),
        },
    ];
    let bounds = Bounds::NONE
        .with(Level::Organisation, Span::Total)
        .with(Level::Team, Span::Day)
        .with(Level::Team, Span::Month);
    let (mut free, mut seq) = ([0_u64; 3], 0);
    for round in 1..400_u64 {
        let need = 37 + at;
        let mut asks: Vec<_> = (0..3)
            .filter(|pot| free[*pot] < need)
            .map(|pot| Ask {
                pot: pots[pot].clone(),
                need: nano(need - free[pot]),
            })
            .collect();
        if at % 2 == 1 {
            asks.reverse();
        }
        let renewal = Renewal {
            round,
            asks,
            returns: Vec::new(),
        };
        let renewed = ledger
            .renew(name, joined.epoch, HOUR, &renewal, &[])
            .await
            .expect("it is renewed");
        for grant in &renewed.grants {
            let pot = pots.iter().position(|pot| *pot == grant.pot).expect("it was asked for");
            free[pot] += grant.more.get();
        }
        if free.iter().any(|free| *free < need) {
            break;
        }
        let mut batch = Vec::new();
        while free.iter().all(|free| *free >= need) && batch.len() < 20 {
            seq += 1;
            let mut one = charge(name, seq, "org:acme", need);
            one.team = Some(id("team:acme/x"));
            one.key = Some(AccountId::key(&format!("k{at}")));
            one.bounds = bounds;
            batch.push(sealed(one));
            for free in &mut free {
                *free -= need;
            }
            spent.fetch_add(need, Ordering::Relaxed);
        }
        let posted = ledger.post(name, joined.epoch, &batch).await.expect("they are posted");
        assert_eq!(posted.last_seq, seq);
    }
    ledger.leave(name, joined.epoch).await.expect("it leaves");
}

/// Only PostgreSQL has several nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_a_rate_sum_up_to_its_limit() {
    let Some(scene) = Scene::postgres() else { return };
    let store = scene.open().await;
    let ledger = store.ledger();
    let mut epochs = Vec::new();
    for name in ["n1", "n2"] {
        epochs.push(
            ledger
                .join(name, JournalKind::Direct, HOUR)
                .await
                .expect("it joins")
                .epoch,
        );
    }
    let mut round = 0;
    let mut share = async |at: usize, used: u64, held: u64, wanted: u64| {
        round += 1;
        let renewal = Renewal {
            round,
            ..Renewal::default()
        };
        let rate = RateUse {
            key: "alice".into(),
            kind: RateKind::Requests,
            limit: 11,
            used,
            held,
            wanted,
            is_active: true,
        };
        let name = ["n1", "n2"][at];
        let renewed = ledger
            .renew(name, epochs[at], HOUR, &renewal, &[rate])
            .await
            .expect("it is renewed");
        renewed.shares[0].share
    };
    // Alone it has all that it needs; the other finds nothing, until the first has told that it knows of less.
    assert_eq!(share(0, 0, 0, 11).await, 11);
    assert_eq!(share(1, 0, 0, 1).await, 0);
    assert_eq!(share(0, 8, 11, 0).await, 8);
    assert_eq!(share(1, 0, 0, 3).await, 0);
    assert_eq!(share(0, 8, 8, 0).await, 8);
    assert_eq!(share(1, 0, 0, 3).await, 3);
    // What was used falls out of the window, and both have their part.
    assert_eq!(share(0, 2, 8, 5).await, 6);
    assert_eq!(share(1, 3, 3, 5).await, 3);
    assert_eq!(share(0, 2, 6, 0).await, 4);
    assert_eq!(share(1, 3, 3, 5).await, 5);
    assert_eq!(share(0, 2, 4, 5).await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_cut_grants_nothing_until_enough_came_back() {
    let Some(scene) = Scene::postgres() else { return };
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1000).await;
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    let pot = Pot {
        account: id("org:acme"),
        window: Window::Total,
    };
    let ask = |round, need| Renewal {
        round,
        asks: vec![Ask {
            pot: pot.clone(),
            need: nano(need),
        }],
        returns: Vec::new(),
    };
    let first = ledger
        .renew("n", joined.epoch, HOUR, &ask(1, 600), &[])
        .await
        .expect("renewed");
    assert_eq!(first.grants[0].more, nano(600));
    let cut = AccountChange {
        budget: Some(Budget {
            total: Some(nano(500)),
            ..Budget::default()
        }),
        ..AccountChange::default()
    };
    ledger
        .change_account(&id("org:acme"), &cut, BY)
        .await
        .expect("it is cut");
    let second = ledger
        .renew("n", joined.epoch, HOUR, &ask(2, 1), &[])
        .await
        .expect("renewed");
    assert!(second.generation > first.generation);
    assert_eq!((second.grants[0].more, second.grants[0].granted), (nano(0), nano(600)));
    // It says so, and finds no fault with it.
    let report = ledger.verify().await.expect("it is checked");
    assert!(report.is_clean());
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    // An ended lease of a node without a journal is freed by any other.
    let none = Renewal {
        round: 3,
        ..Renewal::default()
    };
    ledger
        .renew("n", joined.epoch, Duration::ZERO, &none, &[])
        .await
        .expect("renewed");
    assert_eq!(ledger.reap().await.expect("it is reaped"), ["n"]);
    let late = ledger
        .post("n", joined.epoch, &[sealed(charge("n", 1, "org:acme", 5))])
        .await;
    assert!(late.expect_err("it is closed").to_string().contains("closed"));
    assert_eq!(
        ledger
            .account(&id("org:acme"))
            .await
            .expect("readable")
            .expect("there")
            .total
            .leased,
        nano(0)
    );
}

/// What was answered is there, and what was repeated because no answer came is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let Some(server) = test_postgres::Server::start(test_postgres::Settings::durable()) else {
        return;
    };
    let url = server.database().parse().expect("the server's URLs are whole");
    let store = Store::open(&Location::Postgres(url)).await.expect("it opens");
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000).await;
    let joined = ledger.join("n", JournalKind::Local, HOUR).await.expect("it joins");
    let (told, mut answered) = tokio::sync::watch::channel(0_u64);
    // Nobody knocks while it is down: on this machine a knock can take the very port that the server wants back.
    let is_up = Arc::new(tokio::sync::RwLock::new(()));
    let is_enough = Arc::new(AtomicBool::new(false));
    let poster = tokio::spawn({
        let (ledger, is_up, is_enough) = (ledger.clone(), is_up.clone(), is_enough.clone());
        async move {
            let mut repeated = 0_u32;
            let mut last = 0;
            // Without a pause, so that each kill finds something under way.
            while !is_enough.load(Ordering::Relaxed) {
                let first = last + 1;
                last += 4;
                let batch: Vec<_> = (first..=last)
                    .map(|seq| sealed(charge("n", seq, "org:acme", 3)))
                    .collect();
                while let Err(error) = ledger.post("n", joined.epoch, &batch).await {
                    let PostError::Fault(fault) = &error else {
                        panic!("{error:?}");
                    };
                    assert!(fault.may_pass(), "{error:?}");
                    repeated += 1;
                    drop(is_up.read().await);
                }
                told.send_replace(last);
            }
            (repeated, last)
        }
    });
    for _ in 0..2 {
        let after = *answered.borrow() + 40;
        answered.wait_for(|seq| *seq >= after).await.expect("the poster lives");
        let down = is_up.write().await;
        server.kill();
        server.start_again();
        drop(down);
    }
    let after = *answered.borrow() + 40;
    answered.wait_for(|seq| *seq >= after).await.expect("the poster lives");
    is_enough.store(true, Ordering::Relaxed);
    let (repeated, last) = poster.await.expect("the poster does not panic");
    assert!(repeated > 0, "the server was never missed");
    let report = ledger.verify().await.expect("it is checked");
    assert!(report.is_clean(), "{:?}", report.discrepancies);
    assert_eq!(report.checked.charges, last);
    let acme = ledger.account(&id("org:acme")).await.expect("readable").expect("there");
    assert_eq!(acme.total.spent, nano(3 * last));
}
