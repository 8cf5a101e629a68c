//! A worker on a machine of its own, as far as the network goes, behind no open port: it serves, finds its gateway
//! again, and when its cable is pulled the client hears of it and pays for what it got.

use std::time::{Duration, Instant};

use e2e::namespace::{Namespace, listening};
use e2e::wait::{SOON, measured, skipped};
use e2e::{Answer, Gateway, Mock, Tap, Worker, eventually};

use super::{CANARY, Ground, ask, chat, digest, down, prompts, up};
use crate::flow::Flow;

/// How soon a worker is back at a gateway that is back.
const BACK: Duration = Duration::from_secs(5 + SLACK);
/// For a machine that does much else; what it took is printed.
const SLACK: u64 = 5;
/// How soon a silent connection is noticed: HTTP/2 pings each 5 s, which have 5 s for their answer.
const NOTICED: Duration = Duration::from_secs(18);

/// About half a minute of a stream, which no test waits out.
const LONG: &str = "fault/slow-50+tokens-600";
/// Billionths for a token of an answer.
const COMPLETION: u64 = 2200;

const MODELS: &str = "keys: [{name: alice, secret: sk-alice, budget: {total: 100}}]
ledger: {currency: TON}
models: [{name: mock, routes: [{backend: gpu}], max_output: 64, price: {currency: TON, prompt: 1, completion: 2, fee: {prompt: 0.1, completion: 0.2}}}, {name: long, routes: [{backend: gpu, model: fault/slow-50+tokens-600}], max_output: 700, price: {currency: TON, prompt: 1, completion: 2, fee: {prompt: 0.1, completion: 0.2}}}]
";

/// Behind a cable: the engine and the worker; before it: the gateway.
struct Behind {
    gateway: Gateway,
    worker: Worker,
    _mock: Mock,
    ground: Ground,
    namespace: Namespace,
}

impl Behind {
    /// Nothing where there can be no namespace, which is said.
    async fn new(test: &str) -> Option<Self> {
        let namespace = match Namespace::new() {
            Ok(namespace) => namespace,
            Err(why) => {
                skipped(test, &why);
                return None;
            }
        };
        let ground = Ground::of(&["worker"]);
        let mock = ground.world.mock_in(&namespace.wrapper(), &[]);
        let gateway = start(&ground, &format!("{}:0", namespace.outside()));
        let evidence = format!("danger-software:{}#worker", ground.seed.display());
        let token = ground.token.display().to_string();
        let to = gateway.for_workers();
        let flags = ["--gateway", &to, "--evidence", &evidence, "--join-token-file", &token];
        let worker = ground.world.worker_in(&namespace.wrapper(), &mock.url(), &flags);
        up(&gateway, "gpu/box").await;
        Some(Self {
            gateway,
            worker,
            _mock: mock,
            ground,
            namespace,
        })
    }
}

/// A gateway that listens for workers there; the same one each time.
fn start(ground: &Ground, listen: &str) -> Gateway {
    let data = ground.world.dir().join("data");
    let attestation = ground
        .attestation("")
        .replace("worker_listen: 127.0.0.1:0", &format!("worker_listen: '{listen}'"));
    let token = digest(super::TOKEN);
    ground.world.gateway(&format!(
        "data_dir: {}\n{attestation}backends: [{{name: gpu, workers: [{{name: box, join_token_sha256: {token}}}]}}]\n{MODELS}",
        data.display()
    ))
}

async fn ask_as_alice(gateway: &Gateway, model: &str) -> Answer {
    let asked = chat(gateway, model, false).bearer_auth("sk-alice");
    Answer::of(e2e::client::send(asked).await).await
}

/// What alice was charged, for each of her requests, in billionths.
async fn charges(behind: &Behind) -> Vec<u64> {
    let token = std::fs::read_to_string(behind.ground.world.dir().join("data/admin.token"));
    let token = token.expect("the gateway made one");
    let url = format!(
        "{}/admin/v1/accounts/key:alice/charges?limit=10",
        behind.gateway.admin_url()
    );
    let asked = e2e::client::client().get(url).bearer_auth(token.trim());
    let answer = Answer::of(e2e::client::send(asked).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let charges = answer.json();
    let charges = charges["data"].as_array().expect("a list").iter();
    let amounts = charges.map(|charge| charge["amount"].as_str().expect("an amount").replace('.', ""));
    amounts
        .map(|digits| digits.parse().expect("nine digits behind the point"))
        .collect()
}

#[tokio::test]
async fn a_worker_behind_no_open_port_serves_and_is_back_within_five_seconds_of_its_gateway() {
    let Some(mut behind) = Behind::new("cable").await else {
        return;
    };
    assert_eq!(listening(behind.worker.pid()), Vec::<u16>::new());
    assert_ne!(listening(behind.gateway.pid()), Vec::<u16>::new());
    let answer = ask_as_alice(&behind.gateway, "mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listen = super::address(&behind.gateway);
    for signal in ["TERM", "KILL"] {
        let tries = behind.worker.log().matches("refused").count();
        behind.gateway.signal(signal);
        behind.gateway.wait(SOON).await;
        // It finds the door closed before there is another, and may have before the process was gone.
        behind.worker.says("refused", tries + 1).await;
        behind.gateway = start(&behind.ground, &listen);
        let began = Instant::now();
        up(&behind.gateway, "gpu/box").await;
        let took = began.elapsed();
        measured(
            "cable",
            &format!("after SIG{signal} the worker was back within {took:?}"),
        );
        assert!(took < BACK, "back after {took:?}:\n{}", behind.worker.log());
        let answer = ask_as_alice(&behind.gateway, "mock").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(listening(behind.worker.pid()), Vec::<u16>::new());
}

#[tokio::test]
async fn who_was_served_over_a_cable_that_is_pulled_pays_for_what_came() {
    let Some(behind) = Behind::new("cable").await else {
        return;
    };
    let mut flow = Flow::begin(chat(&behind.gateway, "long", true).bearer_auth("sk-alice")).await;
    // A word, behind the event that only says who speaks.
    flow.until(r#""delta":{"content":""#).await;
    behind.namespace.pull();
    let began = Instant::now();
    let stream = flow.end().await;
    let took = began.elapsed();
    assert!(stream.error().code.is_some() && !stream.is_done(), "{}", stream.text);
    measured("cable", &format!("the client heard of a pulled cable after {took:?}"));
    assert!(took < NOTICED, "{took:?}");
    // What was delivered, without the prompt: docs/money.md.
    let chunks = stream.chunks();
    let words = chunks.iter().filter(|chunk| {
        let content = chunk["choices"][0]["delta"]["content"].as_str();
        content.is_some_and(|content| !content.is_empty())
    });
    let words = words.count() as u64;
    assert!(words > 0, "{}", stream.text);
    // The engine had not counted yet: a token for each delta or for every four bytes, whichever is more.
    let tokens = words.max((stream.content().len() as u64).div_ceil(4));
    let began = Instant::now();
    let mut charged = Vec::new();
    while charged.is_empty() && began.elapsed() < SOON {
        charged = charges(&behind).await;
    }
    assert_eq!(charged, [tokens * COMPLETION], "{}", stream.text);
    down(&behind.gateway, "gpu/box").await;
    assert_eq!(ask_as_alice(&behind.gateway, "mock").await.status, 503);
    // Plugged in again it serves again, without anybody's help.
    behind.namespace.plug();
    up(&behind.gateway, "gpu/box").await;
    assert_eq!(ask_as_alice(&behind.gateway, "mock").await.status, 200);
}

#[tokio::test]
async fn a_cable_that_swallows_everything_ends_the_stream_with_an_error_event() {
    // The same without a namespace, which not every machine allows.
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let gateway = ground.gateway("");
    let to = gateway.for_workers();
    let (key, address) = to.split_once('@').expect("KEY@ADDRESS");
    let tap = Tap::before(address).await;
    let _worker = ground.worker(&mock.url(), "worker", &format!("{key}@{}", tap.address()));
    up(&gateway, "gpu/box").await;
    let flow = Flow::begin(chat(&gateway, LONG, true)).await;
    tap.pull();
    let began = Instant::now();
    let stream = flow.end().await;
    assert!(stream.error().code.is_some() && !stream.is_done(), "{}", stream.text);
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
    down(&gateway, "gpu/box").await;
    assert_eq!(ask(&gateway, "mock").await.status, 503);
    // The engine does not work for nobody.
    assert!(eventually(SOON, || mock.inflight() == 0).await, "the engine works on");
    assert!(prompts(&mock) == 1 && !tap.holds(CANARY));
}
