use super::super::finding::Grade;
use super::*;

const CHUNK: &str = r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","usage":null,"choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}"#;
const LAST: &str = r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","usage":null,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

fn events(data: &[&str]) -> Seen {
    let text: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    Seen::of(&Bytes::from(text))
}

/// What is not ok, as check and finding.
fn found(seen: &Seen, ending: &Ending) -> Vec<(&'static str, Grade, String)> {
    let mut findings = seen.findings();
    findings.push(end(seen, ending));
    findings.push(seen.usage_asked());
    findings.retain(|finding| finding.grade != Grade::Ok);
    findings
        .into_iter()
        .map(|finding| (finding.check, finding.grade, finding.found))
        .collect()
}

#[track_caller]
fn check(data: &[&str], expect: &[(&str, Grade, &str)]) {
    let found = found(&events(data), &Ending::Whole);
    let found: Vec<(&str, Grade, &str)> = found
        .iter()
        .map(|(check, grade, found)| (*check, *grade, found.as_str()))
        .collect();
    assert_eq!(found, expect);
}

#[test]
fn a_good_stream_is_good() {
    check(&[CHUNK, LAST, USAGE, "[DONE]"], &[]);
}

#[test]
fn each_deviation_is_told() {
    use Grade::{Fault, Note};
    check(&[CHUNK, LAST, USAGE], &[("stream end", Fault, "no [DONE]")]);
    check(&[CHUNK, USAGE], &[("stream end", Fault, "no finish_reason; no [DONE]")]);
    check(
        &[CHUNK, LAST, USAGE, "[DONE]", CHUNK],
        &[("stream end", Fault, "1 events after [DONE]")],
    );
    check(
        &[CHUNK, LAST, "[DONE]"],
        &[("usage asked", Fault, "include_usage brings none")],
    );
    check(
        &[CHUNK, LAST, "{", USAGE, "[DONE]"],
        &[("only chunks", Fault, "data that is not JSON")],
    );
    check(
        &[CHUNK, r#"{"type":"ping"}"#, LAST, USAGE, "[DONE]"],
        &[("only chunks", Fault, "data without `choices`")],
    );
    check(
        &[CHUNK, r#"{"error":{"message":"x"}}"#, LAST, USAGE, "[DONE]"],
        &[("only chunks", Fault, "an error")],
    );
    let no_role = CHUNK.replace(r#""role":"assistant","#, "");
    check(
        &[&no_role, LAST, USAGE, "[DONE]"],
        &[("first delta", Note, "it has no role assistant")],
    );
    let no_created = CHUNK.replace(r#""created":1,"#, "").replace(r#""index":0,"#, "");
    check(
        &[&no_created, LAST, USAGE, "[DONE]"],
        &[(
            "chunk shape",
            Fault,
            "`created` is missing or wrong in 1 of 3 chunks; a choice has no `index` in 1 chunks",
        )],
    );
    let on_last = LAST.replace(
        r#""usage":null"#,
        r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#,
    );
    check(
        &[CHUNK, &on_last, "[DONE]"],
        &[("usage asked", Note, "in a chunk with choices")],
    );
    let silent = CHUNK.replace(r#""usage":null,"#, "");
    check(
        &[&silent, LAST, USAGE, "[DONE]"],
        &[("usage asked", Note, "one last chunk, but no `usage: null` before")],
    );
    check(
        &[],
        &[
            ("first delta", Note, "it has no role assistant"),
            ("stream end", Fault, "no finish_reason; no [DONE]"),
            ("usage asked", Fault, "include_usage brings none"),
        ],
    );
}

#[test]
fn how_the_bytes_end_matters() {
    let good = events(&[CHUNK, LAST, USAGE, "[DONE]"]);
    let told = |ending| {
        found(&good, &ending)
            .into_iter()
            .map(|(_, _, found)| found)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(Ending::Held), ["it stays open after [DONE]"]);
    assert_eq!(told(Ending::Broken), ["the connection broke off"]);
    let cut = events(&[CHUNK]);
    assert_eq!(
        end(&cut, &Ending::Held).found,
        "no finish_reason; no [DONE]; it never ended"
    );
}

#[test]
fn other_framing_is_a_note() {
    let text = format!("data:{CHUNK}\r\n\r\n: ping\r\n\r\ndata:{LAST}\r\n\r\ndata:{USAGE}\r\n\r\ndata:[DONE]");
    let seen = Seen::of(&Bytes::from(text));
    let found = found(&seen, &Ending::Whole);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1), ("framing", Grade::Note));
}

#[test]
fn usage_that_nobody_asked_for() {
    assert_eq!(events(&[CHUNK, LAST, "[DONE]"]).usage_unasked().grade, Grade::Ok);
    assert_eq!(
        events(&[CHUNK, LAST, USAGE, "[DONE]"]).usage_unasked().grade,
        Grade::Fault
    );
    let on_last = LAST.replace(r#""usage":null"#, r#""usage":{"prompt_tokens":1}"#);
    assert_eq!(events(&[CHUNK, &on_last, "[DONE]"]).usage_unasked().grade, Grade::Note);
}
