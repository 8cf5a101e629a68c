//! Which upstream answers: weights, priorities, strategies, limits, breakers, health.

use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, client, get, post, request};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::future::join_all;
use serde_json::json;

use crate::count;
use crate::flow::Flow;
use crate::scripted::Scripted;

/// The gauge of requests whose answer has not ended.
const IN_FLIGHT: &str = "mulberry_requests_in_flight";

/// One backend of several mocks.
struct Pool {
    mocks: Vec<Mock>,
    gateway: Gateway,
    url: String,
    _world: World,
}

impl Pool {
    async fn of(weights: &[u32], settings: &str) -> Self {
        let world = World::new();
        let mocks: Vec<Mock> = weights.iter().map(|_| world.mock(&[])).collect();
        let upstreams = mocks.iter().zip(weights);
        let upstreams: Vec<String> = upstreams
            .map(|(mock, weight)| format!("{{url: '{}', weight: {weight}}}", mock.url()))
            .collect();
        let gateway = world.gateway(&format!(
            "backends: [{{name: pool, upstreams: [{}], health: {{enabled: false}}, {settings}}}]",
            upstreams.join(", ")
        ));
        count::settled(&mocks).await;
        Self {
            mocks,
            url: format!("{}/v1/chat/completions", gateway.url()),
            gateway,
            _world: world,
        }
    }

    /// Opens streams one after another and leaves them open.
    async fn open(&self, count: usize, body: &str) -> Vec<Flow> {
        let mut flows = Vec::new();
        for _ in 0..count {
            flows.push(Flow::begin(request(&self.url, body.to_owned())).await);
        }
        flows
    }

    fn inflight(&self) -> Vec<u64> {
        self.mocks.iter().map(Mock::inflight).collect()
    }

    async fn ask(&self, model: &str) -> Answer {
        Answer::of(post(&self.url, chat(model)).await).await
    }
}

#[tokio::test]
async fn load_follows_the_weights() {
    for strategy in ["power_of_two", "least_outstanding"] {
        let pool = Pool::of(&[1, 2], &format!("strategy: {strategy}")).await;
        let flows = pool.open(30, &chat_stream("fault/stall")).await;
        let load = pool.inflight();
        assert!(
            (9..=11).contains(&load[0]) && load[0] + load[1] == 30,
            "{strategy}: {load:?}"
        );
        drop(flows);
    }
}

#[tokio::test]
async fn the_least_loaded_is_chosen() {
    let pool = Pool::of(&[1, 1, 1], "strategy: least_outstanding").await;
    let flows = pool.open(12, &chat_stream("fault/stall")).await;
    assert_eq!(pool.inflight(), [4, 4, 4]);
    drop(flows);
    // What has ended is no load.
    assert!(eventually(SOON, || pool.inflight() == [0, 0, 0]).await);
    let again = pool.open(6, &chat_stream("fault/stall")).await;
    assert_eq!(pool.inflight(), [2, 2, 2]);
    drop(again);
}

#[tokio::test]
async fn a_quiet_backend_uses_all_of_its_upstreams() {
    for strategy in ["power_of_two", "least_outstanding"] {
        let pool = Pool::of(&[1, 1, 1], &format!("strategy: {strategy}")).await;
        for _ in 0..90 {
            assert_eq!(pool.ask("mock").await.status, 200);
        }
        let counts: Vec<u64> = pool.mocks.iter().map(|mock| mock.count("mock")).collect();
        // A share of 30 has a standard deviation of 4.5.
        assert!(
            counts.iter().all(|count| (8..=52).contains(count)),
            "{strategy}: {counts:?}"
        );
    }
}

#[tokio::test]
async fn routes_share_by_weight_and_yield_by_priority() {
    let world = World::new();
    let mocks: Vec<Mock> = (0..3).map(|_| world.mock(&[])).collect();
    let backends: Vec<String> = mocks
        .iter()
        .enumerate()
        .map(|(nth, mock)| format!("{{name: b{nth}, url: '{}'}}", mock.url()))
        .collect();
    let gateway = world.gateway(&format!(
        "backends: [{}]\nmodels: [{{name: m, routes: [{{backend: b0, model: mock, weight: 3}}, \
         {{backend: b1, model: mock}}, {{backend: b2, model: mock, priority: 1}}]}}]",
        backends.join(", ")
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    for _ in 0..400 {
        assert_eq!(post(&url, chat("m")).await.status(), 200);
    }
    let counts: Vec<u64> = mocks.iter().map(|mock| mock.count("mock")).collect();
    // A share of 300 of 400 has a standard deviation of 8.7.
    assert!((250..=350).contains(&counts[0]), "{counts:?}");
    assert_eq!((counts[0] + counts[1], counts[2]), (400, 0), "{counts:?}");
}

#[tokio::test]
async fn a_prefix_stays_with_its_upstream_and_yields_under_load() {
    let pool = Pool::of(&[1, 1, 1], "strategy: prefix_affinity").await;
    let body = |prefix: usize, turn: usize, model: &str, stream: bool| {
        let system = format!("Instructions number {prefix}. {}", "They are long. ".repeat(100));
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": format!("{turn}")}]);
        json!({"model": model, "messages": messages, "stream": stream}).to_string()
    };
    let mut used = [0; 3];
    for prefix in 0..12 {
        for turn in 0..5 {
            let answer =
                Answer::of(post(&pool.url, body(prefix, turn, &format!("fault/tag-{prefix}"), false)).await).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let counts: Vec<u64> = pool
            .mocks
            .iter()
            .map(|mock| mock.count(&format!("tag-{prefix}")))
            .collect();
        let home = counts.iter().position(|count| *count == 5);
        used[home.unwrap_or_else(|| panic!("prefix {prefix} moved: {counts:?}"))] += 1;
    }
    assert!(used.iter().filter(|prefixes| **prefixes > 0).count() >= 2, "{used:?}");

    let flows = pool.open(30, &body(0, 0, "fault/stall", true)).await;
    let load = pool.inflight();
    // Twice the mean load is too much.
    assert!(
        load.iter().all(|load| *load <= 22) && load.iter().sum::<u64>() == 30,
        "one prefix: {load:?}"
    );
    drop(flows);
}

#[tokio::test]
async fn what_is_above_the_limit_waits_and_what_is_above_the_queue_is_refused() {
    let pool = Pool::of(&[1], "concurrency: {limit: 2, queue: 1, queue_timeout: 3s}").await;
    let busy = pool.open(2, &chat_stream("fault/stall")).await;
    let asked = Instant::now();
    let waiting = request(&pool.url, chat("fault/tag-waiting"));
    let waiting = tokio::spawn(async move { Answer::of(e2e::client::send(waiting).await).await });
    // The queue has one place: of two that ask now, one is refused at once.
    let answers = join_all((0..2).map(|_| pool.ask("mock"))).await;
    for answer in answers.iter().chain([&waiting.await.expect("it is answered")]) {
        let error = answer.envelope();
        assert!(error.is(503, "server_error", "overloaded"), "{error:?}");
        assert!(!answer.header("retry-after").is_empty());
    }
    let full = |answer: &&Answer| answer.envelope().message.contains("queue is full");
    assert!(answers.iter().filter(full).count() >= 1, "{answers:?}");
    assert!(
        asked.elapsed() >= Duration::from_secs(3),
        "the one that waits is given its time"
    );
    assert_eq!(pool.mocks[0].count("mock") + pool.mocks[0].count("tag-waiting"), 0);

    drop(busy);

    // A place that is freed goes to who waits.
    let pool = Pool::of(&[1], "concurrency: {limit: 2, queue: 1, queue_timeout: 15s}").await;
    let busy = pool.open(2, &chat_stream("fault/stall")).await;
    let waiting = request(&pool.url, chat("mock"));
    let waiting = tokio::spawn(async move { Answer::of(e2e::client::send(waiting).await).await });
    count::until(&pool.gateway, IN_FLIGHT, 3).await;
    assert!(!waiting.is_finished());
    drop(busy);
    let answer = waiting.await.expect("it is answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_leaves_its_place() {
    let pool = Pool::of(&[1], "concurrency: {limit: 1, queue: 1, queue_timeout: 15s}").await;
    let busy = pool.open(1, &chat_stream("fault/stall")).await;
    for _ in 0..5 {
        let impatient = tokio::spawn(request(&pool.url, chat("mock")).send());
        count::until(&pool.gateway, IN_FLIGHT, 2).await;
        assert!(!impatient.is_finished(), "it was refused, so the queue was full");
        impatient.abort();
        count::until(&pool.gateway, IN_FLIGHT, 1).await;
    }
    drop(busy);
    assert_eq!(pool.ask("mock").await.status, 200);
    assert_eq!(pool.mocks[0].count("mock"), 1, "nobody asks for a client that has left");
}

#[tokio::test]
async fn many_that_wait_are_all_served_within_the_limit() {
    let pool = Pool::of(&[1, 1], "concurrency: {limit: 3, queue: 100, queue_timeout: 15s}").await;
    let client = client();
    let all = (0..60).map(|_| {
        let sent = client
            .post(&pool.url)
            .header("content-type", "application/json")
            .body(chat("fault/slow-50"));
        async move { Answer::of(e2e::client::send(sent).await).await.status.as_u16() }
    });
    let all = tokio::spawn(join_all(all.collect::<Vec<_>>()));
    let metrics = format!("{}/metrics", pool.gateway.admin_url());
    let mut most = 0;
    while !all.is_finished() {
        let text = Answer::of(get(&metrics).await).await.text();
        let gauges = text
            .lines()
            .filter(|line| line.starts_with("mulberry_upstream_outstanding{"));
        let numbers = gauges.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        most = numbers.chain([most]).max().unwrap_or(0);
    }
    assert_eq!(all.await.expect("all are answered"), vec![200; 60]);
    assert_eq!(most, 3, "at a time at one upstream");
}

#[tokio::test]
async fn the_gateways_own_limit_refuses_at_once() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\nlimits: {{concurrency: 3}}",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let mut flows = Vec::new();
    for _ in 0..3 {
        flows.push(Flow::begin(request(&url, chat_stream("fault/stall"))).await);
    }
    let answer = Answer::of(post(&url, chat("mock")).await).await;
    let error = answer.envelope();
    assert!(error.is(503, "server_error", "overloaded"), "{error:?}");
    assert!(!answer.header("retry-after").is_empty());
    flows.pop();
    let served = async { while post(&url, chat("mock")).await.status() != 200 {} };
    assert!(
        tokio::time::timeout(SOON, served).await.is_ok(),
        "a stream that has ended holds its permit"
    );
}

#[tokio::test]
async fn clients_mistakes_do_not_count_against_an_upstream() {
    let pool = Pool::of(&[1], "breaker: {failures: 3, cooldown: 60s}").await;
    for _ in 0..12 {
        assert_eq!(pool.ask("fault/400").await.status, 400);
    }
    assert_eq!(pool.ask("mock").await.status, 200);
    assert_eq!(pool.mocks[0].count("400"), 12);

    // Nor do they shut it where there is another to go to.
    let pool = Pool::of(&[1, 1], "breaker: {failures: 3, cooldown: 60s}").await;
    for status in ["400", "404", "422", "429"] {
        for _ in 0..12 {
            assert_eq!(
                pool.ask(&format!("fault/{status}")).await.status.as_u16().to_string(),
                status
            );
        }
    }
    for _ in 0..40 {
        assert_eq!(pool.ask("mock").await.status, 200);
    }
    let counts: Vec<u64> = pool.mocks.iter().map(|mock| mock.count("mock")).collect();
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
}

#[tokio::test]
async fn the_only_upstream_is_tried_whatever_it_did() {
    for status in ["429", "502"] {
        let pool = Pool::of(&[1], "breaker: {failures: 3, cooldown: 60s}").await;
        for _ in 0..15 {
            assert_eq!(
                pool.ask(&format!("fault/{status}")).await.status.as_u16().to_string(),
                status
            );
        }
        assert_eq!(pool.mocks[0].count(status), 15);
        assert_eq!(pool.ask("mock").await.status, 200, "after 15 times {status}");
    }
}

/// Asks so often, and says how many requests went to each.
async fn asked_of(url: &str, count: usize, upstreams: [&Scripted; 2]) -> [u64; 2] {
    for _ in 0..count {
        let answer = Answer::of(post(url, chat("m")).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    upstreams.map(Scripted::take_posts)
}

async fn two(world: &World, settings: &str) -> (Scripted, Scripted, Gateway, String) {
    let (first, second) = (Scripted::start().await, Scripted::start().await);
    let gateway = world.gateway(&format!(
        "backends: [{{name: pool, upstreams: [{{url: '{}'}}, {{url: '{}'}}], {settings}}}]",
        first.url, second.url
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    (first, second, gateway, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_opens_and_closes_again() {
    let world = World::new();
    let settings = "health: {enabled: false}, breaker: {failures: 3, cooldown: 3s}";
    let (first, second, _gateway, url) = two(&world, settings).await;
    first.set_broken(true);
    let [at_first, _] = asked_of(&url, 30, [&first, &second]).await;
    assert_eq!(at_first, 3, "it is left alone after three failures");
    first.set_broken(false);
    let opened = Instant::now();
    let mut at_first = 0;
    while at_first == 0 {
        assert!(opened.elapsed() < SOON, "it is never tried again");
        [at_first, _] = asked_of(&url, 1, [&first, &second]).await;
    }
    assert!(
        opened.elapsed() < Duration::from_secs(15),
        "tried after {:?}",
        opened.elapsed()
    );
    let [at_first, at_second] = asked_of(&url, 40, [&first, &second]).await;
    assert!(
        at_first >= 5 && at_second >= 5,
        "{at_first} and {at_second}: its success closes the breaker"
    );

    // A relapse: after the cooldown one request is let through, and not three more.
    first.set_broken(true);
    let [at_first, _] = asked_of(&url, 30, [&first, &second]).await;
    assert_eq!(at_first, 3);
    let mut tried = Vec::new();
    let began = Instant::now();
    while tried.len() < 2 && began.elapsed() < 3 * SOON {
        let [at_first, _] = asked_of(&url, 1, [&first, &second]).await;
        if at_first > 0 {
            assert_eq!(at_first, 1);
            tried.push(began.elapsed());
        }
    }
    assert_eq!(tried.len(), 2, "{tried:?}");
    assert!(
        tried[1] - tried[0] >= Duration::from_millis(5500),
        "a relapse waits twice as long: {tried:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_takes_an_upstream_out_and_back() {
    let world = World::new();
    let settings = "health: {path: /health, interval: 50ms, timeout: 1s}";
    let (first, second, gateway, url) = two(&world, settings).await;
    let name = format!(
        "mulberry_upstream_up{{upstream=\"pool/{}\"}}",
        first.url.trim_start_matches("http://")
    );
    let standing = |up| count::until(&gateway, &name, up);
    standing(1).await;
    let [at_first, at_second] = asked_of(&url, 40, [&first, &second]).await;
    assert!(at_first >= 5 && at_second >= 5, "{at_first} and {at_second}");
    first.set_ill(true);
    standing(0).await;
    assert_eq!(asked_of(&url, 20, [&first, &second]).await, [0, 20]);
    second.set_ill(true);
    let ready = format!("{}/readyz", gateway.admin_url());
    let began = Instant::now();
    while get(&ready).await.status() != 503 {
        assert!(began.elapsed() < SOON, "ready without an upstream");
    }
    let [at_first, at_second] = asked_of(&url, 10, [&first, &second]).await;
    assert_eq!(at_first + at_second, 10, "the last resort is tried");
    first.set_ill(false);
    standing(1).await;
    assert_eq!(asked_of(&url, 20, [&first, &second]).await, [20, 0]);
    assert_eq!(get(&ready).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_faster_upstream_is_preferred() {
    let world = World::new();
    let (slow, fast, _gateway, url) = two(&world, "strategy: latency, health: {enabled: false}").await;
    slow.set_delay(Duration::from_secs(1));
    let [at_slow, at_fast] = asked_of(&url, 100, [&slow, &fast]).await;
    assert!(
        at_slow <= 5 && at_fast >= 95,
        "{at_slow} to the slow one, {at_fast} to the fast one"
    );
}
