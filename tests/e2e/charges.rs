//! What an account pays in each way of ending, to the billionth: the rows of `docs/money.md`, as processes.
//!
//! What was spent is read where a client can read it: a request that is too dear for what is left is refused with 402,
//! and says how much is missing.

use e2e::client::{request, send};
use e2e::scripted::Scripted;
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::flow::Flow;
use crate::record;

/// Billionths for a token of each class, the gateway's fee included.
const PROMPT: u64 = 1100;
const CACHED: u64 = 600;
const COMPLETION: u64 = 2200;
const REASONING: u64 = 3200;

const PRICE: &str =
    "{currency: TON, prompt: 1, cached: 0.5, completion: 2, reasoning: 3, fee: {prompt: 0.1, completion: 0.2}}";

/// A gateway whose one key may spend a hundred units.
struct Shop {
    gateway: Gateway,
    mock: Mock,
    _world: World,
}

impl Shop {
    fn open() -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let url = mock.url();
        Self::before(world, mock, &url, "")
    }

    /// One that sends no status before it knows what came.
    fn patient() -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let url = mock.url();
        Self::committing("15s", world, mock, &url, "")
    }

    /// In front of an upstream that says what no server would.
    fn before_scripted(upstream: &Scripted) -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        Self::before(world, mock, &upstream.url(), "")
    }

    fn before(world: World, mock: Mock, url: &str, backend: &str) -> Self {
        Self::committing("300ms", world, mock, url, backend)
    }

    fn committing(after: &str, world: World, mock: Mock, url: &str, backend: &str) -> Self {
        let gateway = world.gateway(&format!(
            "keys: [{{name: alice, secret: sk-alice, budget: {{total: 100}}}}]\n\
             backends: [{{name: only, url: '{url}', health: {{enabled: false}}, {backend}}}]\n\
             models:\n\
             \x20 - {{name: free, routes: [{{backend: only}}]}}\n\
             \x20 - {{name: flat, routes: [{{backend: only, model: mock}}], price: {{currency: TON, request: 0.005}}}}\n\
             \x20 - {{name: '*', routes: [{{backend: only}}], max_output: 64, price: {PRICE}}}\n\
             ledger: {{currency: TON}}\n\
             retry: {{commit_after: {after}, heartbeat: 50ms}}\n"
        ));
        Self {
            gateway,
            mock,
            _world: world,
        }
    }

    fn request(&self, path: &str, id: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}{path}", self.gateway.url());
        request(&url, body.to_string())
            .bearer_auth("sk-alice")
            .header("x-request-id", id)
    }

    async fn ask(&self, path: &str, id: &str, body: &Value) -> Answer {
        Answer::of(send(self.request(path, id, body)).await).await
    }

    /// The body of the one request that the upstream got.
    fn sent(&self) -> Value {
        let sent = self.mock.only();
        let body = sent["body"].as_str().expect("a body is text");
        serde_json::from_str(body).expect("a body is JSON")
    }

    /// What is left, by what is missing for a request that nobody can afford.
    async fn left(&self) -> u64 {
        /// Its ceiling: bytes and room for a template, and the largest bound of an answer, each in the dearest class.
        const BOUND: u64 = 2_147_483_647;
        let body = json!({"model": "m", "max_completion_tokens": BOUND, "messages": []});
        let bytes = body.to_string().len() as u64 + 256;
        let ceiling = bytes * PROMPT + BOUND * REASONING;
        let refused = self.ask("/v1/chat/completions", "probe", &body).await;
        let envelope = refused.envelope();
        assert!(
            envelope.is(402, "insufficient_quota", "insufficient_quota"),
            "{envelope:?}"
        );
        ceiling - missing(&envelope.message)
    }

    /// What the account paid for a request that has ended.
    async fn paid(&self, id: &str, before: u64) -> u64 {
        record::of(&self.gateway, id).await;
        before - self.left().await
    }
}

/// The amount in a message, in billionths.
fn missing(message: &str) -> u64 {
    let words: Vec<&str> = message.split_whitespace().collect();
    let amount = words.windows(2).find(|pair| pair[1] == "TON").map(|pair| pair[0]);
    let amount = amount.unwrap_or_else(|| panic!("no amount in {message:?}"));
    amount
        .replace('.', "")
        .parse()
        .expect("an amount has nine digits behind its point")
}

fn question(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "What is the colour of a mulberry when it is ripe?"}]})
}

/// Of a prompt whose upstream says nothing: a token for every four bytes.
fn estimated(body: &Value) -> u64 {
    (body["messages"].to_string().len() as u64).div_ceil(4)
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = true.into();
    body
}

/// What the usage of an answer comes to.
fn price_of(usage: &Value) -> u64 {
    let number = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let either = |one: &str, other: &str| number(one).max(number(other));
    let prompt = either("/prompt_tokens", "/input_tokens");
    let completion = either("/completion_tokens", "/output_tokens");
    let cached = either(
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
    );
    let reasoning = either(
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
    );
    assert!(prompt > 0, "{usage}");
    (prompt - cached) * PROMPT + cached * CACHED + (completion - reasoning) * COMPLETION + reasoning * REASONING
}

fn shown(nano: u64) -> String {
    format!("{}.{:09} TON", nano / 1_000_000_000, nano % 1_000_000_000)
}

#[tokio::test]
async fn a_whole_answer_is_paid_as_counted_and_says_so() {
    let shop = Shop::open();
    for (id, path, body) in [
        ("chat", "/v1/chat/completions", question("mock")),
        ("cached", "/v1/chat/completions", question("fault/cached")),
        ("reasoning", "/v1/chat/completions", question("fault/reasoning")),
        ("tools", "/v1/chat/completions", question("fault/tools")),
        (
            "completion",
            "/v1/completions",
            json!({"model": "mock", "prompt": "one two three"}),
        ),
        (
            "embedding",
            "/v1/embeddings",
            json!({"model": "mock", "input": "one two three"}),
        ),
        (
            "response",
            "/v1/responses",
            json!({"model": "mock", "input": "one two three"}),
        ),
    ] {
        let before = shop.left().await;
        let answer = shop.ask(path, id, &body).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        let usage = &answer.json()["usage"];
        let price = price_of(usage);
        assert_eq!(shop.paid(id, before).await, price, "{id}: {usage}");
        assert_eq!(answer.header("x-mulberry-cost"), shown(price), "{id}");
        let cost = |name: &str| {
            usage[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{id}: no {name} in {usage}"))
        };
        assert_eq!(cost("total_cost"), price, "{id}");
        assert_eq!(cost("prompt_total_cost") + cost("completion_total_cost"), price, "{id}");
    }
}

#[tokio::test]
async fn a_message_is_paid_as_counted() {
    let shop = Shop::open();
    let body = json!({"model": "mock", "max_tokens": 50, "messages": [{"role": "user", "content": "one two three"}]});
    let before = shop.left().await;
    let answer = shop.ask("/v1/messages", "message", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shop.paid("message", before).await, price_of(&answer.json()["usage"]));
    let before = shop.left().await;
    let read = Stream::of(send(shop.request("/v1/messages", "message-stream", &streamed(body))).await).await;
    let price = price_of(&answer.json()["usage"]);
    assert_eq!(shop.paid("message-stream", before).await, price, "{}", read.text);
    assert!(read.text.contains(&format!(": cost {}", shown(price))), "{}", read.text);
    assert!(read.text.contains(&format!("\"total_cost\":{price}")), "{}", read.text);
}

#[tokio::test]
async fn a_stream_is_paid_as_counted_and_says_so_before_its_end() {
    let shop = Shop::open();
    for mode in [
        "mock",
        "fault/cached",
        "fault/reasoning",
        "fault/tools",
        "fault/usage-in-last",
        "fault/split",
    ] {
        let whole = shop.ask("/v1/chat/completions", "whole", &question(mode)).await;
        let price = price_of(&whole.json()["usage"]);
        for is_asked in [false, true] {
            let id = format!("{}-{is_asked}", mode.replace('/', "-"));
            let mut body = streamed(question(mode));
            if is_asked {
                body["stream_options"] = json!({"include_usage": true});
            }
            let before = shop.left().await;
            let read = Stream::of(send(shop.request("/v1/chat/completions", &id, &body)).await).await;
            assert!(read.is_done(), "{}", read.text);
            assert_eq!(shop.paid(&id, before).await, price, "{id}:\n{}", read.text);
            let end = format!(": cost {}\n\ndata: [DONE]\n\n", shown(price));
            assert!(read.text.ends_with(&end), "{id}:\n{}", read.text);
            if is_asked {
                let usage = read.usage().expect("it was asked for");
                assert_eq!(usage["total_cost"].as_u64(), Some(price), "{id}: {usage}");
            }
        }
    }
    let before = shop.left().await;
    let body = json!({"model": "mock", "input": "one two three", "stream": true});
    let read = Stream::of(send(shop.request("/v1/responses", "response-stream", &body)).await).await;
    let data = read.data();
    let last: Value = serde_json::from_str(data.last().expect("an event")).expect("JSON");
    assert_eq!(last["type"], "response.completed", "{}", read.text);
    let price = price_of(&last["response"]["usage"]);
    assert_eq!(shop.paid("response-stream", before).await, price);
    assert_eq!(last["response"]["usage"]["total_cost"].as_u64(), Some(price), "{last}");
}

#[tokio::test]
async fn what_reaches_no_upstream_costs_nothing() {
    let shop = Shop::patient();
    let before = shop.left().await;
    for (id, path, body, status, code) in [
        (
            "unpriced",
            "/v1/chat/completions",
            question("free"),
            403,
            "model_not_priced",
        ),
        (
            "rerank",
            "/v1/rerank",
            json!({"model": "mock", "query": "q", "documents": ["d"]}),
            403,
            "model_not_priced",
        ),
        (
            "background",
            "/v1/responses",
            json!({"model": "mock", "input": "x", "background": true}),
            400,
            "unsupported_parameter",
        ),
    ] {
        let refused = shop.ask(path, id, &body).await;
        let envelope = refused.envelope();
        assert_eq!(
            (envelope.status, envelope.code.as_deref()),
            (status, Some(code)),
            "{envelope:?}"
        );
    }
    let refused = shop.ask("/v1/chat/completions", "503", &question("fault/503no")).await;
    assert_eq!(refused.status, 503);
    let dropped = shop
        .ask("/v1/chat/completions", "cut-before", &question("fault/cut-before"))
        .await;
    assert_eq!(dropped.status, 502);
    let error = shop
        .ask(
            "/v1/chat/completions",
            "err-first",
            &streamed(question("fault/err-first")),
        )
        .await;
    assert_ne!(error.status, 200, "{}", error.text());
    for id in ["503", "cut-before", "err-first"] {
        assert_eq!(shop.paid(id, before).await, 0, "{id}");
    }
}

#[tokio::test]
async fn who_leaves_before_the_first_token_pays_for_the_prompt() {
    let shop = Shop::open();
    for (id, body) in [
        ("no-byte", question("fault/hang")),
        ("no-byte-of-a-stream", streamed(question("fault/hang"))),
        ("half-a-whole-answer", question("fault/stall")),
    ] {
        shop.mock.reset();
        let before = shop.left().await;
        let asking = tokio::spawn(shop.request("/v1/chat/completions", id, &body).send());
        assert!(
            eventually(SOON, || shop.mock.inflight() == 1).await,
            "{id} did not arrive"
        );
        asking.abort();
        assert_eq!(shop.paid(id, before).await, estimated(&body) * PROMPT, "{id}");
    }
    let body = streamed(question("fault/hang-after-headers"));
    let before = shop.left().await;
    let mut flow = Flow::open(shop.request("/v1/chat/completions", "headers", &body)).await;
    flow.until(":").await;
    drop(flow);
    assert_eq!(shop.paid("headers", before).await, estimated(&body) * PROMPT);
}

#[tokio::test]
async fn who_leaves_in_the_queue_pays_nothing() {
    let world = World::new();
    let mock = world.mock(&[]);
    let url = mock.url();
    let shop = Shop::before(world, mock, &url, "concurrency: {limit: 1}");
    let before = shop.left().await;
    let body = question("fault/hang");
    let first = tokio::spawn(shop.request("/v1/chat/completions", "first", &body).send());
    assert!(
        eventually(SOON, || shop.mock.inflight() == 1).await,
        "it did not arrive"
    );
    let second = tokio::spawn(shop.request("/v1/chat/completions", "second", &body).send());
    crate::count::until(&shop.gateway, "mulberry_requests_in_flight", 2).await;
    second.abort();
    record::of(&shop.gateway, "second").await;
    first.abort();
    assert_eq!(
        shop.paid("first", before).await,
        estimated(&body) * PROMPT,
        "the first alone"
    );
}

#[tokio::test]
async fn who_leaves_in_the_middle_pays_for_the_prompt_and_what_was_delivered() {
    let shop = Shop::open();
    let body = streamed(question("fault/stall"));
    let before = shop.left().await;
    let mut flow = Flow::begin(shop.request("/v1/chat/completions", "middle", &body)).await;
    // The second of two words, after which nothing comes.
    flow.until(" am").await;
    drop(flow);
    let paid = shop.paid("middle", before).await;
    assert_eq!(paid, estimated(&body) * PROMPT + 2 * COMPLETION);
}

/// More words than are paid for in flight, each a chunk, and an end of the stream, all of it in one write.
fn burst(end: &str) -> String {
    let words = (0..WORDS).map(|_| chunk("{\"content\":\"ab\"}", "null"));
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{}{end}",
        words.collect::<String>()
    )
}

const WORDS: u64 = 40;

fn chunk(delta: &str, reason: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
    )
}

#[tokio::test]
async fn who_leaves_before_done_pays_for_what_came_and_has_not_seen_the_end() {
    let upstream = Scripted::holding(burst(&chunk("{}", "\"stop\"")));
    let shop = Shop::before_scripted(&upstream);
    let body = streamed(question("m"));
    let before = shop.left().await;
    let mut flow = Flow::begin(shop.request("/v1/chat/completions", "before-done", &body)).await;
    // A heartbeat later the finish reason would have come, if it were not held.
    flow.until(": keep-alive").await;
    assert!(!flow.text().contains("\"stop\""), "the end waits:\n{}", flow.text());
    assert_eq!(
        flow.text().matches("\"ab\"").count() as u64,
        WORDS,
        "all before it came"
    );
    drop(flow);
    let paid = shop.paid("before-done", before).await;
    assert_eq!(paid, estimated(&body) * PROMPT + WORDS * COMPLETION);
}

#[tokio::test]
async fn what_came_together_with_an_error_is_paid_where_it_was_delivered() {
    let error = "data: {\"error\":{\"message\":\"overheated\",\"type\":\"server_error\"}}\n\n";
    let upstream = Scripted::answering(burst(error));
    let shop = Shop::before_scripted(&upstream);
    let body = streamed(question("m"));
    let before = shop.left().await;
    let read = Stream::of(send(shop.request("/v1/chat/completions", "burst", &body)).await).await;
    assert!(read.text.contains("overheated"), "{}", read.text);
    assert_eq!(read.text.matches("\"ab\"").count() as u64, WORDS, "{}", read.text);
    assert_eq!(shop.paid("burst", before).await, WORDS * COMPLETION);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_paid_for_what_it_delivered_and_not_for_the_prompt() {
    let shop = Shop::open();
    for mode in ["cut", "clean-cut", "err-data"] {
        let body = streamed(question(&format!("fault/{mode}")));
        let before = shop.left().await;
        let read = Stream::of(send(shop.request("/v1/chat/completions", mode, &body)).await).await;
        let error = read.error();
        assert!(error.code.is_some(), "{error:?}");
        assert!(!read.text.contains(": cost"), "{}", read.text);
        let chunks = read.chunks();
        let words = chunks.iter().filter(|chunk| {
            let content = chunk["choices"][0]["delta"]["content"].as_str();
            content.is_some_and(|content| !content.is_empty())
        });
        let words = words.count() as u64;
        assert!(words >= 2, "{}", read.text);
        assert_eq!(shop.paid(mode, before).await, words * COMPLETION, "{mode}");
    }
}

#[tokio::test]
async fn without_usage_an_estimate_is_paid() {
    let shop = Shop::open();
    // Forty words of six bytes: a token for every four of them is more than one for each delta.
    for body in [
        question("fault/no-usage+tokens-40"),
        streamed(question("fault/no-usage+tokens-40")),
    ] {
        let is_stream = body["stream"] == true;
        let id = format!("estimate-{is_stream}");
        let before = shop.left().await;
        let answer = shop.ask("/v1/chat/completions", &id, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let content = if is_stream {
            Stream { text: answer.text() }.content()
        } else {
            answer.json()["choices"][0]["message"]["content"]
                .as_str()
                .expect("text")
                .to_owned()
        };
        let tokens = (content.len() as u64).div_ceil(4).min(64);
        let paid = shop.paid(&id, before).await;
        assert_eq!(paid, estimated(&body) * PROMPT + tokens * COMPLETION, "{content}");
    }
}

#[tokio::test]
async fn more_than_there_is_text_for_is_not_paid() {
    let claim = |prompt: u64, completion: u64, reasoning: u64| {
        format!(
            r#"{{"id":"c","object":"chat.completion","created":5,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"black, or red"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":0,"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}}}"#
        )
    };
    // Thirteen bytes, and eight for markers.
    for (id, usage, expect) in [
        ("honest", [20, 5, 0], 20 * PROMPT + 5 * COMPLETION),
        ("modest", [1, 1, 0], PROMPT + COMPLETION),
        ("dense", [20, 21, 0], 20 * PROMPT + 21 * COMPLETION),
        ("inflated", [20, 60, 0], 20 * PROMPT + 21 * COMPLETION),
        ("unbound", [20, 9_000_000_000, 0], 20 * PROMPT + 21 * COMPLETION),
        ("hidden", [20, 45, 40], 20 * PROMPT + 5 * COMPLETION),
    ] {
        let [prompt, completion, reasoning] = usage;
        let upstream = Scripted::json(&claim(prompt, completion, reasoning));
        let shop = Shop::before_scripted(&upstream);
        let before = shop.left().await;
        let answer = shop.ask("/v1/chat/completions", id, &question("m")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(shop.paid(id, before).await, expect, "{id}");
        let mut trusting = shop;
        if id == "hidden" {
            let Shop { mock, _world, .. } = trusting;
            trusting = Shop::before(World::new(), mock, &upstream.url(), "hidden_reasoning: billed");
            let before = trusting.left().await;
            trusting.ask("/v1/chat/completions", "billed", &question("m")).await;
            let expect = 20 * PROMPT + 5 * COMPLETION + 40 * REASONING;
            assert_eq!(trusting.paid("billed", before).await, expect);
            drop(_world);
        }
    }
    // A prompt that was claimed beyond its bytes is what was held for.
    let upstream = Scripted::json(&claim(1_000_000, 1, 0));
    let shop = Shop::before_scripted(&upstream);
    let before = shop.left().await;
    let body = question("m");
    shop.ask("/v1/chat/completions", "prompt", &body).await;
    let bytes = body.to_string().len() as u64 + 256;
    assert_eq!(shop.paid("prompt", before).await, bytes * PROMPT + COMPLETION);
}

#[tokio::test]
async fn broken_json_is_half_paid() {
    let answer = |content: &str| {
        format!(
            r#"{{"id":"c","object":"chat.completion","created":5,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":{}}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":21,"completion_tokens":7,"total_tokens":28}}}}"#,
            json!(content)
        )
    };
    let format = json!({"type": "json_schema", "json_schema": {"name": "colour", "strict": true, "schema": {}}});
    for (id, content, expect) in [
        ("kept", "{\"colour\": \"black\"}", 21 * PROMPT + 7 * COMPLETION),
        ("broken", "{\"colour\": \"bla", 10 * PROMPT + 3 * COMPLETION),
    ] {
        let shop = Shop::before_scripted(&Scripted::json(&answer(content)));
        let mut body = question("m");
        body["response_format"] = format.clone();
        let before = shop.left().await;
        shop.ask("/v1/chat/completions", id, &body).await;
        assert_eq!(shop.paid(id, before).await, expect, "{id}");
    }
}

/// A stream of so many words that never heeds a bound.
fn endless(words: usize) -> String {
    let word = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{}",
        word.repeat(words)
    )
}

#[tokio::test]
async fn a_stream_past_its_bound_is_ended_as_one_of_full_length() {
    let upstream = Scripted::holding(endless(500));
    let shop = Shop::before_scripted(&upstream);
    let mut body = streamed(question("m"));
    body["max_tokens"] = 10.into();
    body["stream_options"] = json!({"include_usage": true});
    let before = shop.left().await;
    let read = Stream::of(send(shop.request("/v1/chat/completions", "cut", &body)).await).await;
    assert!(read.is_done(), "{}", read.text);
    assert_eq!(read.finish_reason().as_deref(), Some("length"));
    assert_eq!(read.content(), " word".repeat(10));
    assert!(read.text.contains("x_budget_exhausted"), "{}", read.text);
    let price = estimated(&body) * PROMPT + 10 * COMPLETION;
    assert_eq!(shop.paid("cut", before).await, price);
    assert_eq!(price_of(&read.usage().expect("it was asked for")), price);
    assert!(read.text.contains(&format!(": cost {}", shown(price))), "{}", read.text);

    // A client of Anthropic's reads the same in its words.
    let body = json!({"model": "m", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "go"}]});
    let read = Stream::of(send(shop.request("/v1/messages", "cut-message", &body)).await).await;
    assert!(read.text.contains("\"stop_reason\":\"max_tokens\""), "{}", read.text);
    assert_eq!(
        read.names().last().map(String::as_str),
        Some("message_stop"),
        "{}",
        read.text
    );
    let words = read.text.matches(" word").count();
    assert_eq!(words, 10, "{}", read.text);
}

#[tokio::test]
async fn an_answer_without_a_bound_is_given_one() {
    let shop = Shop::open();
    for (path, body, name) in [
        ("/v1/chat/completions", question("mock"), "max_completion_tokens"),
        (
            "/v1/chat/completions",
            json!({"model": "mock", "messages": [], "max_completion_tokens": null}),
            "max_completion_tokens",
        ),
        ("/v1/completions", json!({"model": "mock", "prompt": "x"}), "max_tokens"),
        (
            "/v1/responses",
            json!({"model": "mock", "input": "x"}),
            "max_output_tokens",
        ),
    ] {
        shop.mock.reset();
        shop.ask(path, "unbound", &body).await;
        assert_eq!(shop.sent()[name], 64, "{path}");
        let mut bounded = body.clone();
        bounded[name] = 5.into();
        shop.mock.reset();
        shop.ask(path, "bound", &bounded).await;
        assert_eq!(shop.sent()[name], 5, "{path}");
    }
}

#[tokio::test]
async fn a_replay_is_not_paid_again() {
    let shop = Shop::open();
    for body in [question("mock"), streamed(question("mock"))] {
        let before = shop.left().await;
        let ask = |id: &str| {
            let request = shop.request("/v1/chat/completions", id, &body);
            request.header("idempotency-key", format!("key-{}", body["stream"]))
        };
        let first = Answer::of(send(ask("once")).await).await;
        assert_eq!(first.status, 200);
        assert!(eventually(SOON, || shop.mock.inflight() == 0).await);
        let paid = before - shop.left().await;
        assert!(paid > 0);
        let again = Answer::of(send(ask("again")).await).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.body, first.body);
        assert_eq!(before - shop.left().await, paid);
    }
}

#[tokio::test]
async fn an_operation_without_tokens_costs_its_request() {
    let shop = Shop::open();
    let before = shop.left().await;
    let body = json!({"model": "flat", "input": "say it", "voice": "alloy"});
    let answer = shop.ask("/v1/audio/speech", "speech", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shop.paid("speech", before).await, 5_000_000);
}

#[tokio::test]
async fn what_is_no_text_is_held_for_as_the_whole_context() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "keys: [{{name: poor, secret: sk-poor, budget: {{total: 0.1}}}}]\n\
         backends: [{{name: only, url: '{}'}}]\n\
         models: [{{name: '*', routes: [{{backend: only}}], price: {PRICE}}}]\n\
         ledger: {{currency: TON}}\n",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let ask = async |content: Value| {
        let body = json!({"model": "mock", "max_tokens": 10, "messages": [{"role": "user", "content": content}]});
        Answer::of(send(request(&url, body.to_string()).bearer_auth("sk-poor")).await).await
    };
    assert_eq!(ask(json!([{"type": "text", "text": "what is it?"}])).await.status, 200);
    // 131,072 tokens at 1,100 billionths are more than a tenth of a unit.
    let refused = ask(json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])).await;
    let envelope = refused.envelope();
    assert!(
        envelope.is(402, "insufficient_quota", "insufficient_quota"),
        "{envelope:?}"
    );
    assert_eq!(refused.header("x-should-retry"), "false");
    assert!(envelope.message.contains("key:poor"), "{envelope:?}");
}
