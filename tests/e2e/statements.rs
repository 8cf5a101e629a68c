//! Statements: what a worker signs of its answers reaches the receipts, and what it should have signed and did not is told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::client::{get, request, send};
use e2e::process::mulberry;
use e2e::scripted::Scripted;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, Worker, World, eventually};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::count;
use crate::flow::Flow;

/// A gateway that charges, and a worker beside an engine. They end in this order.
struct Shop {
    gateway: Gateway,
    _worker: Worker,
    world: World,
}

impl Shop {
    async fn open(world: World, engine: &str) -> Self {
        let key = world.worker_key("box");
        let yaml = format!(
            "data_dir: {}\n\
             worker_listen: 127.0.0.1:0\n\
             keys: [{{name: alice, secret: sk-alice, budget: {{total: 100}}}}]\n\
             backends: [{{name: gpu, workers: [{{name: box, key_sha256: {}}}]}}]\n\
             models: [{{name: '*', routes: [{{backend: gpu}}], price: {{currency: TON, prompt: 1, completion: 2}}}}]\n\
             ledger: {{currency: TON, node: shop-1}}\n",
            world.dir().join("data").display(),
            key.sha256
        );
        let gateway = world.gateway(&yaml);
        let worker = world.worker(&key, engine, &["--gateway", &gateway.for_workers()]);
        count::until(&gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, 1).await;
        Self {
            gateway,
            _worker: worker,
            world,
        }
    }

    async fn with_mock() -> (Self, Mock) {
        let world = World::new();
        let mock = world.mock(&[]);
        let url = mock.url();
        (Self::open(world, &url).await, mock)
    }

    fn request(&self, id: &str, body: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/chat/completions", self.gateway.url());
        request(&url, body.to_owned())
            .bearer_auth("sk-alice")
            .header("x-request-id", id)
    }

    async fn ask(&self, id: &str, body: &str) -> Answer {
        let answer = Answer::of(send(self.request(id, body)).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// The answer to who asks for the receipts of a request, once there are some, and the first of them.
    async fn receipt(&self, id: &str) -> (String, Value) {
        let url = format!("{}/v1/receipts/{id}", self.gateway.url());
        let mut told = String::new();
        let began = Instant::now();
        while began.elapsed() < SOON {
            let asked = e2e::client::client().get(&url).bearer_auth("sk-alice");
            let answer = Answer::of(send(asked).await).await;
            told = answer.text();
            if answer.status == 200 {
                let receipt = answer.json()["data"][0].clone();
                return (told, receipt);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("there is no receipt of {id}: {told}\n{}", self.gateway.log());
    }

    async fn verify(&self, receipts: &str, flags: &[&str]) -> (Option<i32>, String) {
        let keys = Answer::of(get(&format!("{}/v1/receipts/keys", self.gateway.url())).await).await;
        let keys = self.world.file("keys.json", &keys.body);
        let file = self.world.file("receipts.json", receipts);
        let run = Command::new(mulberry())
            .arg("verify")
            .arg(file)
            .arg("--keys")
            .arg(keys)
            .args(flags)
            .output()
            .expect("the binary starts");
        let said = [run.stdout, run.stderr].concat();
        (run.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.world.file(name, bytes)
    }

    async fn misstatements(&self) -> bool {
        let metrics = Answer::of(get(&format!("{}/metrics", self.gateway.admin_url())).await).await;
        metrics.text().contains("mulberry_misstatements_total{")
    }
}

fn question(model: &str, is_stream: bool) -> String {
    json!({"model": model, "stream": is_stream, "max_completion_tokens": 5000,
        "messages": [{"role": "user", "content": "What is the colour of a mulberry when it is ripe?"}]})
    .to_string()
}

/// As docs/receipts.md has it: with the salt that is made from the client's.
fn salted(answer: &Answer, body: &[u8]) -> String {
    let salt = URL_SAFE_NO_PAD
        .decode(answer.header("x-receipt-salt"))
        .expect("base64url");
    let salt = Sha256::new()
        .chain_update("mulberry-statement-salt-v1\n")
        .chain_update(salt);
    let hash = Sha256::new()
        .chain_update(salt.finalize())
        .chain_update(body)
        .finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_worker_states_what_it_was_asked_and_answered_to_the_byte() {
    let said = json!({"object": "list", "data": [{"id": "m"}], "id": "chatcmpl-1", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Black"}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 1}})
    .to_string();
    let engine = Scripted::json(&said);
    let shop = Shop::open(World::new(), &engine.url()).await;
    let question = question("m", false);
    let answer = shop.ask("whole", &question).await;
    let (list, receipt) = shop.receipt("whole").await;
    let stated = &receipt["worker_statement"];
    let statement = &stated["statement"];
    let posts = engine.posts();
    let asked = posts.iter().find(|post| post.head.contains("chat/completions"));
    let asked = asked.expect("the engine was asked");
    assert_eq!(statement["request_sha256"], salted(&answer, &asked.body), "{receipt}");
    assert_eq!(statement["request_bytes"], asked.body.len());
    assert_eq!(statement["response_sha256"], salted(&answer, said.as_bytes()));
    assert_eq!(statement["response_bytes"], said.len());
    assert_eq!(
        (&statement["status"], &statement["ended"]),
        (&json!(200), &json!("whole"))
    );
    assert_eq!(
        statement["usage"],
        json!({"cached": 0, "completion": 1, "prompt": 12, "reasoning": 0})
    );
    let forwarded = statement["request_sha256"].as_str().expect("a text");
    assert_eq!(receipt["request"]["forwarded"], format!("sha256:{forwarded}"));
    // What asks for it is between gateway and worker.
    assert!(!asked.head.contains("x-mulberry"), "{}", asked.head);
    assert!(!answer.headers.contains_key("x-mulberry-statement"));

    let salt = answer.header("x-receipt-salt");
    let key = stated["key"].as_str().expect("a text");
    let (code, told) = shop.verify(&list, &["--worker-key", key]).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("stated by its worker") && told.contains("as it should be"),
        "{told}"
    );
    let request = shop.file("request", &asked.body).display().to_string();
    let (code, told) = shop.verify(&list, &[]).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the one that the gateway named"), "{told}");
    if asked.body == question.as_bytes() {
        let (code, told) = shop.verify(&list, &["--salt", salt, "--request", &request]).await;
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("of this very request"), "{told}");
    }
    let (code, told) = shop.verify(&list, &["--worker-key", &"ab".repeat(32)]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("worker_statement.key"), "{told}");
    // A statement of another exchange, or with a word changed.
    let altered = list.replace("\"completion\":1,\"prompt\":12", "\"completion\":2,\"prompt\":12");
    let (code, told) = shop.verify(&altered, &[]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(!shop.misstatements().await);
}

#[tokio::test]
async fn streams_are_stated_whole_or_cut() {
    let (shop, mock) = Shop::with_mock().await;
    let answer = shop.ask("streamed", &question("mock", true)).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    let (list, receipt) = shop.receipt("streamed").await;
    let statement = &receipt["worker_statement"]["statement"];
    assert_eq!(statement["ended"], "whole", "{receipt}\n{}", shop.gateway.log());
    assert_eq!(statement["usage"], receipt["usage"]["claimed"]);
    assert_eq!(shop.verify(&list, &[]).await.0, Some(0));

    // The engine dies in the middle: the client has an error, and the worker says that it was cut.
    let answer = shop.ask("cut", &question("fault/cut", true)).await;
    assert!(answer.text().contains(r#""error""#), "{}", answer.text());
    let (list, receipt) = shop.receipt("cut").await;
    assert_eq!(receipt["end"], "failed");
    assert_eq!(receipt["worker_statement"]["statement"]["ended"], "cut", "{receipt}");
    assert_eq!(shop.verify(&list, &[]).await.0, Some(0));

    // The client leaves: nobody reads the end, and nobody is to blame.
    let mut flow = Flow::begin(shop.request("left", &question("fault/slow-50+tokens-600", true))).await;
    flow.until("\"content\"").await;
    drop(flow);
    let (list, receipt) = shop.receipt("left").await;
    assert_eq!(receipt["end"], "cancelled");
    assert_eq!(
        receipt["worker_statement"],
        json!({"absent": "unfinished"}),
        "{receipt}"
    );
    assert_eq!(shop.verify(&list, &[]).await.0, Some(0));
    assert!(eventually(SOON, || mock.inflight() == 0).await);
    assert!(!shop.misstatements().await, "{}", shop.gateway.log());
}

#[tokio::test]
async fn an_upstream_that_is_no_worker_is_not_asked() {
    let engine = Scripted::json(
        &json!({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant",
            "content": "Black"}}], "usage": {"prompt_tokens": 12, "completion_tokens": 1}})
        .to_string(),
    );
    let world = World::new();
    let gateway = world.gateway(&format!(
        "data_dir: {}\n\
         keys: [{{name: alice, secret: sk-alice, budget: {{total: 100}}}}]\n\
         backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
         models: [{{name: '*', routes: [{{backend: only}}], price: {{currency: TON, prompt: 1, completion: 2}}}}]\n\
         ledger: {{currency: TON, node: shop-1}}\n",
        world.dir().join("data").display(),
        engine.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asked = request(&url, question("m", false)).bearer_auth("sk-alice");
    let answer = Answer::of(send(asked).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-receipt");
    let receipts = e2e::client::client()
        .get(format!("{}/v1/receipts/{id}", gateway.url()))
        .bearer_auth("sk-alice");
    let receipt = Answer::of(send(receipts).await).await.json()["data"][0].clone();
    assert_eq!(receipt["worker_statement"], json!({"absent": "unattested"}));
    assert_eq!(receipt["request"]["forwarded"], Value::Null);
    assert!(engine.posts().iter().all(|post| !post.head.contains("x-mulberry")));
}

#[tokio::test]
async fn the_key_of_statements_is_kept_and_secret() {
    let (shop, _mock) = Shop::with_mock().await;
    let key = shop.world.dir().join("box.statements.key");
    let text = fs::read_to_string(&key).expect("it was made at the start");
    shop.ask("one", &question("mock", false)).await;
    assert!(!shop.gateway.log().contains(text.trim()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
}
