use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::verdict::guests::Guest;

/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

/// The sending half of a connection, and what keeps it open.
pub(crate) async fn line() -> (SendRequest<Outgoing>, impl Sized) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
        .await
        .expect("a client's handshake waits for nobody");
    (sender, (tokio::spawn(connection), theirs))
}

const READY: Standing = Standing {
    is_ready: true,
    busy: 3,
};

fn tee() -> Assurance {
    Assurance::of(Guest::new(NOW).verdict(), NOW)
}

fn asking(min_tier: Tier) -> Demand {
    Demand {
        min_tier,
        ..Demand::any()
    }
}

#[tokio::test]
async fn a_worker_is_there_when_it_is_connected_and_ready() {
    let worker = Arc::new(Worker::new("box"));
    assert_eq!(worker.absence(), Some(Reason::NotConnected));
    let (sender, _open) = line().await;
    let connected = worker.connect(sender, tee());
    assert_eq!(worker.absence(), Some(Reason::NotReady));
    connected.set(&READY);
    connected.offer(vec![Model::new("m", 0, "")]);
    assert_eq!((worker.absence(), worker.tier(), worker.busy()), (None, Tier::Tee, 3));
    assert_eq!(worker.models.load().len(), 1);
    drop(connected);
    assert_eq!(worker.absence(), Some(Reason::NotConnected));
    assert_eq!(
        (worker.tier(), worker.busy(), worker.models.load().len()),
        (Tier::Open, 0, 0)
    );
}

#[tokio::test]
async fn the_newer_of_two_connections_counts() {
    let worker = Arc::new(Worker::new("box"));
    let (sender, _open) = line().await;
    let first = worker.connect(sender, tee());
    first.set(&READY);
    let (sender, _open) = line().await;
    let second = worker.connect(sender, Assurance::none());
    assert_eq!(
        (worker.absence(), worker.tier()),
        (None, Tier::Tee),
        "the older serves until the newer says that it does"
    );
    second.set(&READY);
    assert_eq!((worker.absence(), worker.tier()), (None, Tier::Open));
    first.set(&Standing {
        is_ready: false,
        busy: 0,
    });
    first.assure(tee());
    first.lapse();
    assert_eq!(
        (worker.absence(), worker.tier()),
        (None, Tier::Open),
        "the older is not heard"
    );
    drop(first);
    assert_eq!((worker.absence(), worker.tier()), (None, Tier::Open));
}

#[tokio::test]
async fn a_newer_connection_that_says_nothing_changes_nothing() {
    let worker = Arc::new(Worker::new("box"));
    let (sender, _open) = line().await;
    let first = worker.connect(sender, tee());
    first.set(&READY);
    first.offer(vec![Model::new("m", 0, "")]);
    let (sender, _open) = line().await;
    drop(worker.connect(sender, Assurance::none()));
    assert_eq!((worker.absence(), worker.tier()), (None, Tier::Tee));
    // What ends behind a newer one leaves the place to it.
    let (sender, _open) = line().await;
    let second = worker.connect(sender, tee());
    second.lapse();
    drop(first);
    assert_eq!(worker.absence(), Some(Reason::NotReady));
    assert_eq!(worker.models.load().len(), 1);
    second.set(&READY);
    assert_eq!(
        worker.absence(),
        Some(Reason::VerdictLapsed),
        "what it said before counts"
    );
    drop(second);
    assert_eq!(
        (worker.absence(), worker.models.load().len()),
        (Some(Reason::NotConnected), 0)
    );
}

#[tokio::test]
async fn an_older_connection_is_relieved_when_nothing_runs_on_it() {
    let worker = Arc::new(Worker::new("box"));
    let demand = Demand::any();
    let (sender, _open) = line().await;
    let first = worker.connect(sender, tee());
    first.set(&READY);
    let way = worker.way(&demand, NOW).expect("it is ready");
    let running = way.passage(&demand, NOW).expect("it is the one in use");
    let is_relieved = async |connected: &Connected| {
        let relieved = connected.relieved();
        tokio::time::timeout(Duration::ZERO, relieved).await.is_ok()
    };
    assert!(!is_relieved(&first).await);
    let (sender, _open) = line().await;
    let second = worker.connect(sender, tee());
    second.set(&READY);
    assert!(!is_relieved(&first).await, "an answer is under way on it");
    assert!(way.passage(&demand, NOW).is_err(), "and nothing new is sent");
    drop(running);
    assert!(is_relieved(&first).await);
    assert!(!is_relieved(&second).await);
}

#[tokio::test]
async fn a_late_verdict_holds_back_what_is_new() {
    let worker = Arc::new(Worker::new("box"));
    let (sender, _open) = line().await;
    let connected = worker.connect(sender, tee());
    connected.set(&READY);
    let demand = asking(Tier::Tee);
    let way = worker.way(&demand, NOW).expect("its verdict stands");
    assert!(way.passage(&demand, NOW).is_ok());
    connected.lapse();
    assert_eq!(worker.refuses(&Demand::any(), NOW), Some(Reason::VerdictLapsed));
    assert_eq!(
        way.passage(&demand, NOW).err(),
        Some(Reason::VerdictLapsed),
        "nor what had its way before"
    );
    connected.assure(Assurance::of(Guest::new(NOW).verdict(), NOW + 1));
    assert_eq!(worker.refuses(&demand, NOW), None);
    assert_eq!(
        worker.refuses(&demand, NOW + 600),
        Some(Reason::VerdictExpired),
        "nobody called it late, and its time is over"
    );
}

#[tokio::test]
async fn a_way_is_of_one_connection() {
    let worker = Arc::new(Worker::new("box"));
    let demand = asking(Tier::Tee);
    let (sender, _open) = line().await;
    let first = worker.connect(sender, tee());
    first.set(&READY);
    let way = worker.way(&demand, NOW).expect("its verdict stands");
    drop(first);
    assert_eq!(way.passage(&demand, NOW).err(), Some(Reason::NotConnected));
    // Back, on another connection that is as good: it is to be looked at itself.
    let (sender, _open) = line().await;
    let second = worker.connect(sender, tee());
    second.set(&READY);
    assert_eq!(way.passage(&demand, NOW).err(), Some(Reason::NotConnected));
    assert!(worker.way(&demand, NOW).is_ok());
    // The same connection with less to show.
    let way = worker.way(&demand, NOW).expect("its verdict stands");
    second.assure(Assurance::of(Guest::new(NOW).keyed(), NOW));
    assert_eq!(way.passage(&demand, NOW).err(), Some(Reason::TierTooLow));
}
