use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::{
    client::{Client, SendError},
    verdict::guests::Guest,
};

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

/// A worker that takes one request at a time, and says of each when it has begun and what of its body came.
fn one_at_a_time(io: tokio::io::DuplexStream) -> (mpsc::Receiver<Vec<u8>>, Arc<Semaphore>) {
    let (told, seen) = mpsc::channel(8);
    let free = Arc::new(Semaphore::new(0));
    let answers = free.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (told, answers) = (told.clone(), answers.clone());
        async move {
            let mut body = request.into_body();
            let mut read = Vec::new();
            let mut is_whole = true;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Err(_) => {
                        is_whole = false;
                        break;
                    }
                }
            }
            told.send(read).await.expect("the test listens");
            if is_whole {
                answers.acquire().await.expect("it is never closed").forget();
            }
            Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(1);
    tokio::spawn(server.serve_connection(TokioIo::new(io), service));
    (seen, free)
}

#[tokio::test]
async fn what_waits_for_a_stream_is_looked_at_again_before_its_body_leaves() {
    for lapses in [true, false] {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut seen, free) = one_at_a_time(theirs);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
            .await
            .expect("a client's handshake waits for nobody");
        tokio::spawn(connection);
        let worker = Arc::new(Worker::new("box"));
        let now = unix_seconds();
        let connected = worker.connect(sender, Assurance::of(Guest::new(now).verdict(), now));
        connected.set(&READY);
        let demand = asking(Tier::Tee);
        let client = Arc::new(Client::of_worker(worker.clone()));
        let send = |prompt: &'static str| {
            let way = worker.way(&demand, now).expect("its verdict stands");
            let passage = way.passage(&demand, now).expect("the same connection");
            let mut request = http::Request::new(Outgoing::whole(prompt.into()));
            *request.method_mut() = http::Method::POST;
            let client = client.clone();
            tokio::spawn(async move { client.send_over(passage, request).await.map(drop) })
        };
        let first = send("first");
        assert_eq!(seen.recv().await.as_deref(), Some(&b"first"[..]));
        let second = send("second");
        // It is in the queue by now: there is one stream, and the first has it.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        if lapses {
            connected.lapse();
        }
        free.add_permits(2);
        assert!(first.await.expect("it is asked").is_ok());
        let second = second.await.expect("it is asked");
        match lapses {
            true => {
                assert!(
                    matches!(second, Err(SendError::Unmet(Reason::VerdictLapsed))),
                    "{second:?}"
                );
                // Its head may have come; of its body nothing did.
                assert!(seen.recv().await.is_none_or(|read| read.is_empty()));
            }
            false => {
                assert!(second.is_ok(), "{second:?}");
                assert_eq!(seen.recv().await.as_deref(), Some(&b"second"[..]));
            }
        }
    }
}
