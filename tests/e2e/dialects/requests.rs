//! What reaches the upstream, and what is refused before.

use e2e::client::{request, send};
use e2e::{Answer, World};
use serde_json::{Value, json};

use super::{CLIENT_KEY, UPSTREAM_KEY, WAYS, Wire, place, serve, theirs};

#[tokio::test]
async fn each_kind_is_called_at_its_place_with_its_key() {
    for (wire, kind) in WAYS {
        for is_stream in [false, true] {
            let served = serve(kind);
            let body = wire.ask("fault/tokens-2+tag-a", is_stream);
            let request = served.request(&format!("{}?beta=true", wire.path()), &body);
            let request = request.header("x-goog-api-key", "sk-theirs");
            let request = request.header("anthropic-version", "2026-10-21");
            let answer = Answer::of(send(request).await).await;
            assert_eq!(answer.status, 200, "{wire:?} {kind}: {}", answer.text());
            let seen = served.mock.only();
            let place = place(kind, "fault/tokens-2+tag-a", is_stream);
            // Anthropic's clients have something to say in the query, and nobody else understands it.
            let is_plain = wire == Wire::Messages && kind == "anthropic";
            let expect = if is_plain { format!("{place}?beta=true") } else { place };
            assert_eq!(seen["path"], expect, "{wire:?} {kind}");
            let headers = &seen["headers"];
            let (name, key) = match kind {
                "anthropic" => ("x-api-key", UPSTREAM_KEY.to_owned()),
                "gemini" => ("x-goog-api-key", UPSTREAM_KEY.to_owned()),
                _ => ("authorization", format!("Bearer {UPSTREAM_KEY}")),
            };
            assert_eq!(headers[name], key, "{wire:?} {kind}: {headers}");
            let whole = seen.to_string();
            assert!(
                !whole.contains(CLIENT_KEY) && !whole.contains("sk-theirs"),
                "{wire:?} {kind}: {whole}"
            );
            if kind == "anthropic" {
                // Theirs is for their own words; ours is what we translated to.
                let version = if is_plain { "2026-10-21" } else { "2023-06-01" };
                assert_eq!(headers["anthropic-version"], version);
            }
        }
    }
}

#[tokio::test]
async fn between_two_of_anthropics_bytes_pass() {
    let served = serve("anthropic");
    // Spaces, an unknown member's number and order would not survive a translation.
    let body = r#"{ "max_tokens": 50,"model":"mock" , "messages":[{"role":"user","content":[{"type":"text","text":"Say hello","cache_control":{"type":"ephemeral"}}]}],"metadata":{"n":1.50e1},"stream":STREAM}"#;
    for stream in ["false", "true"] {
        served.mock.reset();
        let body = body.replace("STREAM", stream);
        let url = format!("{}/v1/messages", served.gateway.url());
        let request = request(&url, body.clone()).header("x-api-key", CLIENT_KEY);
        let request = request.header("anthropic-beta", "some-beta-2026-01-01");
        let answer = Answer::of(send(request).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = served.mock.only();
        assert_eq!(seen["body"], body);
        assert_eq!(seen["headers"]["anthropic-beta"], "some-beta-2026-01-01");
        assert_eq!(
            seen["headers"]["anthropic-version"], "2023-06-01",
            "where nobody says one"
        );
        let direct = request_to(&served.mock.url(), &body).await.text();
        assert_eq!(
            without_ids(&answer.text()),
            without_ids(&direct),
            "the answer passes as it came"
        );
    }
}

async fn request_to(mock: &str, body: &str) -> Answer {
    let request = request(&format!("{mock}/v1/messages"), body.to_owned())
        .header("x-api-key", UPSTREAM_KEY)
        .header("anthropic-version", "2023-06-01");
    Answer::of(send(request).await).await
}

/// The mock counts its answers.
fn without_ids(text: &str) -> String {
    let mut pieces = text.split("msg_mock_");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |whole, piece| {
        whole + piece.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[tokio::test]
async fn a_route_renames_the_model_on_every_way() {
    for (wire, kind) in WAYS {
        let world = World::new();
        let mock = world.mock(&[]);
        let gateway = world.gateway(&format!(
            "backends: [{{name: only, kind: {kind}, url: '{}'}}]\n\
             models: [{{name: ours, routes: [{{backend: only, model: fault/tag-theirs}}]}}]",
            mock.url()
        ));
        let url = format!("{}{}", gateway.url(), wire.path());
        let answer = Answer::of(send(request(&url, wire.ask("ours", false).to_string())).await).await;
        assert_eq!(answer.status, 200, "{wire:?} {kind}: {}", answer.text());
        assert_eq!(mock.only()["model"], "fault/tag-theirs", "{wire:?} {kind}");
    }
}

#[tokio::test]
async fn what_a_dialect_has_no_word_for_is_refused_before_anything_is_sent() {
    for (kind, param, value) in [
        ("anthropic", "n", json!(2)),
        ("gemini", "logit_bias", json!({"50256": -100})),
    ] {
        let served = serve(kind);
        let mut body = Wire::Chat.ask("mock", false);
        body[param] = value;
        let envelope = served.post(Wire::Chat, &body).await.envelope();
        assert!(
            envelope.is(400, "invalid_request_error", "unsupported_parameter"),
            "{envelope:?}"
        );
        assert_eq!(envelope.param.as_deref(), Some(param));
        assert_eq!(served.mock.log(), Vec::<Value>::new());
    }
    let served = serve("openai-compatible");
    let mut body = Wire::Messages.ask("mock", false);
    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    let answer = served.post(Wire::Messages, &body).await;
    assert_eq!(
        (answer.status.as_u16(), Wire::Messages.error(&answer).0.as_str()),
        (400, "invalid_request_error")
    );
    assert_eq!(served.mock.log(), Vec::<Value>::new());
}

#[tokio::test]
async fn another_leg_takes_what_the_first_has_no_word_for() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends:\n  - {{name: first, kind: anthropic, url: '{}'}}\n  - {{name: second, url: '{}'}}\n",
        first.url(),
        second.url()
    ));
    let mut body = Wire::Chat.ask("mock", false);
    body["n"] = 2.into();
    let url = format!("{}/v1/chat/completions", gateway.url());
    let answer = Answer::of(send(request(&url, body.to_string())).await).await;
    assert_eq!(
        answer.json()["choices"].as_array().map(Vec::len),
        Some(2),
        "{}",
        answer.text()
    );
    assert_eq!((first.log().len(), second.log().len()), (0, 1));
    // A plain question goes to the first.
    let answer = Answer::of(send(request(&url, Wire::Chat.ask("mock", false).to_string())).await).await;
    assert_eq!(answer.header("x-mulberry-backend"), "first");
}

#[tokio::test]
async fn what_a_second_leg_has_no_word_for_is_not_the_clients_fault_when_the_first_failed() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends:\n  - {{name: first, url: '{}'}}\n  - {{name: second, kind: anthropic, url: '{}'}}\n\
         models:\n  - {{name: ours, routes: [{{backend: first, model: fault/500}}, {{backend: second, model: mock, priority: 1}}]}}\n",
        first.url(),
        second.url()
    ));
    let mut body = Wire::Chat.ask("ours", false);
    body["n"] = 2.into();
    let url = format!("{}/v1/chat/completions", gateway.url());
    let answer = Answer::of(send(request(&url, body.to_string())).await).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("scripted 500"), "{}", answer.text());
    assert_eq!((first.log().len(), second.log().len()), (1, 0));
}

#[tokio::test]
async fn another_dialect_answers_when_the_first_fails() {
    let world = World::new();
    let (first, second) = (world.mock(&[]), world.mock(&[]));
    let gateway = world.gateway(&format!(
        "backends:\n  - {{name: first, kind: anthropic, url: '{}'}}\n  - {{name: second, kind: gemini, url: '{}'}}\n\
         models:\n  - {{name: ours, routes: [{{backend: first, model: fault/529}}, {{backend: second, model: mock, priority: 1}}]}}\n",
        first.url(),
        second.url()
    ));
    for wire in [Wire::Chat, Wire::Messages] {
        let url = format!("{}{}", gateway.url(), wire.path());
        let answer = Answer::of(send(request(&url, wire.ask("ours", false).to_string())).await).await;
        assert_eq!(answer.status, 200, "{wire:?}: {}", answer.text());
        assert_eq!(
            (
                answer.header("x-mulberry-backend"),
                answer.header("x-mulberry-attempts")
            ),
            ("second", "2")
        );
    }
}

#[tokio::test]
async fn tokens_are_counted_where_the_server_counts_them() {
    for (kind, status) in [
        ("anthropic", 200),
        ("llamacpp", 200),
        ("vllm", 200),
        ("openai-compatible", 404),
        ("gemini", 404),
    ] {
        let world = World::new();
        let mock = world.mock(&[]);
        let gateway = world.gateway(&format!(
            "backends: [{{name: only, kind: {kind}, url: '{}'}}]",
            mock.url()
        ));
        let body = r#"{"model":"mock","messages":[{"role":"user","content":"Say hello to me"}]}"#;
        let url = format!("{}/v1/messages/count_tokens", gateway.url());
        let request = request(&url, body).header("anthropic-version", "2023-06-01");
        let answer = Answer::of(send(request).await).await;
        assert_eq!(answer.status.as_u16(), status, "{kind}: {}", answer.text());
        if status == 200 {
            assert_eq!(answer.json(), json!({"input_tokens": 4}), "{kind}");
        } else {
            assert_eq!(theirs(&answer.json()).0, "not_found_error", "{kind}");
        }
    }
}

#[tokio::test]
async fn anthropics_other_path_is_the_same() {
    let served = serve("openai-compatible");
    let request = served.request("/anthropic/v1/messages", &Wire::Messages.ask("mock", false));
    let answer = Answer::of(send(request).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(served.mock.only()["path"], "/v1/chat/completions");
}
