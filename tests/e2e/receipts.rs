//! Receipts as a client gets them: signed, chained, for its own requests only, and checked by `mulberry verify`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
};

use e2e::client::{get, request, send};
use e2e::process::mulberry;
use e2e::scripted::Scripted;
use e2e::{Answer, Gateway, Mock, World};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A gateway that charges two keys, each with a budget, and a mock behind it.
struct Shop {
    gateway: Gateway,
    yaml: String,
    world: World,
    _mock: Mock,
}

impl Shop {
    fn open() -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let url = mock.url();
        Self::before(world, mock, &url)
    }

    fn before(world: World, mock: Mock, url: &str) -> Self {
        let yaml = format!(
            "data_dir: {}\n\
             keys:\n\
             \x20 - {{name: alice, secret: sk-alice, budget: {{total: 100}}}}\n\
             \x20 - {{name: bob, secret: sk-bob, budget: {{total: 100}}}}\n\
             \x20 - {{name: carol, secret: sk-carol}}\n\
             backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
             models:\n\
             \x20 - {{name: voice, routes: [{{backend: only}}], price: {{currency: TON, request: 0.005}}}}\n\
             \x20 - {{name: '*', routes: [{{backend: only}}], price: {{currency: TON, prompt: 1, completion: 2, fee: {{prompt: 0.1}}}}}}\n\
             ledger: {{currency: TON, node: shop-1}}\n",
            world.dir().join("data").display(),
            url
        );
        Self {
            gateway: world.gateway(&yaml),
            yaml,
            world,
            _mock: mock,
        }
    }

    fn data(&self) -> PathBuf {
        self.world.dir().join("data")
    }

    async fn ask(&self, key: &str, id: &str, body: &str) -> Answer {
        self.ask_at(CHAT, key, id, body).await
    }

    async fn ask_at(&self, path: &str, key: &str, id: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.gateway.url());
        let request = request(&url, body.to_owned())
            .bearer_auth(key)
            .header("x-request-id", id);
        let answer = Answer::of(send(request).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    async fn show(&self, key: &str, path: &str) -> Answer {
        let url = format!("{}/v1/receipts/{path}", self.gateway.url());
        Answer::of(send(e2e::client::client().get(url).bearer_auth(key)).await).await
    }

    /// The receipts of a request as its payer gets them, and the same as values.
    async fn receipts(&self, key: &str, id: &str) -> (Answer, Vec<Value>) {
        let answer = self.show(key, id).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let receipts = answer.json()["data"].as_array().expect("a list").clone();
        (answer, receipts)
    }

    async fn operator(&self, path: &str) -> Answer {
        let token = fs::read_to_string(self.data().join("admin.token")).expect("it was made at the start");
        let url = format!("{}/admin/v1/{path}", self.gateway.admin_url());
        Answer::of(send(e2e::client::client().get(url).bearer_auth(token.trim())).await).await
    }

    async fn keys(&self) -> PathBuf {
        let keys = Answer::of(get(&format!("{}/v1/receipts/keys", self.gateway.url())).await).await;
        assert_eq!(keys.status, 200, "{}", keys.text());
        self.world.file("keys.json", &keys.body)
    }

    /// Ends the gateway as an operator does, and starts it again with the same directory.
    async fn restart(&mut self) {
        self.gateway.signal("TERM");
        let status = self.gateway.wait(e2e::wait::SOON).await;
        assert!(status.success(), "{}", self.gateway.log());
        self.gateway = self.world.gateway(&self.yaml);
    }

    async fn verify(&self, receipts: &str, flags: &[&str]) -> (Option<i32>, String) {
        let keys = self.keys().await;
        let file = self.world.file("receipts.json", receipts);
        let run = Command::new(mulberry())
            .arg("verify")
            .arg(file)
            .arg("--keys")
            .arg(keys)
            .args(flags)
            .output();
        let Output { status, stdout, stderr } = run.expect("the binary starts");
        (
            status.code(),
            String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
        )
    }
}

fn question(is_stream: bool) -> String {
    json!({"model": "mock", "stream": is_stream, "max_completion_tokens": 50,
        "messages": [{"role": "user", "content": "What is the colour of a mulberry when it is ripe?"}]})
    .to_string()
}

/// `--salt SALT --request FILE --response FILE` of an exchange.
fn bodies(shop: &Shop, question: &str, answer: &Answer) -> Vec<String> {
    let request = shop.world.file("request", question).display().to_string();
    let response = shop.world.file("response", &answer.body).display().to_string();
    let salt = answer.header("x-receipt-salt").to_owned();
    assert_eq!(salt.len(), 43, "32 bytes in base64url");
    ["--salt", &salt, "--request", &request, "--response", &response]
        .map(str::to_owned)
        .to_vec()
}

#[tokio::test]
async fn what_looks_like_a_heartbeat_in_an_answer_that_passes_unread_is_part_of_it() {
    let spoken = "one\n\n: keep-alive\n\ntwo";
    let upstream = Scripted::answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n{spoken}"
    ));
    let world = World::new();
    let mock = world.mock(&[]);
    let shop = Shop::before(world, mock, &upstream.url());
    let question = json!({"model": "voice", "input": "hi", "voice": "v"}).to_string();
    let answer = shop.ask_at("/v1/audio/speech", "sk-alice", "spoken", &question).await;
    assert_eq!(answer.text(), spoken);
    let (list, _) = shop.receipts("sk-alice", "spoken").await;
    let flags = bodies(&shop, &question, &answer);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (code, said) = shop.verify(&list.text(), &flags).await;
    assert_eq!(code, Some(0), "{said}");
    // Every byte of it counts all the same.
    let altered = shop.world.file("response", spoken.replace("two", "six"));
    assert_eq!(flags[5], altered.display().to_string());
    let (code, said) = shop.verify(&list.text(), &flags).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("response.returned"), "{said}");
}

#[tokio::test]
async fn a_charged_answer_has_a_receipt_of_its_very_bytes() {
    let shop = Shop::open();
    for (id, is_stream) in [("whole", false), ("stream", true)] {
        let question = question(is_stream);
        let answer = shop.ask("sk-alice", id, &question).await;
        assert_eq!(answer.header("x-receipt"), id);
        let (list, receipts) = shop.receipts("sk-alice", id).await;
        assert_eq!(list.header("cache-control"), "no-store");
        let [receipt] = receipts.as_slice() else {
            panic!("there is one: {receipts:?}")
        };
        assert_eq!(receipt["request_id"], id);
        assert_eq!(receipt["account"]["key"], "key:alice");
        assert_eq!(receipt["account"]["organisation"], "org:default");
        assert_eq!(receipt["node"], "shop-1");
        assert_eq!(receipt["kind"], "capture");
        assert_eq!(receipt["upstream"], json!({"tier": "open", "verified": null}));
        if !is_stream {
            // What the client was told is what was signed.
            let usage = answer.json()["usage"].clone();
            let (prompt, completion) = (&usage["prompt_tokens"], &usage["completion_tokens"]);
            let cost = prompt.as_u64().expect("a count") * 1000 + completion.as_u64().expect("a count") * 2000;
            let fee = prompt.as_u64().expect("a count") * 100;
            assert_eq!(receipt["amounts"]["cost"], cost.to_string());
            assert_eq!(receipt["amounts"]["fee"], fee.to_string());
            let total = cost + fee;
            assert_eq!(answer.header("x-mulberry-cost"), format!("0.{total:09} TON"));
        }
        let flags = bodies(&shop, &question, &answer);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (status, told) = shop.verify(&list.text(), &flags).await;
        assert_eq!(status, Some(0), "{told}");
        // A word of the answer, or of the question, that was another.
        for (file, field) in [("response", "response.returned"), ("request", "request.received")] {
            let path = shop.world.dir().join(file);
            let body = fs::read_to_string(&path).expect("it was written above");
            fs::write(&path, body.replacen('m', "n", 1)).expect("it can be written");
            let (status, told) = shop.verify(&list.text(), &flags).await;
            assert_eq!(status, Some(1), "{told}");
            assert!(told.contains(field), "{told}");
            fs::write(&path, body).expect("it can be written");
        }
    }
}

#[tokio::test]
async fn nobody_else_is_shown_a_receipt() {
    let shop = Shop::open();
    let answer = shop.ask("sk-alice", "mine", &question(false)).await;
    for key in ["sk-bob", "sk-carol"] {
        let refused = shop.show(key, "mine").await.envelope();
        assert!(
            refused.is(404, "invalid_request_error", "receipt_not_found"),
            "{refused:?}"
        );
    }
    let refused = shop.show("sk-nobody", "mine").await.envelope();
    assert!(
        refused.is(401, "invalid_request_error", "invalid_api_key"),
        "{refused:?}"
    );
    // Who is not charged has none, and is given no salt.
    let free = shop.ask("sk-carol", "free", &question(false)).await;
    assert!(!free.headers.contains_key("x-receipt") && !free.headers.contains_key("x-receipt-salt"));
    assert_eq!(shop.show("sk-carol", "free").await.status, 404);
    assert_eq!(shop.show("sk-carol", "checkpoint").await.status, 404);
    // An administrator sees it.
    let seen = shop.operator("receipts/mine").await;
    assert_eq!(seen.json()["data"][0]["request_id"], "mine");
    assert_eq!(shop.operator("receipts/none").await.status, 404);
    let key = shop.operator("status").await.json()["receipt_key"].clone();
    assert_eq!(key, seen.json()["data"][0]["signatures"][0]["key_id"]);
    let post = send(e2e::client::client().post(format!("{}/v1/receipts/mine", shop.gateway.url()))).await;
    assert_eq!(post.status(), 405);
    // The salt is with the client alone.
    let salt = answer.header("x-receipt-salt").to_owned();
    assert!(!shop.gateway.log().contains(&salt));
    for entry in fs::read_dir(shop.data()).expect("it is there") {
        let bytes = fs::read(entry.expect("it is listed").path()).expect("it can be read");
        assert!(!bytes.windows(salt.len()).any(|window| window == salt.as_bytes()));
    }
}

#[tokio::test]
async fn chains_go_on_after_a_restart_and_with_another_key() {
    let mut shop = Shop::open();
    shop.ask("sk-alice", "a", &question(false)).await;
    shop.ask("sk-bob", "b", &question(true)).await;
    let key = shop.data().join("receipt.key");
    let mode = fs::metadata(&key)
        .expect("it was made at the start")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    shop.restart().await;
    shop.ask("sk-alice", "c", &question(false)).await;
    // The operator takes another key.
    fs::rename(&key, shop.data().join("receipt.key.old")).expect("it is ours");
    shop.restart().await;
    shop.ask("sk-alice", "d", &question(false)).await;

    let mut all = Vec::new();
    for (key, id) in [("sk-alice", "d"), ("sk-bob", "b"), ("sk-alice", "a"), ("sk-alice", "c")] {
        all.push(shop.receipts(key, id).await.0.text());
    }
    let checkpoint = shop.show("sk-alice", "checkpoint").await;
    assert_eq!(checkpoint.status, 200, "{}", checkpoint.text());
    let checkpoint = shop
        .world
        .file("checkpoint.json", &checkpoint.body)
        .display()
        .to_string();
    let flags = ["--from-first", "--checkpoint", &checkpoint];
    let (status, told) = shop.verify(&all.join("\n"), &flags).await;
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains("4 receipts of 1 chain, none missing in between, from the first, none of org:default missing")
    );
    // Without its end.
    let (status, told) = shop.verify(&all[1..].join("\n"), &flags).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("cut off before shop-1/4"), "{told}");
    // Without its middle.
    let cut = [&all[0], &all[1], &all[2]].map(String::as_str).join("\n");
    let (status, told) = shop.verify(&cut, &flags).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("shop-1/3, which it names, is missing"), "{told}");
}

#[tokio::test]
async fn an_answer_given_again_has_the_receipt_of_the_first() {
    let shop = Shop::open();
    let question = question(false);
    let mut answers = Vec::new();
    for id in ["first", "second"] {
        let url = format!("{}{CHAT}", shop.gateway.url());
        let request = request(&url, question.clone())
            .bearer_auth("sk-alice")
            .header("x-request-id", id)
            .header("idempotency-key", "once");
        answers.push(Answer::of(send(request).await).await);
    }
    assert_eq!(answers[1].header("idempotency-replayed"), "true");
    assert_eq!(answers[1].header("x-receipt"), "first");
    assert_eq!(answers[1].header("x-receipt-salt"), answers[0].header("x-receipt-salt"));
    let list = shop.receipts("sk-alice", "first").await.0.text();
    let flags = bodies(&shop, &question, &answers[1]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (status, told) = shop.verify(&list, &flags).await;
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(shop.show("sk-alice", "second").await.status, 404);
}

#[tokio::test]
async fn a_key_that_everybody_may_read_is_refused_at_the_start() {
    let mut shop = Shop::open();
    let key = shop.data().join("receipt.key");
    shop.gateway.signal("TERM");
    assert!(shop.gateway.wait(e2e::wait::SOON).await.success());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let said = shop.world.gateway_error(&shop.yaml);
    assert!(
        said.contains("every user of this machine may read or change") && said.contains("chmod 600"),
        "{said}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::write(&key, "no key\n").expect("it can be written");
    let said = shop.world.gateway_error(&shop.yaml);
    assert!(said.contains("holds no Ed25519 key"), "{said}");
}
