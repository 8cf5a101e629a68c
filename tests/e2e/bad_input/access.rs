//! Who may ask, and for what.

use std::time::Duration;

use e2e::client::{chat, client, send};
use e2e::{Answer, Rig, World, raw};

use super::KEYS;

#[tokio::test]
async fn a_request_without_a_good_key_is_a_401() {
    let rig = Rig::with("", KEYS);
    for (name, value) in [
        ("x-nothing", "here"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer sk-wrong"),
        ("authorization", "Bearer sk-eve-0123456789"),
        ("authorization", "Basic c2stYWxpY2U="),
        ("authorization", "sk-alice-0123456789"),
        ("api-key", "sk-wrong"),
        ("x-api-key", ""),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        let envelope = answer.envelope();
        assert!(
            envelope.is(401, "invalid_request_error", "invalid_api_key"),
            "{name}: {envelope:?}"
        );
        assert!(!answer.text().contains("sk-"), "{}", answer.text());
        assert!(!answer.header("x-request-id").is_empty());
        let models = Answer::of(send(client().get(rig.url("/v1/models")).header(name, value)).await).await;
        assert_eq!(models.envelope().status, 401);
    }
    assert_eq!(rig.mock.log().len(), 0);
    for (name, value) in [
        ("authorization", "Bearer sk-alice-0123456789"),
        ("authorization", "bearer sk-alice-0123456789"),
        ("api-key", "sk-alice-0123456789"),
        ("x-api-key", "sk-alice-0123456789"),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_is_read() {
    let rig = Rig::with("", KEYS);
    // A megabyte is announced and never sent.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
    let answer = raw::ends_within(rig.gateway.address(), head.as_bytes(), Duration::from_secs(5));
    let answer = answer.unwrap_or_else(|| panic!("the connection stays open"));
    assert_eq!(raw::status(&answer), 401);
}

const MODELS: &str =
    "models:\n  - {name: mock, routes: [{backend: only}]}\n  - {name: other, routes: [{backend: only, model: mock}]}\n";

#[tokio::test]
async fn unknown_and_forbidden_models_are_told_apart() {
    let rig = Rig::with("", &format!("{KEYS}{MODELS}"));
    let ask = async |key: &str, model: &str| {
        let request = rig.request(chat(model)).bearer_auth(key);
        Answer::of(send(request).await).await
    };
    let unknown = ask("sk-alice-0123456789", "gpt-9").await.envelope();
    assert!(
        unknown.is(404, "invalid_request_error", "model_not_found"),
        "{unknown:?}"
    );
    assert_eq!(unknown.param.as_deref(), Some("model"));
    assert!(unknown.message.contains("'gpt-9'"), "{unknown:?}");
    let forbidden = ask("sk-bob-0123456789", "mock").await.envelope();
    assert!(
        forbidden.is(403, "permission_error", "model_not_allowed"),
        "{forbidden:?}"
    );
    assert_eq!(forbidden.param.as_deref(), Some("model"));
    assert_eq!(ask("sk-bob-0123456789", "other").await.status, 200);
    // A name that is a novel is not repeated whole.
    let novel = ask("sk-alice-0123456789", &"x".repeat(10_000)).await;
    assert!(novel.text().len() < 1000, "{}", novel.text());

    let list = Answer::of(send(client().get(rig.url("/v1/models")).bearer_auth("sk-bob-0123456789")).await)
        .await
        .json();
    let ids: Vec<_> = list["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(ids, ["other"], "{list}");
}

#[tokio::test]
async fn an_unwelcome_host_or_page_is_refused_where_no_keys_are() {
    let rig = Rig::new();
    for (name, value, code) in [
        ("host", "rebound.example:80", "foreign_host"),
        ("origin", "https://evil.example", "foreign_origin"),
    ] {
        let answer = Answer::of(send(rig.request(chat("mock")).header(name, value)).await).await;
        let envelope = answer.envelope();
        assert!(envelope.is(403, "permission_error", code), "{name}: {envelope:?}");
    }
    assert_eq!(rig.mock.log().len(), 0);
    let world = World::new();
    let refused =
        world.gateway_error("listen: 0.0.0.0:0\ndata_dir: null\nbackends: [{name: a, url: 'http://127.0.0.1:1'}]");
    assert!(refused.contains("keys"), "{refused}");
}
