//! Limits that two gateways on one PostgreSQL keep together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, client};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World};
use futures_util::future::join_all;
use reqwest::Client;
use test_postgres::{Server, Settings};

use super::number;

/// A gateway that was told that others hold the rest knows more after so long: two renewals each, and a busy machine.
const SETTLED: Duration = Duration::from_secs(15);

struct Pair {
    gateways: [Gateway; 2],
    mock: Mock,
    server: Server,
    _world: World,
}

impl Pair {
    /// Two gateways with one key, `sk-alice`, of these limits. `None` where the machine has no PostgreSQL.
    fn new(limits: &str, lease: &str) -> Option<Self> {
        let server = Server::start(Settings::quick())?;
        let world = World::new();
        let mock = world.mock(&[]);
        let database = server.database();
        let gateway = |name: &str| {
            world.gateway(&format!(
                "database: \"{database}\"\nledger: {{node: {name}, lease: {lease}}}\n\
                 data_dir: {}\nbackends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
                 keys:\n  - {{name: alice, secret: sk-alice, limits: {limits}}}\n",
                world.dir().join(name).display(),
                mock.url(),
            ))
        };
        Some(Self {
            gateways: [gateway("north"), gateway("south")],
            mock,
            server,
            _world: world,
        })
    }

    async fn ask(&self, client: &Client, at: usize, body: String) -> Answer {
        let asked = client
            .post(format!("{}/v1/chat/completions", self.gateways[at].url()))
            .header("content-type", "application/json")
            .bearer_auth("sk-alice")
            .body(body);
        Answer::of(asked.send().await.expect("the gateway answers")).await
    }

    /// Makes one request that is admitted. A gateway that has just started may not know its share in time, and says so.
    async fn warm(&self, at: usize) {
        let (client, began) = (client(), Instant::now());
        loop {
            let answer = self.ask(&client, at, chat("mock")).await;
            if answer.status == 200 {
                return;
            }
            assert!(
                is_not_known(&answer) && began.elapsed() < SOON,
                "{}\n{}",
                answer.text(),
                self.gateways[at].log()
            );
        }
    }

    /// How many of so many requests, one after another, are admitted.
    async fn admitted(&self, at: usize, count: usize) -> usize {
        let client = client();
        let mut admitted = 0;
        for _ in 0..count {
            admitted += usize::from(self.ask(&client, at, chat("mock")).await.status == 200);
        }
        admitted
    }
}

/// The gateway cannot say in time whether there is room.
fn is_not_known(answer: &Answer) -> bool {
    answer.status == 503 && answer.envelope().is(503, "server_error", "ledger_unavailable")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_of_two_gateways_get_the_limit_and_no_more() {
    let Some(pair) = Pair::new("{requests_per_minute: 50}", "30s") else {
        return;
    };
    let pair = Arc::new(pair);
    for at in 0..2 {
        pair.warm(at).await;
    }
    // A gateway may have to wait for what the other one holds.
    let end = Instant::now() + SETTLED + Duration::from_secs(10);
    let clients = (0..64).map(|i| {
        let pair = pair.clone();
        tokio::spawn(async move {
            let client = client();
            let mut admitted = 0;
            while Instant::now() < end {
                let answer = pair.ask(&client, i % 2, chat("mock")).await;
                if answer.status == 200 {
                    admitted += 1;
                    continue;
                }
                if !is_not_known(&answer) {
                    let error = answer.envelope();
                    assert!(error.is(429, "requests", "rate_limit_exceeded"), "{error:?}");
                    assert!(number(&answer, "retry-after") <= 60);
                    assert_eq!(answer.header("x-should-retry"), "true");
                }
                // A client that does not heed it, and lets the others run.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            admitted
        })
    });
    let counts = join_all(clients).await;
    let admitted: usize = counts.into_iter().map(|count| count.expect("no client panics")).sum();
    let admitted = admitted + 2;
    // All of it came within a minute.
    assert!(admitted <= 50, "{admitted} were admitted");
    assert!(admitted >= 45, "only {admitted} were admitted");
    assert_eq!(pair.mock.log().len(), admitted, "the upstream saw what was admitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_requests_are_admitted_everywhere_and_what_one_leaves_another_gets() {
    let Some(pair) = Pair::new("{requests_per_minute: 40}", "30s") else {
        return;
    };
    for _ in 0..2 {
        for at in 0..2 {
            pair.warm(at).await;
        }
    }
    // South rests now, and north takes what it does not need.
    let began = Instant::now();
    let mut admitted = 0;
    while admitted < 36 && began.elapsed() < SETTLED {
        admitted += pair.admitted(0, 1).await;
    }
    assert_eq!(admitted, 36, "all that was left");
    assert_eq!(
        pair.admitted(0, 20).await + pair.admitted(1, 20).await,
        0,
        "and no more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_both_gateways_are_one_number() {
    let Some(pair) = Pair::new("{concurrency: 3}", "30s") else {
        return;
    };
    let client = client();
    let stream = async |at: usize| {
        let asked = client
            .post(format!("{}/v1/chat/completions", pair.gateways[at].url()))
            .header("content-type", "application/json")
            .bearer_auth("sk-alice")
            .body(chat_stream("fault/stall"));
        asked.send().await.expect("the gateway answers")
    };
    let began = Instant::now();
    let mut held = Vec::new();
    let mut at = 0;
    while held.len() < 3 && began.elapsed() < SETTLED {
        let answer = stream(at).await;
        if answer.status() == 200 {
            held.push(answer);
        }
        at = 1 - at;
    }
    assert_eq!(held.len(), 3, "so many places there are");
    for at in 0..2 {
        let refused = Answer::of(stream(at).await).await;
        let error = refused.envelope();
        assert!(error.is(429, "requests", "concurrency_limit_exceeded"), "{error:?}");
    }
    drop(held);
    let began = Instant::now();
    while pair.admitted(1, 1).await == 0 {
        assert!(began.elapsed() < SETTLED, "the places are not free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_outlast_the_database_up_to_the_end_of_the_lease() {
    let Some(pair) = Pair::new("{requests_per_minute: 400}", "12s") else {
        return;
    };
    pair.warm(0).await;
    pair.server.pause();
    let paused = Instant::now();
    assert_eq!(
        pair.admitted(0, 20).await,
        20,
        "its share has room: {}",
        pair.gateways[0].log()
    );
    assert!(
        paused.elapsed() < Duration::from_secs(5),
        "a request waited for the database"
    );
    let client = client();
    // South has no share, and nobody to ask.
    let refused = pair.ask(&client, 1, chat("mock")).await.envelope();
    assert!(refused.is(503, "server_error", "ledger_unavailable"), "{refused:?}");
    let refused = loop {
        let answer = pair.ask(&client, 0, chat("mock")).await;
        if answer.status != 200 {
            break answer.envelope();
        }
        assert!(paused.elapsed() < Duration::from_secs(14), "the lease is over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(refused.is(503, "server_error", "ledger_unavailable"), "{refused:?}");
    assert!(
        paused.elapsed() > Duration::from_secs(7),
        "the lease was not: {:?}",
        paused.elapsed()
    );
    pair.server.resume();
    let began = Instant::now();
    for at in 0..2 {
        while pair.admitted(at, 1).await == 0 {
            assert!(
                began.elapsed() < SETTLED,
                "it does not come back: {}",
                pair.gateways[at].log()
            );
        }
    }
}
