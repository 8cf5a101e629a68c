//! A client that leaves frees its upstream, wherever the answer was, and leaves a record.

use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, request};
use e2e::wait::SOON;
use e2e::{Gateway, Mock, World, eventually};
use reqwest::Client;

use crate::count;
use crate::flow::Flow;
use crate::record::{self, Record};

/// How long an upstream may go on working for nobody: at once, with slack for a machine that is busy with other tests.
const FREED: Duration = Duration::from_secs(3);

struct Served {
    mock: Mock,
    gateway: Gateway,
    url: String,
    _world: World,
}

async fn serve() -> Served {
    serve_over("auto", "300ms").await
}

/// With this HTTP version to the upstream, and this time until a status is sent in any case.
async fn serve_over(http: &str, commit_after: &str) -> Served {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}', http: {http}, health: {{enabled: false}}}}]\nretry: {{commit_after: {commit_after}, heartbeat: 50ms}}",
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

impl Served {
    /// Waits until the upstream is rid of the request whose client has just left.
    async fn freed(&self, id: &str) -> Record {
        let left = Instant::now();
        assert!(
            eventually(SOON, || self.mock.inflight() == 0).await,
            "{id}: the upstream works on"
        );
        let took = left.elapsed();
        assert!(took < FREED, "{id}: freed after {took:?}");
        assert_eq!(self.mock.cancelled(), 1, "{id}");
        self.mock.reset();
        count::until(&self.gateway, "mulberry_requests_in_flight", 0).await;
        count::until(&self.gateway, "mulberry_upstream_outstanding", 0).await;
        record::of(&self.gateway, id).await
    }
}

#[tokio::test]
async fn before_the_status() {
    // Nobody leaves so late that there is one.
    let served = serve_over("auto", "15s").await;
    for (id, body) in [
        ("unary-hang", chat("fault/hang")),
        ("unary-headers", chat("fault/hang-after-headers")),
        ("unary-half", chat("fault/stall")),
        ("stream-hang", chat_stream("fault/hang")),
    ] {
        let asking = tokio::spawn(request(&served.url, body).header("x-request-id", id).send());
        assert!(
            eventually(SOON, || served.mock.inflight() == 1).await,
            "{id} did not arrive"
        );
        asking.abort();
        let record = served.freed(id).await;
        assert_eq!((record.end.as_str(), record.status), ("cancelled", 499), "{record:?}");
        // The upstream was at work on the prompt: that much is estimated.
        let [prompt, cached, completion, reasoning] = record.usage();
        assert_eq!(
            (record.field("usage"), record.field("attempts")),
            ("estimated", "1"),
            "{record:?}"
        );
        assert!(prompt > 0 && [cached, completion, reasoning] == [0; 3], "{record:?}");
    }
}

#[tokio::test]
async fn between_the_status_and_the_first_frame() {
    let served = serve().await;
    for mode in ["hang", "hang-after-headers"] {
        let id = format!("committed-{mode}");
        let body = chat_stream(&format!("fault/{mode}"));
        let mut flow = Flow::open(request(&served.url, body).header("x-request-id", &id)).await;
        flow.until(":").await;
        drop(flow);
        let record = served.freed(&id).await;
        assert_eq!((record.end.as_str(), record.status), ("cancelled", 200), "{record:?}");
        assert_eq!(
            (record.field("usage"), record.field("attempts")),
            ("estimated", "1"),
            "{record:?}"
        );
    }
}

#[tokio::test]
async fn in_the_middle() {
    let served = serve().await;
    for (id, model, until) in [
        ("between-frames", "fault/stall", " am"),
        ("while-it-flows", "fault/slow-10+tokens-5000", "\"content\":\" xxxxx\""),
        // A frame is a mebibyte, so that the client leaves within one.
        ("in-a-frame", "fault/tokens-60+size-1048576", "\"content\":\" xxxx"),
    ] {
        let mut flow = Flow::begin(request(&served.url, chat_stream(model)).header("x-request-id", id)).await;
        flow.until(until).await;
        drop(flow);
        let record = served.freed(id).await;
        assert_eq!((record.end.as_str(), record.status), ("cancelled", 200), "{record:?}");
        assert_eq!(record.field("usage"), "estimated", "{record:?}");
        assert!(
            record.number("completion") >= 1 && record.number("prompt") >= 1,
            "{record:?}"
        );
    }
}

#[tokio::test]
async fn before_done() {
    let served = serve().await;
    let sent = request(&served.url, chat_stream("fault/hold-open")).header("x-request-id", "before-done");
    let mut flow = Flow::begin(sent).await;
    flow.until("\"finish_reason\":\"stop\"").await;
    drop(flow);
    assert!(
        eventually(FREED, || served.mock.inflight() == 0).await,
        "the upstream is held open"
    );
    // The gateway had all of it; whether the client had, it cannot know.
    let record = record::of(&served.gateway, "before-done").await;
    assert!(["complete", "cancelled"].contains(&record.end.as_str()), "{record:?}");
    assert!(record.number("completion") >= 10, "{record:?}");
}

#[tokio::test]
async fn over_http2_on_either_side() {
    let client = Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .expect("a client without TLS needs nothing of the system");
    for (id, http) in [("http2-to-http1", "auto"), ("http2-to-http2", "http2")] {
        let served = serve_over(http, "300ms").await;
        let ask = |model: &str| {
            client
                .post(&served.url)
                .header("x-request-id", id)
                .body(chat_stream(model))
        };
        let mut flow = Flow::begin(ask("fault/slow-10+tokens-5000")).await;
        flow.until("\"content\":\" xxxxx\"").await;
        // The connection stays: only the stream is reset.
        drop(flow);
        let record = served.freed(id).await;
        assert_eq!(
            (record.end.as_str(), record.field("usage")),
            ("cancelled", "estimated"),
            "{record:?}"
        );
        assert!(Flow::begin(ask("mock")).await.end().await.is_done());
    }
}
