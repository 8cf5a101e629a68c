//! Endpoints beyond chat: what the gateway does not read, it passes on.

use e2e::client::{client, get, send};
use e2e::sse::Stream;
use e2e::{Answer, Rig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[tokio::test]
async fn json_endpoints_answer_as_the_upstream_does() {
    let rig = Rig::new();
    for (path, upstream, body, field) in [
        (
            "/v1/moderations",
            "/v1/moderations",
            json!({"input": "hello"}),
            "/results/0/flagged",
        ),
        (
            "/v1/rerank",
            "/v1/rerank",
            json!({"model": "mock", "query": "q", "documents": ["a", "b"]}),
            "/results/0/relevance_score",
        ),
        (
            "/v1/score",
            "/score",
            json!({"model": "mock", "text_1": "a", "text_2": "b"}),
            "/data/0/score",
        ),
        (
            "/score",
            "/score",
            json!({"model": "mock", "text_1": "a", "text_2": "b"}),
            "/data/0/score",
        ),
        (
            "/tokenize",
            "/tokenize",
            json!({"model": "mock", "prompt": "a b c"}),
            "/count",
        ),
        (
            "/v1/tokenize",
            "/tokenize",
            json!({"model": "mock", "prompt": "a b c"}),
            "/count",
        ),
        (
            "/v1/images/generations",
            "/v1/images/generations",
            json!({"prompt": "a mulberry"}),
            "/data/0",
        ),
        (
            "/v1/embeddings",
            "/v1/embeddings",
            json!({"model": "mock", "input": ["a", "b"]}),
            "/data/1/embedding/0",
        ),
        (
            "/v1/completions",
            "/v1/completions",
            json!({"model": "mock", "prompt": "a"}),
            "/choices/0/text",
        ),
        (
            "/v1/responses",
            "/v1/responses",
            json!({"model": "mock", "input": "a"}),
            "/output/0",
        ),
    ] {
        for path in [path, path.strip_prefix("/v1").unwrap_or(path)] {
            rig.mock.reset();
            let answer = rig.post(path, body.to_string()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.json().pointer(field).is_some(), "{path}: {}", answer.text());
            let seen = rig.mock.only();
            assert_eq!(
                (&seen["path"], &seen["body"]),
                (&json!(upstream), &json!(body.to_string()))
            );
        }
    }
}

#[tokio::test]
async fn tokens_come_back_as_the_text_they_were() {
    let rig = Rig::new();
    let tokens = rig
        .post(
            "/tokenize",
            json!({"model": "mock", "prompt": "one two three"}).to_string(),
        )
        .await
        .json();
    let text = rig
        .post(
            "/detokenize",
            json!({"model": "mock", "tokens": tokens["tokens"]}).to_string(),
        )
        .await
        .json();
    assert_eq!(text["prompt"].as_str().map(str::trim), Some("one two three"), "{text}");
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64_as_asked() {
    let rig = Rig::new();
    let ask = async |format: &str| {
        let body = json!({"model": "mock", "input": "a", "encoding_format": format});
        rig.post("/v1/embeddings", body.to_string()).await.json()["data"][0]["embedding"].clone()
    };
    assert!(ask("float").await.is_array());
    assert!(ask("base64").await.is_string());
}

const BOUNDARY: &str = "----mulberry-test-7f3a";

/// A form as bytes: the fields, then the file, in this order or the other.
fn form(fields: &[(&str, &str)], file: &[u8], is_file_first: bool) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = fields
        .iter()
        .map(|(name, value)| {
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
        })
        .collect();
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n"
    );
    let part = [head.as_bytes(), file, b"\r\n"].concat();
    parts.insert(if is_file_first { 0 } else { parts.len() }, part);
    parts.push(format!("--{BOUNDARY}--\r\n").into_bytes());
    parts.concat()
}

async fn upload(rig: &Rig, path: &str, body: Vec<u8>) -> Answer {
    let request = client().post(rig.url(path)).body(body);
    Answer::of(send(request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))).await).await
}

/// Bytes that no text is, with what looks like a boundary in them.
fn noise(length: usize) -> Vec<u8> {
    let mut noise: Vec<u8> = (0..length)
        .map(|at| u8::try_from((at * 7919 + at / 251) % 256).unwrap_or(0))
        .collect();
    let lure = b"\r\n--not-the-boundary\r\n\0\xff";
    noise.splice(length / 2..length / 2, lure.iter().copied());
    noise
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn an_upload_arrives_whole() {
    let rig = Rig::new();
    for (path, is_file_first, size) in [
        ("/v1/audio/transcriptions", false, 300_000),
        ("/audio/transcriptions", false, 10),
        ("/v1/audio/translations", false, 70_000),
        // The model's name is found although it comes after the file.
        ("/v1/audio/transcriptions", true, 10_000),
    ] {
        rig.mock.reset();
        let file = noise(size);
        let answer = upload(
            &rig,
            path,
            form(&[("model", "mock"), ("language", "en")], &file, is_file_first),
        )
        .await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()["sha256"], sha256(&file), "{path}");
        let seen = rig.mock.only();
        assert_eq!(seen["model"], "mock");
        assert!(
            seen["headers"]["content-type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(BOUNDARY)),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn a_transcription_as_text_passes_as_text() {
    let rig = Rig::new();
    let file = noise(1000);
    let answer = upload(
        &rig,
        "/v1/audio/transcriptions",
        form(&[("model", "mock"), ("response_format", "text")], &file, false),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-type").starts_with("text/plain"),
        "{:?}",
        answer.headers
    );
    assert!(answer.text().contains(&sha256(&file)));
}

#[tokio::test]
async fn speech_passes_as_bytes() {
    let rig = Rig::new();
    let body = json!({"model": "mock", "input": "three short words", "voice": "alloy"}).to_string();
    let answer = rig.post("/v1/audio/speech", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "audio/wav");
    assert!(
        answer.body.starts_with(b"RIFF") && answer.body.len() == 44 + 3 * 800,
        "{}",
        answer.body.len()
    );
}

#[tokio::test]
async fn files_live_from_upload_to_deletion() {
    let rig = Rig::new();
    let content = noise(5000);
    let file = upload(&rig, "/v1/files", form(&[("purpose", "batch")], &content, false)).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let id = file.json()["id"].as_str().expect("a file has an id").to_owned();
    assert_eq!(file.json()["sha256"], sha256(&content));

    let list = Answer::of(get(&rig.url("/v1/files")).await).await.json();
    assert_eq!(list["data"][0]["id"], id.as_str(), "{list}");
    let one = Answer::of(get(&rig.url(&format!("/v1/files/{id}"))).await).await.json();
    assert_eq!(one["purpose"], "batch");
    let back = Answer::of(get(&rig.url(&format!("/files/{id}/content"))).await).await;
    assert_eq!(back.header("content-type"), "application/octet-stream");
    assert_eq!(back.body, content);
    let gone = Answer::of(send(client().delete(rig.url(&format!("/v1/files/{id}")))).await)
        .await
        .json();
    assert_eq!(gone["deleted"], true);
    let missing = Answer::of(get(&rig.url(&format!("/v1/files/{id}"))).await).await;
    assert_eq!(missing.envelope().status, 404);
}

#[tokio::test]
async fn a_batch_runs_behind_the_gateway() {
    let rig = Rig::new();
    let line = json!({"custom_id": "one", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}});
    let file = upload(
        &rig,
        "/v1/files",
        form(&[("purpose", "batch")], format!("{line}\n").as_bytes(), false),
    )
    .await;
    let order =
        json!({"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = rig.post("/v1/batches", order.to_string()).await;
    assert_eq!(batch.status, 200, "{}", batch.text());
    let id = batch.json()["id"].as_str().expect("a batch has an id").to_owned();
    let done = Answer::of(get(&rig.url(&format!("/v1/batches/{id}"))).await)
        .await
        .json();
    assert_eq!(done["status"], "completed", "{done}");
    let output = done["output_file_id"].as_str().expect("it has an output").to_owned();
    let lines = Answer::of(get(&rig.url(&format!("/v1/files/{output}/content"))).await)
        .await
        .text();
    let result: Value = serde_json::from_str(lines.trim()).expect("one line of JSON");
    assert_eq!(result["custom_id"], "one");
    let list = Answer::of(get(&rig.url("/v1/batches?limit=1")).await).await.json();
    assert_eq!(list["object"], "list");
}

#[tokio::test]
async fn responses_stream_as_typed_events() {
    let rig = Rig::new();
    let whole = rig
        .post("/v1/responses", json!({"model": "mock", "input": "hi"}).to_string())
        .await
        .json();
    assert_eq!(whole["status"], "completed", "{whole}");
    let body = json!({"model": "mock", "input": "hi", "stream": true}).to_string();
    let stream = Stream::of(e2e::client::post(&rig.url("/v1/responses"), body.clone()).await).await;
    assert_eq!(
        rig.mock.log().last().map(|entry| entry["body"].clone()),
        Some(json!(body)),
        "nothing is added"
    );
    let names = stream.names();
    assert_eq!(names.first().map(String::as_str), Some("response.created"));
    assert_eq!(names.last().map(String::as_str), Some("response.completed"));
    assert!(!stream.text.contains("[DONE]"));
    let last: Value = serde_json::from_str(&stream.data().pop().unwrap_or_default()).expect("JSON");
    assert!(last["response"]["usage"].is_object(), "{last}");
}

#[tokio::test]
async fn what_a_backend_does_not_serve_is_not_sent_to_it() {
    let rig = Rig::with("endpoints: [chat_completions]", "");
    assert_eq!(rig.chat("mock").await.status, 200);
    rig.mock.reset();
    for (path, body) in [
        ("/v1/embeddings", r#"{"model":"mock","input":"a"}"#),
        ("/v1/files", "{}"),
        ("/v1/images/generations", r#"{"prompt":"a"}"#),
    ] {
        let envelope = rig.post(path, body).await.envelope();
        assert!(
            envelope.is(404, "invalid_request_error", "unsupported_endpoint"),
            "{path}: {envelope:?}"
        );
    }
    assert_eq!(rig.mock.log().len(), 0);
}
