//! Clients that send slowly, or nothing.

use std::time::{Duration, Instant};

use e2e::client::Envelope;
use e2e::wait::SOON;
use e2e::{Rig, raw};

const LIMITS: &str = "limits: {header_read: 1s, body_read: 1s, keep_alive: 2s}";

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_in_time() {
    let rig = Rig::with("", LIMITS);
    for start in [
        "",
        "G",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: loc",
        // The preface of HTTP/2, begun and whole.
        "P",
        "PRI",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let begun = Instant::now();
        let ended = raw::ends_within(rig.gateway.address(), start.as_bytes(), SOON);
        assert!(ended.is_some(), "the connection stays open after {start:?}");
        assert!(seconds(begun) < 15, "{start:?}: {:?}", begun.elapsed());
    }
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let rig = Rig::with("", LIMITS);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for rest in [
        "content-length: 1000\r\n\r\n{\"model\":",
        "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod\r\n",
    ] {
        let begun = Instant::now();
        let request = format!("{head}{rest}");
        let answer = raw::ends_within(rig.gateway.address(), request.as_bytes(), SOON);
        let answer = answer.unwrap_or_else(|| panic!("the connection stays open"));
        let body = serde_json::from_slice(&raw::body(&answer)).expect("JSON");
        let envelope = Envelope::of(raw::status(&answer), &body);
        assert!(envelope.is(408, "timeout_error", "request_timeout"), "{envelope:?}");
        assert!((1..15).contains(&seconds(begun)), "{:?}", begun.elapsed());
    }
    assert_eq!(rig.mock.log().len(), 0);
    assert_eq!(rig.chat("mock").await.status, 200);
}

#[tokio::test]
async fn a_slow_body_that_moves_is_served() {
    let rig = Rig::with("", "limits: {body_read: 3s}");
    let body = e2e::client::chat("mock").into_bytes();
    let pieces: Vec<_> = body.chunks(20).map(<[u8]>::to_vec).collect();
    assert!(pieces.len() >= 4);
    let slow = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async move {
        tokio::time::sleep(Duration::from_millis(800)).await;
        pieces.next().map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
    });
    let begun = Instant::now();
    let answer = rig.chat_of(reqwest::Body::wrap_stream(slow)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(seconds(begun) >= 3, "it took longer than any pause may");
}

/// How long something took, for limits that must be kept and not outrun.
fn seconds(begun: Instant) -> u64 {
    begun.elapsed().as_secs()
}
