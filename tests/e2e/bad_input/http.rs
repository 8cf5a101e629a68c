//! Requests that are wrong as HTTP, or for something that is not there.

use e2e::client::{Envelope, client, get, send};
use e2e::{Answer, Rig, raw};

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
