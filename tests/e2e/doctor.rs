//! `mulberry doctor`: what it finds at a real llama.cpp, at each fault of the scripted upstream, and at the gateway itself.

use std::process::{Command, Output};

use e2e::World;
use e2e::process::mulberry;
use serde_json::Value;

fn doctor(url: &str, flags: &[&str]) -> Output {
    let run = Command::new(mulberry()).args(["doctor", url]).args(flags).output();
    run.expect("the binary starts")
}

/// The findings that are not ok, and the exit status.
fn examined(url: &str, flags: &[&str]) -> (Vec<(String, String, String)>, Option<i32>) {
    let output = doctor(url, &[flags, &["--output", "json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("a list");
    assert!(findings.len() > 20, "{report:#}");
    let found = findings
        .iter()
        .map(|finding| (text(finding, "check"), text(finding, "result"), text(finding, "found")))
        .filter(|(_, result, _)| result != "ok")
        .collect();
    (found, output.status.code())
}

fn of<'a>(found: &'a [(String, String, String)], result: &str) -> Vec<(&'a str, &'a str)> {
    let with = found.iter().filter(|(_, other, _)| other == result);
    with.map(|(check, _, found)| (check.as_str(), found.as_str())).collect()
}

#[test]
fn a_real_llama_cpp_has_the_faults_that_we_know() {
    let world = World::new();
    let llama = world.llama("tool", None);
    let (found, status) = examined(&llama.url, &[]);
    assert_eq!(status, Some(1));
    let envelope = "`param` is missing; `code` is a number";
    let faults = ["bad JSON", "missing field", "wrong type", "unknown URL", "wrong method"];
    assert_eq!(of(&found, "FAULT"), faults.map(|check| (check, envelope)));
    assert_eq!(
        of(&found, "note"),
        [
            ("one model", "GET /v1/models/{id} answers 404"),
            ("unknown model", "it answers under any name"),
            ("usage asked", "one last chunk, but no `usage: null` before"),
            ("keep-alive", "closed after 100 requests (it says timeout=5, max=100)"),
            ("gzip request", "refused with 415"),
            ("HTTP/2", "not spoken"),
        ]
    );
    assert_eq!(of(&found, "-"), [("wrong key", "it wants none")]);

    // The same as a table.
    let output = doctor(&format!("{}/v1/", llama.url), &[]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "model tiny-tool",
        "FAULT   bad JSON               `param` is missing; `code` is a number\n",
        "behind Mulberry: every error leaves in OpenAI's envelope",
        "ok      client leaves          the engine stops\n",
        "5 faults, 6 notes, ",
    ] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn behind_the_gateway_there_are_none() {
    let world = World::new();
    let llama = world.llama("tool", Some("upstream-key"));
    let gateway = world.gateway(&format!(
        "keys: [{{name: doctor, secret: sk-doctor}}]\nbackends: [{{name: llama, kind: llamacpp, url: '{}', api_key: upstream-key}}]\nmodels: [{{name: tool, routes: [{{backend: llama, model: tiny-tool}}]}}]\n",
        llama.url
    ));
    let (found, status) = examined(&gateway.url(), &["--key", "sk-doctor"]);
    assert_eq!(of(&found, "FAULT"), []);
    assert_eq!(status, Some(0));
    // llama.cpp's own, which pass as they come.
    assert_eq!(
        of(&found, "note"),
        [("usage asked", "one last chunk, but no `usage: null` before")]
    );
    assert_eq!(
        of(&found, "-"),
        [("client leaves", "the server does not say what it is doing")]
    );
    assert!(!gateway.log().contains("sk-doctor"));
}

/// At the fault `mode` of the scripted upstream, `check` finds this.
#[track_caller]
fn check(url: &str, mode: &str, expect: &[(&str, &str, &str)]) {
    // Whatever never comes is waited for each time.
    let seconds = if ["stall", "hold-open"].contains(&mode) {
        "2"
    } else {
        "15"
    };
    let model = format!("fault/{mode}");
    let (found, status) = examined(url, &["--model", &model, "--timeout", seconds]);
    for (check, result, part) in expect {
        let is_found = found
            .iter()
            .any(|(other, grade, words)| other == check && grade == result && words.contains(part));
        assert!(is_found, "{mode}: no {check} {result} {part:?} in {found:#?}");
    }
    let is_faulty = expect.iter().any(|(_, result, _)| *result == "FAULT");
    assert_eq!(status, Some(i32::from(is_faulty)), "{mode}: {found:#?}");
}

#[test]
fn each_fault_of_an_answer_is_found() {
    let world = World::new();
    let mock = world.mock(&[]);
    let url = mock.url();
    // Without a fault there is none, and so what follows is found and not made up.
    let (found, status) = examined(&url, &[]);
    assert_eq!((of(&found, "FAULT"), status), (vec![], Some(0)));

    check(&url, "err-200", &[("chat", "FAULT", "a 200 holds an error")]);
    check(
        &url,
        "html-200",
        &[("chat", "FAULT", "the content-type is not application/json")],
    );
    check(
        &url,
        "html-502",
        &[
            ("chat", "FAULT", "it answers 502"),
            ("stream", "FAULT", "it answers 502"),
        ],
    );
    check(
        &url,
        "bad-content-type",
        &[("chat", "FAULT", "the content-type is not application/json")],
    );
    check(
        &url,
        "numeric-code",
        &[("missing field", "FAULT", "`code` is a number")],
    );
    check(
        &url,
        "string-error",
        &[("missing field", "FAULT", "there is no object `error`")],
    );
    check(
        &url,
        "text-500",
        &[("missing field", "FAULT", "the status is 500; the body is not JSON")],
    );
    check(&url, "cut-before", &[("chat", "FAULT", "")]);
    check(&url, "bad-status-line", &[("chat", "FAULT", "HTTP")]);
}

#[test]
fn each_fault_of_a_stream_is_found() {
    let world = World::new();
    let mock = world.mock(&[]);
    let url = mock.url();
    check(
        &url,
        "clean-cut",
        &[("stream end", "FAULT", "no finish_reason; no [DONE]")],
    );
    check(&url, "cut", &[("stream end", "FAULT", "the connection broke off")]);
    check(&url, "no-done", &[("stream end", "FAULT", "no [DONE]")]);
    check(&url, "err-data", &[("only chunks", "FAULT", "an error")]);
    check(&url, "err-event", &[("only chunks", "FAULT", "an error")]);
    check(&url, "bare", &[("stream end", "FAULT", "no finish_reason")]);
    check(
        &url,
        "no-usage",
        &[("usage asked", "FAULT", "include_usage brings none")],
    );
    check(
        &url,
        "usage-in-last",
        &[
            ("usage asked", "note", "in a chunk with choices"),
            ("usage not asked", "note", ""),
        ],
    );
    check(&url, "crlf", &[("framing", "note", "")]);
    check(&url, "cr", &[("framing", "note", "")]);
    check(&url, "no-space", &[("framing", "note", "")]);
    check(&url, "multi-line", &[("framing", "note", "")]);
    check(&url, "bom", &[("framing", "note", "")]);
    check(
        &url,
        "tools-no-index",
        &[("tool calls", "FAULT", "a piece has no `index`")],
    );
    check(&url, "tools-repeat", &[("tool calls", "FAULT", "a call has its name")]);
    check(&url, "tools", &[]);
    check(&url, "comment", &[]);
    check(&url, "split", &[]);
}

#[test]
fn a_stream_that_does_not_end_is_found() {
    let world = World::new();
    let mock = world.mock(&[]);
    check(
        &mock.url(),
        "hold-open",
        &[("stream end", "FAULT", "it stays open after [DONE]")],
    );
    check(&mock.url(), "stall", &[("stream end", "FAULT", "it never ended")]);
}

#[test]
fn what_cannot_be_examined_is_said() {
    let world = World::new();
    let refuse = |url: &str, flags: &[&str], expect: &str| {
        let output = doctor(url, flags);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(output.stdout.is_empty() && told.contains(expect), "{told}");
    };
    refuse("http://127.0.0.1:1", &[], "cannot be examined: ");
    let mock = world.mock(&["--require-key", "sk-mock"]);
    refuse(&mock.url(), &[], "it wants an API key: give one with --key");
    refuse(&mock.url(), &["--key", "sk-wrong"], "it answers 401 to this key");
    let output = doctor("http://127.0.0.1:1", &["--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        (output.status.code(), report["unreachable"].is_string()),
        (Some(2), true)
    );
    let output = doctor("127.0.0.1:1", &[]);
    assert_eq!(output.status.code(), Some(1));

    // With the right one a wrong one is tried too, and neither is shown.
    let output = doctor(&mock.url(), &["--key", "sk-mock"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(
        table.contains("401 in the envelope") && !table.contains("sk-"),
        "{table}"
    );
}
