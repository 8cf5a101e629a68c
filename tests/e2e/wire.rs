//! Streams: what reaches the client, whatever an upstream writes.
//!
//! The mock's modes are the faults that real servers have; `mulberry mock --modes` says what each does.

use e2e::client::{chat_stream, send};
use e2e::sse::Stream;
use e2e::{Rig, Scripted, World, eventually, wait::SOON};
use serde_json::{Value, json};

use crate::count;

mod contents;

/// What the mock says to the question that all these tests ask.
async fn plain(rig: &Rig) -> String {
    let answer = rig.chat("mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let content = answer.json()["choices"][0]["message"]["content"].clone();
    content
        .as_str()
        .expect("the friendly engine answers with text")
        .to_owned()
}

/// The stream is whole, says what an unbroken upstream says, and is written as we write.
#[track_caller]
fn assert_whole(mode: &str, stream: &Stream, content: &str) {
    assert_eq!(stream.content(), content, "{mode}: {}", stream.text);
    assert_eq!(
        stream.finish_reason().as_deref(),
        Some("stop"),
        "{mode}: {}",
        stream.text
    );
    assert!(stream.is_done(), "{mode}: {}", stream.text);
}

#[tokio::test]
async fn every_way_to_write_events_reaches_the_client_as_one() {
    let rig = Rig::new();
    let content = plain(&rig).await;
    for mode in [
        "ok",
        "crlf",
        "cr",
        "split",
        "split+crlf",
        "split+cr",
        "no-space",
        "multi-line",
        "multi-line+crlf",
        "bom",
        "comment",
        "comment+split",
        "empty-event",
        "azure-filter",
        "unterminated",
        "hold-open",
        "no-done",
        "reasoning",
        "unknown",
        "obfuscation",
        "usage-in-last",
        "no-usage",
        "usage-null-last",
        "cached",
        "bad-content-type",
        "early-hints",
    ] {
        let stream = rig.stream(&format!("fault/{mode}")).await;
        assert_whole(mode, &stream, &content);
    }
}

#[tokio::test]
async fn text_of_many_bytes_per_letter_survives_being_cut_anywhere() {
    let text = "naïve 日本語 🍓 ‏עברית‏ e\u{301}";
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
        )
    };
    let events = chunk(json!({"content": text}), Value::Null) + &chunk(json!({}), json!("stop")) + "data: [DONE]\n\n";
    // One chunk of HTTP for each byte.
    let pieces: Vec<u8> = events
        .bytes()
        .flat_map(|byte| [b"1\r\n", &[byte, b'\r', b'\n'][..]].concat())
        .collect();
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let upstream = Scripted::answering([&head[..], &pieces, b"0\r\n\r\n"].concat());
    let world = World::new();
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", upstream.url()));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let stream = Stream::of(e2e::client::post(&url, chat_stream("m")).await).await;
    assert_eq!(stream.text, events);
}

#[tokio::test]
async fn comments_pass_and_pings_do_not() {
    let rig = Rig::new();
    let comments = rig.stream("fault/comment").await;
    assert!(comments.comments() > 0, "{}", comments.text);
    let pings = rig.stream("fault/empty-event").await;
    assert!(!pings.text.contains("ping"), "{}", pings.text);
    assert_eq!(pings.names(), Vec::<String>::new());
}

#[tokio::test]
async fn azures_first_chunk_passes() {
    let rig = Rig::new();
    let stream = rig.stream("fault/azure-filter").await;
    let first = &stream.chunks()[0];
    assert_eq!(first["choices"], json!([]), "{}", stream.text);
    assert!(first["prompt_filter_results"].is_array(), "{}", stream.text);
}

#[tokio::test]
async fn the_body_ends_right_after_done() {
    let rig = Rig::new();
    let begun = std::time::Instant::now();
    let stream = rig.stream("fault/hold-open").await;
    assert!(stream.is_done());
    // The mock holds its own side open for 3 s.
    assert!(begun.elapsed().as_millis() < 2500, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn done_is_added_only_after_a_finish_reason() {
    let rig = Rig::new();
    let added = rig.stream("fault/no-done").await;
    assert!(added.is_done(), "{}", added.text);
    let cut = rig.stream("fault/clean-cut").await;
    assert!(!cut.is_done(), "{}", cut.text);
}

#[tokio::test]
async fn a_clean_end_without_a_finish_reason_is_an_error() {
    let rig = Rig::new();
    let content = plain(&rig).await;
    let stream = rig.stream("fault/clean-cut").await;
    let error = stream.error();
    assert!(error.is(0, "server_error", "stream_truncated"), "{error:?}");
    assert_text_is_kept(&stream, &content);
}

#[tokio::test]
async fn a_cut_connection_is_an_error_event_after_the_text() {
    let rig = Rig::new();
    let content = plain(&rig).await;
    for mode in ["cut", "cut-fin", "bad-chunked"] {
        let stream = rig.stream(&format!("fault/{mode}")).await;
        let error = stream.error();
        assert!(error.is(0, "server_error", "upstream_error"), "{mode}: {error:?}");
        assert_eq!(stream.finish_reason(), None, "{mode}: {}", stream.text);
        if mode != "bad-chunked" {
            assert_text_is_kept(&stream, &content);
        }
    }
}

#[track_caller]
fn assert_text_is_kept(stream: &Stream, content: &str) {
    let kept = stream.content();
    assert!(
        !kept.is_empty() && content.starts_with(&kept),
        "{kept:?} of {content:?}"
    );
    assert_ne!(kept, content);
}

#[tokio::test]
async fn an_upstreams_error_event_passes_in_our_envelope() {
    let rig = Rig::new();
    let content = plain(&rig).await;
    for mode in [
        "err-data",
        "err-data-no-done",
        "err-event",
        "err-data+crlf",
        "err-event+split",
    ] {
        let stream = rig.stream(&format!("fault/{mode}")).await;
        let error = stream.error();
        assert!(
            !error.message.is_empty() && !error.message.contains("gateway"),
            "{mode}: {error:?}"
        );
        assert_text_is_kept(&stream, &content);
    }
}

#[tokio::test]
async fn an_error_inside_a_chunk_becomes_an_error_event_of_its_own() {
    let rig = Rig::new();
    let stream = rig.stream("fault/err-choices").await;
    let error = stream.error();
    assert_eq!(error.message, "Provider disconnected");
    assert_eq!(error.code.as_deref(), Some("server_error"));
    assert!(
        stream
            .chunks()
            .iter()
            .all(|chunk| chunk["choices"][0]["finish_reason"] != "error")
    );
}

#[tokio::test]
async fn an_error_as_the_first_event_is_an_answer_with_a_status() {
    let rig = Rig::new();
    for mode in ["err-first", "err-first+comment"] {
        let answer = rig.chat_of(chat_stream(&format!("fault/{mode}"))).await;
        let envelope = answer.envelope();
        assert_eq!(envelope.status, 502, "{mode}: {envelope:?}");
        assert!(!envelope.message.is_empty());
    }
}

#[tokio::test]
async fn a_stream_that_failed_is_recorded_as_failed() {
    let rig = Rig::new();
    for mode in ["clean-cut", "cut", "err-data"] {
        drop(rig.stream(&format!("fault/{mode}")).await);
    }
    let written = eventually(SOON, || {
        rig.gateway.database().exists() && rig.gateway.records().len() >= 3
    });
    assert!(written.await);
    let records = rig.gateway.records();
    let failed = records.iter().filter(|record| record.contains("failed"));
    assert_eq!(failed.count(), 3, "{records:#?}");
}

#[tokio::test]
async fn a_bare_line_of_json_never_reaches_the_client() {
    let rig = Rig::new();
    let stream = rig.stream("fault/bare").await;
    // Reading it asserts that each line is one of an event stream.
    let chunks = stream.chunks();
    assert!(!chunks.is_empty());
}

#[tokio::test]
async fn an_event_without_end_is_bounded() {
    let rig = Rig::with("", "limits: {sse_line: 256KiB}");
    let before = rig.gateway.rss_kib();
    let stream = rig.stream("fault/endless-line").await;
    let error = stream.error();
    assert!(error.is(0, "server_error", "upstream_error"), "{error:?}");
    assert!(!stream.content().is_empty(), "the text before it is kept");
    let grown = rig.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    assert!(
        eventually(SOON, || rig.mock.inflight() == 0).await,
        "the upstream is let go"
    );
}

#[tokio::test]
async fn each_event_is_passed_on_as_it_comes() {
    let rig = Rig::with("health: {enabled: false}", "");
    count::settled([&rig.mock]).await;
    let response = send(rig.request(chat_stream("fault/slow-300+tokens-4"))).await;
    let mut response = response;
    let first = response
        .chunk()
        .await
        .expect("the stream begins")
        .expect("it is not empty");
    // The upstream is still speaking: nothing waited for its end.
    assert_eq!(rig.mock.inflight(), 1);
    assert!(first.starts_with(b"data: ") && first.ends_with(b"\n\n"), "{first:?}");
    let mut count = 1;
    while let Some(piece) = response.chunk().await.expect("the stream goes on") {
        assert!(piece.ends_with(b"\n\n"), "an event is not cut: {piece:?}");
        count += 1;
    }
    // Role, four words, then the end.
    assert!(count >= 5, "{count} pieces");
}

#[tokio::test]
async fn a_stream_has_the_headers_of_one() {
    let rig = Rig::new();
    let response = send(rig.request(chat_stream("mock"))).await;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().to_owned())
    };
    assert_eq!(
        header("content-type").as_deref(),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(header("cache-control").as_deref(), Some("no-cache"));
    assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(header("content-length"), None);
    assert_eq!(header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(header("content-encoding"), None);
}

#[tokio::test]
async fn legacy_completions_stream_under_the_same_rules() {
    let rig = Rig::new();
    let body = |mode: &str| format!(r#"{{"model":"fault/{mode}","prompt":"Say hello","stream":true}}"#);
    let ask = async |mode: &str| Stream::of(e2e::client::post(&rig.url("/v1/completions"), body(mode)).await).await;
    let whole = ask("ok").await;
    assert!(
        whole.is_done() && whole.finish_reason().as_deref() == Some("stop"),
        "{}",
        whole.text
    );
    assert!(ask("no-done").await.is_done());
    let cut = ask("clean-cut").await.error();
    assert!(cut.is(0, "server_error", "stream_truncated"), "{cut:?}");
    let broken = ask("cut").await.error();
    assert!(broken.is(0, "server_error", "upstream_error"), "{broken:?}");
}

#[tokio::test]
async fn a_responses_stream_is_typed_events_and_ends_with_one() {
    let rig = Rig::new();
    let body = |mode: &str| format!(r#"{{"model":"fault/{mode}","input":"Say hello","stream":true}}"#);
    let ask = async |mode: &str| Stream::of(e2e::client::post(&rig.url("/v1/responses"), body(mode)).await).await;
    let whole = ask("ok").await;
    assert_eq!(
        whole.names().last().map(String::as_str),
        Some("response.completed"),
        "{}",
        whole.text
    );
    let numbers = |stream: &Stream| -> Vec<u64> {
        let events = stream
            .data()
            .into_iter()
            .filter_map(|data| serde_json::from_str::<Value>(&data).ok());
        events.filter_map(|event| event["sequence_number"].as_u64()).collect()
    };
    let count = numbers(&whole).len() as u64;
    assert_eq!(numbers(&whole), (0..count).collect::<Vec<_>>());

    let cut = ask("clean-cut").await;
    assert_eq!(cut.names().last().map(String::as_str), Some("error"), "{}", cut.text);
    let last: Value = serde_json::from_str(&cut.data().pop().unwrap_or_default()).expect("JSON");
    assert_eq!(
        (&last["type"], &last["code"]),
        (&json!("error"), &json!("stream_truncated")),
        "{last}"
    );
    let count = numbers(&cut).len() as u64;
    assert_eq!(
        numbers(&cut),
        (0..count).collect::<Vec<_>>(),
        "the error continues the numbers"
    );
}
