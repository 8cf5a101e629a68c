//! What a tester asks the mock about itself, its key, and its end.

use std::time::Duration;

use backends_mock::Config;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::client::{Mock, chat, send_chat};

#[tokio::test]
async fn requests_are_written_down_and_forgotten() {
    let mock = Mock::start().await;
    let body = chat("mock", false).to_string();
    let headers = "x-one: 1\r\nx-one: 2\r\nauthorization: Bearer abc\r\n";
    assert_eq!(
        mock.send("POST", "/v1/chat/completions?a=b", headers, body.as_bytes())
            .await
            .status(),
        200
    );
    let log = mock.get("/_log").await;
    assert_eq!(log.as_array().map(Vec::len), Some(1));
    assert_eq!(log[0]["path"], "/v1/chat/completions?a=b");
    assert_eq!(log[0]["body"], body);
    assert_eq!(log[0]["headers"]["x-one"], "1, 2");
    assert_eq!(log[0]["headers"]["authorization"], "Bearer abc");
    assert_eq!(mock.get("/_counts").await, json!({"POST /v1/chat/completions mock": 1}));
    assert_eq!(mock.get("/_cancelled").await, json!({"cancelled": 0, "completed": 1}));
    mock.post("/_reset", &json!({})).await;
    assert_eq!(mock.get("/_log").await, json!([]));
    assert_eq!(mock.get("/_counts").await, json!({}));
}

#[tokio::test]
async fn the_log_is_bounded() {
    let mock = Mock::start().await;
    let long = json!({"model": "mock", "input": "x".repeat(100_000)});
    mock.post("/v1/embeddings", &long).await;
    let log = mock.get("/_log").await;
    assert_eq!(log[0]["body"].as_str().map(str::len), Some(64 << 10));
    assert!(log[0]["body_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000));
    for _ in 0..505 {
        mock.get("/v1/models").await;
    }
    let log = mock.get("/_log").await;
    assert_eq!((log.as_array().map(Vec::len), &log[0]["seq"]), (Some(500), &json!(6)));
}

#[tokio::test]
async fn a_required_key_is_required() {
    let mock = Mock::with(Config {
        models: Vec::new(),
        chunk_delay: Duration::ZERO,
        require_key: Some("right".into()),
    })
    .await;
    let body = chat("mock", false).to_string();
    for (header, status) in [
        ("", 401),
        ("authorization: Bearer wrong\r\n", 401),
        ("authorization: right\r\n", 401),
        ("authorization: Bearer right\r\n", 200),
        ("api-key: right\r\n", 200),
    ] {
        let answer = mock.send("POST", "/v1/chat/completions", header, body.as_bytes()).await;
        assert_eq!(answer.status(), status, "{header}");
    }
    assert_eq!(mock.send("GET", "/_log", "", b"").await.status(), 401);
    assert_eq!(mock.send("GET", "/health", "", b"").await.status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_counted() {
    let mock = Mock::start().await;
    let mut socket = mock.connect().await;
    send_chat(&mut socket, "fault/tokens-1000000+slow-1", true)
        .await
        .expect("sent");
    let mut some = [0; 2048];
    socket.read_exact(&mut some).await.expect("the stream runs");
    assert_eq!(mock.get("/_inflight").await["inflight"], 1);
    drop(socket);
    assert_eq!(mock.cancelled().await, 1);
}

#[tokio::test]
async fn it_stops_although_a_request_hangs() {
    let mock = Mock::start().await;
    let mut socket = mock.connect().await;
    send_chat(&mut socket, "fault/hang", false).await.expect("sent");
    mock.wait_for_open(1).await;
    mock.stop().await.expect("it stops");
    // Nothing was answered, and the connection is gone.
    assert!(matches!(socket.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[test]
fn a_config_does_not_show_its_key() {
    let config = Config {
        models: Vec::new(),
        chunk_delay: Duration::ZERO,
        require_key: Some("secret".into()),
    };
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret") && shown.contains('6'), "{shown}");
}
