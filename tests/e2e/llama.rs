//! A real llama.cpp server behind the gateway, with its habits: it closes connections without a word.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::client::request;
use e2e::wait::SOON;
use e2e::{Gateway, Llama, World, client, eventually};
use futures_util::future::join_all;

use crate::flow::Flow;
use crate::record;

struct Served {
    llama: Llama,
    gateway: Gateway,
    url: String,
    _world: World,
}

fn serve() -> Served {
    let world = World::new();
    let llama = world.llama("chat", Some("upstream-key"));
    let gateway = world.gateway(&format!(
        "backends: [{{name: llama, kind: llamacpp, url: '{}', api_key: upstream-key}}]",
        llama.url
    ));
    Served {
        llama,
        url: format!("{}/v1/chat/completions", gateway.url()),
        gateway,
        _world: world,
    }
}

#[tokio::test]
#[expect(
    clippy::print_stderr,
    reason = "the time is worth knowing, and fails nothing while it is below the limit"
)]
async fn ten_thousand_requests_bring_ten_thousand_answers() {
    const REQUESTS: usize = 10_000;
    const AT_A_TIME: usize = 8;
    const LIMIT: Duration = Duration::from_secs(300);
    let served = serve();
    let client = client::client();
    let next = AtomicUsize::new(0);
    let asker = || async {
        let mut wrong = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < REQUESTS {
            let body = r#"{"model":"tiny-chat","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
            let sent = client
                .post(&served.url)
                .header("content-type", "application/json")
                .body(body)
                .send()
                .await;
            match sent {
                Ok(response) if response.status() == 200 => match response.bytes().await {
                    Ok(body) if body.ends_with(b"}") => {}
                    other => wrong.push(format!("{other:?}")),
                },
                other => wrong.push(format!("{other:?}")),
            }
        }
        wrong
    };
    let started = Instant::now();
    let wrong: Vec<String> = join_all((0..AT_A_TIME).map(|_| asker())).await.concat();
    let took = started.elapsed();
    assert!(
        wrong.is_empty(),
        "{} of {REQUESTS} failed, first: {}",
        wrong.len(),
        wrong[0]
    );
    eprintln!("{REQUESTS} requests to llama.cpp took {took:?}");
    assert!(took < LIMIT, "{took:?}");
    let complete = || {
        let sums = record::sums(&served.gateway, "model");
        sums.get("tiny-chat")
            .is_some_and(|sum| sum[..2] == [REQUESTS as u64, 0])
    };
    assert!(
        eventually(SOON, complete).await,
        "{:?}",
        record::sums(&served.gateway, "model")
    );
}

#[tokio::test]
#[expect(
    clippy::print_stderr,
    reason = "the time is worth knowing, and fails nothing while it is below the limit"
)]
async fn a_client_that_leaves_frees_its_slot() {
    let served = serve();
    // About two seconds of text, were it read to its end.
    let body = r#"{"model":"tiny-chat","max_tokens":1900,"ignore_eos":true,"stream":true,
        "messages":[{"role":"user","content":"hi"}]}"#;
    for nth in 0..3 {
        let id = format!("left-{nth}");
        let flow = Flow::begin(request(&served.url, body).header("x-request-id", &id)).await;
        assert!(
            eventually(SOON, || served.llama.busy() == 1).await,
            "the slot is not at work"
        );
        let left = Instant::now();
        drop(flow);
        assert!(
            eventually(SOON, || served.llama.busy() == 0).await,
            "the slot is not freed"
        );
        let took = left.elapsed();
        eprintln!("the slot was free {took:?} after the client had left");
        assert!(took < Duration::from_secs(5), "freed after {took:?}");
        let record = record::of(&served.gateway, &id).await;
        assert_eq!(
            (record.end.as_str(), record.field("usage")),
            ("cancelled", "estimated"),
            "{record:?}"
        );
        assert!((1..1900).contains(&record.number("completion")), "{record:?}");
        assert!(record.number("prompt") > 0, "{record:?}");
    }
}

#[tokio::test]
async fn streams_behind_which_it_closes_the_connection_are_whole() {
    const STREAMS: usize = 500;
    let served = serve();
    let body = r#"{"model":"tiny-chat","max_tokens":3,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for nth in 0..STREAMS {
        let stream = Flow::begin(request(&served.url, body)).await.end().await;
        assert!(
            stream.is_done() && stream.finish_reason().is_some(),
            "stream {nth}:\n{}",
            stream.text
        );
    }
}
