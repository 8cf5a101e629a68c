//! API keys in the database: made, changed and ended by the command and by the admin API, in force at once.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, request, send};
use e2e::process::mulberry;
use e2e::wait::{SOON, measured};
use e2e::{Answer, Gateway, Mock, Scripted, World, eventually};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::flow::Flow;

mod command;
mod litellm;
mod refused;
mod secrets;

/// About ten seconds of a stream.
const LONG: &str = "fault/slow-50+tokens-200";

fn yaml(mock: &Mock, more: &str) -> String {
    format!(
        "backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n{more}",
        mock.url()
    )
}

/// `mulberry key …` for this gateway. Unless it is `alone`, it can reach the gateway's admin API.
fn key(gateway: &Gateway, alone: bool, args: &[&str]) -> Output {
    let admin = gateway.admin_url();
    let admin = if alone {
        "null"
    } else {
        admin.trim_start_matches("http://")
    };
    let config = gateway.config();
    run(&config, admin, args)
}

fn run(config: &Path, admin: &str, args: &[&str]) -> Output {
    Command::new(mulberry())
        .arg("key")
        .args(args)
        .arg("--config")
        .arg(config)
        .env("MULBERRY_ADMIN_LISTEN", admin)
        .env("USER", "tester")
        .env_remove("MULBERRY_ADMIN_TOKEN")
        .output()
        .expect("the binary has started before")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The secret that the command printed, which is all that it printed.
fn secret(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stdout(output);
    let secret = text.trim_end();
    assert_eq!(secret.len(), "sk-mb-".len() + 43, "{text}");
    assert!(secret.starts_with("sk-mb-"), "{text}");
    secret.to_owned()
}

async fn ask(gateway: &Gateway, key: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat("mock")).bearer_auth(key)).await).await
}

/// Without a key.
async fn nobody(gateway: &Gateway) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat("mock"))).await).await
}

async fn admin(gateway: &Gateway, method: Method, path: &str, body: Value) -> Answer {
    let request = gateway.admin(method, path).body(body.to_string());
    Answer::of(send(request).await).await
}

/// Makes a key through the admin API and gives its secret.
async fn create(gateway: &Gateway, name: &str) -> String {
    let answer = admin(gateway, Method::POST, "keys", json!({"name": name})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let secret = answer.json()["secret"].as_str().map(str::to_owned);
    secret.expect("a key has a secret when it is made")
}

/// In hexadecimal, as LiteLLM stores it.
fn sha256(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_unknown(answer: &Answer) -> bool {
    answer.envelope().is(401, "invalid_request_error", "invalid_api_key")
}

#[tokio::test]
async fn the_first_key_ends_what_needs_none_and_revoking_the_last_does_not_bring_it_back() {
    let world = World::new();
    let mock = world.mock(&[]);
    let data = world.dir().join("kept");
    let yaml = yaml(&mock, &format!("data_dir: {}\n", data.display()));
    let mut gateway = world.gateway(&yaml);
    assert_eq!(nobody(&gateway).await.status, 200);

    // The harness looks for the token elsewhere, so the command writes the database by itself.
    let made = key(&gateway, true, &["create", "alice"]);
    let alice = secret(&made);
    assert!(stderr(&made).contains("notices within a second"), "{}", stderr(&made));
    let mut answer = nobody(&gateway).await;
    let begun = Instant::now();
    while answer.status == 200 && begun.elapsed() < SOON {
        answer = nobody(&gateway).await;
    }
    assert!(is_unknown(&answer), "{}", answer.text());
    measured(
        "keys",
        &format!("a key that was made was noticed after {:?}", begun.elapsed()),
    );
    assert_eq!(ask(&gateway, &alice).await.status, 200);

    let revoked = key(&gateway, true, &["revoke", "alice"]);
    assert!(revoked.status.success(), "{}", stderr(&revoked));
    let begun = Instant::now();
    while ask(&gateway, &alice).await.status == 200 {
        assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
    }
    assert!(is_unknown(&nobody(&gateway).await));
    gateway.kill();
    let gateway = world.gateway(&yaml);
    assert!(is_unknown(&nobody(&gateway).await));
    assert!(is_unknown(&ask(&gateway, &alice).await));
}

#[tokio::test]
async fn a_key_is_revoked_at_once_and_64_streams_stay() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let (alice, bob) = (create(&gateway, "alice").await, create(&gateway, "bob").await);
    let url = format!("{}/v1/chat/completions", gateway.url());
    let flows = join_all((0..64).map(|_| Flow::begin(request(&url, chat_stream(LONG)).bearer_auth(&alice)))).await;
    let key = admin(&gateway, Method::GET, "keys/alice", Value::Null).await.json();
    assert_eq!(key["now"]["in_flight"], 64, "{key}");
    assert_eq!(key["now"]["requests"], 64, "{key}");

    let revoked = admin(&gateway, Method::DELETE, "keys/alice", Value::Null).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert!(revoked.json()["revoked_at"].is_string(), "{}", revoked.text());
    // The very next one.
    assert!(is_unknown(&ask(&gateway, &alice).await));
    assert_eq!(ask(&gateway, &bob).await.status, 200);
    assert!(mock.inflight() >= 64, "{} streams run on", mock.inflight());
    for flow in flows {
        let stream = flow.end().await;
        assert!(stream.is_done(), "{}", stream.text);
    }
}

#[tokio::test]
async fn a_limit_holds_from_the_next_request() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let alice = create(&gateway, "alice").await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway, &alice).await.status, 200);
    }
    let limits = json!({"limits": {"requests_per_minute": 4}, "models": ["mock"]});
    let changed = admin(&gateway, Method::PATCH, "keys/alice", limits).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["limits"]["requests_per_minute"], 4);
    // What was used before the limit was set counts.
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let limited = ask(&gateway, &alice).await;
    assert_eq!(limited.status, 429, "{}", limited.text());
    let lifted = json!({"limits": {"requests_per_minute": null}});
    let lifted = admin(&gateway, Method::PATCH, "keys/alice", lifted).await.json();
    assert_eq!(
        lifted["models"],
        json!(["mock"]),
        "what is not mentioned stays: {lifted}"
    );
    assert_eq!(ask(&gateway, &alice).await.status, 200);

    let off = admin(&gateway, Method::PATCH, "keys/alice", json!({"disabled": true})).await;
    assert_eq!(off.status, 200, "{}", off.text());
    assert!(is_unknown(&ask(&gateway, &alice).await));
    let past = json!({"disabled": false, "expires": "2020-01-01"});
    admin(&gateway, Method::PATCH, "keys/alice", past).await;
    let expired = ask(&gateway, &alice).await;
    assert!(is_unknown(&expired), "{}", expired.text());
    let never = json!({"expires": null});
    admin(&gateway, Method::PATCH, "keys/alice", never).await;
    assert_eq!(ask(&gateway, &alice).await.status, 200);
}

#[tokio::test]
async fn both_keys_work_within_the_grace_and_then_the_new_one() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let old = create(&gateway, "alice").await;
    let begun = Instant::now();
    let rotated = admin(&gateway, Method::POST, "keys/alice/rotate", json!({"grace": "2s"})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    assert!(rotated["old_valid_until"].is_string(), "{rotated}");
    let new = rotated["secret"]
        .as_str()
        .expect("a rotated key has a secret")
        .to_owned();
    assert_ne!(old, new);
    assert_eq!(ask(&gateway, &old).await.status, 200);
    assert_eq!(ask(&gateway, &new).await.status, 200);
    // The same account: both were counted together.
    let key = admin(&gateway, Method::GET, "keys/alice", Value::Null).await.json();
    assert_eq!(key["now"]["requests"], 2, "{key}");
    while ask(&gateway, &old).await.status == 200 {
        assert!(begun.elapsed() < SOON, "the grace does not end");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "after {:?}", begun.elapsed());
    assert_eq!(ask(&gateway, &new).await.status, 200);
    // Without a grace the next request is refused.
    let rotated = admin(&gateway, Method::POST, "keys/alice/rotate", json!({}))
        .await
        .json();
    assert!(is_unknown(&ask(&gateway, &new).await));
    let newest = rotated["secret"].as_str().expect("a rotated key has a secret");
    assert_eq!(ask(&gateway, newest).await.status, 200);
}

#[tokio::test]
async fn a_key_outlives_a_kill_right_after_it_was_made() {
    let world = World::new();
    let mock = world.mock(&[]);
    let data = world.dir().join("kept");
    let yaml = yaml(
        &mock,
        &format!(
            "data_dir: {}\nadmin: {{tokens: [{{name: ops, secret: ops-token}}]}}\n",
            data.display()
        ),
    );
    let mut gateway = world.gateway(&yaml);
    let url = format!("{}/admin/v1/keys", gateway.admin_url());
    let made = send(request(&url, r#"{"name": "alice"}"#).bearer_auth("ops-token")).await;
    let made = Answer::of(made).await;
    gateway.kill();
    assert_eq!(made.status, 201, "{}", made.text());
    let secret = made.json()["secret"].as_str().expect("a key has a secret").to_owned();
    let gateway = world.gateway(&yaml);
    assert_eq!(ask(&gateway, &secret).await.status, 200);
    assert!(is_unknown(&nobody(&gateway).await));
}

#[tokio::test]
async fn of_many_who_want_a_name_one_gets_it() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let answers = join_all((0..16).map(|_| admin(&gateway, Method::POST, "keys", json!({"name": "alice"})))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let taken = answers
        .iter()
        .filter(|answer| answer.status == 409 && answer.envelope().is(409, "invalid_request_error", "key_exists"));
    assert_eq!((made, taken.count()), (1, 15));
    // Processes that write the database beside the gateway.
    let racing: Vec<_> = (0..6)
        .map(|_| {
            let config = gateway.config();
            std::thread::spawn(move || run(&config, "null", &["create", "bob"]))
        })
        .collect();
    let ended: Vec<Output> = racing
        .into_iter()
        .map(|racer| racer.join().expect("it does not panic"))
        .collect();
    let won = ended.iter().filter(|ended| ended.status.success()).count();
    assert_eq!(won, 1);
    for lost in ended.iter().filter(|ended| !ended.status.success()) {
        assert_eq!(lost.status.code(), Some(1));
        assert!(
            stderr(lost).contains("there is a key named 'bob' already"),
            "{}",
            stderr(lost)
        );
        assert_eq!(stdout(lost), "");
    }
    let noticed = eventually(SOON, || {
        let list = key(&gateway, false, &["list"]);
        stdout(&list).contains("bob")
    });
    assert!(noticed.await);
}

#[tokio::test]
async fn a_listener_that_others_reach_refuses_all_until_there_is_a_key() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "listen: 0.0.0.0:0\n"));
    assert!(gateway.log().contains("mulberry key create"), "{}", gateway.log());
    assert!(is_unknown(&nobody(&gateway).await));
    let alice = create(&gateway, "alice").await;
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    assert!(is_unknown(&nobody(&gateway).await));
}

#[tokio::test]
async fn a_reload_to_loopback_opens_nothing_that_others_reach() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "listen: 0.0.0.0:0\n"));
    gateway.rewrite(&yaml(&mock, "listen: 127.0.0.1:0\n"));
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    // The address that others reach is bound until the next start.
    assert!(is_unknown(&nobody(&gateway).await));
}
