//! Every fault as its client sees it.

use std::io::Read;
use std::time::{Duration, Instant};

use backends_mock::modes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::client::{End, Mock, PATIENCE, chat, find, read, send_chat};

#[tokio::test]
async fn streams_break_where_they_should() {
    let mock = Mock::start().await;
    // Mode, end of the connection, whether the body came to its own end, whether [DONE] came.
    for (mode, end, whole, done) in [
        ("cut", End::Reset, false, false),
        ("cut-fin", End::Closed, false, false),
        ("clean-cut", End::Closed, true, false),
        ("err-data", End::Closed, true, true),
        ("err-data-no-done", End::Closed, true, false),
        ("err-event", End::Closed, true, true),
        ("err-choices", End::Closed, true, true),
    ] {
        let answer = mock.chat(&format!("fault/{mode}"), true).await;
        assert_eq!(answer.content(), "I am", "{mode}");
        assert_eq!((&answer.end, answer.whole()), (&end, whole), "{mode}");
        assert_eq!(answer.text().ends_with("data: [DONE]\n\n"), done, "{mode}");
        assert!(!answer.text().contains("\"finish_reason\":\"stop\""), "{mode}");
        assert_eq!(answer.text().contains("\"error\""), mode.starts_with("err"), "{mode}");
        assert_eq!(answer.text().contains("event: error\n"), mode == "err-event");
    }
    let first = mock.chat("fault/err-first", true).await;
    assert!(first.text().starts_with("data: {\"error\""));
    assert_eq!(first.events().len(), 1);
}

#[tokio::test]
async fn streams_are_written_as_asked() {
    let mock = Mock::start().await;
    let plain = mock.chat("mock", true).await.content();
    for (mode, begins, holds) in [
        ("crlf", "data: {", "}\r\n\r\ndata: [DONE]\r\n\r\n"),
        ("cr", "data: {", "}\r\rdata: [DONE]\r\r"),
        ("no-space", "data:{", "}\n\ndata:[DONE]\n\n"),
        ("multi-line", "data: {", ",\ndata: \"object\""),
        ("bom", "\u{feff}data: {", "[DONE]"),
        ("comment", ": MOCK", "\n\n: keep-alive\n\n"),
        ("empty-event", "event: ping\ndata: {\"type\":\"ping\"}\n\n", "[DONE]"),
        ("azure-filter", "data: {\"id\":\"\"", "prompt_filter_results"),
        ("bare", "data: {", "\n\n{\"id\":"),
        ("split", "data: {", "[DONE]"),
        ("unterminated", "data: {", "\n\ndata: [DONE]"),
        ("no-done", "data: {", "\"finish_reason\":\"stop\""),
    ] {
        let answer = mock.chat(&format!("fault/{mode}"), true).await;
        let text = answer.text();
        assert!(text.starts_with(begins), "{mode}: {text}");
        assert!(text.contains(holds), "{mode}: {text}");
        assert!(answer.whole(), "{mode}");
        if ["comment", "empty-event", "azure-filter", "bare", "split", "crlf"].contains(&mode) {
            assert_eq!(answer.content(), plain, "{mode}");
        }
    }
    assert!(!mock.chat("fault/no-done", true).await.text().contains("[DONE]"));
    assert!(mock.chat("fault/unterminated", true).await.text().ends_with("[DONE]"));
    let split = mock.chat("m-split", true).await;
    assert!(
        split
            .raw
            .windows(8)
            .filter(|window| window.starts_with(b"\r\n1\r\n"))
            .count()
            > 100
    );
}

#[tokio::test]
async fn answers_are_replaced() {
    let mock = Mock::start().await;
    for (mode, status, head, body) in [
        ("err-200", 200, "json", "{\"error\":{"),
        ("html-502", 502, "text/html", "<html>"),
        ("html-200", 200, "text/html", "<html>"),
        ("text-500", 500, "text/plain", "Internal"),
        ("numeric-code", 400, "json", "\"code\":400"),
        ("string-error", 500, "json", "{\"error\":\"worker is gone\"}"),
        ("context-overflow", 400, "json", "exceed_context_size_error"),
        ("overloaded", 503, "retry-after: 1", "overloaded"),
        ("redirect", 307, "location: http://127.0.0.1:1/", "moved"),
        ("hop-headers", 200, "set-cookie: session=mock", "\"choices\""),
        ("bad-content-type", 200, "content-type: text/plain", "choices"),
        ("503RSno", 503, "retry-after: 1", "scripted 503"),
        ("529", 529, "json", "server_error"),
    ] {
        for stream in [false, true] {
            let answer = mock.chat(&format!("fault/{mode}"), stream).await;
            assert_eq!(answer.status(), status, "{mode}");
            assert!(answer.head().contains(head), "{mode}: {}", answer.head());
            assert!(answer.text().contains(body), "{mode}: {}", answer.text());
        }
    }
    let huge = mock.chat("fault/huge-headers", false).await;
    assert!(huge.head().len() > 320 << 10 && huge.json()["choices"].is_array());
    let zipped = mock.chat("fault/gzip", true).await;
    assert!(zipped.head().contains("content-encoding: gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped.body()[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn the_socket_is_abused() {
    let mock = Mock::start().await;
    for (mode, end, holds) in [
        ("cut-before", End::Closed, ""),
        ("reset", End::Reset, ""),
        ("bad-chunked", End::Closed, "\r\nZZ\r\n"),
        ("truncated-length", End::Closed, "content-length: 1000"),
        (
            "double-length",
            End::Closed,
            "content-length: 2\r\ncontent-length: 20\r\n",
        ),
        ("bad-status-line", End::Closed, "SSH-2.0"),
        ("early-hints", End::Closed, "HTTP/1.1 103 Early Hints\r\n"),
    ] {
        let answer = mock.chat(&format!("fault/{mode}"), false).await;
        assert_eq!(answer.end, end, "{mode}");
        assert_eq!(answer.raw.is_empty(), holds.is_empty(), "{mode}");
        assert!(String::from_utf8_lossy(&answer.raw).contains(holds), "{mode}");
    }
    let cut = mock.chat("fault/cut", false).await;
    assert_eq!((cut.end, cut.status()), (End::Reset, 200));
    let half = String::from_utf8(cut.body()).expect("UTF-8");
    assert!(
        half.starts_with('{') && serde_json::from_str::<Value>(&half).is_err(),
        "{half}"
    );
    // None of these were the client's doing.
    assert_eq!(mock.cancelled().await, 0);
}

#[tokio::test]
async fn silent_answers_last_until_the_client_leaves() {
    let mock = Mock::start().await;
    let silent = [
        "hang",
        "hang-after-headers",
        "stall",
        "endless-line",
        "endless-body",
        "extra-bytes",
    ];
    for (count, (mode, stream)) in silent
        .into_iter()
        .zip([false, true, true, true, false, false])
        .enumerate()
    {
        let mut socket = mock.connect().await;
        send_chat(&mut socket, &format!("fault/{mode}"), stream)
            .await
            .expect("sent");
        let wanted: &[u8] = match mode {
            "hang" => b"",
            "hang-after-headers" => b"\r\n\r\n",
            "stall" => b"\" am\"",
            "extra-bytes" => b"{\"stolen\":true}",
            _ => &[b'a'; 100_000],
        };
        let mut seen = Vec::new();
        let reading = async {
            while find(
                &seen[seen.len().saturating_sub(200_000)..],
                &wanted[..wanted.len().min(1000)],
            )
            .is_none()
                || seen.len() < wanted.len()
            {
                assert!(socket.read_buf(&mut seen).await.expect("readable") > 0, "{mode} ended");
            }
        };
        if !wanted.is_empty() {
            timeout(PATIENCE, reading).await.expect(mode);
        }
        // It has arrived: it stands in the log, and it is still open.
        let arrived = async { while mock.get("/_log").await.as_array().map(Vec::len) != Some(count + 1) {} };
        timeout(PATIENCE, arrived).await.expect(mode);
        assert_eq!(mock.get("/_inflight").await["inflight"], 1, "{mode}");
        drop(socket);
        assert_eq!(mock.cancelled().await, count as u64 + 1, "{mode}");
    }
}

#[tokio::test]
async fn chat_answers_vary() {
    let mock = Mock::start().await;
    let mut body = chat("fault/tools", true);
    body["stream_options"] = json!({"include_usage": true});
    let mut chat = async |model: &str| {
        body["model"] = json!(model);
        mock.post("/v1/chat/completions", &body).await.events()
    };
    let deltas = |events: &[Value]| -> Vec<Value> {
        let calls = events
            .iter()
            .map(|event| event["choices"][0]["delta"]["tool_calls"][0].clone());
        calls.filter(|call| !call.is_null()).collect()
    };
    let tools = deltas(&chat("fault/tools").await);
    let order: Vec<_> = tools.iter().map(|call| call["index"].clone()).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    let bare = deltas(&chat("fault/tools-no-index").await);
    assert!(bare.len() == 1 && bare[0].get("index").is_none());
    let repeated = deltas(&chat("fault/tools-repeat").await);
    assert!(repeated.len() == 2 && repeated.iter().all(|call| call["function"]["name"] == "f"));
    let thinking = chat("fault/reasoning").await;
    assert!(thinking[1]["choices"][0]["delta"]["reasoning_content"].is_string());
    let thought = &thinking.last().expect("usage")["usage"]["completion_tokens_details"]["reasoning_tokens"];
    assert_eq!(*thought, 5);
    assert_eq!(chat("fault/obfuscation").await[0]["obfuscation"], "xxxxx");
    assert_eq!(
        chat("fault/unknown").await[1]["choices"][0]["delta"]["zzz_vendor"]["a"],
        1
    );
    let usage = |events: &[Value]| events.iter().rev().find_map(|event| event.get("usage").cloned());
    let last = chat("fault/usage-in-last").await;
    let last = last.last().expect("a chunk");
    assert!(last["choices"][0]["finish_reason"] == "stop" && last["usage"].is_object());
    assert_eq!(usage(&chat("fault/no-usage").await), None);
    assert_eq!(usage(&chat("fault/usage-null-last").await), Some(Value::Null));
    let claims = |events: &[Value]| usage(events).expect("usage")["completion_tokens"].clone();
    let honest = claims(&chat("fault/ok").await).as_u64().expect("a count");
    assert_eq!(claims(&chat("fault/usage-inflated").await), honest * 10);
    assert_eq!(claims(&chat("fault/usage-overflow").await), u64::MAX);
    assert_eq!(claims(&chat("fault/usage-negative").await), -5);
    let cached = usage(&chat("fault/cached").await).expect("usage");
    assert_eq!(cached["prompt_tokens_details"]["cached_tokens"], 1);
    let sized = chat("fault/tokens-500+size-9").await;
    assert_eq!(claims(&sized), 500);
    let pieces = sized
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.filter(|piece| piece.len() == 9).count(), 500);
}

#[tokio::test]
async fn the_first_calls_are_refused_and_tags_count_apart() {
    let mock = Mock::start().await;
    for tag in ["", "+tag-other"] {
        let model = format!("fault/429x2ra{tag}");
        for expected in [429, 429, 200, 200] {
            let answer = mock.chat(&model, false).await;
            assert_eq!(answer.status(), expected);
            assert_eq!(answer.head().contains("retry-after-ms: 50"), expected == 429);
        }
    }
}

#[tokio::test]
async fn streams_take_their_time() {
    let mock = Mock::start().await;
    for (model, least_ms) in [("fault/tokens-4+slow-50", 200), ("fault/hold-open", 3000)] {
        let begun = Instant::now();
        let answer = mock.chat(model, true).await;
        assert!(answer.text().ends_with("data: [DONE]\n\n") && answer.whole());
        assert!(begun.elapsed() >= Duration::from_millis(least_ms), "{model}");
    }
}

/// Sends a chat request on an open connection and reads one answer with a length.
async fn exchange(socket: &mut tokio::net::TcpStream, model: &str) -> Option<String> {
    // A closed peer shows here or when we read.
    if send_chat(socket, model, false).await.is_err() {
        return None;
    }
    let mut seen = Vec::new();
    loop {
        if let Some(end) = find(&seen, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
            let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            if seen.len() == end + 4 + length {
                return Some(head);
            }
        }
        match timeout(PATIENCE, socket.read_buf(&mut seen))
            .await
            .expect("an answer or an end")
        {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn connections_close_unannounced() {
    let mock = Mock::start().await;
    let mut socket = mock.connect().await;
    for _ in 0..2 {
        let head = exchange(&mut socket, "fault/close-after-2").await.expect("an answer");
        assert!(
            head.starts_with("http/1.1 200") && !head.contains("connection:"),
            "{head}"
        );
    }
    assert_eq!(
        timeout(PATIENCE, read(&mut socket)).await.expect("it closes").end,
        End::Closed
    );
    let mut socket = mock.connect().await;
    assert!(exchange(&mut socket, "fault/close-on-reuse").await.is_some());
    assert!(exchange(&mut socket, "fault/close-on-reuse").await.is_none());
    assert_eq!(mock.cancelled().await, 0);
}

#[tokio::test]
async fn http2_streams_break_alone() {
    let mock = Mock::start().await;
    let socket = TokioIo::new(mock.connect().await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), socket).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut ask = async |model: &str| {
        let body = Full::new(bytes::Bytes::from(chat(model, true).to_string()));
        let uri = format!("http://{}/v1/chat/completions", mock.address);
        let request = hyper::Request::post(uri).body(body).expect("a request");
        sender.ready().await.expect("the connection lives");
        let response = timeout(PATIENCE, sender.send_request(request))
            .await
            .expect("an answer")?;
        timeout(PATIENCE, response.into_body().collect())
            .await
            .expect("an end")
            .map(|body| body.to_bytes())
    };
    for mode in ["cut", "cut-fin", "cut-before", "reset", "bad-chunked"] {
        assert!(ask(&format!("fault/{mode}")).await.is_err(), "{mode}");
        let fine = ask("mock").await.expect("the connection outlives the fault");
        assert!(fine.ends_with(b"data: [DONE]\n\n"));
    }
    assert_eq!(mock.cancelled().await, 0);
    drop(sender);
    timeout(PATIENCE, connection)
        .await
        .expect("it closes")
        .expect("no panic")
        .expect("no error");
}

#[tokio::test]
async fn every_named_mode_is_served() {
    let mock = Mock::start().await;
    let listed = mock.get("/_modes").await;
    assert_eq!(listed.as_array().map(Vec::len), Some(modes().len()));
    for (name, _) in modes().iter().filter(|(name, _)| !name.contains('<')) {
        let found = mock.get(&format!("/v1/models/fault/{name}")).await;
        assert_eq!(found["id"], format!("fault/{name}"));
    }
}
