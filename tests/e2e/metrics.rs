//! What the gateway counts: by configured names only, at exact prices, its own time apart from everyone else's.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e::client::{chat, chat_stream, get, post, request, send};
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};

use crate::count;

const PRICED: &str = "
  - {name: priced, routes: [{backend: only, model: mock}], price: {currency: EUR, prompt: 0.1, completion: 0.4, request: 0.000001}}
  - {name: cached, routes: [{backend: only, model: fault/cached}], price: {prompt: 1000, cached: 10, completion: 0}}
  - {name: plain, routes: [{backend: only, model: mock}]}
  - {name: claimed, routes: [{backend: only, model: fault/usage-overflow}], price: {completion: 1}}
  - {name: 'fault/*', routes: [{backend: only}]}
";

struct Served {
    gateway: Gateway,
    mock: Mock,
    _world: World,
}

fn serve(backend: &str) -> Served {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, kind: vllm, url: '{}', {backend}}}]\nretry: {{attempts: 1}}\nmodels:{PRICED}",
        mock.url()
    ));
    Served {
        mock,
        gateway,
        _world: world,
    }
}

/// Series with their values, in the text of `/metrics`.
pub(crate) async fn series(gateway: &Gateway) -> BTreeMap<String, f64> {
    let text = Answer::of(get(&format!("{}/metrics", gateway.admin_url())).await)
        .await
        .text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

impl Served {
    async fn ask(&self, body: String) -> Answer {
        Answer::of(post(&format!("{}/v1/chat/completions", self.gateway.url()), body).await).await
    }

    async fn stream(&self, model: &str) -> Stream {
        let url = format!("{}/v1/chat/completions", self.gateway.url());
        Stream::of(post(&url, chat_stream(model)).await).await
    }

    async fn value(&self, name: &str) -> Option<f64> {
        series(&self.gateway).await.get(name).copied()
    }

    /// The series once this many jobs were counted.
    async fn after(&self, jobs: u64) -> BTreeMap<String, f64> {
        count::until(&self.gateway, "mulberry_upstream_time_seconds_count", jobs).await;
        series(&self.gateway).await
    }
}

fn model(family: &str, model: &str, more: &str) -> String {
    format!(
        "{family}{{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"vllm\",gen_ai_request_model=\"{model}\"{more}}}"
    )
}

#[tokio::test]
async fn models_are_counted_under_their_configured_names() {
    let served = serve("");
    let usage = served.ask(chat("plain")).await.json()["usage"].clone();
    assert!(served.stream("plain").await.is_done());
    let asked = "fault/ok+tag-a-name-that-only-the-client-knows";
    assert_eq!(served.ask(chat(asked)).await.status, 200);
    assert_eq!(served.ask(chat("fault/500")).await.status, 500);
    let series = served.after(4).await;

    let tokens = |kind: &str| {
        let more = format!(",gen_ai_token_type=\"{kind}\"");
        series[&model("gen_ai_client_token_usage_sum", "plain", &more)]
    };
    // The whole answer and the stream are answers to the same question.
    assert_eq!(Some(tokens("input")), usage["prompt_tokens"].as_f64().map(|n| n * 2.0));
    assert_eq!(
        Some(tokens("output")),
        usage["completion_tokens"].as_f64().map(|n| n * 2.0)
    );

    let durations = "gen_ai_server_request_duration_seconds_count";
    assert_eq!(series[&model(durations, "plain", "")], 2.0);
    assert_eq!(series[&model(durations, "fault/*", "")], 1.0);
    assert_eq!(series[&model(durations, "fault/*", ",error_type=\"500\"")], 1.0);
    for family in [
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
    ] {
        assert_eq!(series[&model(family, "plain", "")], 1.0, "only one was a stream");
        assert!(!series.contains_key(&model(family, "fault/*", "")), "none was a stream");
    }
    assert!(!series.keys().any(|name| name.contains("only-the-client-knows")));
    assert_eq!(series["mulberry_upstream_time_seconds_count{backend=\"only\"}"], 4.0);
}

#[tokio::test]
async fn how_a_stream_ended_is_told() {
    let served = serve("");
    assert!(!served.stream("fault/clean-cut").await.is_done());
    let url = format!("{}/v1/chat/completions", served.gateway.url());
    let left = post(&url, chat_stream("fault/slow-50+tokens-100000")).await;
    assert_eq!(left.status(), 200);
    drop(left);
    let series = served.after(2).await;
    let durations = "gen_ai_server_request_duration_seconds_count";
    assert_eq!(series[&model(durations, "fault/*", ",error_type=\"stream\"")], 1.0);
    assert_eq!(series[&model(durations, "fault/*", ",error_type=\"cancelled\"")], 1.0);
}

#[tokio::test]
async fn what_is_priced_is_charged_to_the_billionth() {
    let served = serve("");
    let answer = served.ask(chat("priced")).await;
    let usage = &answer.json()["usage"];
    let (prompt, completion) = (
        usage["prompt_tokens"].as_u64().expect("a number"),
        usage["completion_tokens"].as_u64().expect("a number"),
    );
    // 0.1 and 0.4 of a euro for a million are 100 and 400 of its billionths for one; the fee is 1000.
    let nano = 100 * prompt + 400 * completion + 1000;
    assert_eq!(answer.header("x-mulberry-cost"), format!("0.{nano:09} EUR"));
    let total = "mulberry_cost_total{currency=\"EUR\",model=\"priced\"}";
    assert_eq!(served.after(1).await[total], nano as f64 / 1e9);

    // The head of a stream is sent before its cost is known; the counter has it.
    let url = format!("{}/v1/chat/completions", served.gateway.url());
    let stream = post(&url, chat_stream("priced")).await;
    assert!(!stream.headers().contains_key("x-mulberry-cost"));
    assert!(Stream::of(stream).await.is_done());
    assert_eq!(served.after(2).await[total], 2.0 * nano as f64 / 1e9);

    let free = served.ask(chat("plain")).await;
    assert!(!free.headers.contains_key("x-mulberry-cost"));
    let cached = served.ask(chat("cached")).await;
    let usage = &cached.json()["usage"];
    let from_cache = usage["prompt_tokens_details"]["cached_tokens"]
        .as_u64()
        .expect("a number");
    let fresh = usage["prompt_tokens"].as_u64().expect("a number") - from_cache;
    assert!(from_cache > 0);
    let nano = 1_000_000 * fresh + 10_000 * from_cache;
    assert_eq!(cached.header("x-mulberry-cost"), format!("0.{nano:09} USD"));
}

#[tokio::test]
async fn what_no_model_can_use_turns_no_counter_back() {
    let served = serve("");
    let total = "mulberry_cost_total{currency=\"USD\",model=\"claimed\"}";
    for job in 1..=3 {
        let answer = served.ask(chat("claimed")).await;
        // The record has the same number of tokens, at a dollar for a million.
        assert_eq!(answer.header("x-mulberry-cost"), "4294.967295000 USD");
        let off = served.after(job).await[total] - job as f64 * 4294.967295;
        assert!(off.abs() < 1e-6, "off by {off} after {job}");
    }
}

#[tokio::test]
async fn the_time_of_others_is_not_overhead() {
    let served = serve("");
    let answer = served.ask(chat("fault/slow-3000")).await;
    let overhead: f64 = answer.header("x-mulberry-overhead-ms").parse().expect("a number");
    assert!(overhead < 1500.0, "{overhead}");
    assert_eq!(answer.header("x-mulberry-upstream"), "only/1");
    let shown = format!("{:?}", answer.headers);
    assert!(!shown.contains(&format!(":{}", served.mock.port())), "{shown}");

    // A client that sends its question slowly.
    let body = chat("plain");
    let mut socket = TcpStream::connect(served.gateway.address()).expect("it listens");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(9);
    socket.write_all(head.as_bytes()).expect("it takes a head");
    socket.write_all(first.as_bytes()).expect("it takes a body");
    tokio::time::sleep(Duration::from_secs(3)).await;
    socket.write_all(rest.as_bytes()).expect("it takes the rest");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("it answers and closes");
    let mut lines = text.lines();
    let overhead = lines.find_map(|line| line.strip_prefix("x-mulberry-overhead-ms: "));
    let overhead: f64 = overhead
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    assert!(overhead < 1500.0, "{overhead}");

    let series = served.after(2).await;
    let upstream = series["mulberry_upstream_time_seconds_sum{backend=\"only\"}"];
    let overhead = series["mulberry_overhead_seconds_sum"];
    assert_eq!(series["mulberry_overhead_seconds_count"], 2.0);
    let all = series["mulberry_request_duration_seconds_sum"];
    assert!(all >= 6.0 && upstream >= 3.0, "{upstream} of {all}");
    assert!(overhead < 3.0, "{overhead} of {all}");
}

#[tokio::test]
async fn waiting_for_a_place_is_not_overhead() {
    let served = serve("concurrency: {limit: 1, queue: 8, queue_timeout: 10s}");
    let url = format!("{}/v1/chat/completions", served.gateway.url());
    let first = tokio::spawn(post_owned(url, chat("fault/slow-3000")));
    let is_there = eventually(SOON, || served.mock.inflight() == 1);
    assert!(is_there.await);
    let second = served.ask(chat("plain")).await;
    let overhead: f64 = second.header("x-mulberry-overhead-ms").parse().expect("a number");
    assert!(overhead < 1500.0, "{overhead}");
    assert_eq!(first.await.expect("it ends").status, 200);
}

async fn post_owned(url: String, body: String) -> Answer {
    Answer::of(post(&url, body).await).await
}

#[tokio::test]
async fn breakers_and_clients_that_ask_again_are_seen() {
    let served = serve("breaker: {failures: 2, cooldown: 60s}");
    let open = format!(
        "mulberry_upstream_breaker_open{{upstream=\"only/{}\"}}",
        served.mock.address()
    );
    assert_eq!(served.value(&open).await, Some(0.0));
    for _ in 0..2 {
        assert_eq!(served.ask(chat("fault/500")).await.status, 500);
    }
    assert_eq!(served.value(&open).await, Some(1.0));

    let url = format!("{}/v1/chat/completions", served.gateway.url());
    for (count, expect) in [("0", 0.0), ("1", 1.0), ("2", 2.0)] {
        let again = request(&url, chat("plain")).header("x-stainless-retry-count", count);
        assert_eq!(send(again).await.status(), 200);
        assert_eq!(served.value("mulberry_client_retries_total").await, Some(expect));
    }
    assert_eq!(served.value("mulberry_config_reload_success").await, Some(1.0));
    assert_eq!(served.value("mulberry_build_info{version=\"0.1.0\"}").await, Some(1.0));
}

#[tokio::test]
async fn operations_have_the_words_of_the_convention() {
    let served = serve("");
    for (path, body) in [
        ("embeddings", r#"{"model":"plain","input":"a word"}"#),
        ("completions", r#"{"model":"plain","prompt":"a word"}"#),
        ("responses", r#"{"model":"plain","input":"a word"}"#),
        (
            "messages",
            r#"{"model":"plain","max_tokens":9,"messages":[{"role":"user","content":"a word"}]}"#,
        ),
        ("rerank", r#"{"model":"plain","query":"a word","documents":["a","b"]}"#),
    ] {
        let url = format!("{}/v1/{path}", served.gateway.url());
        let answer = Answer::of(post(&url, body).await).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    // What was answered before is read, and no model runs.
    let url = format!("{}/v1/responses/resp_of_before", served.gateway.url());
    get(&url).await;
    let series = served.after(6).await;
    let counted = |operation: &str| {
        let family = "gen_ai_server_request_duration_seconds_count";
        let begins = format!("{family}{{gen_ai_operation_name=\"{operation}\"");
        let of_operation = series.iter().filter(|(name, _)| name.starts_with(&begins));
        of_operation.map(|(_, count)| count).sum::<f64>()
    };
    let operations = ["embeddings", "text_completion", "chat", "rerank"];
    assert_eq!(operations.map(counted), [1.0, 1.0, 2.0, 1.0]);
}
