//! Answers that are not streams, and upstreams that break before one begins.

use std::time::Instant;

use e2e::client::{Envelope, chat, chat_stream};
use e2e::{Answer, Rig, World, eventually, wait::SOON};
use serde_json::json;

/// Clocks short enough to run out within a test.
const IMPATIENT: &str = "timeouts: {connect: 1s, first_frame: 1s, idle: 1s, total: 5s}";

/// Asks for a whole answer and for a stream; both must be refused in the same way before anything was sent.
async fn refused(rig: &Rig, mode: &str) -> Envelope {
    let model = format!("fault/{mode}");
    let unary = rig.chat(&model).await;
    let stream = rig.chat_of(chat_stream(&model)).await;
    assert_says_nothing_of_the_upstream(rig, &unary);
    assert_says_nothing_of_the_upstream(rig, &stream);
    assert_eq!(unary.envelope(), stream.envelope(), "{mode}");
    unary.envelope()
}

#[track_caller]
fn assert_says_nothing_of_the_upstream(rig: &Rig, answer: &Answer) {
    let said = format!("{:?} {}", answer.headers, answer.text());
    // Five digits alone may stand in an id.
    assert!(!said.contains(&format!(":{}", rig.mock.port())), "{said}");
}

#[tokio::test]
async fn what_is_no_openai_answer_is_a_502_with_our_envelope() {
    let rig = Rig::new();
    for (mode, code) in [
        ("html-502", "upstream_error"),
        ("html-200", "upstream_error"),
        ("text-500", "upstream_error"),
        ("redirect", "upstream_error"),
        ("huge-headers", "upstream_error"),
        ("double-length", "upstream_error"),
        ("bad-status-line", "upstream_error"),
        ("cut-before", "upstream_connect_error"),
        ("reset", "upstream_connect_error"),
    ] {
        let envelope = refused(&rig, mode).await;
        assert!(envelope.is(502, "server_error", code), "{mode}: {envelope:?}");
        assert!(!envelope.message.contains('<'), "{mode}: {envelope:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_502() {
    let rig = Rig::new();
    for mode in ["truncated-length", "cut", "cut-fin"] {
        let answer = rig.chat(&format!("fault/{mode}")).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(502, "server_error", "upstream_error"),
            "{mode}: {envelope:?}"
        );
    }
}

#[tokio::test]
async fn an_error_in_a_200_is_a_502_with_the_upstreams_words() {
    let rig = Rig::new();
    let envelope = refused(&rig, "err-200").await;
    assert_eq!((envelope.status, envelope.message.as_str()), (502, "Upstream error"));
    assert_eq!(envelope.code.as_deref(), Some("502"));
}

#[tokio::test]
async fn every_shape_of_an_error_becomes_the_envelope() {
    let rig = Rig::new();
    let numeric = refused(&rig, "numeric-code").await;
    assert!(numeric.is(400, "invalid_request_error", "400"), "{numeric:?}");
    assert_eq!(numeric.message, "bad value");
    let bare = refused(&rig, "string-error").await;
    assert_eq!(
        (bare.status, bare.message.as_str(), bare.code),
        (500, "worker is gone", None)
    );
    let overflow = refused(&rig, "context-overflow").await;
    assert!(
        overflow.is(400, "invalid_request_error", "context_length_exceeded"),
        "{overflow:?}"
    );
}

#[tokio::test]
async fn a_status_passes_with_its_words_and_hints_and_is_not_asked_for_again() {
    let rig = Rig::new();
    for (mode, status, name, value) in [
        ("429RS", 429, "retry-after", "1"),
        ("429ra", 429, "retry-after-ms", "50"),
        ("429RSno", 429, "x-should-retry", "false"),
        ("503RSyes", 503, "x-should-retry", "true"),
        ("503long", 503, "retry-after", "300"),
        ("overloaded", 503, "retry-after", "1"),
        ("400", 400, "retry-after", ""),
        ("404", 404, "retry-after", ""),
        ("409", 409, "retry-after", ""),
        ("422", 422, "retry-after", ""),
        ("500", 500, "retry-after", ""),
        ("529", 529, "retry-after", ""),
    ] {
        let model = format!("fault/{mode}");
        for body in [chat(&model), chat_stream(&model)] {
            rig.mock.reset();
            let answer = rig.chat_of(body).await;
            let envelope = answer.envelope();
            assert_eq!(envelope.status, status, "{mode}: {envelope:?}");
            assert_eq!(answer.header(name), value, "{mode}: {:?}", answer.headers);
            let words = if mode == "overloaded" {
                "The engine is overloaded"
            } else {
                &format!("scripted {status}")
            };
            assert_eq!(envelope.message, words);
            assert!(!answer.header("x-request-id").is_empty());
            // A try elsewhere is for when there is an elsewhere.
            assert_eq!(rig.mock.count(mode), 1, "{mode}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_our_own_credentials_is_not_the_clients() {
    let rig = Rig::new();
    for mode in ["401", "402", "403"] {
        let answer = rig.chat(&format!("fault/{mode}")).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(502, "server_error", "upstream_credentials_exhausted"),
            "{envelope:?}"
        );
        assert_eq!(answer.header("x-should-retry"), "false");
    }
}

#[tokio::test]
async fn a_request_that_was_dropped_unanswered_is_sent_once_more() {
    let rig = Rig::new();
    for mode in ["cut-before", "reset"] {
        let envelope = rig.chat(&format!("fault/{mode}")).await.envelope();
        assert_eq!(envelope.status, 502);
        // One attempt and one more; and the first may have found a connection stale that was used before.
        assert!(
            (2..=3).contains(&rig.mock.count(mode)),
            "{mode}: {}",
            rig.mock.count(mode)
        );
    }
}

#[tokio::test]
async fn a_connection_that_ends_between_requests_is_no_ones_error() {
    let rig = Rig::new();
    for mode in ["close-on-reuse", "close-after-3"] {
        for nth in 0..20 {
            let answer = rig.chat(&format!("fault/{mode}")).await;
            assert_eq!(answer.status, 200, "{mode} {nth}: {}", answer.text());
            assert_eq!(
                answer.header("x-mulberry-attempts"),
                "1",
                "a stale connection is no attempt"
            );
            assert!(rig.stream(&format!("fault/{mode}")).await.is_done(), "{mode} {nth}");
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_no_ones_answer() {
    let rig = Rig::new();
    for _ in 0..3 {
        let first = rig.chat("fault/extra-bytes").await;
        assert!(!first.text().contains("stolen"), "{}", first.text());
        let next = rig.chat("mock").await;
        assert_eq!(next.json()["choices"][0]["finish_reason"], "stop", "{}", next.text());
    }
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_in_time() {
    let rig = Rig::with(IMPATIENT, "");
    for mode in ["hang", "hang-after-headers"] {
        let begun = Instant::now();
        let envelope = rig.chat_of(chat_stream(&format!("fault/{mode}"))).await.envelope();
        assert!(
            envelope.is(504, "server_error", "upstream_timeout"),
            "{mode}: {envelope:?}"
        );
        assert!(
            (1..15).contains(&begun.elapsed().as_secs()),
            "{mode}: {:?}",
            begun.elapsed()
        );
    }
    // A whole answer may think until the end; a pause within it may not be longer than `idle`.
    for (mode, seconds) in [("hang", 5..15), ("hang-after-headers", 1..15), ("stall", 1..15)] {
        let begun = Instant::now();
        let envelope = rig.chat(&format!("fault/{mode}")).await.envelope();
        let is_end_of_all = envelope.message.contains("was not done");
        assert_eq!(is_end_of_all, seconds.start == 5, "{mode}: {envelope:?}");
        assert!(
            envelope.is(504, "server_error", "upstream_timeout"),
            "{mode}: {envelope:?}"
        );
        assert!(
            seconds.contains(&begun.elapsed().as_secs()),
            "{mode}: {:?}",
            begun.elapsed()
        );
    }
    assert!(
        eventually(SOON, || rig.mock.inflight() == 0).await,
        "the upstream is let go"
    );
}

#[tokio::test]
async fn a_stalled_stream_is_an_error_event_in_time() {
    let rig = Rig::with(IMPATIENT, "");
    let stream = rig.stream("fault/stall").await;
    let error = stream.error();
    assert!(error.is(0, "server_error", "upstream_timeout"), "{error:?}");
    assert!(!stream.content().is_empty());
    assert!(
        eventually(SOON, || rig.mock.inflight() == 0).await,
        "the upstream is let go"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_bounded() {
    let rig = Rig::with("", "limits: {response: 1MiB}");
    let before = rig.gateway.rss_kib();
    let envelope = rig.chat("fault/endless-body").await.envelope();
    assert!(envelope.is(502, "server_error", "upstream_error"), "{envelope:?}");
    let grown = rig.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    assert!(
        eventually(SOON, || rig.mock.inflight() == 0).await,
        "the upstream is let go"
    );
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn nobody_listening_is_a_502() {
    let world = World::new();
    let gateway = world.gateway("backends: [{name: gone, url: 'http://127.0.0.1:9', health: {enabled: false}}]");
    for body in [chat("mock"), chat_stream("mock")] {
        let response = e2e::client::post(&format!("{}/v1/chat/completions", gateway.url()), body).await;
        let answer = Answer::of(response).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(502, "server_error", "upstream_connect_error"),
            "{envelope:?}"
        );
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
}

#[tokio::test]
async fn hostile_http2_is_a_clean_error_and_the_next_request_is_served() {
    for kind in [
        "settings-flood",
        "ping-flood",
        "continuation-flood",
        "reset-flood",
        "data-flood",
        "empty-data-flood",
        "huge-frame",
        "bad-hpack",
        "go-away",
    ] {
        let world = World::new();
        let hostile = world.mock(&["--hostile-h2", kind]);
        let good = world.mock(&[]);
        let mut gateway = world.gateway(&format!(
            "backends:\n\
             - {{name: hostile, url: '{}', http: http2, health: {{enabled: false}}, {IMPATIENT}}}\n\
             - {{name: good, url: '{}'}}\n\
             models:\n\
             - {{name: bad, routes: [{{backend: hostile}}]}}\n\
             - {{name: mock, routes: [{{backend: good}}]}}\n\
             limits: {{response: 1MiB, sse_line: 1MiB}}\n",
            hostile.url(),
            good.url()
        ));
        let url = format!("{}/v1/chat/completions", gateway.url());
        let before = gateway.rss_kib();
        for body in [chat("bad"), chat_stream("bad")] {
            let answer = Answer::of(e2e::client::post(&url, body).await).await;
            let envelope = answer.envelope();
            assert!(matches!(envelope.status, 502 | 504), "{kind}: {envelope:?}");
            assert_eq!(envelope.kind, "server_error", "{kind}: {envelope:?}");
        }
        let answer = Answer::of(e2e::client::post(&url, chat("mock")).await).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert!(gateway.is_running(), "{kind}");
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < 128 << 10, "{kind}: {grown} KiB");
    }
}

#[tokio::test]
async fn compressed_although_nobody_asked_passes_as_it_is() {
    let rig = Rig::new();
    let answer = rig.chat("fault/gzip").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
    std::io::Read::read_to_end(&mut decoder, &mut plain).expect("it is gzip");
    let value: serde_json::Value = serde_json::from_slice(&plain).expect("it is JSON");
    assert_eq!(value["choices"][0]["finish_reason"], json!("stop"));
}

#[tokio::test]
async fn headers_of_the_upstreams_own_connection_stay_there() {
    let rig = Rig::new();
    let answer = rig.chat("fault/hop-headers").await;
    assert_eq!(answer.status, 200);
    for name in ["keep-alive", "proxy-authenticate", "set-cookie", "server", "connection"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    // The id is the client's, not the upstream's.
    assert!(!answer.header("x-request-id").starts_with("req-mock"));
}
