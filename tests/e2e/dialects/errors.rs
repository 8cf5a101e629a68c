//! Errors have the client's shape, whoever made them, under the same status.

use e2e::client::{client, get, request, send};
use e2e::{Answer, World};
use serde_json::json;

use super::{CLIENT_KEY, WAYS, Wire, serve, theirs};

#[tokio::test]
async fn an_upstreams_status_passes_with_its_message() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        for (mode, status, openai, anthropic) in [
            ("400", 400, "invalid_request_error", "invalid_request_error"),
            ("404", 404, "invalid_request_error", "not_found_error"),
            ("429", 429, "rate_limit_error", "rate_limit_error"),
            ("500", 500, "server_error", "api_error"),
        ] {
            let answer = served.ask(wire, &format!("fault/{mode}")).await;
            let what = format!("{wire:?} {kind} {mode}: {}", answer.text());
            assert_eq!(answer.status, status, "{what}");
            let (error, message) = wire.error(&answer);
            assert!(message.contains(&format!("scripted {mode}")), "{what}");
            if wire == Wire::Messages {
                assert_eq!(error, anthropic, "{what}");
            } else if status != 404 {
                assert_eq!(error, openai, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn overload_is_503_whatever_number_the_upstream_has_for_it() {
    for wire in [Wire::Chat, Wire::Messages] {
        let served = serve("anthropic");
        let answer = served.ask(wire, "fault/529").await;
        assert_eq!(answer.status, 503, "{wire:?}: {}", answer.text());
        let (error, _) = wire.error(&answer);
        if wire == Wire::Messages {
            assert_eq!(error, "overloaded_error");
        }
    }
}

#[tokio::test]
async fn hints_when_to_come_back_pass() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let answer = served.ask(wire, "fault/429RSno").await;
        assert_eq!(
            (answer.header("retry-after"), answer.header("x-should-retry")),
            ("1", "false"),
            "{wire:?} {kind}"
        );
    }
}

#[tokio::test]
async fn our_credentials_are_not_the_clients_fault() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        for mode in ["401", "403"] {
            let answer = served.ask(wire, &format!("fault/{mode}")).await;
            assert_eq!(answer.status, 502, "{wire:?} {kind} {mode}: {}", answer.text());
            let (_, message) = wire.error(&answer);
            assert!(
                message.contains("gateway's own credentials"),
                "{wire:?} {kind}: {message}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_502() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        for mode in ["err-200", "html-200", "html-502", "gzip", "truncated-length"] {
            let answer = served.ask(wire, &format!("fault/{mode}")).await;
            // Where nothing is translated, what is compressed passes unread.
            if mode == "gzip" && kind == "anthropic" && wire == Wire::Messages {
                assert_eq!(answer.status, 200);
                continue;
            }
            assert_eq!(answer.status, 502, "{wire:?} {kind} {mode}: {}", answer.text());
            wire.error(&answer);
        }
    }
}

#[tokio::test]
async fn the_gateways_own_errors_have_anthropics_shape_on_its_paths() {
    let served = serve("openai-compatible");
    let url = |path: &str| format!("{}{path}", served.gateway.url());
    let ask = Wire::Messages.ask("mock", false);
    let keyed = |path: &str, body: &str| request(&url(path), body.to_owned()).header("x-api-key", CLIENT_KEY);
    let mut short = ask.clone();
    short["max_tokens"] = json!(null);
    for (request, status, kind) in [
        (
            request(&url("/v1/messages"), ask.to_string()),
            401,
            "authentication_error",
        ),
        (keyed("/v1/messages", "{"), 400, "invalid_request_error"),
        (keyed("/v1/messages", &short.to_string()), 400, "invalid_request_error"),
        (
            keyed(
                "/v1/messages",
                r#"{"model":"nobody","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#,
            ),
            404,
            "not_found_error",
        ),
        (keyed("/v1/messages/batches", "{}"), 404, "not_found_error"),
        (keyed("/anthropic/v1/nothing", "{}"), 404, "not_found_error"),
        (client().get(url("/v1/messages")), 405, "invalid_request_error"),
    ] {
        let answer = Answer::of(send(request).await).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let (found, message) = Wire::Messages.error(&answer);
        assert_eq!(found, kind, "{message}");
    }
    let other = Answer::of(get(&url("/v1/nothing")).await).await;
    assert!(other.envelope().is(404, "invalid_request_error", "unknown_url"));
    assert_eq!(
        other.header("request-id"),
        "",
        "OpenAI's clients have another name for it"
    );
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_told_alike() {
    let world = World::new();
    let gateway = world.gateway("backends: [{name: gone, kind: anthropic, url: 'http://127.0.0.1:1'}]");
    let url = format!("{}/v1/messages", gateway.url());
    let answer = Answer::of(send(request(&url, Wire::Messages.ask("mock", false).to_string())).await).await;
    assert_eq!(answer.status, 502);
    assert_eq!(theirs(&answer.json()).0, "api_error");
}
