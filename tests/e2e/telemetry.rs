//! Traces from end to end: the client's span, ours, the upstream's; what a collector is told and what it never is.

use std::net::TcpListener;

use e2e::client::{chat, chat_stream, post, request, send};
use e2e::collector::Span;
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Collector, Gateway, Mock, World, eventually};
use serde_json::Value;

use crate::count;
use crate::flow::Flow;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct Traced {
    gateway: Gateway,
    mock: Mock,
    collector: Collector,
    _world: World,
}

fn trace_with(collector: Collector, otlp: &str) -> Traced {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: first, kind: vllm, url: '{mock}'}}, {{name: second, kind: sglang, url: '{mock}'}}]\n\
         models:\n  - {{name: small, routes: [{{backend: first, model: mock}}]}}\n\
         \x20 - {{name: moved, routes: [{{backend: first, model: fault/500}}, {{backend: second, model: mock, priority: 1}}]}}\n\
         \x20 - {{name: 'fault/*', routes: [{{backend: first}}]}}\n\
         retry: {{attempts: 2}}\n\
         telemetry: {{service_name: tested, otlp: {{endpoint: '{url}', headers: {{authorization: Bearer abc}}{otlp}}}}}\n",
        mock = mock.url(),
        url = collector.url(),
    ));
    Traced {
        gateway,
        mock,
        collector,
        _world: world,
    }
}

fn trace() -> Traced {
    trace_with(Collector::new(), "")
}

impl Traced {
    fn url(&self) -> String {
        format!("{}/v1/chat/completions", self.gateway.url())
    }

    async fn ask(&self, body: String, flags: &str) -> Answer {
        let request = request(&self.url(), body)
            .header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
            .header("tracestate", "vendor=opaque");
        Answer::of(send(request).await).await
    }

    /// The `traceparent` of each request at the upstream, in pieces.
    fn upstream(&self) -> Vec<[String; 3]> {
        let log = self.mock.log();
        let contexts = log.iter().map(|entry| {
            let text = header(entry, "traceparent");
            let pieces: Vec<&str> = text.split('-').collect();
            let [version, trace, span, flags] = pieces[..] else {
                panic!("no traceparent: {entry}");
            };
            assert_eq!(version, "00");
            [trace.to_owned(), span.to_owned(), flags.to_owned()]
        });
        contexts.collect()
    }
}

fn header<'a>(entry: &'a Value, name: &str) -> &'a str {
    let value = &entry["headers"][name];
    value.as_str().or_else(|| value[0].as_str()).unwrap_or_default()
}

/// The request's own span and those of its attempts, in their order.
fn family(spans: &[Span]) -> (&Span, Vec<&Span>) {
    let servers: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), 1, "{spans:#?}");
    let mut clients: Vec<&Span> = spans.iter().filter(|span| span.kind == 3).collect();
    clients.sort_by_key(|span| span.start_nano);
    for client in &clients {
        assert_eq!((&client.trace, &client.parent), (&servers[0].trace, &servers[0].id));
        assert!(client.start_nano >= servers[0].start_nano && client.end_nano <= servers[0].end_nano);
    }
    (servers[0], clients)
}

#[tokio::test]
async fn a_request_hangs_below_its_client_and_its_upstream_below_the_attempt() {
    let traced = trace();
    let answer = traced.ask(chat("small"), "01").await;
    let spans = traced.collector.wait(2).await;
    let (server, clients) = family(&spans);
    assert_eq!((&*server.trace, &*server.parent), (TRACE, PARENT));
    assert_eq!(
        (&*server.name, server.status, &*server.service),
        ("chat small", 0, "tested")
    );
    let usage = &answer.json()["usage"];
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "small"),
        ("gen_ai.provider.name", "vllm"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("mulberry.end", "complete"),
        ("mulberry.attempts", "1"),
        ("mulberry.stream", "false"),
        ("mulberry.request_id", answer.header("x-request-id")),
        ("gen_ai.usage.input_tokens", &usage["prompt_tokens"].to_string()),
        ("gen_ai.usage.output_tokens", &usage["completion_tokens"].to_string()),
    ] {
        assert_eq!(server.attribute(key), value, "{key}");
    }
    let [client] = clients[..] else { panic!("{clients:#?}") };
    assert_eq!((&*client.name, client.status), ("chat mock", 0));
    for (key, value) in [
        ("gen_ai.request.model", "mock"),
        ("mulberry.backend", "first"),
        ("server.address", "127.0.0.1"),
        ("server.port", &traced.mock.port().to_string()),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(client.attribute(key), value, "{key}");
    }
    assert_eq!(
        traced.upstream(),
        [[TRACE.to_owned(), client.id.clone(), "01".to_owned()]]
    );
    assert_eq!(header(&traced.mock.only(), "tracestate"), "vendor=opaque");

    let export = &traced.collector.posts()[0];
    assert!(
        export.head.starts_with("post /v1/traces http/1.1\r\n"),
        "{}",
        export.head
    );
    assert!(
        export.head.contains("\r\nauthorization: bearer abc\r\n"),
        "{}",
        export.head
    );
    assert!(
        export.head.contains("\r\ncontent-type: application/json\r\n"),
        "{}",
        export.head
    );
    count::until(&traced.gateway, "mulberry_spans_exported_total", 2).await;
}

#[tokio::test]
async fn each_attempt_has_a_span() {
    let traced = trace();
    assert_eq!(traced.ask(chat("moved"), "01").await.status, 200);
    let spans = traced.collector.wait(3).await;
    let (server, clients) = family(&spans);
    assert_eq!((server.attribute("gen_ai.provider.name"), server.status), ("sglang", 0));
    let told: Vec<_> = clients
        .iter()
        .map(|span| {
            (
                span.attribute("mulberry.backend"),
                span.attribute("error.type"),
                span.status,
            )
        })
        .collect();
    assert_eq!(told, [("first", "500", 2), ("second", "", 0)]);
    let upstream: Vec<String> = traced.upstream().into_iter().map(|[_, span, _]| span).collect();
    assert_eq!(upstream, [clients[0].id.clone(), clients[1].id.clone()]);
}

#[tokio::test]
async fn a_stream_is_traced_to_its_end_whatever_that_is() {
    let traced = trace();
    let whole = Stream::of(post(&traced.url(), chat_stream("fault/slow-20+tokens-10")).await).await;
    assert!(whole.is_done());
    let spans = traced.collector.wait(2).await;
    let (server, clients) = family(&spans);
    assert!(server.parent.is_empty(), "the trace is our own");
    assert_eq!(server.attribute("mulberry.stream"), "true");
    for span in [server, clients[0]] {
        assert!(span.end_nano - span.start_nano > 150_000_000, "{span:#?}");
    }
    assert_eq!(
        traced.upstream(),
        [[server.trace.clone(), clients[0].id.clone(), "01".to_owned()]]
    );

    let cut = Stream::of(post(&traced.url(), chat_stream("fault/cut")).await).await;
    assert!(!cut.is_done());
    let spans = traced.collector.wait(4).await;
    let (server, clients) = family(&spans[2..]);
    assert_eq!((server.attribute("error.type"), server.status), ("stream", 2));
    assert_eq!((clients[0].attribute("error.type"), clients[0].status), ("stream", 2));

    let left = Flow::begin(request(&traced.url(), chat_stream("fault/slow-50+tokens-100000"))).await;
    drop(left);
    let spans = traced.collector.wait(6).await;
    let (server, _) = family(&spans[4..]);
    assert_eq!((server.attribute("mulberry.end"), server.status), ("cancelled", 0));

    let never = tokio::spawn(request(&traced.url(), chat("fault/hang")).send());
    let is_there = eventually(SOON, || traced.mock.count("hang") == 1);
    assert!(is_there.await, "the request does not arrive");
    never.abort();
    let spans = traced.collector.wait(8).await;
    let (server, _) = family(&spans[6..]);
    assert_eq!(server.attribute("mulberry.end"), "cancelled");
    assert_eq!(server.attribute("http.response.status_code"), "", "it had none");
}

#[tokio::test]
async fn refusals_are_traced_and_are_the_clients_fault() {
    let traced = trace();
    assert_eq!(traced.ask(chat("nobody-has-this"), "01").await.status, 404);
    let spans = traced.collector.wait(1).await;
    let (server, clients) = family(&spans);
    assert!(clients.is_empty());
    assert_eq!(
        (&*server.name, server.attribute("error.type"), server.status),
        ("chat", "404", 0)
    );
    assert_eq!(traced.ask(chat("fault/500"), "01").await.status, 500);
    let spans = traced.collector.wait(3).await;
    assert_eq!((family(&spans[1..]).0.status, family(&spans[1..]).1[0].status), (2, 2));
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_and_not_told() {
    let traced = trace_with(Collector::new(), ", sample_percent: 0");
    // The client says no; the client says nothing; the client says yes.
    assert_eq!(traced.ask(chat("small"), "00").await.status, 200);
    assert_eq!(post(&traced.url(), chat("small")).await.status(), 200);
    assert_eq!(traced.ask(chat("small"), "01").await.status, 200);
    let spans = traced.collector.wait(2).await;
    assert_eq!(family(&spans).0.parent, PARENT);
    let upstream = traced.upstream();
    let flags: Vec<&str> = upstream.iter().map(|[_, _, flags]| &**flags).collect();
    assert_eq!(flags, ["00", "00", "01"]);
    assert_eq!(upstream[0][0], TRACE);
    assert_ne!(upstream[1][0], TRACE);
    assert_eq!(traced.collector.spans().len(), 2);
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() {
    let mut traced = trace();
    for _ in 0..3 {
        assert_eq!(post(&traced.url(), chat("small")).await.status(), 200);
    }
    traced.gateway.signal("TERM");
    assert_eq!(traced.gateway.wait(SOON).await.code(), Some(0));
    assert_eq!(traced.collector.spans().len(), 6);
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let refuses = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let traced = trace_with(Collector::answering(refuses), "");
    assert_eq!(post(&traced.url(), chat("small")).await.status(), 200);
    count::until(&traced.gateway, "mulberry_spans_dropped_total", 2).await;
    assert_eq!(traced.collector.posts().len(), 1, "a refusal is final");
    let is_told = eventually(SOON, || traced.gateway.log().contains("traces are not exported"));
    assert!(is_told.await);

    let body = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#;
    let some = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let traced = trace_with(Collector::answering(&some), "");
    assert_eq!(post(&traced.url(), chat("small")).await.status(), 200);
    count::until(&traced.gateway, "mulberry_spans_dropped_total", 1).await;
    count::until(&traced.gateway, "mulberry_spans_exported_total", 1).await;
}

#[tokio::test]
async fn a_collector_that_is_down_disturbs_nobody() {
    // A port that nobody listens at, and one that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let silent_port = silent.local_addr().expect("it is bound").port();
    let world = World::new();
    let mock = world.mock(&[]);
    for (endpoint, timeout) in [
        ("http://127.0.0.1:9".to_owned(), "1s"),
        (format!("http://127.0.0.1:{silent_port}"), "100ms"),
    ] {
        let mut gateway = world.gateway(&format!(
            "backends: [{{name: only, url: '{}'}}]\ntelemetry: {{otlp: {{endpoint: '{endpoint}', timeout: {timeout}}}}}\n",
            mock.url()
        ));
        let url = format!("{}/v1/chat/completions", gateway.url());
        for _ in 0..20 {
            assert_eq!(post(&url, chat("mock")).await.status(), 200);
        }
        // Each batch is tried again for some seconds.
        count::until_within(3 * SOON, &gateway, "mulberry_spans_dropped_total", 40).await;
        assert_eq!(post(&url, chat("mock")).await.status(), 200);
        gateway.signal("TERM");
        assert_eq!(gateway.wait(SOON).await.code(), Some(0));
        let warnings = gateway.log().matches("traces are not exported").count();
        assert_eq!(warnings, 1, "it is told once:\n{}", gateway.log());
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let silent = silent.expect("there is a free port");
    let address = silent.local_addr().expect("it is bound");
    let world = World::new();
    let mock = world.mock(&[]);
    let mut gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\ntelemetry: {{otlp: {{endpoint: 'http://{address}', timeout: 120s}}}}\n",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    assert_eq!(post(&url, chat("mock")).await.status(), 200);
    let (posting, _) = silent.accept().await.expect("the collector is called");
    posting.readable().await.expect("spans are posted");
    gateway.signal("TERM");
    // Records are written after the last spans, and whoever ends us waits ten seconds for both.
    assert_eq!(gateway.wait(SOON).await.code(), Some(0));
    assert!(gateway.log().contains("did not take the last traces in time"));
}
