//! What is recorded of a request: its usage by class as the upstream told it, or an estimate that says so.

use e2e::client::{chat, client, get, post, request, send};
use e2e::sse::Stream;
use e2e::{Answer, Gateway, Mock, World};
use serde_json::{Value, json};

use crate::record::{self, Record};

struct Served {
    mock: Mock,
    gateway: Gateway,
    _world: World,
}

fn serve() -> Served {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: only, url: '{}'}}]", mock.url()));
    Served {
        mock,
        gateway,
        _world: world,
    }
}

impl Served {
    /// What the mock itself says that a body uses, in classes that do not overlap.
    async fn truth(&self, path: &str, body: &Value) -> [u64; 4] {
        let answer = Answer::of(post(&format!("{}{path}", self.mock.url()), body.to_string()).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let usage = &answer.json()["usage"];
        let number = |names: [&str; 2]| names.iter().find_map(|name| usage.pointer(name)?.as_u64()).unwrap_or(0);
        let prompt = number(["/prompt_tokens", "/input_tokens"]);
        let completion = number(["/completion_tokens", "/output_tokens"]);
        let cached = number([
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
        ]);
        let reasoning = number([
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
        ]);
        assert!(prompt > 0, "{usage}");
        [prompt - cached, cached, completion - reasoning, reasoning]
    }

    async fn record(&self, path: &str, id: &str, body: &Value) -> (Answer, Record) {
        let url = format!("{}{path}", self.gateway.url());
        let answer = Answer::of(send(request(&url, body.to_string()).header("x-request-id", id)).await).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        (answer, record::of(&self.gateway, id).await)
    }
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [
        {"role": "system", "content": "You answer in one word or a few of them, and never in more"},
        {"role": "user", "content": "What is the colour of a mulberry when it is ripe and when it is not"},
    ]})
}

#[tokio::test]
async fn usage_is_what_the_upstream_said() {
    let served = serve();
    let path = "/v1/chat/completions";
    for mode in [
        "ok",
        "cached",
        "reasoning",
        "reasoning+cached",
        "tools",
        "tokens-7",
        "usage-inflated",
    ] {
        let body = question(&format!("fault/{mode}"));
        let name = mode.replace('+', "-");
        let truth = served.truth(path, &body).await;
        assert!(truth[2] > 0, "{mode}: {truth:?}");
        assert_eq!(truth[1] > 0, mode.contains("cached"), "{mode}: {truth:?}");
        assert_eq!(truth[3] > 0, mode.contains("reasoning"), "{mode}: {truth:?}");

        let (_, record) = served.record(path, &format!("unary-{name}"), &body).await;
        assert_eq!((record.usage(), record.field("usage")), (truth, "upstream"), "{mode}");

        let mut stream = body.clone();
        stream["stream"] = true.into();
        let (answer, record) = served.record(path, &format!("unasked-{name}"), &stream).await;
        assert_eq!(
            (record.usage(), record.field("usage")),
            (truth, "upstream"),
            "{mode}, unasked"
        );
        let read = Stream { text: answer.text() };
        assert!(read.is_done() && read.usage().is_none(), "nobody asked:\n{}", read.text);

        stream["stream_options"] = json!({"include_usage": true});
        let (answer, record) = served.record(path, &format!("asked-{name}"), &stream).await;
        assert_eq!(
            (record.usage(), record.field("usage")),
            (truth, "upstream"),
            "{mode}, asked"
        );
        assert!(
            Stream { text: answer.text() }.usage().is_some(),
            "it was asked for:\n{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn other_endpoints_are_metered_alike() {
    let served = serve();
    for (path, body) in [
        ("/v1/completions", json!({"model": "mock", "prompt": "one two three"})),
        (
            "/v1/embeddings",
            json!({"model": "mock", "input": "one two three four"}),
        ),
        ("/v1/responses", json!({"model": "mock", "input": "one two three"})),
    ] {
        let truth = served.truth(path, &body).await;
        let name = path.rsplit('/').next().unwrap_or_default();
        let (_, record) = served.record(path, name, &body).await;
        assert_eq!((record.usage(), record.field("usage")), (truth, "upstream"), "{path}");
        if path == "/v1/embeddings" {
            continue;
        }
        let mut stream = body.clone();
        stream["stream"] = true.into();
        let (_, record) = served.record(path, &format!("{name}-stream"), &stream).await;
        assert_eq!(
            (record.usage(), record.field("usage")),
            (truth, "upstream"),
            "{path}, as a stream"
        );
    }
}

#[tokio::test]
async fn what_an_upstream_does_not_say_is_estimated_and_marked() {
    let served = serve();
    let path = "/v1/chat/completions";
    let body = question("fault/no-usage+tokens-40");
    let (_, unary) = served.record(path, "unary", &body).await;
    let mut stream = body.clone();
    stream["stream"] = true.into();
    let (_, streamed) = served.record(path, "stream", &stream).await;
    for record in [&unary, &streamed] {
        assert_eq!(
            (record.field("usage"), record.end.as_str()),
            ("estimated", "complete"),
            "{record:?}"
        );
        let [prompt, cached, completion, reasoning] = record.usage();
        // Forty words of six letters, and twenty-six words of prompt.
        assert!((20..=80).contains(&completion), "{record:?}");
        assert!((13..=60).contains(&prompt), "{record:?}");
        assert_eq!((cached, reasoning), (0, 0), "{record:?}");
    }
}

#[tokio::test]
async fn absurd_usage_does_no_harm() {
    let served = serve();
    let path = "/v1/chat/completions";
    let counter = || async {
        let text = Answer::of(get(&format!("{}/metrics", served.gateway.admin_url())).await)
            .await
            .text();
        let line = text
            .lines()
            .find(|line| line.starts_with("mulberry_tokens_total{type=\"completion\"}"));
        let number = line
            .and_then(|line| line.rsplit(' ').next())
            .map_or(Ok(0), str::parse::<u64>);
        number.expect("a counter is a whole number")
    };
    let mut last = 0;
    for nth in 0..3 {
        for (mode, most) in [
            ("usage-overflow", u64::from(u32::MAX)),
            ("usage-negative", 0),
            ("ok", 1000),
        ] {
            for is_stream in [false, true] {
                let mut body = question(&format!("fault/{mode}"));
                body["stream"] = is_stream.into();
                let (answer, record) = served.record(path, &format!("{mode}-{nth}-{is_stream}"), &body).await;
                assert!(
                    answer.text().contains("scripted engine") || is_stream,
                    "{}",
                    answer.text()
                );
                assert_eq!(
                    (record.end.as_str(), record.field("usage")),
                    ("complete", "upstream"),
                    "{record:?}"
                );
                assert!(record.number("completion") <= most, "{record:?}");
                let now = counter().await;
                assert!(now >= last, "{mode}: the counter fell from {last} to {now}");
                last = now;
            }
        }
    }
    let sums = record::sums(&served.gateway, "model");
    let completions = sums["fault/usage-overflow"][4];
    assert_eq!(completions, 6 * u64::from(u32::MAX), "{sums:?}");
}

#[tokio::test]
async fn a_record_tells_who_asked_whom_and_how_it_went() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "keys: [{{name: alice, secret: sk-alice}}, {{name: bob, secret: sk-bob}}]\n\
         backends: [{{name: first, url: '{}'}}, {{name: second, url: '{}'}}]\n\
         models: [{{name: m, routes: [{{backend: first, model: fault/503}}, {{backend: second, model: mock, priority: 1}}]}},\n\
         \x20 {{name: wrong, routes: [{{backend: first, model: fault/400}}]}}]",
        first.url(),
        second.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    for (key, id, model) in [
        ("sk-alice", "one", "m"),
        ("sk-bob", "two", "m"),
        ("sk-bob", "three", "wrong"),
        ("sk-nobody", "four", "m"),
        ("sk-bob", "five", "no-such"),
    ] {
        let sent = client().post(&url).bearer_auth(key).header("x-request-id", id);
        send(sent.header("content-type", "application/json").body(chat(model))).await;
    }
    let one = record::of(&gateway, "one").await;
    assert_eq!(
        (one.model.as_str(), one.status, one.end.as_str(), one.number("attempts")),
        ("m", 200, "complete", 2)
    );
    assert!(one.number("duration_ms") >= one.number("ttft_ms"), "{one:?}");
    let three = record::of(&gateway, "three").await;
    assert_eq!(
        (three.status, three.end.as_str(), three.number("attempts")),
        (400, "failed", 1)
    );
    assert_eq!(
        (three.field("usage"), three.field("code")),
        ("none", "scripted"),
        "{three:?}"
    );

    let by_key = record::sums(&gateway, "key");
    assert_eq!((by_key["alice"][0], by_key["bob"][0]), (1, 2), "{by_key:?}");
    let by_upstream = record::sums(&gateway, "upstream");
    let name = |backend: &str, mock: &Mock| format!("{backend}/{}", mock.address());
    assert_eq!(by_upstream[&name("second", &second)][0], 2, "{by_upstream:?}");
    assert_eq!(by_upstream[&name("first", &first)][0], 1, "{by_upstream:?}");
}
