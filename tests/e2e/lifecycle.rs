//! How the gateway ends, and how it lives on when an upstream ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, client, get, post, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::future::join_all;
use reqwest::Client;

use crate::count;
use crate::flow::Flow;
use crate::record;

/// About two seconds of a stream.
const LONG: &str = "fault/slow-50+tokens-40";

struct Served {
    mock: Mock,
    gateway: Gateway,
    url: String,
    _world: World,
}

async fn serve(drain: &str) -> Served {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\ndrain: {{{drain}}}",
        mock.url()
    ));
    count::settled([&mock]).await;
    Served {
        mock,
        url: format!("{}/v1/chat/completions", gateway.url()),
        gateway,
        _world: world,
    }
}

/// Waits until the gateway takes no more connections.
async fn is_closed(gateway: &Gateway) -> bool {
    eventually(SOON, || TcpStream::connect(gateway.address()).is_err()).await
}

#[tokio::test]
async fn open_streams_finish_before_the_process_does() {
    let mut served = serve("timeout: 20s").await;
    let flows = (0..8)
        .map(|nth| Flow::begin(request(&served.url, chat_stream(LONG)).header("x-request-id", format!("live-{nth}"))));
    let flows = join_all(flows).await;
    let unary = request(&served.url, chat("fault/slow-1000"));
    let unary = tokio::spawn(async move { Answer::of(send(unary).await).await });
    assert!(eventually(SOON, || served.mock.count("slow-1000") == 1).await);

    served.gateway.signal("TERM");
    assert!(is_closed(&served.gateway).await, "new connections are accepted");
    assert!(served.gateway.is_running(), "it did not wait for its streams");
    for flow in flows {
        let stream = flow.end().await;
        assert!(stream.is_done(), "{}", stream.text);
        assert_eq!(stream.finish_reason().as_deref(), Some("stop"));
    }
    assert_eq!(unary.await.expect("the task does not panic").status, 200);
    assert_eq!(served.gateway.wait(SOON).await.code(), Some(0));
    let records = record::all(&served.gateway);
    assert_eq!(records.len(), 9, "{records:#?}");
    assert!(records.iter().all(|record| record.end == "complete"), "{records:#?}");
}

#[tokio::test]
async fn readiness_fails_before_connections_are_refused() {
    let mut served = serve("delay: 5s, timeout: 30s").await;
    let ready = format!("{}/readyz", served.gateway.admin_url());
    assert_eq!(get(&ready).await.status(), 200);
    // Ten seconds, of which it has five after the delay.
    let live = Flow::begin(request(&served.url, chat_stream("fault/slow-50+tokens-200"))).await;

    let signalled = Instant::now();
    served.gateway.signal("TERM");
    assert!(eventually(SOON, || served.gateway.log().contains("draining")).await);
    let answer = Answer::of(get(&ready).await).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "draining\n"));
    let answer = Answer::of(post(&served.url, chat("mock")).await).await;
    assert_eq!(answer.status, 200, "a balancer has not noticed yet: {}", answer.text());
    assert!(signalled.elapsed() < Duration::from_millis(4900), "too slow to tell");

    assert!(is_closed(&served.gateway).await);
    assert!(
        signalled.elapsed() >= Duration::from_secs(5),
        "closed after {:?}",
        signalled.elapsed()
    );
    assert!(live.end().await.is_done());
    assert_eq!(served.gateway.wait(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn what_is_open_after_the_drain_timeout_is_told_so() {
    let mut served = serve("timeout: 500ms").await;
    let mut flows = Vec::new();
    for model in [
        "fault/stall",
        "fault/stall",
        "fault/slow-20+tokens-5000",
        "fault/slow-20+tokens-5000",
    ] {
        flows.push(Flow::begin(request(&served.url, chat_stream(model))).await);
    }
    // One comes over HTTP/2, where the gateway serves streams beside the connection.
    let http2 = Client::builder().http2_prior_knowledge().no_proxy().build();
    let http2 = http2.expect("a client without TLS needs nothing of the system");
    flows.push(Flow::begin(http2.post(&served.url).body(chat_stream("fault/stall"))).await);
    // These have no status yet.
    let waiting = [chat("fault/hang"), chat_stream("fault/hang"), chat("fault/stall")];
    let waiting = waiting.map(|body| {
        let request = request(&served.url, body);
        tokio::spawn(async move { Answer::of(send(request).await).await })
    });
    assert!(
        eventually(SOON, || served.mock.inflight() == 8).await,
        "{} in flight",
        served.mock.inflight()
    );

    let signalled = Instant::now();
    served.gateway.signal("TERM");
    for flow in flows {
        let stream = flow.end().await;
        let error = stream.error();
        assert!(error.is(0, "server_error", "shutting_down"), "{error:?}");
        assert!(
            signalled.elapsed() >= Duration::from_millis(500),
            "cut after {:?}",
            signalled.elapsed()
        );
    }
    for answer in waiting {
        let answer = answer.await.expect("each is answered");
        let error = answer.envelope();
        assert!(error.is(503, "server_error", "shutting_down"), "{error:?}");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(served.gateway.wait(SOON).await.code(), Some(0));
    assert!(
        signalled.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        signalled.elapsed()
    );
    let records = record::all(&served.gateway);
    assert_eq!(records.len(), 8, "{records:#?}");
    for record in records {
        assert_eq!(
            (record.end.as_str(), record.field("code")),
            ("failed", "shutting_down"),
            "{record:?}"
        );
    }
}

#[tokio::test]
async fn what_an_operator_has_open_is_told_the_end_and_recorded() {
    let mut served = serve("timeout: 20s").await;
    let url = format!("{}/v1/chat/completions", served.gateway.admin_url());
    let asked = request(&url, chat_stream("fault/stall"))
        .header("x-mulberry-admin-token", served.gateway.admin_token())
        .header("x-request-id", "playground");
    let live = Flow::begin(asked).await;
    served.gateway.signal("TERM");
    let error = live.end().await.error();
    assert!(error.is(0, "server_error", "shutting_down"), "{error:?}");
    assert_eq!(served.gateway.wait(SOON).await.code(), Some(0));
    let records = record::all(&served.gateway);
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0].field("code"), "shutting_down");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for signals in [["TERM", "TERM"], ["INT", "TERM"], ["INT", "INT"]] {
        let mut served = serve("delay: 30s, timeout: 60s").await;
        let live = Flow::begin(request(&served.url, chat_stream("fault/stall")).header("x-request-id", "live")).await;
        served.gateway.signal(signals[0]);
        assert!(eventually(SOON, || served.gateway.log().contains("draining")).await);
        let second = Instant::now();
        served.gateway.signal(signals[1]);
        let error = live.end().await.error();
        assert!(error.is(0, "server_error", "shutting_down"), "{error:?}");
        assert_eq!(served.gateway.wait(SOON).await.code(), Some(0), "{signals:?}");
        assert!(
            second.elapsed() < Duration::from_secs(15),
            "{signals:?}: {:?}",
            second.elapsed()
        );
        assert_eq!(record::of(&served.gateway, "live").await.field("code"), "shutting_down");
    }
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let mut served = serve("timeout: 30s").await;
    let client = client();
    let sent = client
        .post(&served.url)
        .header("content-type", "application/json")
        .body(chat("mock"));
    assert_eq!(send(sent).await.status(), 200);
    // And one that has never asked anything.
    let silent = TcpStream::connect(served.gateway.address()).expect("it accepts");
    let signalled = Instant::now();
    served.gateway.signal("TERM");
    assert_eq!(served.gateway.wait(SOON).await.code(), Some(0));
    assert!(
        signalled.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        signalled.elapsed()
    );
    drop((client, silent));
}

#[tokio::test]
async fn losing_an_upstream_costs_only_the_streams_that_flow_from_it() {
    lose_one_of_two("http1").await;
}

#[tokio::test]
async fn losing_an_upstream_over_http2_costs_no_more() {
    lose_one_of_two("http2").await;
}

async fn lose_one_of_two(http: &str) {
    const STREAMS: usize = 64;
    const UNARY: usize = 300;
    let world = World::new();
    let (mut lost, kept) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends: [{{name: pool, upstreams: [{{url: '{}'}}, {{url: '{}'}}], http: {http}, health: {{enabled: false}}}}]",
        lost.url(),
        kept.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let flows =
        join_all((0..STREAMS).map(|_| Flow::begin(request(&url, chat_stream("fault/slow-100+tokens-150"))))).await;
    let (at_lost, at_kept) = (lost.inflight() as usize, kept.inflight() as usize);
    assert_eq!(at_lost + at_kept, STREAMS);
    assert!(at_lost >= 16 && at_kept >= 16, "{at_lost} and {at_kept}");

    // Half of the unary answers are under way for a while, so that some are lost in the middle.
    let client = client();
    let load = (0..UNARY).map(|nth| {
        let model = if nth % 2 == 0 { "fault/slow-300" } else { "mock" };
        let sent = client
            .post(&url)
            .header("content-type", "application/json")
            .body(chat(model));
        async move { Answer::of(send(sent).await).await }
    });
    let load = tokio::spawn(join_all(load.collect::<Vec<_>>()));
    assert!(eventually(SOON, || lost.count("slow-300") > 10).await);
    lost.kill();

    for answer in load.await.expect("all are answered") {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut broken = 0;
    for stream in join_all(flows.into_iter().map(Flow::end)).await {
        if !stream.is_done() {
            broken += 1;
            let error = stream.error();
            assert_eq!(error.kind, "server_error", "{error:?}");
        }
    }
    assert_eq!(
        broken, at_lost,
        "streams that broke, and streams that flowed from the lost upstream"
    );
    kept.reset();
    for _ in 0..20 {
        assert_eq!(post(&url, chat("fault/tag-after")).await.status(), 200);
    }
    assert_eq!(kept.count("tag-after"), 20);
}
