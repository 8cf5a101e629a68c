//! The line of a request in the log: one each, with what is known of it, under names that stay.

use std::collections::BTreeSet;

use e2e::client::{chat, chat_stream, client, request, send};
use e2e::sse::Stream;
use e2e::wait::SOON;
use e2e::{Answer, Rig, eventually};
use serde_json::Value;

use crate::flow::Flow;

/// The lines of requests that have ended, at `info`.
fn lines(rig: &Rig) -> Vec<Value> {
    let log = rig.gateway.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines.filter(|line| line["fields"]["message"] == "request ended" && line["level"] == "INFO");
    ended.map(|mut line| line["fields"].take()).collect()
}

/// The line of a request, of which there is one.
async fn line(rig: &Rig, id: &str) -> Value {
    let of_id = || {
        lines(rig)
            .into_iter()
            .filter(|line| line["request"] == id)
            .collect::<Vec<_>>()
    };
    assert!(eventually(SOON, || !of_id().is_empty()).await, "{}", rig.gateway.log());
    let mut found = of_id();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn names(line: &Value) -> BTreeSet<&str> {
    let fields = line.as_object().expect("fields are an object");
    fields.keys().map(String::as_str).collect()
}

const OF_EACH: [&str; 7] = ["message", "request", "method", "endpoint", "status", "end", "took_ms"];
const OF_A_JOB: [&str; 13] = [
    "key",
    "model",
    "stream",
    "backend",
    "upstream",
    "attempts",
    "prompt",
    "cached",
    "completion",
    "reasoning",
    "first_frame_ms",
    "overhead_ms",
    "code",
];

#[tokio::test]
async fn a_request_has_a_line_that_tells_what_is_known() {
    let rig = Rig::with(
        "kind: vllm",
        "keys: [{name: alice, secret: sk-alice}]\nlog: {format: json, requests: true}\n",
    );
    let ask = |id: &'static str, body: String| {
        request(&rig.url("/v1/chat/completions"), body)
            .bearer_auth("sk-alice")
            .header("x-request-id", id)
    };
    let answer = Answer::of(send(ask("whole", chat("mock"))).await).await;
    let told = line(&rig, "whole").await;
    let expect: BTreeSet<&str> = OF_EACH
        .into_iter()
        .chain(OF_A_JOB)
        .filter(|name| *name != "code")
        .collect();
    assert_eq!(names(&told), expect);
    let usage = &answer.json()["usage"];
    for (name, value) in [
        ("endpoint", &Value::from("chat_completions")),
        ("status", &200.into()),
        ("end", &"complete".into()),
        ("key", &"alice".into()),
        ("model", &"mock".into()),
        ("backend", &"only".into()),
        ("attempts", &1.into()),
        ("stream", &false.into()),
        ("prompt", &usage["prompt_tokens"]),
        ("completion", &usage["completion_tokens"]),
    ] {
        assert_eq!(&told[name], value, "{name}");
    }

    let cut = Stream::of(send(ask("cut", chat_stream("fault/cut"))).await).await;
    assert!(!cut.is_done());
    let told = line(&rig, "cut").await;
    assert_eq!((&told["status"], &told["stream"]), (&200.into(), &true.into()));

    drop(Flow::begin(ask("left", chat_stream("fault/slow-50+tokens-100000"))).await);
    assert_eq!(line(&rig, "left").await["end"], "cancelled");

    let refused = client().get(rig.url("/v1/models")).header("x-request-id", "refused");
    assert_eq!(send(refused).await.status(), 401);
    let told = line(&rig, "refused").await;
    let expect: BTreeSet<&str> = OF_EACH.into_iter().chain(["code"]).collect();
    assert_eq!(names(&told), expect);
    assert_eq!(told["code"], "invalid_api_key");
    assert!(!rig.gateway.log().contains("DEBUG"));
}

#[tokio::test]
async fn lines_of_requests_are_off_unless_asked_for() {
    let rig = Rig::with("", "log: {format: json}\n");
    for _ in 0..3 {
        assert_eq!(rig.chat("mock").await.status, 200);
    }
    assert_eq!(lines(&rig), Vec::<Value>::new());
}
