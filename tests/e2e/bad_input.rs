//! What a client must not send, and configurations that must not start: each refused in words that help.

use std::io::Write;
use std::time::{Duration, Instant};

use e2e::client::{Envelope, chat, client, get, send};
use e2e::{Answer, Rig, World, raw};

mod config;
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
            let body = chat("mock")
                .replace('}', "}")
                .replacen('{', &format!("{{\"{param}\":{value},"), 1);
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

/// What `content-encoding` brings, as status and code; 200 has none.
async fn encoded(rig: &Rig, encoding: &str, body: Vec<u8>) -> (u16, Option<String>) {
    let answer = Answer::of(send(rig.request(body).header("content-encoding", encoding)).await).await;
    if answer.status == 200 {
        return (200, None);
    }
    let envelope = answer.envelope();
    assert_eq!(envelope.kind, "invalid_request_error", "{envelope:?}");
    (envelope.status, envelope.code)
}

fn refusal(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// A frame of one raw block (RFC 8878 section 3.1.1): nothing is compressed, all is framed.
fn zstd(plain: &[u8]) -> Vec<u8> {
    let length = u8::try_from(plain.len()).expect("the size fits the one byte of this frame's header");
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length][..], &block[..3], plain].concat()
}

/// A frame of one block that says "this byte, so many times" (RFC 8878 section 3.1.1.2.2).
fn zstd_bomb(size: u32) -> Vec<u8> {
    // Blocks may hold 128 KiB each; the window is said to be 1 MiB.
    let count = size / (128 << 10);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    for nth in 1..=count {
        let last = u32::from(nth == count);
        let block = ((128_u32 << 10) << 3 | 1 << 1 | last).to_le_bytes();
        frame.extend_from_slice(&block[..3]);
        frame.push(b' ');
    }
    frame
}

/// A stream of one uncompressed meta-block (RFC 7932 section 9.2) and the empty last one.
fn brotli(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).expect("a short text") - 1;
    let head = (0x0b | length << 7 | 1 << 23).to_le_bytes();
    [&head[..3], plain, &[0x03]].concat()
}

#[tokio::test]
async fn compressed_bodies_are_read_and_forwarded_plain() {
    let rig = small();
    let plain = chat("mock");
    for (encoding, body) in [
        ("gzip", gzip(plain.as_bytes())),
        ("x-gzip", gzip(plain.as_bytes())),
        ("GZIP", gzip(plain.as_bytes())),
        ("deflate", zlib(plain.as_bytes())),
        ("zstd", zstd(plain.as_bytes())),
        ("br", brotli(plain.as_bytes())),
        ("identity", plain.clone().into_bytes()),
    ] {
        rig.mock.reset();
        assert_eq!(encoded(&rig, encoding, body).await, (200, None), "{encoding}");
        let seen = rig.mock.only();
        assert_eq!(seen["body"], plain.as_str(), "{encoding}");
        assert!(seen["headers"].get("content-encoding").is_none(), "{encoding}: {seen}");
    }
}

#[tokio::test]
async fn a_bad_or_unknown_compression_is_refused() {
    let rig = small();
    for encoding in ["gzip", "deflate", "zstd", "br"] {
        let refused = encoded(&rig, encoding, b"certainly not compressed".to_vec()).await;
        assert_eq!(refused, refusal(400, "invalid_encoding"), "{encoding}");
    }
    let plain = chat("mock");
    for (encoding, mut body) in [
        ("gzip", gzip(plain.as_bytes())),
        ("zstd", zstd(plain.as_bytes())),
        ("br", brotli(plain.as_bytes())),
    ] {
        body.truncate(body.len() / 2);
        assert_eq!(
            encoded(&rig, encoding, body).await,
            refusal(400, "invalid_encoding"),
            "half of {encoding}"
        );
    }
    for encoding in ["compress", "gzip, gzip", "gzip, br", "lzma"] {
        let refused = encoded(&rig, encoding, gzip(plain.as_bytes())).await;
        assert_eq!(refused, refusal(415, "unsupported_encoding"), "{encoding}");
    }
}

#[tokio::test]
async fn a_bomb_is_a_413_and_costs_little_memory() {
    let rig = small();
    assert_eq!(rig.chat("mock").await.status, 200);
    let before = rig.gateway.rss_kib();
    let zeros = vec![b' '; 48 << 20];
    for (encoding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("zstd", zstd_bomb(48 << 20)),
    ] {
        assert!(bomb.len() < 64 << 10, "{encoding}: the bomb itself is within the cap");
        assert_eq!(
            encoded(&rig, encoding, bomb).await,
            refusal(413, "request_too_large"),
            "{encoding}"
        );
    }
    let grown = rig.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB");
}

#[tokio::test]
async fn a_request_without_a_good_key_is_a_401() {
    let rig = Rig::with("", KEYS);
    for (name, value) in [
        ("x-nothing", "here"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer sk-wrong"),
        ("authorization", "Bearer sk-eve-0123456789"),
        ("authorization", "Basic c2stYWxpY2U="),
        ("authorization", "sk-alice-0123456789"),
        ("api-key", "sk-wrong"),
        ("x-api-key", ""),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(401, "invalid_request_error", "invalid_api_key"),
            "{name}: {envelope:?}"
        );
        assert!(!answer.text().contains("sk-"), "{}", answer.text());
        assert!(!answer.header("x-request-id").is_empty());
        let models = Answer::of(send(client().get(rig.url("/v1/models")).header(name, value)).await).await;
        assert_eq!(models.envelope().status, 401);
    }
    assert_eq!(rig.mock.log().len(), 0);
    for (name, value) in [
        ("authorization", "Bearer sk-alice-0123456789"),
        ("authorization", "bearer sk-alice-0123456789"),
        ("api-key", "sk-alice-0123456789"),
        ("x-api-key", "sk-alice-0123456789"),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_is_read() {
    let rig = Rig::with("", KEYS);
    // A megabyte is announced and never sent.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
    let answer = raw::ends_within(rig.gateway.address(), head.as_bytes(), Duration::from_secs(5));
    let answer = answer.unwrap_or_else(|| panic!("the connection stays open"));
    assert_eq!(raw::status(&answer), 401);
}

const MODELS: &str =
    "models:\n  - {name: mock, routes: [{backend: only}]}\n  - {name: other, routes: [{backend: only, model: mock}]}\n";

#[tokio::test]
async fn unknown_and_forbidden_models_are_told_apart() {
    let rig = Rig::with("", &format!("{KEYS}{MODELS}"));
    let ask = async |key: &str, model: &str| {
        let request = rig.request(chat(model)).bearer_auth(key);
        Answer::of(send(request).await).await
    };
    let unknown = ask("sk-alice-0123456789", "gpt-9").await.envelope();
    assert!(
        unknown.is(404, "invalid_request_error", "model_not_found"),
        "{unknown:?}"
    );
    assert_eq!(unknown.param.as_deref(), Some("model"));
    assert!(unknown.message.contains("'gpt-9'"), "{unknown:?}");
    let forbidden = ask("sk-bob-0123456789", "mock").await.envelope();
    assert!(
        forbidden.is(403, "permission_error", "model_not_allowed"),
        "{forbidden:?}"
    );
    assert_eq!(forbidden.param.as_deref(), Some("model"));
    assert_eq!(ask("sk-bob-0123456789", "other").await.status, 200);
    // A name that is a novel is not repeated whole.
    let novel = ask("sk-alice-0123456789", &"x".repeat(10_000)).await;
    assert!(novel.text().len() < 1000, "{}", novel.text());

    let list = Answer::of(send(client().get(rig.url("/v1/models")).bearer_auth("sk-bob-0123456789")).await)
        .await
        .json();
    let ids: Vec<_> = list["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(ids, ["other"], "{list}");
}

#[tokio::test]
async fn unknown_urls_are_named() {
    let rig = Rig::new();
    for path in [
        "/v1/nothing",
        "/",
        "/v1",
        "/v2/chat/completions",
        "/v1/chat",
        "/v1/files/../../admin",
        "/metrics",
        "/%2e%2e",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let response = raw::exchange(rig.gateway.address(), request.as_bytes());
        if path == "/" && raw::status(&response) != 404 {
            continue;
        }
        let body = serde_json::from_slice(&raw::body(&response)).expect("JSON");
        let envelope = Envelope::of(raw::status(&response), &body);
        assert!(
            envelope.is(404, "invalid_request_error", "unknown_url"),
            "{path}: {envelope:?}"
        );
        assert!(
            envelope.message.contains(&format!("GET {path}")),
            "{path}: {envelope:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_allows_the_right_one() {
    let rig = Rig::new();
    // GET of chat completions lists stored ones, which is for the upstream to answer.
    for path in ["/v1/embeddings", "/v1/completions", "/v1/responses"] {
        let answer = Answer::of(get(&rig.url(path)).await).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(405, "invalid_request_error", "method_not_allowed"),
            "{path}: {envelope:?}"
        );
        assert_eq!(answer.header("allow"), "POST");
    }
    let answer = Answer::of(send(client().post(rig.url("/v1/models")).body("{}")).await).await;
    assert_eq!((answer.envelope().status, answer.header("allow")), (405, "GET"));
    let trace = b"TRACE /v1/files HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(rig.gateway.address(), trace)), 405);
}

#[tokio::test]
async fn a_flood_of_headers_is_refused_and_survived() {
    let mut rig = Rig::new();
    let flood = |count: usize, size: usize| {
        let headers: String = (0..count)
            .map(|nth| format!("x-flood-{nth}: {}\r\n", "v".repeat(size)))
            .collect();
        format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
    };
    for (count, size) in [(100_000, 10), (2, 1 << 20), (99, 4096)] {
        let response = raw::exchange(rig.gateway.address(), flood(count, size).as_bytes());
        if !response.is_empty() {
            assert_eq!(raw::status(&response), 431, "{count} x {size}");
        }
    }
    assert!(rig.gateway.is_running());
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_survived() {
    let mut rig = Rig::new();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nffffffffffffffff1\r\n",
    ] {
        let response = raw::exchange_and_close(rig.gateway.address(), bytes);
        if !response.is_empty() {
            let status = raw::status(&response);
            assert!((400..500).contains(&status), "{status} for {:?}", String::from_utf8_lossy(bytes));
        }
    }
    assert!(rig.gateway.is_running());
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_forwarded() {
    let rig = Rig::new();
    let half = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"model\":\"mock\",";
    drop(raw::exchange_and_close(rig.gateway.address(), half.as_bytes()));
    assert_eq!(rig.chat("mock").await.status, 200);
    assert_eq!(rig.mock.log().len(), 1);
}

/// How long something took, for limits that must be kept and not outrun.
fn seconds(begun: Instant) -> u64 {
    begun.elapsed().as_secs()
}

#[tokio::test]
async fn an_unwelcome_host_or_page_is_refused_where_no_keys_are() {
    let rig = Rig::new();
    for (name, value, code) in [
        ("host", "rebound.example:80", "foreign_host"),
        ("origin", "https://evil.example", "foreign_origin"),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        let envelope = answer.envelope();
        assert!(envelope.is(403, "permission_error", code), "{name}: {envelope:?}");
    }
    assert_eq!(rig.mock.log().len(), 0);
    let world = World::new();
    let refused = world.gateway_error("listen: 0.0.0.0:0\nbackends: [{name: a, url: 'http://127.0.0.1:1'}]");
    assert!(refused.contains("keys"), "{refused}");
}
