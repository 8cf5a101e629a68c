//! Forms to workers: the parts that tell who asks stay here, whatever comes behind them.

use bytes::Bytes;
use e2e::client::{client, send};
use e2e::{Answer, World};
use futures_util::stream;
use reqwest::{Body, RequestBuilder};
use serde_json::Value;

use super::{Site, up};
use crate::count;

const BOUNDARY: &str = "a-boundary-of-the-test";
const PRIVATE: [&str; 4] = ["alice", "blue-team", "s-1", "user_id"];

fn part(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// A form with a file, before and behind which stands who asks.
fn form(file: &str) -> String {
    let file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n{file}\r\n"
    );
    [
        part("user", "alice@example.com"),
        part("model", "mock"),
        part("metadata[user_id]", "u-1 of the blue-team"),
        part("language", "de"),
        file,
        part("metadata", r#"{"user_id":"alice"}"#),
        part("safety_identifier", "s-1"),
        format!("--{BOUNDARY}--\r\n"),
    ]
    .concat()
}

fn transcription(url: &str, body: impl Into<Body>) -> RequestBuilder {
    client()
        .post(format!("{url}/v1/audio/transcriptions"))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body)
}

/// In pieces that end everywhere.
fn piecemeal(form: &str, size: usize) -> Body {
    let pieces: Vec<_> = form
        .as_bytes()
        .chunks(size)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    Body::wrap_stream(stream::iter(pieces))
}

fn transcriptions(log: Vec<Value>) -> Vec<Value> {
    let is_ours = |entry: &Value| entry["path"] == "/v1/audio/transcriptions";
    log.into_iter().filter(is_ours).collect()
}

#[tokio::test]
async fn a_form_reaches_a_worker_without_who_asks() {
    let site = Site::new("").await;
    let short = form("RIFF\r\n--\r\nuser alone");
    // More than is read ahead; its end comes when most of it is on its way.
    let long = form(&"RIFF-".repeat(50_000));
    let sent: [(&str, Body); 4] = [
        (&short, short.clone().into()),
        (&short, piecemeal(&short, 7)),
        (&long, long.clone().into()),
        (&long, piecemeal(&long, 4093)),
    ];
    for (whole, body) in sent {
        let before = transcriptions(site.mock.log()).len();
        let answer = Answer::of(send(transcription(&site.gateway.url(), body)).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let content = whole.split("audio/wav\r\n\r\n").nth(1).expect("a file");
        let content = content.split(&format!("\r\n--{BOUNDARY}\r\n")).next().expect("its end");
        assert_eq!(answer.json()["bytes"], content.len(), "the file is as it was");

        let seen = transcriptions(site.mock.log()).split_off(before);
        let [seen] = seen.as_slice() else {
            panic!("one transcription was expected: {seen:#?}");
        };
        let text = seen.to_string();
        for private in PRIVATE {
            assert!(!text.contains(private), "{private} reached the engine: {text}");
        }
        let left = whole.len()
            - [
                part("user", "alice@example.com"),
                part("metadata[user_id]", "u-1 of the blue-team"),
                part("metadata", r#"{"user_id":"alice"}"#),
                part("safety_identifier", "s-1"),
            ]
            .concat()
            .len();
        assert_eq!(seen["body_bytes"], left, "all else went through");
        assert!(text.contains("language") && text.contains("a.wav"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_goes_to_no_worker() {
    let site = Site::new("").await;
    let url = site.gateway.url();
    let form = form("RIFF");
    let unreadable = [
        transcription(&url, form.clone()).header("content-encoding", "gzip"),
        client()
            .post(format!("{url}/v1/audio/transcriptions"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("model=mock&user=alice"),
    ];
    for request in unreadable {
        let answer = Answer::of(send(request).await).await;
        let error = answer.envelope();
        assert!(error.is(400, "invalid_request_error", "invalid_value"), "{error:?}");
        assert_eq!(error.param.as_deref(), Some("content-type"));
    }
    assert_eq!(transcriptions(site.mock.log()), [] as [Value; 0], "something was sent");
    // It stands for the request, not for the worker.
    let answer = Answer::of(send(transcription(&url, form)).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn who_may_see_who_asks_gets_the_form_as_it_came() {
    let world = World::new();
    let (engine, known) = (world.mock(&[]), world.mock(&[]));
    let key = world.worker_key("box");
    let gateway = world.gateway(&format!(
        "worker_listen: 127.0.0.1:0\nbackends:\n  - {{name: gpu, workers: [{{name: box, key_sha256: {}}}]}}\n  \
         - {{name: known, url: '{}', health: {{enabled: false}}}}\n",
        key.sha256,
        known.url()
    ));
    let _worker = world.worker(&key, &engine.url(), &["--gateway", &gateway.for_workers()]);
    up(&gateway, "gpu/box").await;
    count::settled([&known]).await;
    let form = form("RIFF");
    // The worker is asked first, and may not have it.
    let compressed = transcription(&gateway.url(), form.clone()).header("content-encoding", "gzip");
    let answer = Answer::of(send(compressed).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = transcriptions(known.log());
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_eq!(seen[0]["body"], form.as_str());
    assert!(transcriptions(engine.log()).is_empty());
}
