//! A changed configuration takes effect on the next request, and no stream notices.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use e2e::client::{chat, chat_stream, get, post, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;

use crate::flow::Flow;

mod certificates;

/// About ten seconds of a stream.
const LONG: &str = "fault/slow-50+tokens-200";
const KEYS: &str = "keys: [{name: alice, secret: sk-alice}, {name: bob, secret: sk-bob}]\n";

fn yaml(mock: &Mock, models: &str, keys: &str) -> String {
    format!(
        "{keys}backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\nmodels: [{models}]\n",
        mock.url()
    )
}

fn model(name: &str) -> String {
    format!("{{name: '{name}', routes: [{{backend: only, model: '{LONG}'}}]}}")
}

async fn ask(gateway: &Gateway, key: &str, model: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    let request = request(&url, chat(model)).bearer_auth(key);
    Answer::of(send(request).await).await
}

async fn status(gateway: &Gateway) -> Value {
    Answer::of(send(gateway.admin(Method::GET, "status")).await)
        .await
        .json()
}

#[tokio::test]
async fn models_keys_and_limits_change_at_once_and_64_streams_stay() {
    let world = World::new();
    let mock = world.mock(&[]);
    let both = format!("{}, {}", model("one"), model("two"));
    let gateway = world.gateway(&yaml(&mock, &both, KEYS));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let flows = join_all((0..64).map(|nth| {
        let key = if nth % 2 == 0 { "sk-alice" } else { "sk-bob" };
        let model = if nth < 32 { "one" } else { "two" };
        Flow::begin(request(&url, chat_stream(model)).bearer_auth(key))
    }))
    .await;

    // Of her requests in this minute, 32 streams are counted already.
    let limited = "keys: [{name: alice, secret: sk-alice, limits: {requests_per_minute: 33}}]\n";
    gateway.rewrite(&yaml(&mock, &model("one"), limited));
    let answer = gateway.reload().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["changed"], serde_json::json!(["keys", "models"]));

    let gone = ask(&gateway, "sk-bob", "one").await.envelope();
    assert!(gone.is(401, "invalid_request_error", "invalid_api_key"), "{gone:?}");
    let gone = ask(&gateway, "sk-alice", "two").await.envelope();
    assert!(gone.is(404, "invalid_request_error", "model_not_found"), "{gone:?}");
    let spent = ask(&gateway, "sk-alice", "one").await.envelope();
    assert!(spent.is(429, "requests", "rate_limit_exceeded"), "{spent:?}");
    let listed = send(
        e2e::client::client()
            .get(format!("{}/v1/models", gateway.url()))
            .bearer_auth("sk-alice"),
    )
    .await;
    let listed = Answer::of(listed).await.json();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(status(&gateway).await["in_flight"], 64, "the streams run on");

    for flow in flows {
        let stream = flow.end().await;
        assert!(stream.is_done(), "{}", stream.text);
        assert_eq!(stream.finish_reason().as_deref(), Some("stop"));
    }
}

/// As on a network file system whose server is gone.
#[tokio::test]
async fn a_file_that_never_ends_or_never_begins_stops_neither_work_nor_the_end() {
    let world = World::new();
    let mock = world.mock(&[]);
    let mut gateway = world.gateway(&yaml(&mock, &model("one"), KEYS));
    fs::remove_file(gateway.config()).expect("it is there");
    symlink("/dev/zero", gateway.config()).expect("a link can be made");
    let answer = gateway.reload().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("file too large"), "{}", answer.text());
    fs::remove_file(gateway.config()).expect("it is there");
    let made = std::process::Command::new("mkfifo").arg(gateway.config()).status();
    assert!(made.expect("mkfifo is there").success());
    gateway.signal("HUP");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ask(&gateway, "sk-alice", "one").await.status, 200);
    gateway.signal("TERM");
    assert!(gateway.wait(SOON).await.success());
}

#[tokio::test]
async fn a_typo_changes_nothing_however_it_arrives() {
    let world = World::new();
    let mock = world.mock(&[]);
    let good = yaml(&mock, &model("one"), KEYS);
    let gateway = world.gateway(&good);
    let before = status(&gateway).await;
    let bad = good.replace("models:", "modles:");

    gateway.rewrite(&bad);
    let answer = gateway.reload().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let message = answer.envelope().message;
    assert!(
        message.contains("did you mean `models`?") && message.contains(":3:1:"),
        "{message}"
    );
    let unusable = bad
        .replace("modles:", "models:")
        .replace("secret: sk-bob", "sha256: sk-bob");
    gateway.rewrite(&unusable);
    gateway.signal("HUP");
    let refused = |log: &str| log.matches("the new configuration is refused").count();
    assert!(
        eventually(SOON, || refused(&gateway.log()) >= 2).await,
        "{}",
        gateway.log()
    );
    assert!(!gateway.log().contains("sk-bob"), "what may be a key is not logged");

    let after = status(&gateway).await;
    assert_eq!(after["config"]["hash"], before["config"]["hash"]);
    assert!(after["config"]["last_error"].is_string(), "{after}");
    assert_eq!(ask(&gateway, "sk-bob", "one").await.status, 200);

    gateway.rewrite(&good);
    assert_eq!(gateway.reload().await.status, 200);
    assert!(status(&gateway).await["config"]["last_error"].is_null());
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_so_are_the_files_it_names() {
    let world = World::new();
    let mock = world.mock(&[]);
    world.file("key", "sk-first\n");
    let keys = format!(
        "keys: [{{name: alice, secret: '${{file:{}/key}}'}}]\n",
        world.dir().display()
    );
    let gateway = world.gateway(&yaml(
        &mock,
        "{name: one, routes: [{backend: only, model: mock}]}",
        &keys,
    ));
    assert_eq!(ask(&gateway, "sk-first", "one").await.status, 200);

    world.file("key", "sk-second\n");
    let reloads = || gateway.log().matches("configuration reloaded").count();
    assert!(eventually(SOON, || reloads() == 1).await, "{}", gateway.log());
    assert_eq!(ask(&gateway, "sk-first", "one").await.status, 401);
    assert_eq!(ask(&gateway, "sk-second", "one").await.status, 200);

    gateway.rewrite(&yaml(
        &mock,
        "{name: other, routes: [{backend: only, model: mock}]}",
        &keys,
    ));
    assert!(eventually(SOON, || reloads() == 2).await, "{}", gateway.log());
    assert_eq!(ask(&gateway, "sk-second", "one").await.status, 404);
    assert_eq!(ask(&gateway, "sk-second", "other").await.status, 200);
}

/// As Kubernetes replaces a ConfigMap: the file is a link into a folder that is a link, and the latter is swapped.
#[tokio::test]
async fn a_swapped_link_is_noticed() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, &model("one"), ""));
    let text = fs::read_to_string(gateway.config()).expect("it was written");
    for (version, text) in [("v1", text.clone()), ("v2", text.replace("name: 'one'", "name: 'two'"))] {
        fs::create_dir(world.dir().join(version)).expect("a folder can be made");
        fs::write(world.dir().join(version).join("mulberry.yaml"), text).expect("it can be written");
    }
    let data = world.dir().join("..data");
    symlink("v1", &data).expect("a link can be made");
    let next = world.dir().join("next");
    symlink("..data/mulberry.yaml", &next).expect("a link can be made");
    fs::rename(&next, gateway.config()).expect("a file can be replaced");
    let reloads = || gateway.log().matches("configuration reloaded").count();
    assert!(eventually(SOON, || reloads() == 1).await, "{}", gateway.log());

    symlink("v2", &next).expect("a link can be made");
    fs::rename(&next, &data).expect("a link can be replaced");
    assert!(eventually(SOON, || reloads() == 2).await, "{}", gateway.log());
    let url = format!("{}/v1/models/two", gateway.url());
    assert_eq!(get(&url).await.status(), 200);
}

#[tokio::test]
async fn what_did_not_change_stays_as_it_is() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let yaml = |more: &str, limits: &str| {
        format!(
            "backends:\n  - {{name: kept, url: '{}'}}\n  - {{name: other, url: '{}'{more}}}\nmodels:\n  - {{name: kept, routes: [{{backend: kept, model: mock}}]}}\n  - {{name: other, routes: [{{backend: other, model: mock}}]}}\nlimits: {{{limits}}}\n",
            first.url(),
            second.url(),
        )
    };
    let gateway = world.gateway(&yaml("", "connections: 100"));
    let url = format!("{}/v1/chat/completions", gateway.url());
    for model in ["kept", "other"] {
        assert_eq!(post(&url, chat(model)).await.status(), 200);
    }
    let attempts = async || {
        let upstreams = Answer::of(send(gateway.admin(Method::GET, "upstreams")).await)
            .await
            .json();
        let upstreams = upstreams["data"].as_array().cloned().unwrap_or_default();
        upstreams
            .iter()
            .map(|upstream| upstream["attempts"].as_u64())
            .collect::<Vec<_>>()
    };
    assert_eq!(attempts().await, [Some(1), Some(1)]);
    gateway.rewrite(&yaml(", keep_alive: 2s", "connections: 101"));
    let answer = gateway.reload().await;
    assert_eq!(answer.json()["changed"], serde_json::json!(["backends", "limits"]));
    assert_eq!(
        answer.json()["needs_restart"],
        serde_json::json!(["limits.connections"])
    );
    assert_eq!(attempts().await, [Some(1), Some(0)], "the other is a new one");
    assert_eq!(post(&url, chat("other")).await.status(), 200);
}

#[tokio::test]
async fn many_reloads_under_load_lose_no_request() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "{name: one, routes: [{backend: only, model: mock}]}", ""));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asking = join_all((0..16).map(|_| async {
        for _ in 0..40 {
            let answer = Answer::of(post(&url, chat("one")).await).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }));
    let reloading = async {
        for nth in 0..20 {
            let weight = nth % 3 + 1;
            gateway.rewrite(&yaml(
                &mock,
                &format!("{{name: one, routes: [{{backend: only, model: mock, weight: {weight}}}]}}"),
                "",
            ));
            assert_eq!(gateway.reload().await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(asking, reloading);
}
