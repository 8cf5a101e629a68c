//! What a client must not send, and configurations that must not start: each refused in words that help.

use e2e::client::{chat, client, send};
use e2e::{Answer, Rig};

mod access;
mod compressed;
mod config;
mod forms;
mod http;
mod slow;

const KEYS: &str = "keys:\n  - {name: alice, secret: sk-alice-0123456789}\n  - {name: bob, secret: sk-bob-0123456789, models: [other]}\n  - {name: eve, secret: sk-eve-0123456789, disabled: true}\n";

/// The same request must be refused again after a good one: nothing may be left behind.
async fn assert_refused(rig: &Rig, body: impl Into<reqwest::Body>, status: u16, code: &str, param: Option<&str>) {
    let answer = rig.chat_of(body).await;
    let envelope = answer.envelope();
    assert!(envelope.is(status, "invalid_request_error", code), "{envelope:?}");
    assert_eq!(envelope.param.as_deref(), param, "{envelope:?}");
    assert!(!envelope.message.is_empty());
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_chat_request_is_a_400_that_says_why() {
    let rig = Rig::new();
    for (body, code, param) in [
        ("", "invalid_json", None),
        ("hello", "invalid_json", None),
        ("{", "invalid_json", None),
        (r#"{"model":"mock","messages":[]"#, "invalid_json", None),
        (r#"{"model":"mock","messages":[],}"#, "invalid_json", None),
        (r#"{"model":"mock","messages":[]} x"#, "invalid_json", None),
        ("[]", "invalid_json", None),
        ("null", "invalid_json", None),
        ("\"text\"", "invalid_json", None),
        ("{}", "missing_required_parameter", Some("messages")),
        (r#"{"model":"mock"}"#, "missing_required_parameter", Some("messages")),
        (r#"{"messages":[]}"#, "missing_required_parameter", Some("model")),
        (
            r#"{"model":"","messages":[]}"#,
            "missing_required_parameter",
            Some("model"),
        ),
        (r#"{"model":7,"messages":[]}"#, "invalid_type", Some("model")),
        (r#"{"model":null,"messages":[]}"#, "invalid_type", Some("model")),
        (r#"{"model":"mock","messages":"hi"}"#, "invalid_type", Some("messages")),
        (r#"{"model":"mock","messages":{}}"#, "invalid_type", Some("messages")),
        (
            r#"{"model":"mock","messages":[],"stream":"yes"}"#,
            "invalid_type",
            Some("stream"),
        ),
        (
            r#"{"model":"mock","messages":[],"stream_options":1}"#,
            "invalid_type",
            Some("stream_options"),
        ),
        (
            r#"{"model":"mock","messages":[],"model":"other"}"#,
            "duplicate_parameter",
            None,
        ),
        (
            r#"{"model":"mock","messages":[],"m\u006fdel":"other"}"#,
            "duplicate_parameter",
            None,
        ),
        (
            r#"{"model":"mock","messages":[],"x":1,"x":2}"#,
            "duplicate_parameter",
            None,
        ),
        (
            r#"{"model":"mock","messages":[],"stream":true,"stream_options":{"include_usage":true,"include_usage":false}}"#,
            "duplicate_parameter",
            None,
        ),
    ] {
        assert_refused(&rig, body, 400, code, param).await;
    }
    // None of it was seen by an upstream, and the next request is none the worse.
    assert_eq!(rig.mock.log().len(), 0, "{:#?}", rig.mock.log());
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_message_names_the_place_and_not_the_prompt() {
    let rig = Rig::new();
    let answer = rig.chat_of("{\"model\":\"mock\",\n \"messages\": [secretword]}").await;
    let envelope = answer.envelope();
    assert!(envelope.message.contains("line 2"), "{envelope:?}");
    assert!(!answer.text().contains("secretword"), "{envelope:?}");
}

#[tokio::test]
async fn numbers_out_of_their_range_are_refused_by_name() {
    let rig = Rig::new();
    for (param, values) in [
        (
            "max_tokens",
            &[
                "-1",
                "1.5",
                "1e400",
                "99999999999",
                "18446744073709551616",
                "\"5\"",
                "[]",
            ][..],
        ),
        ("max_completion_tokens", &["-5", "4294967296", "true"][..]),
        ("n", &["0", "-1", "129", "2.5", "\"2\""][..]),
    ] {
        for value in values {
            let body = chat("mock").replacen('{', &format!("{{\"{param}\":{value},"), 1);
            let envelope = rig.chat_of(body).await.envelope();
            assert_eq!(
                (envelope.status, envelope.kind.as_str()),
                (400, "invalid_request_error"),
                "{param} {value}"
            );
            assert_eq!(envelope.param.as_deref(), Some(param), "{value}: {envelope:?}");
            assert!(
                matches!(envelope.code.as_deref(), Some("invalid_value" | "invalid_type")),
                "{param} {value}: {envelope:?}"
            );
        }
    }
    assert_eq!(rig.mock.log().len(), 0);
    for fine in ["\"max_tokens\":1,", "\"max_tokens\":null,", "\"n\":128,", "\"n\":1,"] {
        let answer = rig.chat_of(chat("mock").replacen('{', &format!("{{{fine}"), 1)).await;
        assert_eq!(answer.status, 200, "{fine} {}", answer.text());
    }
}

#[tokio::test]
async fn nesting_ends_at_64() {
    let rig = Rig::new();
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        chat("mock").replacen('{', &format!("{{\"x\":{open}{close},"), 1)
    };
    assert_eq!(rig.chat_of(nested(64)).await.status, 200);
    assert_refused(&rig, nested(65), 400, "invalid_json", None).await;
    assert_refused(&rig, nested(100_000), 400, "invalid_json", None).await;
    // Brackets within a string nest nothing.
    let text = chat("mock").replace("Say hello", &"[".repeat(1000));
    assert_eq!(rig.chat_of(text).await.status, 200);
}

#[tokio::test]
async fn a_body_must_be_utf8() {
    let rig = Rig::new();
    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        let whole = chat("mock").into_bytes();
        let at = whole
            .windows(3)
            .position(|window| window == b"Say")
            .expect("the question is in it");
        let body = [&whole[..at], bytes, &whole[at..]].concat();
        assert_refused(&rig, body, 400, "invalid_json", None).await;
    }
}

/// A gateway that takes 64 KiB at most.
fn small() -> Rig {
    Rig::with("", "limits: {body: 64KiB, decompressed: 64KiB, upload: 1MiB}")
}

fn padded(length: usize) -> String {
    chat("mock").replace("Say hello", &"a ".repeat(length / 2))
}

#[tokio::test]
async fn a_body_over_the_cap_is_a_413() {
    let rig = small();
    assert_eq!(rig.chat_of(padded(60 << 10)).await.status, 200);
    assert_refused(&rig, padded(70 << 10), 413, "request_too_large", None).await;
    assert_refused(&rig, padded(3 << 20), 413, "request_too_large", None).await;
    // In pieces, so that no length is announced.
    let pieces = std::iter::repeat_n("a".repeat(1 << 10), 200).map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    assert_refused(&rig, body, 413, "request_too_large", None).await;
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let rig = Rig::with("", &format!("{KEYS}limits: {{body: 64KiB, upload: 9MiB}}\n"));
    for size in [100 << 10, 1 << 20, 8 << 20, 16 << 20] {
        for (path, key, status) in [
            ("/v1/chat/completions", "sk-wrong", 401),
            ("/v1/nothing", "sk-alice-0123456789", 404),
            ("/v1/chat/completions", "sk-alice-0123456789", 413),
        ] {
            // A body that announces more than any endpoint takes is refused first of all.
            let status = if size > 9 << 20 { 413 } else { status };
            let request = client().post(rig.url(path)).bearer_auth(key).body(padded(size));
            let answer = Answer::of(send(request.header("content-type", "application/json")).await).await;
            assert_eq!(answer.envelope().status, status, "{path} with {size} bytes");
        }
    }
}
