//! Who asks for more than a keyed worker has shown is told so, and nothing of the request leaves.

use e2e::client::{chat, chat_stream, get, request, send};
use e2e::{Answer, World};
use reqwest::RequestBuilder;
use serde_json::json;

use super::{Site, chats, up};

async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(send(request).await).await
}

#[tokio::test]
async fn what_demands_more_than_a_key_never_reaches_keyed_workers() {
    let world = World::new();
    let mocks = [world.mock(&[]), world.mock(&[])];
    let keys = ["one", "two", "away"].map(|name| world.worker_key(name));
    let named = ["one", "two", "away"].into_iter().zip(&keys);
    let workers: Vec<String> = named
        .map(|(name, key)| format!("{{name: {name}, key_sha256: {}}}", key.sha256))
        .collect();
    let gateway = world.gateway(&format!(
        "worker_listen: 127.0.0.1:0\nbackends: [{{name: gpu, workers: [{}]}}]",
        workers.join(", ")
    ));
    let for_workers = gateway.for_workers();
    let _workers: Vec<_> = (keys.iter().zip(&mocks))
        .map(|(key, mock)| world.worker(key, &mock.url(), &["--gateway", &for_workers]))
        .collect();
    up(&gateway, "gpu/one").await;
    up(&gateway, "gpu/two").await;

    let url = format!("{}/v1/chat/completions", gateway.url());
    let tee = [
        ("x-mulberry-min-tier", "tee"),
        ("x-mulberry-min-tier", "tee+gpu"),
        ("x-attest-policy", r#"{"min_tier":"tee"}"#),
    ];
    for (name, value) in tee {
        for body in [chat("mock"), chat_stream("mock")] {
            let refused = answer(request(&url, body).header(name, value)).await;
            let error = refused.envelope();
            assert!(error.is(503, "server_error", "no_attested_upstream"), "{error:?}");
            let reasons = &refused.json()["error"]["reasons"];
            assert_eq!(
                *reasons,
                json!({"not_connected": 1, "tier_too_low": 2}),
                "{name}: {value}"
            );
            assert!(error.message.contains("not_connected: 1, tier_too_low: 2"), "{error:?}");
            assert!(
                !refused.text().contains("gpu/") && !refused.text().contains("one"),
                "{}",
                refused.text()
            );
            assert_eq!(refused.header("retry-after"), "1", "one of them may connect");
        }
    }
    for (policy, reason) in [
        (r#"{"require":["gpu"]}"#, "lacks_gpu"),
        (r#"{"require":["up_to_date","intel_anchor"]}"#, "lacks_intel_anchor"),
    ] {
        let refused = answer(request(&url, chat("mock")).header("x-attest-policy", policy)).await;
        assert_eq!(
            refused.json()["error"]["reasons"],
            json!({"not_connected": 1, (reason): 2}),
            "{policy}"
        );
    }
    // In Anthropic's shape the reasons are in the message.
    let messages = r#"{"model":"mock","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let asked = request(&format!("{}/v1/messages", gateway.url()), messages).header("x-mulberry-min-tier", "tee");
    let refused = answer(asked).await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("tier_too_low: 2"), "{}", refused.text());

    for policy in [
        "",
        "tee",
        r#"{"min_tier":"high"}"#,
        r#"{"tier":"tee"}"#,
        r#"{"require":["tpm"]}"#,
    ] {
        let error = answer(request(&url, chat("mock")).header("x-attest-policy", policy))
            .await
            .envelope();
        assert!(
            error.is(400, "invalid_request_error", "invalid_value"),
            "{policy}: {error:?}"
        );
        assert!(error.message.contains("x-attest-policy"), "{error:?}");
    }
    assert!(mocks.iter().all(|mock| chats(mock).is_empty()), "nothing was to leave");

    // Those who ask for no more are served, and told by what.
    for body in [chat("mock"), chat_stream("mock")] {
        let served = answer(request(&url, body).header("x-attest-policy", r#"{"min_tier":"open"}"#)).await;
        assert_eq!(served.status, 200, "{}", served.text());
        assert_eq!(served.header("x-mulberry-tier"), "open");
        assert_eq!(served.header("x-mulberry-via"), "unverified gateway");
    }
    let seen: Vec<String> = mocks.iter().flat_map(chats).map(|chat| chat.to_string()).collect();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|chat| !chat.contains("x-attest") && !chat.contains("x-mulberry")),
        "{seen:?}"
    );

    let metrics = Answer::of(get(&format!("{}/metrics", gateway.admin_url())).await)
        .await
        .text();
    for line in [
        r#"mulberry_upstream_exclusions_total{upstream="gpu/one",reason="tier_too_low"} 7"#,
        r#"mulberry_upstream_exclusions_total{upstream="gpu/two",reason="lacks_gpu"} 1"#,
        r#"mulberry_answers_total{tier="open"} 2"#,
        r#"mulberry_answers_total{tier="tee"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn models_tell_the_tiers_at_which_they_are_served() {
    let mut site = Site::new("models: [{name: mine, routes: [{backend: gpu, model: mock}]}]").await;
    let url = format!("{}/v1/models/mine", site.gateway.url());
    let model = Answer::of(get(&url).await).await.json();
    assert_eq!(
        (&model["tier"], &model["tiers"]),
        (&json!("open"), &json!(["open"])),
        "{model}"
    );
    site.worker.kill();
    super::down(&site.gateway, "gpu/box").await;
    let model = Answer::of(get(&url).await).await.json();
    assert_eq!((&model["tier"], &model["tiers"]), (&json!(null), &json!([])), "{model}");
}

#[tokio::test]
async fn a_server_that_is_no_worker_has_shown_nothing() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let refused = answer(request(&url, chat("mock")).header("x-mulberry-min-tier", "tee")).await;
    assert_eq!(refused.json()["error"]["reasons"], json!({"tier_too_low": 1}));
    assert_eq!(refused.header("x-should-retry"), "false", "no time mends it");
    let policy = r#"{"max_age_s":300}"#;
    let refused = answer(request(&url, chat("mock")).header("x-attest-policy", policy)).await;
    assert_eq!(refused.json()["error"]["reasons"], json!({"not_attested": 1}));
    assert!(mock.log().is_empty());
    let served = answer(request(&url, chat("mock")).header("x-attest-policy", "{}")).await;
    assert_eq!(served.status, 200, "{}", served.text());
    assert_eq!(served.header("x-mulberry-tier"), "open");
    assert!(!mock.only().to_string().contains("x-attest-policy"));
}

#[tokio::test]
async fn nobody_anywhere_is_told_of_all_backends_together() {
    let world = World::new();
    let [mine, other, last] = [world.mock(&[]), world.mock(&[]), world.mock(&[])];
    let gateway = world.gateway(&format!(
        "backends: [{{name: a, url: '{}'}}, {{name: b, url: '{}'}}, {{name: c, url: '{}'}}]\n\
         models: [{{name: one, routes: [{{backend: a}}, {{backend: b, priority: 1}}], fallbacks: [two]}}, \
         {{name: two, routes: [{{backend: c}}, {{backend: a}}]}}]",
        mine.url(),
        other.url(),
        last.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    for body in [chat("one"), chat_stream("one")] {
        let refused = answer(request(&url, body).header("x-mulberry-min-tier", "tee")).await;
        assert_eq!(refused.status, 503);
        // The first backend also serves the fallback, and is one all the same.
        assert_eq!(refused.json()["error"]["reasons"], json!({"tier_too_low": 3}));
    }
    assert!([mine, other, last].iter().all(|mock| mock.log().is_empty()));
}

#[tokio::test]
async fn an_answer_is_not_given_again_to_who_demands_more() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asked = || request(&url, chat("mock")).header("idempotency-key", "once");
    let served = answer(asked()).await;
    assert_eq!(served.status, 200, "{}", served.text());
    let again = answer(asked()).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let error = answer(asked().header("x-mulberry-min-tier", "tee")).await.envelope();
    assert!(
        error.is(422, "invalid_request_error", "idempotency_key_reused"),
        "{error:?}"
    );
}
