//! Claims are counted anew: what was too much comes back, to the billionth, and is a strike.

use std::time::{Duration, Instant};

use e2e::client::{client, send};
use e2e::{Answer, Gateway, Scripted, World};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADMIN, KEY, admin, nano, units};

const PROMPT: u64 = 10_000_000;
const COMPLETION: u64 = 100_000_000;
/// `hello world` is two tokens of o200k_base, `tiktoken is great!` six.
const ASKED: &str = "hello world";
const SAID: &str = "tiktoken is great!";
/// 2 % and 2 above 6 tokens.
const MOST: u64 = 8;

/// A tokenizer in which each word is a token.
const WORDS: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;

fn yaml(upstream: &str, model: &str, tokenizer: &str) -> String {
    format!(
        "backends: [{{name: only, url: '{upstream}', health: {{enabled: false}}}}]\n\
         models: [{{name: '{model}', routes: [{{backend: only}}], tokenizer: {tokenizer}, \
         price: {{currency: TON, prompt: {}, completion: {}}}}}]\n\
         keys: [{{name: spender, secret: {KEY}, budget: {{total: 1}}}}]\n\
         admin: {{tokens: [{{name: ops, secret: {ADMIN}}}]}}\n\
         ledger: {{currency: TON}}\n",
        units(PROMPT),
        units(COMPLETION)
    )
}

fn whole(prompt: u64, completion: u64) -> String {
    json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    })
    .to_string()
}

fn stream(usage: Option<(u64, u64)>) -> String {
    let mut events = String::new();
    let mut event = |value: Value| events.push_str(&format!("data: {value}\n\n"));
    for (at, word) in ["tik", "token is", " great", "!"].into_iter().enumerate() {
        let finish = (at == 3).then_some("stop");
        event(
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": finish}]}),
        );
    }
    if let Some((prompt, completion)) = usage {
        event(
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}}),
        );
    }
    events + "data: [DONE]\n\n"
}

/// Asks once; the answer must be whole.
async fn ask(gateway: &Gateway, model: &str, is_stream: bool) {
    let body = json!({"model": model, "max_tokens": 64, "stream": is_stream,
        "messages": [{"role": "user", "content": ASKED}]});
    let request = client()
        .post(format!("{}/v1/chat/completions", gateway.url()))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = Answer::of(send(request).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!is_stream || answer.text().contains("[DONE]"), "{}", answer.text());
}

/// A metric, once the recount of the one request is over.
async fn recounted(gateway: &Gateway) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = Answer::of(e2e::client::get(&format!("{}/metrics", gateway.admin_url())).await)
            .await
            .text();
        let counted = text.lines().filter(|line| line.starts_with("mulberry_recounts_total"));
        let sum: u64 = counted
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        if sum > 0 {
            return text;
        }
        assert!(Instant::now() < deadline, "nothing was counted:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was captured and what came back.
async fn charges(gateway: &Gateway) -> (Vec<Value>, Vec<Value>) {
    let answer = admin(gateway, Method::GET, "accounts/org:default/charges?limit=100")
        .await
        .json();
    let all = answer["data"].as_array().cloned().unwrap_or_default();
    all.into_iter().partition(|charge| charge["kind"] == "capture")
}

/// Asks a lying or honest upstream once, and gives `captured refunded overclaims` when all was counted.
async fn check(upstream: &str, model: &str, tokenizer: &str, is_stream: bool, expect: (u64, u64, u64)) {
    let world = World::new();
    let file = world.file("tokenizer.json", WORDS);
    let tokenizer = tokenizer.replace("FILE", &file.display().to_string());
    let yaml = yaml(upstream, model, &tokenizer) + &format!("data_dir: {}\n", world.dir().join("data").display());
    let mut gateway = world.gateway(&yaml);
    ask(&gateway, model, is_stream).await;
    let metrics = recounted(&gateway).await;
    let overclaims = metrics
        .lines()
        .filter(|line| line.starts_with("mulberry_overclaims_total"));
    let overclaims: u64 = overclaims
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    // The refund and the strike are behind the metric; a gateway that ends does what was handed in.
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(20)).await.success());
    let log = gateway.log();
    assert!(!log.contains(ASKED) && !log.contains(SAID), "content in the log: {log}");
    let gateway = world.gateway(&yaml);
    let (captured, refunded) = charges(&gateway).await;
    let sum = |charges: &[Value]| charges.iter().map(|charge| nano(&charge["amount"])).sum::<u64>();
    let found = (sum(&captured), sum(&refunded), overclaims);
    assert_eq!(found, expect, "{model} with {tokenizer}: {captured:?} {refunded:?}");
    // A strike outlives its process.
    let upstreams = admin(&gateway, Method::GET, "upstreams").await.json();
    assert_eq!(upstreams["data"][0]["overclaims"], expect.2, "{upstreams}");
    super::verify(&gateway, model).await;
}

fn cost(prompt: u64, completion: u64) -> u64 {
    (prompt * PROMPT + completion * COMPLETION).div_ceil(1_000_000)
}

#[tokio::test]
async fn a_lie_comes_back() {
    let lie = Scripted::json(&whole(2, 3 * 6));
    let expect = (cost(2, 18), cost(2, 18) - cost(2, MOST), 1);
    check(&lie.url(), "m", "o200k_base", false, expect).await;
}

#[tokio::test]
async fn a_lie_in_a_stream_comes_back() {
    let lie = Scripted::events(&stream(Some((2, 3 * 6))));
    let expect = (cost(2, 18), cost(2, 18) - cost(2, MOST), 1);
    check(&lie.url(), "m", "o200k_base", true, expect).await;
}

#[tokio::test]
async fn honest_claims_stand() {
    for completion in [1, 6, MOST] {
        let honest = Scripted::json(&whole(2, completion));
        check(&honest.url(), "m", "o200k_base", false, (cost(2, completion), 0, 0)).await;
    }
}

/// Nobody claimed anything, so nobody lied: the estimate of ours was too high, or it was not.
#[tokio::test]
async fn without_usage_the_recount_is_the_bound_of_the_estimate() {
    let silent = Scripted::events(&stream(None));
    // Four deltas and 18 bytes make 5 tokens, fewer than there are; the prompt's bytes with its frame are more than 2.
    let world = World::new();
    let yaml = yaml(&silent.url(), "m", "o200k_base") + &format!("data_dir: {}\n", world.dir().join("data").display());
    let gateway = world.gateway(&yaml);
    ask(&gateway, "m", true).await;
    recounted(&gateway).await;
    let (captured, refunded) = charges(&gateway).await;
    assert_eq!((captured.len(), refunded.len()), (1, 0), "{captured:?} {refunded:?}");
    assert_eq!(captured[0]["usage_source"], "estimated", "{captured:?}");
}

/// The tokenizer of the model itself, as a file: the scripted engine counts words, and so does the file.
#[tokio::test]
async fn an_engine_with_its_own_tokenizer() {
    let world = World::new();
    let mock = world.mock(&[]);
    // Ten words, and a claim of ten times as many: within the bytes of its text, so that only a recount finds it.
    let expect = (cost(2, 64), cost(2, 64) - cost(2, 12), 1);
    check(
        &mock.url(),
        "fault/tokens-10+size-12+usage-inflated",
        "FILE",
        false,
        expect,
    )
    .await;
    check(
        &mock.url(),
        "fault/tokens-10+size-12",
        "FILE",
        false,
        (cost(2, 10), 0, 0),
    )
    .await;
}

#[tokio::test]
async fn a_tokenizer_that_is_none_is_refused_at_the_start() {
    let world = World::new();
    let file = world.file("tokenizer.json", "{\"prompt\":\"tell nobody\"}");
    let said = world.gateway_error(&yaml("http://127.0.0.1:1", "m", &file.display().to_string()));
    assert!(
        said.contains("tokenizer.json") && said.contains("is not a tokenizer.json"),
        "{said}"
    );
}
