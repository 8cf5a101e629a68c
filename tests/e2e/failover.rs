//! Failover: another upstream while the client has seen nothing, an error event once it has.

use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, client, post, request, send};
use e2e::sse::Stream;
use e2e::{Answer, Gateway, Mock, World};
use futures_util::StreamExt;

use crate::record;

/// Two backends in this order. The first is asked for `fault/MODE` when the client asks for `MODE`.
struct Pair {
    first: Mock,
    second: Mock,
    gateway: Gateway,
    _world: World,
}

impl Pair {
    fn of(modes: &[&str]) -> Self {
        Self::with(modes, "", "")
    }

    /// With more settings of the first backend, and more settings of the gateway.
    fn with(modes: &[&str], backend: &str, more: &str) -> Self {
        let world = World::new();
        let (first, second) = (world.mock(&[]), world.mock(&[]));
        let models: String = modes
            .iter()
            .map(|mode| {
                format!(
                    "  - {{name: '{mode}', routes: [{{backend: first, model: 'fault/{mode}'}}, \
                     {{backend: second, model: fault/tag-second, priority: 1}}]}}\n"
                )
            })
            .collect();
        let gateway = world.gateway(&format!(
            "backends:\n  - {{name: first, url: '{}', breaker: {{failures: 1000}}{backend}}}\n  - {{name: second, url: '{}'}}\n\
             models:\n{models}{more}",
            first.url(),
            second.url(),
        ));
        Self {
            first,
            second,
            gateway,
            _world: world,
        }
    }

    fn chat_url(&self) -> String {
        format!("{}/v1/chat/completions", self.gateway.url())
    }

    async fn ask(&self, mode: &str) -> Answer {
        Answer::of(post(&self.chat_url(), chat(mode)).await).await
    }

    async fn stream(&self, mode: &str) -> Stream {
        Stream::of(post(&self.chat_url(), chat_stream(mode)).await).await
    }

    /// Requests that named this model, at the first and at the second.
    fn counts(&self, mode: &str) -> (u64, u64) {
        (self.first.count(mode), self.second.count("tag-second"))
    }

    /// Asserts that each was attempted once.
    fn assert_one_each(&self, mode: &str) {
        let (first, second) = self.counts(mode);
        // An idle connection that closes without a word may have been closed before: the attempt goes on with a
        // fresh one.
        let most = if ["cut-before", "reset"].contains(&mode) { 2 } else { 1 };
        assert!((1..=most).contains(&first), "{mode}: {first} requests");
        assert_eq!(second, 1, "{mode}");
    }
}

/// What an upstream may do to any request.
const FAILURES: &[&str] = &[
    "500",
    "502",
    "503",
    "504",
    "408",
    "429",
    "429RS",
    "503long",
    "overloaded",
    "html-502",
    "text-500",
    "string-error",
    "redirect",
    "cut-before",
    "reset",
    "bad-status-line",
];

#[tokio::test]
async fn a_failed_attempt_is_followed_by_one_elsewhere() {
    let unary_only = ["err-200", "html-200", "truncated-length", "cut", "cut-fin"];
    let modes: Vec<_> = FAILURES.iter().copied().chain(unary_only).collect();
    let pair = Pair::of(&modes);
    for mode in modes {
        pair.second.reset();
        let answer = pair.ask(mode).await;
        assert_eq!(answer.status, 200, "{mode}: {}", answer.text());
        assert_eq!(answer.header("x-mulberry-backend"), "second", "{mode}");
        assert_eq!(answer.header("x-mulberry-attempts"), "2", "{mode}");
        pair.assert_one_each(mode);
    }
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_frame_goes_on_elsewhere() {
    let streams_only = ["err-first", "err-200", "html-200", "hang", "hang-after-headers"];
    let modes: Vec<_> = FAILURES.iter().copied().chain(streams_only).collect();
    let pair = Pair::with(&modes, ", timeouts: {first_frame: 300ms}", "");
    for mode in modes {
        pair.second.reset();
        let stream = pair.stream(mode).await;
        assert!(stream.is_done(), "{mode}:\n{}", stream.text);
        assert_eq!(stream.finish_reason().as_deref(), Some("stop"), "{mode}");
        // Nothing of the failed one: one beginning, one answer, one id.
        assert_eq!(
            stream.content().matches("I am the scripted engine").count(),
            1,
            "{mode}"
        );
        let chunks = stream.chunks();
        assert!(
            chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]),
            "{mode}:\n{}",
            stream.text
        );
        assert!(!stream.text.contains("exploded"), "{mode}:\n{}", stream.text);
        pair.assert_one_each(mode);
    }
}

#[tokio::test]
async fn a_clients_mistake_is_tried_once() {
    let modes = ["400", "404", "409", "413", "422", "numeric-code", "context-overflow"];
    let pair = Pair::of(&modes);
    for mode in modes {
        let status = pair.ask(mode).await.envelope().status;
        let expected = mode.parse().unwrap_or(400);
        assert_eq!(status, expected, "{mode}");
        assert_eq!(pair.counts(mode), (1, 0), "{mode}");
    }
}

#[tokio::test]
async fn credentials_that_an_upstream_refuses_are_not_the_clients_fault() {
    let world = World::new();
    let locked = world.mock(&["--require-key", "right"]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: locked, url: '{}', api_key: wrong}}]",
        locked.url()
    ));
    for body in [chat("mock"), chat_stream("mock")] {
        let answer = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), body).await).await;
        let error = answer.envelope();
        assert!(
            error.is(502, "server_error", "upstream_credentials_exhausted"),
            "{error:?}"
        );
        assert_eq!(answer.header("x-should-retry"), "false");
        assert!(!answer.text().contains("wrong"), "{}", answer.text());
    }
    for status in ["402", "403"] {
        let pair = Pair::of(&[status]);
        assert_eq!(pair.ask(status).await.status, 200, "{status}");
        assert_eq!(pair.counts(status), (1, 1), "{status}");
    }
}

#[tokio::test]
async fn a_refused_connection_costs_no_attempt() {
    let world = World::new();
    let alive = world.mock(&[]);
    // Nobody can take these ports.
    let dead = (1..=3).map(|port| format!("http://127.0.0.1:{port}"));
    let upstreams: Vec<String> = dead
        .chain([alive.url()])
        .map(|url| format!("{{url: '{url}'}}"))
        .collect();
    let gateway = world.gateway(&format!(
        "backends: [{{name: pool, upstreams: [{}], health: {{enabled: false}}, breaker: {{failures: 1000}}}}]\nretry: {{attempts: 1}}",
        upstreams.join(", ")
    ));
    for _ in 0..20 {
        let answer = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), chat("mock")).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(alive.count("mock"), 20);
}

#[tokio::test]
async fn attempts_are_limited() {
    let world = World::new();
    let mocks: Vec<Mock> = (0..3).map(|_| world.mock(&[])).collect();
    let backends: Vec<String> = mocks
        .iter()
        .enumerate()
        .map(|(nth, mock)| format!("{{name: b{nth}, url: '{}'}}", mock.url()))
        .collect();
    let models = "models: [{name: m, routes: [{backend: b0, model: fault/503}, {backend: b1, model: fault/502, priority: 1}, \
                  {backend: b2, model: mock, priority: 2}]}]";
    for (attempts, status, last) in [(1, 503, 0), (2, 502, 0), (3, 200, 1)] {
        mocks.iter().for_each(Mock::reset);
        let gateway = world.gateway(&format!(
            "backends: [{}]\n{models}\nretry: {{attempts: {attempts}}}",
            backends.join(", ")
        ));
        let answer = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), chat("m")).await).await;
        assert_eq!(answer.status, status, "{attempts}: {}", answer.text());
        assert_eq!(mocks[2].count("mock"), last, "{attempts}");
        assert_eq!(mocks[1].count("502"), u64::from(attempts > 1), "{attempts}");
    }
}

#[tokio::test]
async fn another_model_answers_when_every_route_failed() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends: [{{name: first, url: '{}'}}, {{name: second, url: '{}'}}]\n\
         models:\n  - {{name: big, routes: [{{backend: first, model: fault/503}}], fallbacks: [middle, small]}}\n\
         \x20 - {{name: middle, routes: [{{backend: first, model: fault/502}}]}}\n\
         \x20 - {{name: small, routes: [{{backend: second, model: fault/tag-small}}]}}\n",
        first.url(),
        second.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let answer = Answer::of(send(request(&url, chat("big")).header("x-request-id", "fell-back")).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (first.count("503"), first.count("502"), second.count("tag-small")),
        (1, 1, 1)
    );
    let stream = Stream::of(post(&url, chat_stream("big")).await).await;
    assert!(stream.is_done(), "{}", stream.text);
    let record = record::of(&gateway, "fell-back").await;
    assert_eq!(
        (record.model.as_str(), record.status, record.number("attempts")),
        ("big", 200, 3)
    );
}

#[tokio::test]
async fn heartbeats_leave_the_choice_open() {
    let more = "retry: {commit_after: 200ms, heartbeat: 100ms}\n";
    let pair = Pair::with(&["hang"], ", timeouts: {first_frame: 5s}", more);
    let asked = Instant::now();
    let response = post(&pair.chat_url(), chat_stream("hang")).await;
    let status_after = asked.elapsed();
    assert_eq!(response.status(), 200);
    assert!(
        (Duration::from_millis(200)..Duration::from_secs(4)).contains(&status_after),
        "the status came after {status_after:?}"
    );
    let stream = Stream::of(response).await;
    assert!(stream.is_done(), "{}", stream.text);
    assert_eq!(stream.finish_reason().as_deref(), Some("stop"));
    let first_data = stream.text.find("data: ").expect("there is data");
    let heartbeats = stream.text[..first_data].matches("\n\n").count();
    assert!(
        heartbeats >= 5,
        "{heartbeats} heartbeats in five seconds:\n{}",
        stream.text
    );
    assert!(
        stream.text.starts_with(':'),
        "a heartbeat is a comment:\n{}",
        stream.text
    );
    assert_eq!(pair.counts("hang"), (1, 1));
}

#[tokio::test]
async fn a_failure_behind_the_status_is_an_error_event() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}', timeouts: {{first_frame: 3s}}}}]\nretry: {{commit_after: 100ms, heartbeat: 50ms}}",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let late = request(&url, chat_stream("fault/hang")).header("x-request-id", "late");
    let stream = Stream::of(send(late).await).await;
    let error = stream.error();
    assert!(error.is(0, "server_error", "upstream_timeout"), "{error:?}");
    assert!(stream.chunks().is_empty(), "{}", stream.text);
    let record = record::of(&gateway, "late").await;
    assert_eq!(
        (record.end.as_str(), record.field("code")),
        ("failed", "upstream_timeout")
    );
}

#[tokio::test]
async fn a_stream_is_never_moved_after_its_first_frame() {
    let pair = Pair::with(
        &["cut", "cut-fin", "clean-cut", "err-data", "stall"],
        ", timeouts: {idle: 2s}",
        "",
    );
    for mode in ["cut", "cut-fin", "clean-cut", "err-data", "stall"] {
        let id = format!("broken-{mode}");
        let response = send(request(&pair.chat_url(), chat_stream(mode)).header("x-request-id", &id)).await;
        let stream = Stream::of(response).await;
        assert_eq!(stream.content(), "I am", "{mode}:\n{}", stream.text);
        let code = stream.error().code.expect("an error has a code");
        let record = record::of(&pair.gateway, &id).await;
        assert_eq!(
            (record.end.as_str(), record.field("code")),
            ("failed", code.as_str()),
            "{mode}"
        );
        assert_eq!(
            (record.field("usage"), record.number("attempts")),
            ("estimated", 1),
            "{mode}"
        );
        assert_eq!(pair.counts(mode), (1, 0), "{mode}");
    }
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    const ASKED: u64 = 500;
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends: [{{name: first, url: '{}'}}, {{name: second, url: '{}'}}]\nretry: {{budget_percent: 10}}",
        first.url(),
        second.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let client = client();
    for _ in 0..ASKED {
        let sent = client
            .post(&url)
            .header("content-type", "application/json")
            .body(chat("fault/503"));
        assert_eq!(send(sent).await.status(), 503);
    }
    let attempts = first.count("503") + second.count("503");
    // 256 in reserve for a sudden loss, and then one in ten.
    let most = ASKED + 256 + ASKED / 10;
    assert!(
        (ASKED + 100..=most).contains(&attempts),
        "{attempts} attempts for {ASKED} requests"
    );
}

#[tokio::test]
async fn a_long_outage_of_one_backend_is_not_the_clients() {
    const ASKED: u64 = 400;
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends: [{{name: first, url: '{}', breaker: {{cooldown: 60s}}}}, {{name: second, url: '{}'}}]\n\
         models: [{{name: m, routes: [{{backend: first, model: fault/503}}, {{backend: second, model: mock, priority: 1}}]}},\n\
         \x20 {{name: f, routes: [{{backend: first, model: fault/502}}], fallbacks: [other]}},\n\
         \x20 {{name: other, routes: [{{backend: second, model: mock}}]}}]",
        first.url(),
        second.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let client = client();
    for nth in 0..ASKED {
        for model in ["m", "f"] {
            let sent = client
                .post(&url)
                .header("content-type", "application/json")
                .body(chat(model));
            let answer = Answer::of(send(sent).await).await;
            assert_eq!(answer.status, 200, "{model}, request {nth}: {}", answer.text());
        }
    }
    let wasted = first.count("503") + first.count("502");
    assert!(
        (5..=10).contains(&wasted),
        "{wasted} attempts at a backend whose breaker is open"
    );
}

#[tokio::test]
async fn heartbeats_come_while_a_stream_pauses() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\nretry: {{heartbeat: 100ms}}",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let response = post(&url, chat_stream("fault/slow-1000+tokens-2")).await;
    let mut body = response.bytes_stream();
    let mut text = String::new();
    while let Some(piece) = body.next().await {
        text.push_str(&String::from_utf8_lossy(&piece.expect("the stream ends cleanly")));
    }
    let stream = Stream { text };
    assert!(stream.is_done(), "{}", stream.text);
    assert!(stream.comments() >= 5, "{} comments in two seconds", stream.comments());
}
