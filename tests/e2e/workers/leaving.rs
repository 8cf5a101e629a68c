//! Ends: of the worker, of the gateway, of the cable, of the operator's will.

use std::time::{Duration, Instant};

use e2e::client::{chat_stream, request};
use e2e::ports::lasting;
use e2e::wait::SOON;
use e2e::{World, eventually};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use super::{Site, ask, chats, down, free, up, yaml};
use crate::flow::Flow;

/// About half a minute of a stream, which no test waits out.
const LONG: &str = "fault/slow-50+tokens-600";

#[tokio::test]
async fn a_worker_is_back_within_five_seconds_of_its_gateway() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let data = format!("data_dir: {}\n", world.dir().join("data").display());
    let yaml = format!("{data}{}", yaml(&key, "").replace("127.0.0.1:0", &lasting()));
    let mut gateway = world.gateway(&yaml);
    let to = gateway.for_workers();
    let worker = world.worker(&key, &mock.url(), &["--gateway", &to]);
    up(&gateway, "gpu/box").await;
    for round in 2..=3 {
        gateway.kill();
        worker.says("not connected", round - 1).await;
        gateway = world.gateway(&yaml);
        let listening = Instant::now();
        up(&gateway, "gpu/box").await;
        let took = listening.elapsed();
        // Five, and as much for a machine that does much else.
        assert!(took < Duration::from_secs(10), "back after {took:?}:\n{}", worker.log());
        assert_eq!(ask(&gateway, "mock").await.status, 200);
    }
}

#[tokio::test]
async fn a_worker_that_dies_mid_stream_gives_the_client_an_error_event() {
    let mut site = Site::new("").await;
    let flow = site.flow(LONG).await;
    site.worker.kill();
    let stream = flow.end().await;
    assert!(!stream.is_done(), "{}", stream.text);
    assert!(stream.text.contains(r#""error""#), "{}", stream.text);
    down(&site.gateway, "gpu/box").await;
    // Nobody is left, and it is said why.
    let refused = site.chat("mock").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    // Started again it serves again, under the same key.
    let _again = site
        .world
        .worker(&site.key, &site.mock.url(), &["--gateway", &site.gateway.for_workers()]);
    up(&site.gateway, "gpu/box").await;
    assert_eq!(site.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_cable_that_is_pulled_ends_the_stream_with_an_error_event() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let gateway = world.gateway(&yaml(&key, ""));
    let to = gateway.for_workers();
    let (gateway_key, address) = to.split_once('@').expect("KEY@ADDRESS");
    // A cable that swallows everything from some moment on, and closes nothing.
    let listener = free().await;
    let cable = format!("{gateway_key}@{}", listener.local_addr().expect("an address"));
    let (pull, pulled) = tokio::sync::watch::channel(false);
    let address = address.to_owned();
    let wire = tokio::spawn(async move {
        let (mut inside, _) = listener.accept().await.expect("the worker dials");
        let mut outside = TcpStream::connect(address).await.expect("the gateway listens");
        let mut pulled = pulled;
        tokio::select! {
            _ = copy_bidirectional(&mut inside, &mut outside) => {}
            _ = pulled.changed() => {}
        }
        std::future::pending::<()>().await;
        drop((inside, outside, listener));
    });
    let _worker = world.worker(&key, &mock.url(), &["--gateway", &cable]);
    up(&gateway, "gpu/box").await;
    let url = format!("{}/v1/chat/completions", gateway.url());
    let flow = Flow::begin(request(&url, chat_stream(LONG))).await;
    pull.send(true).expect("the cable is there");
    let cut = Instant::now();
    let stream = flow.end().await;
    assert!(
        !stream.is_done() && stream.text.contains(r#""error""#),
        "{}",
        stream.text
    );
    assert!(cut.elapsed() < Duration::from_secs(18), "{:?}", cut.elapsed());
    down(&gateway, "gpu/box").await;
    // The engine does not work for nobody.
    assert!(eventually(SOON, || mock.inflight() == 0).await, "the engine works on");
    wire.abort();
}

#[tokio::test]
async fn a_worker_that_drains_ends_its_streams_and_takes_no_more() {
    let mut site = Site::new("").await;
    let flow = site.flow("fault/slow-50+tokens-40").await;
    site.worker.signal("TERM");
    down(&site.gateway, "gpu/box").await;
    assert_eq!(site.chat("mock").await.status, 503);
    let stream = flow.end().await;
    assert!(stream.is_done(), "{}", stream.text);
    assert!(site.worker.wait(SOON).await.success(), "{}", site.worker.log());
    assert_eq!(site.chats().len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_no_longer_named_is_cut_at_once_and_others_go_on() {
    let world = World::new();
    let (one, other) = (world.mock(&[]), world.mock(&[]));
    let (first, second) = (world.worker_key("one"), world.worker_key("other"));
    let named = |workers: &str| {
        format!(
            "worker_listen: 127.0.0.1:0\nbackends:\n- {{name: kept, workers: [{{name: one, key_sha256: {}}}]}}\n{workers}models:\n- {{name: kept, routes: [{{backend: kept, model: fault/slow-50+tokens-200}}]}}\n",
            first.sha256
        )
    };
    let both = format!(
        "- {{name: revoked, workers: [{{name: other, key_sha256: {}}}]}}\n",
        second.sha256
    );
    let route = format!("- {{name: revoked, routes: [{{backend: revoked, model: {LONG}}}]}}\n");
    let gateway = world.gateway(&format!("{}{route}", named(&both)));
    let to = gateway.for_workers();
    let _one = world.worker(&first, &one.url(), &["--gateway", &to]);
    let refused = world.worker(&second, &other.url(), &["--gateway", &to]);
    up(&gateway, "kept/one").await;
    up(&gateway, "revoked/other").await;
    let url = format!("{}/v1/chat/completions", gateway.url());
    let kept = Flow::begin(request(&url, chat_stream("kept"))).await;
    let mut cut = Vec::new();
    for _ in 0..50 {
        cut.push(Flow::begin(request(&url, chat_stream("revoked"))).await);
    }
    gateway.rewrite(&named(""));
    let revoked = Instant::now();
    assert_eq!(gateway.reload().await.status, 200);
    for flow in cut {
        let stream = flow.end().await;
        assert!(
            !stream.is_done() && stream.text.contains(r#""error""#),
            "{}",
            stream.text
        );
    }
    let took = revoked.elapsed();
    // Two, and more for a machine that does much else.
    assert!(took < Duration::from_secs(8), "cut after {took:?}");
    assert!(eventually(SOON, || other.inflight() == 0).await, "the engine works on");
    // It may not come back, and the other one has not noticed.
    refused.says("not connected", 1).await;
    assert!(kept.end().await.is_done());
    assert_eq!(chats(&other).len(), 50);
}
