//! HTTP/1.1 and HTTP/2, in and out, in the clear.

use e2e::client::{chat, chat_stream, request, send};
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Rig, raw};
use reqwest::{Client, Version};

use crate::count;

/// A client that speaks HTTP/2 from the first byte (RFC 9113 section 3.3).
fn http2() -> Client {
    let client = Client::builder().http2_prior_knowledge().no_proxy().timeout(SOON);
    client
        .build()
        .expect("a client without TLS needs nothing of the system")
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let rig = Rig::with("health: {enabled: false}", "");
    count::settled([&rig.mock]).await;
    let client = http2();
    let post = |body: String| {
        let request = client
            .post(rig.url("/v1/chat/completions"))
            .header("content-type", "application/json");
        request.body(body)
    };
    let response = send(post(chat("mock"))).await;
    assert_eq!(response.version(), Version::HTTP_2);
    let answer = Answer::of(response).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("transfer-encoding"), "");

    let stream = Stream::of(send(post(chat_stream("mock"))).await).await;
    assert!(stream.is_done());
    let cut = Stream::of(send(post(chat_stream("fault/cut"))).await).await;
    assert_eq!(cut.error().code.as_deref(), Some("upstream_error"));
    let refused = Answer::of(send(post("{".to_owned())).await).await;
    assert_eq!(refused.envelope().status, 400);

    // Many at once on one connection, none in the way of another.
    let slow = send(post(chat_stream("fault/slow-500+tokens-20"))).await;
    let quick: Vec<_> = (0..20).map(|_| send(post(chat("mock")))).collect();
    for response in futures_util::future::join_all(quick).await {
        assert_eq!(response.status(), 200);
    }
    assert_eq!(rig.mock.inflight(), 1, "the slow one still runs");
    assert!(Stream::of(slow).await.is_done());
}

#[tokio::test]
async fn http2_is_spoken_to_an_upstream_that_is_said_to_know_it() {
    let rig = Rig::with("http: http2", "");
    let answer = rig.chat("mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(rig.stream("mock").await.is_done());
    let log = rig.mock.log();
    assert!(log.iter().all(|entry| entry["version"] == "HTTP/2.0"), "{log:#?}");
    // The faults of a stream, where the socket is shared: one stream is reset, the others live.
    let slow = send(rig.request(chat_stream("fault/slow-300"))).await;
    let cut = rig.stream("fault/cut").await;
    assert!(cut.error().code.is_some());
    assert_eq!(rig.chat("fault/reset").await.envelope().status, 502);
    assert!(Stream::of(slow).await.is_done());
}

#[tokio::test]
async fn http1_is_spoken_in_the_clear_unless_said_otherwise() {
    let rig = Rig::new();
    assert_eq!(rig.chat("mock").await.status, 200);
    assert_eq!(rig.mock.only()["version"], "HTTP/1.1");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let rig = Rig::new();
    let client = e2e::client::client();
    for _ in 0..50 {
        let response = client
            .post(rig.url("/v1/chat/completions"))
            .body(chat("mock"))
            .send()
            .await;
        let answer = Answer::of(response.unwrap_or_else(|error| panic!("{error:?}"))).await;
        assert_eq!(answer.status, 200);
    }
    // Two requests in one write are answered in their order.
    let body = chat("mock");
    let one = |id: &str, close: &str| {
        let length = body.len();
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n{close}\r\n{body}"
        )
    };
    let both = one("first", "") + &one("second", "connection: close\r\n");
    let answers = String::from_utf8_lossy(&raw::exchange(rig.gateway.address(), both.as_bytes())).into_owned();
    let place = |id: &str| answers.find(&format!("x-request-id: {id}"));
    assert!(
        place("first").is_some() && place("first") < place("second"),
        "{answers}"
    );
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

#[tokio::test]
async fn an_expectation_is_met() {
    let rig = Rig::new();
    let body = chat("mock");
    let answer = send(request(&rig.url("/v1/chat/completions"), body).header("expect", "100-continue")).await;
    assert_eq!(answer.status(), 200);
    assert!(rig.mock.only()["headers"].get("expect").is_none());
}
