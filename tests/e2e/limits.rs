//! What an account may use: exactly so much, told on every answer, and given back where it was not used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, client};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

mod shared;

struct Limited {
    mock: Mock,
    gateway: Gateway,
    _world: World,
}

/// A gateway with one key, `sk-alice`, and this written in its entry.
fn limited(key: &str) -> Limited {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\nkeys:\n  - {{name: alice, secret: sk-alice, {key}}}\n  - {{name: bob, secret: sk-bob}}\n",
        mock.url()
    ));
    Limited {
        mock,
        gateway,
        _world: world,
    }
}

impl Limited {
    fn request(&self, client: &Client, key: &str, body: String) -> RequestBuilder {
        client
            .post(format!("{}/v1/chat/completions", self.gateway.url()))
            .header("content-type", "application/json")
            .bearer_auth(key)
            .body(body)
    }

    async fn ask(&self, body: String) -> Answer {
        let sent = self.request(&client(), "sk-alice", body).send().await;
        Answer::of(sent.expect("the gateway answers")).await
    }
}

/// A number in a header.
fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer.header(name);
    value
        .parse()
        .unwrap_or_else(|_| panic!("{name} is no number: {value:?} in {:?}", answer.headers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_get_exactly_the_limit() {
    let limited = Arc::new(limited("limits: {requests_per_minute: 50}"));
    let end = Instant::now() + Duration::from_secs(3);
    let clients = (0..64).map(|_| {
        let limited = limited.clone();
        tokio::spawn(async move {
            let client = client();
            let (mut admitted, mut refused) = (0, 0);
            while Instant::now() < end {
                let sent = limited.request(&client, "sk-alice", chat("mock")).send().await;
                let answer = Answer::of(sent.expect("the gateway answers")).await;
                if answer.status == 200 {
                    admitted += 1;
                    assert!(number(&answer, "x-ratelimit-remaining-requests") < 50);
                    continue;
                }
                refused += 1;
                let error = answer.envelope();
                assert!(error.is(429, "requests", "rate_limit_exceeded"), "{error:?}");
                assert!(error.message.contains("Limit 50, Used 50"), "{}", error.message);
                assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 50);
                assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), 0);
                assert_eq!(answer.header("x-should-retry"), "true");
                let (s, ms) = (number(&answer, "retry-after"), number(&answer, "retry-after-ms"));
                // The first was admitted at most the length of this test ago.
                assert!((50_000..=60_000).contains(&ms), "{ms}");
                assert_eq!(s, ms.div_ceil(1000));
            }
            (admitted, refused)
        })
    });
    let counts = join_all(clients).await;
    let counts = counts.into_iter().map(|count| count.expect("no client panics"));
    let (admitted, refused) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(admitted, 50, "and {refused} were refused");
    assert!(refused > 200, "the limit was not hammered: {refused}");
    assert_eq!(limited.mock.log().len(), 50, "the upstream saw what was admitted");

    let other = limited.request(&client(), "sk-bob", chat("mock")).send().await;
    let other = Answer::of(other.expect("the gateway answers")).await;
    assert_eq!(other.status, 200, "another key has nothing to do with it");
    assert!(
        !other
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-ratelimit-"))
    );
}

#[tokio::test]
async fn tokens_are_set_aside_and_settled() {
    let limited = limited("limits: {tokens_per_minute: 1000}");
    let left = |answer: &Answer| number(answer, "x-ratelimit-remaining-tokens");
    let body = |model: &str, most: u32| {
        json!({"model": model, "max_tokens": most, "messages": [{"role": "user", "content": "Say hello"}]}).to_string()
    };

    // What is left is told when the head is sent, when all that may be needed is set aside.
    let first = limited.ask(body("fault/tokens-7", 600)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(left(&first) < 400, "600 and the prompt are set aside: {}", left(&first));
    assert_eq!(number(&first, "x-ratelimit-limit-tokens"), 1000);
    let used = first.json()["usage"]["total_tokens"].as_u64().expect("a number");

    // The record is written, and the rest given back, when the body has ended; the next answer shows it.
    let refused_by_upstream = limited.ask(body("fault/400", 600)).await;
    assert_eq!(refused_by_upstream.status, 400);
    let unknown = limited.ask("{".to_owned()).await;
    assert_eq!(unknown.envelope().code.as_deref(), Some("invalid_json"));
    assert_eq!(left(&unknown), 1000 - used, "only what was used counts");
    assert!(unknown.header("x-ratelimit-reset-tokens").ends_with('s'));

    let never = limited.ask(body("mock", 1001)).await;
    let error = never.envelope();
    assert!(error.is(429, "tokens", "rate_limit_exceeded"), "{error:?}");
    assert_eq!(never.header("x-should-retry"), "false");
    assert!(never.header("retry-after").is_empty());

    let later = limited.ask(body("mock", 990)).await;
    let error = later.envelope();
    assert!(error.is(429, "tokens", "rate_limit_exceeded"), "{error:?}");
    assert!(
        error.message.contains(&format!("Used {used}, Requested ")),
        "{}",
        error.message
    );
    assert_eq!(later.header("x-should-retry"), "true");
    assert!((1..=60_000).contains(&number(&later, "retry-after-ms")));

    // A client that leaves is charged what was generated until then, not what it might have been.
    let stalled = limited
        .request(&client(), "sk-alice", chat_stream("fault/stall"))
        .send()
        .await;
    drop(stalled.expect("the head of the stream comes"));
    let mut last = 0;
    let given_back = async {
        loop {
            last = left(&limited.ask("{".to_owned()).await);
            if last > 1000 - used - 100 {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(SOON, given_back).await.is_ok(), "{last} left");
}

#[tokio::test]
async fn a_stream_is_one_until_it_ends() {
    let limited = limited("limits: {concurrency: 2}");
    let open = || {
        limited
            .request(&client(), "sk-alice", chat_stream("fault/slow-200+tokens-1000"))
            .send()
    };
    let first = open().await.expect("the head of a stream comes");
    let second = open().await.expect("the head of a stream comes");
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let third = limited.ask(chat("mock")).await;
    let error = third.envelope();
    assert!(error.is(429, "requests", "concurrency_limit_exceeded"), "{error:?}");
    assert_eq!(
        (third.header("retry-after"), third.header("x-should-retry")),
        ("1", "true")
    );
    drop(first);
    let retried = async { while limited.ask(chat("mock")).await.status != 200 {} };
    assert!(
        tokio::time::timeout(SOON, retried).await.is_ok(),
        "the place of the first is free"
    );
    drop(second);
    assert!(eventually(SOON, || limited.mock.inflight() == 0).await);
}

#[tokio::test]
async fn an_expired_key_says_so() {
    let limited = limited("expires: 2020-01-01");
    let error = limited.ask(chat("mock")).await.envelope();
    assert!(error.is(401, "invalid_request_error", "invalid_api_key"), "{error:?}");
    assert!(
        error.message.contains("expired on 2020-01-01T00:00:00Z"),
        "{}",
        error.message
    );
    assert!(limited.mock.log().is_empty());
}

#[tokio::test]
async fn a_tier_is_never_lowered() {
    let ask = async |limited: &Limited, key: &str, tier: Option<&str>| {
        let mut request = limited.request(&client(), key, chat("mock"));
        if let Some(tier) = tier {
            request = request.header("x-mulberry-min-tier", tier);
        }
        Answer::of(request.send().await.expect("the gateway answers")).await
    };
    let limited = limited("min_tier: tee");
    for (key, tier) in [
        ("sk-alice", None),
        ("sk-alice", Some("open")),
        ("sk-bob", Some("tee")),
        ("sk-bob", Some("tee+gpu")),
    ] {
        let error = ask(&limited, key, tier).await.envelope();
        assert!(
            error.is(503, "server_error", "no_attested_upstream"),
            "{key} {tier:?}: {error:?}"
        );
    }
    for tier in ["TEE", "", "best"] {
        let error = ask(&limited, "sk-bob", Some(tier)).await.envelope();
        assert!(
            error.is(400, "invalid_request_error", "invalid_value"),
            "{tier}: {error:?}"
        );
    }
    assert!(limited.mock.log().is_empty(), "no upstream is of that tier");
    assert_eq!(ask(&limited, "sk-bob", Some("open")).await.status, 200);
}
