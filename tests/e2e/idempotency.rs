//! A request that is repeated under its `Idempotency-Key` runs once, and gets the same answer.

use e2e::client::{chat, chat_stream, client, get, send};
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Rig, eventually};

/// Two keys, and little memory for answers.
fn rig(idempotency: &str) -> Rig {
    Rig::with(
        "",
        &format!(
            "keys: [{{name: alice, secret: sk-alice, limits: {{tokens_per_minute: 100000}}}}, {{name: bob, secret: sk-bob}}]\nidempotency: {idempotency}\n"
        ),
    )
}

fn request(rig: &Rig, api_key: &str, key: &str, body: String) -> reqwest::RequestBuilder {
    rig.request(body).bearer_auth(api_key).header("idempotency-key", key)
}

async fn ask(rig: &Rig, api_key: &str, key: &str, body: String) -> Answer {
    Answer::of(send(request(rig, api_key, key, body)).await).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

#[tokio::test]
async fn the_same_request_runs_once() {
    let rig = rig("{}");
    let first = ask(&rig, "sk-alice", "k-1", chat("mock")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(!is_replayed(&first));
    let again = ask(&rig, "sk-alice", "k-1", chat("mock")).await;
    assert!(is_replayed(&again));
    assert_eq!((again.status, &again.body), (first.status, &first.body), "to the byte");
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(again.header("x-mulberry-backend"), "only");
    assert_ne!(
        again.header("x-request-id"),
        first.header("x-request-id"),
        "it is another request"
    );
    // What the first used counts, and nothing of the second.
    let remaining = |answer: &Answer| {
        answer
            .header("x-ratelimit-remaining-tokens")
            .parse::<u64>()
            .expect("a number")
    };
    let used = first.json()["usage"]["total_tokens"].as_u64().expect("a number");
    assert_eq!(remaining(&again), 100_000 - used);
    assert_eq!(rig.mock.log().len(), 1);
    assert_eq!(rig.mock.only()["headers"]["idempotency-key"], "k-1", "it goes on");
    assert!(
        eventually(SOON, || rig.gateway.records().len() == 1).await,
        "one record"
    );

    let other_body = ask(&rig, "sk-alice", "k-1", chat("mock2")).await.envelope();
    assert!(
        other_body.is(422, "invalid_request_error", "idempotency_key_reused"),
        "{other_body:?}"
    );
    let url = rig.url("/v1/completions");
    let other_path = client()
        .post(url)
        .bearer_auth("sk-alice")
        .header("idempotency-key", "k-1");
    let other_path =
        Answer::of(send(other_path.header("content-type", "application/json").body(chat("mock"))).await).await;
    assert_eq!(other_path.status, 422);

    for (api_key, key) in [("sk-bob", "k-1"), ("sk-alice", "k-2")] {
        let own = ask(&rig, api_key, key, chat("mock")).await;
        assert_eq!(
            (own.status.as_u16(), is_replayed(&own)),
            (200, false),
            "{api_key} {key}"
        );
    }
    assert_eq!(rig.mock.log().len(), 3);
}

#[tokio::test]
async fn a_stream_comes_again_as_it_was() {
    let rig = rig("{}");
    let first = ask(&rig, "sk-alice", "s", chat_stream("fault/tokens-20")).await;
    let again = ask(&rig, "sk-alice", "s", chat_stream("fault/tokens-20")).await;
    assert!(is_replayed(&again) && !is_replayed(&first));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), "text/event-stream; charset=utf-8");
    let read = Stream { text: again.text() };
    assert!(read.is_done() && read.chunks().len() >= 20, "{}", read.text);
    assert_eq!(rig.mock.log().len(), 1);
}

#[tokio::test]
async fn one_of_two_runs_and_the_other_is_told_to_wait() {
    let rig = rig("{}");
    let body = || chat("fault/slow-700");
    let (one, two) = tokio::join!(ask(&rig, "sk-alice", "p", body()), ask(&rig, "sk-alice", "p", body()));
    let (done, told) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(done.status, 200, "{}", done.text());
    let error = told.envelope();
    assert!(
        error.is(409, "invalid_request_error", "idempotency_in_progress"),
        "{error:?}"
    );
    assert_eq!(
        (told.header("retry-after"), told.header("x-should-retry")),
        ("1", "true")
    );
    let again = ask(&rig, "sk-alice", "p", body()).await;
    assert!(is_replayed(&again));
    assert_eq!(again.body, done.body);
    assert_eq!(rig.mock.count("slow-700"), 1);
}

#[tokio::test]
async fn what_was_not_whole_is_not_kept() {
    let rig = rig("{}");
    // Refused, failed, and failed within a stream whose status was 200.
    for (key, body, status) in [
        ("refused", chat("fault/400"), 400),
        ("failed", chat("fault/500"), 500),
        ("cut", chat_stream("fault/cut"), 200),
        ("error", chat_stream("fault/err-data"), 200),
    ] {
        for _ in 0..2 {
            let answer = ask(&rig, "sk-alice", key, body.clone()).await;
            assert_eq!(
                (answer.status.as_u16(), is_replayed(&answer)),
                (status, false),
                "{key}: {}",
                answer.text()
            );
        }
    }
    // Left by its client: the key is free at once, and for another body too.
    let response = send(request(&rig, "sk-alice", "left", chat_stream("fault/stall"))).await;
    let told = ask(&rig, "sk-alice", "left", chat_stream("fault/stall")).await;
    assert_eq!(told.status, 409);
    drop(response);
    let freed = async {
        loop {
            let answer = ask(&rig, "sk-alice", "left", chat("mock")).await;
            if answer.status == 200 {
                return answer;
            }
            assert_eq!(answer.status, 422, "the stream is under way: {}", answer.text());
        }
    };
    let answer = tokio::time::timeout(SOON, freed).await;
    assert!(!is_replayed(&answer.expect("the key is free")));
}

#[tokio::test]
async fn keys_and_answers_have_bounds() {
    let rig = rig("{memory: 64KiB, answer: 8KiB}");
    for key in ["", "two words", "ä", &"x".repeat(256)] {
        let request = rig.request(chat("mock")).bearer_auth("sk-alice");
        let answer = Answer::of(send(request.header("idempotency-key", key.as_bytes())).await).await;
        let error = answer.envelope();
        assert!(
            error.is(400, "invalid_request_error", "invalid_value"),
            "{key}: {error:?}"
        );
    }
    let longest = "x".repeat(255);
    // An answer above `answer` passes and is not kept.
    let large = || chat("fault/tokens-40+size-1024");
    for _ in 0..2 {
        let answer = ask(&rig, "sk-alice", &longest, large()).await;
        assert_eq!((answer.status.as_u16(), is_replayed(&answer)), (200, false));
        assert!(answer.body.len() > 40_000);
    }
    // Of many the oldest are gone.
    let small = || chat("fault/tokens-4+size-1024");
    for n in 0..20 {
        assert_eq!(ask(&rig, "sk-alice", &format!("n-{n}"), small()).await.status, 200);
    }
    assert!(is_replayed(&ask(&rig, "sk-alice", "n-19", small()).await));
    assert!(!is_replayed(&ask(&rig, "sk-alice", "n-0", small()).await));
    // What is no inference takes no notice.
    for _ in 0..2 {
        let request = client().get(rig.url("/v1/files")).bearer_auth("sk-alice");
        let answer = Answer::of(send(request.header("idempotency-key", "files")).await).await;
        assert_eq!((answer.status.as_u16(), is_replayed(&answer)), (200, false));
    }
    assert_eq!(get(&format!("{}/livez", rig.gateway.admin_url())).await.status(), 200);
}

#[tokio::test]
async fn off_is_off() {
    let rig = rig("null");
    for _ in 0..2 {
        let answer = ask(&rig, "sk-alice", "k", chat("mock")).await;
        assert_eq!((answer.status.as_u16(), is_replayed(&answer)), (200, false));
    }
    assert_eq!(rig.mock.log().len(), 2);
}
