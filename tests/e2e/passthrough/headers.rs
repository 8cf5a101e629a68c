//! Headers, both ways.

use e2e::client::{chat, chat_stream, send};
use e2e::{Answer, Rig};

#[tokio::test]
async fn a_request_id_is_taken_made_and_returned_on_every_answer() {
    let rig = Rig::new();
    for (path, body, status) in [
        ("/v1/chat/completions", chat("mock"), 200),
        ("/v1/chat/completions", chat_stream("mock"), 200),
        ("/v1/chat/completions", chat("fault/500"), 500),
        ("/v1/chat/completions", chat_stream("fault/cut-before"), 502),
        ("/v1/chat/completions", "x".to_owned(), 400),
        ("/v1/nothing", "{}".to_owned(), 404),
    ] {
        let request = |name: &'static str| {
            let request = e2e::client::request(&rig.url(path), body.clone());
            request.header(name, "trace-me_1.2")
        };
        for name in ["x-request-id", "x-client-request-id"] {
            rig.mock.reset();
            let answer = Answer::of(send(request(name)).await).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("x-request-id"), "trace-me_1.2", "{path} {status}");
            for entry in rig.mock.log() {
                assert_eq!(entry["headers"]["x-request-id"], "trace-me_1.2");
            }
        }
        let first = Answer::of(send(request("x-nothing")).await).await;
        let second = Answer::of(send(request("x-nothing")).await).await;
        let (first, second) = (
            first.header("x-request-id").to_owned(),
            second.header("x-request-id").to_owned(),
        );
        assert!(first.len() >= 16 && first != second, "{first} {second}");
    }
}

#[tokio::test]
async fn an_id_that_could_forge_a_log_line_is_not_taken() {
    let rig = Rig::new();
    for id in ["a b", "x\"y", &"a".repeat(1000), ""] {
        let answer = Answer::of(send(rig.request(chat("mock")).header("x-request-id", id)).await).await;
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("x-request-id"), id);
        assert!(!answer.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn credentials_and_addresses_of_the_client_stop_here() {
    let rig = Rig::with(
        "api_key: sk-upstream-1, headers: {x-team: research}",
        "keys: [{name: alice, secret: sk-alice-0123456789}]\n",
    );
    for (name, key) in [
        ("authorization", "Bearer sk-alice-0123456789"),
        ("x-api-key", "sk-alice-0123456789"),
        ("api-key", "sk-alice-0123456789"),
    ] {
        rig.mock.reset();
        let request = rig.request(chat("mock")).header(name, key);
        let request = [
            "cookie",
            "forwarded",
            "x-forwarded-for",
            "x-real-ip",
            "openai-organization",
            "openai-project",
            "x-mulberry-secret",
            "proxy-authorization",
            "payment-signature",
            "x-payment",
        ]
        .into_iter()
        .fold(request, |request, name| request.header(name, "clients-own"));
        let request = request
            .header("x-custom", "kept")
            .header("openai-beta", "assistants=v2")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("x-stainless-lang", "rust")
            .header("connection", "x-hop")
            .header("x-hop", "clients-own");
        let answer = Answer::of(send(request).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = rig.mock.only();
        let headers = seen["headers"].as_object().expect("an object");
        let all = seen["headers"].to_string();
        assert!(
            !all.contains("sk-alice") && !all.contains("clients-own"),
            "{name}: {all}"
        );
        assert_eq!(headers["authorization"], "Bearer sk-upstream-1");
        assert_eq!(headers["x-team"], "research");
        assert_eq!(headers["x-custom"], "kept");
        assert_eq!(headers["openai-beta"], "assistants=v2");
        assert!(
            headers["traceparent"]
                .as_str()
                .is_some_and(|ours| ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-")
                    && ours.ends_with("-01")
                    && !ours.contains("b7ad6b7169203331")),
            "the trace goes on, with the gateway as the parent"
        );
        assert_eq!(headers["x-stainless-lang"], "rust");
        assert_eq!(headers["host"], rig.mock.address());
        assert!(
            headers.get("accept-encoding").is_none(),
            "an answer must be readable: {all}"
        );
    }
}

#[tokio::test]
async fn an_answer_does_not_say_where_it_came_from() {
    let rig = Rig::new();
    for mode in [
        "ok",
        "hop-headers",
        "500",
        "429RS",
        "html-502",
        "cut-before",
        "err-200",
        "redirect",
    ] {
        for body in [chat(&format!("fault/{mode}")), chat_stream(&format!("fault/{mode}"))] {
            let answer = rig.chat_of(body).await;
            let said = format!("{:?} {}", answer.headers, answer.text());
            assert!(!said.contains(rig.mock.address()), "{mode}: {said}");
            assert!(!said.contains(&format!(":{}", rig.mock.port())), "{mode}: {said}");
        }
    }
}

#[tokio::test]
async fn an_answer_has_the_headers_that_clients_look_for() {
    let rig = Rig::new();
    let answer = rig.chat("mock").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("openai-version"), "2020-10-01");
    assert!(
        answer.header("openai-processing-ms").parse::<u64>().is_ok(),
        "{:?}",
        answer.headers
    );
    assert_eq!(answer.header("x-mulberry-backend"), "only");
    assert_eq!(answer.header("x-mulberry-attempts"), "1");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
}
