//! Uploads pass through: whole, unheld, once.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use e2e::client::{client, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Client, RequestBuilder};

use crate::{count, record};

const MIB: u64 = 1 << 20;
const PIECE: u64 = 64 << 10;
const BOUNDARY: &str = "a-boundary-of-the-test";

/// The content of a file of `size` bytes, in pieces that all differ.
fn pieces(size: u64) -> impl Iterator<Item = Bytes> {
    assert_eq!(size % PIECE, 0, "whole pieces only");
    (0..size / PIECE).map(|nth| {
        let block = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        Bytes::from(block.repeat(PIECE as usize / block.len()))
    })
}

fn sha256(size: u64) -> String {
    let mut hasher = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`sha256sum` is on every system that we test on");
    let mut input = hasher.stdin.take().expect("it was asked for above");
    for piece in pieces(size) {
        input.write_all(&piece).expect("it reads to the end");
    }
    drop(input);
    let output = hasher.wait_with_output().expect("it ends").stdout;
    String::from_utf8_lossy(&output)
        .split_whitespace()
        .next()
        .expect("it prints a hash")
        .to_owned()
}

/// A transcription of a file of `size` bytes, sent piece by piece.
fn transcription(gateway: &Gateway, model: &str, size: u64, says_length: bool) -> RequestBuilder {
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
         content-type: audio/wav\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() as u64 + size + tail.len() as u64;
    let parts = [Bytes::from(head)]
        .into_iter()
        .chain(pieces(size))
        .chain([Bytes::from(tail)]);
    let body = Body::wrap_stream(stream::iter(parts.map(Ok::<_, std::io::Error>)));
    let request = client()
        .post(format!("{}/v1/audio/transcriptions", gateway.url()))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .timeout(6 * SOON)
        .body(body);
    if says_length {
        request.header("content-length", length)
    } else {
        request
    }
}

struct Served {
    mock: Mock,
    gateway: Gateway,
    _world: World,
}

async fn serve() -> Served {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]",
        mock.url()
    ));
    count::settled([&mock]).await;
    Served {
        mock,
        gateway,
        _world: world,
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_pass_unheld_and_unchanged() {
    const SIZE: u64 = 100 * MIB;
    let served = serve().await;
    let expected = sha256(SIZE);
    // What a first request allocates for good is not the upload's.
    assert_eq!(
        send(transcription(&served.gateway, "mock", MIB, true)).await.status(),
        200
    );
    let before = served.gateway.rss_kib();
    for says_length in [true, false] {
        let is_over = Arc::new(AtomicBool::new(false));
        let most = Arc::new(AtomicU64::new(before));
        let request = transcription(&served.gateway, "mock", SIZE, says_length);
        let sending = tokio::spawn({
            let is_over = is_over.clone();
            async move {
                let answer = Answer::of(send(request).await).await;
                is_over.store(true, Ordering::Relaxed);
                answer
            }
        });
        let watched = eventually(6 * SOON, || {
            most.fetch_max(served.gateway.rss_kib(), Ordering::Relaxed);
            is_over.load(Ordering::Relaxed)
        });
        assert!(watched.await, "the upload does not end");
        let answer = sending.await.expect("it was answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(
            (answer["bytes"].as_u64(), answer["sha256"].as_str()),
            (Some(SIZE), Some(expected.as_str()))
        );
        let grown = most.load(Ordering::Relaxed) - before;
        assert!(
            grown < 32 * 1024,
            "the gateway grew by {grown} KiB (length said: {says_length})"
        );
    }
}

#[tokio::test]
async fn an_upload_is_sent_once() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends: [{{name: first, url: '{}'}}, {{name: second, url: '{}'}}]\nretry: {{attempts: 5}}",
        first.url(),
        second.url()
    ));
    for (mode, status) in [("503", 503), ("429", 429), ("500", 500)] {
        let answer = Answer::of(send(transcription(&gateway, &format!("fault/{mode}"), MIB, true)).await).await;
        assert_eq!(answer.envelope().status, status, "{mode}");
        assert_eq!((first.count(mode), second.count(mode)), (1, 0), "{mode}");
    }
}

#[tokio::test]
async fn an_upload_that_its_client_abandons_is_abandoned() {
    let served = serve().await;
    let request = transcription(&served.gateway, "mock", 1024 * MIB, false).header("x-request-id", "abandoned");
    let sending = tokio::spawn(request.send());
    assert!(
        eventually(SOON, || served.mock.inflight() == 1).await,
        "it does not pass through"
    );
    sending.abort();
    assert!(
        eventually(SOON, || served.mock.inflight() == 0).await,
        "the upstream waits for nobody"
    );
    let record = record::of(&served.gateway, "abandoned").await;
    assert!(["cancelled", "failed"].contains(&record.end.as_str()), "{record:?}");
    assert_eq!(record.usage(), [0; 4]);
    assert_eq!(
        send(transcription(&served.gateway, "mock", MIB, true)).await.status(),
        200
    );
}

#[tokio::test]
async fn an_answer_of_many_bytes_passes_unheld() {
    let served = serve().await;
    let before = served.gateway.rss_kib();
    // 40 MiB in frames of 64 KiB, to a client that reads nothing for a second.
    let body = e2e::client::chat_stream("fault/tokens-640+size-65536");
    // On a busy machine all of it takes long, and no piece does.
    let client = Client::builder().no_proxy().read_timeout(SOON).build();
    let asked = client
        .expect("a client can be made")
        .post(format!("{}/v1/chat/completions", served.gateway.url()))
        .header("content-type", "application/json")
        .body(body);
    let response = send(asked).await;
    assert_eq!(response.status(), 200);
    let mut total = 0;
    let mut most = before;
    let watched = eventually(Duration::from_secs(1), || {
        most = most.max(served.gateway.rss_kib());
        false
    });
    assert!(!watched.await);
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        total += piece.expect("it ends cleanly").len() as u64;
        most = most.max(served.gateway.rss_kib());
    }
    assert!(total > 40 * MIB, "{total} bytes");
    assert!(most - before < 32 * 1024, "the gateway grew by {} KiB", most - before);
}
