use super::*;

fn show(said: Option<Said>) -> String {
    let Some(said) = said else {
        return "nothing".to_owned();
    };
    let texts: Vec<String> = said
        .texts()
        .map(|(kind, text)| format!("{}:{text}", ["v", "r", "c"][kind as usize]))
        .collect();
    let other = if said.is_text() { "" } else { "|other" };
    format!("{}|{} {}{other}", texts.join("·"), said.choices(), said.calls())
}

fn whole(protocol: Protocol, body: &str, expect: &str) {
    assert_eq!(show(Said::of_answer(protocol, body.as_bytes())), expect, "for {body}");
}

fn stream(protocol: Protocol, events: &[&str], expect: &str) {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    assert_eq!(
        show(Said::of_stream(protocol, events.as_bytes())),
        expect,
        "for {events}"
    );
}

#[test]
fn whole_chats_and_completions() {
    let check = |body: &str, expect: &str| whole(Protocol::Chat, body, expect);
    check(
        r#"{"choices":[{"index":0,"message":{"content":"four","reasoning_content":"2+2","reasoning":"2+2"}}],"pad":"xxxx"}"#,
        "v:four·r:2+2|1 0",
    );
    check(
        r#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}]}"#,
        "v:a·v:b|2 0",
    );
    check(
        r#"{"choices":[{"message":{"content":null,"refusal":"No.","tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}},{"function":{"name":"g","arguments":{"y":2}}}]}}]}"#,
        "v:No.·c:f{\"x\":1}·c:g{\"y\":2}|1 2",
    );
    check(
        r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"four"}]}}]}"#,
        "v:four·r:hm|1 0",
    );
    check(
        r#"{"choices":[{"message":{"content":"a","audio":{"data":"AAAA"}}}]}"#,
        "v:a|1 0|other",
    );
    check(
        r#"{"choices":[{"message":{"content":"a\ud83d"}}],"x":1e999}"#,
        "v:a\u{fffd}|1 0",
    );
    check(r#"{"object":"list","data":[]}"#, "nothing");
    check("<html>", "nothing");
}

#[test]
fn padding_beside_the_text_is_no_text() {
    let deep = "[".repeat(500) + &"]".repeat(500);
    let check = |body: &str, expect: &str| whole(Protocol::Chat, body, expect);
    check(
        &format!(r#"{{"pad":{deep},"choices":[{{"message":{{"content":"four","pad":"xxxx"}},"pad":"xxxx"}}]}}"#),
        "v:four|1 0",
    );
}

#[test]
fn streams_of_chunks() {
    let check = |events: &[&str], expect: &str| stream(Protocol::Chat, events, expect);
    check(
        &[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"h"}},{"index":1,"delta":{"content":"o"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"m"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"fo"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"ur"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"completion_tokens":500}}"#,
            "[DONE]",
        ],
        "v:four·r:hm·v:o|2 0",
    );
    check(
        &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
        ],
        "c:f{}|1 1",
    );
    check(
        &[r#"{"choices":[{"text":"a"}]}"#, "odd", r#"{"choices":[{"text":"b"}]}"#],
        "v:ab|1 0",
    );
}

#[test]
fn a_stream_counts_as_far_as_it_came() {
    let cut = b"data: {\"choices\":[{\"delta\":{\"content\":\"four\"}}]}\n\n: keep-alive\n\ndata: {\"choices\":[{\"del";
    assert_eq!(show(Said::of_stream(Protocol::Chat, cut)), "v:four|1 0");
    assert_eq!(show(Said::of_stream(Protocol::Opaque, cut)), "nothing");
    assert_eq!(show(Said::of_stream(Protocol::Chat, b"")), "|0 0");
}

#[test]
fn responses() {
    stream(
        Protocol::Responses,
        &[
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning"}}"#,
            r#"{"type":"response.reasoning_text.delta","output_index":0,"content_index":0,"delta":"hm"}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message"}}"#,
            r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"four"}"#,
            r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{}"}"#,
            r#"{"type":"response.completed","response":{"output":[]}}"#,
        ],
        "r:hm·v:four·c:f{}|3 1",
    );
    whole(
        Protocol::Responses,
        r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}]},{"type":"message","content":[{"type":"output_text","text":"four"}]},{"type":"function_call","name":"f","arguments":"{}"}]}"#,
        "r:s·v:four·c:f{}|3 1",
    );
    whole(
        Protocol::Responses,
        r#"{"output":[{"type":"web_search_call","id":"w"}]}"#,
        "|0 0|other",
    );
}

#[test]
fn messages_of_anthropics() {
    stream(
        Protocol::Messages,
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"four"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"xxxx"}}"#,
        ],
        "v:four·c:f{\"x\":1}|1 1",
    );
    whole(
        Protocol::Messages,
        r#"{"content":[{"type":"thinking","thinking":"hm","signature":"xxxx"},{"type":"text","text":"four"},{"type":"tool_use","name":"f","input":{"x":1}}]}"#,
        "v:four·r:hm·c:f{\"x\":1}|1 1",
    );
}

#[test]
fn a_liars_places_are_bounded() {
    let choices: Vec<String> = (0..5000).map(|i| format!(r#"{{"index":{i},"text":"a"}}"#)).collect();
    let body = format!(r#"{{"choices":[{}]}}"#, choices.join(","));
    let said = Said::of_answer(Protocol::Chat, body.as_bytes()).expect("an answer");
    assert_eq!(said.choices(), 1024);
}

#[test]
fn debug_prints_lengths() {
    let said = Said::of_answer(Protocol::Chat, br#"{"choices":[{"text":"tell nobody"}]}"#);
    assert_eq!(format!("{said:?}"), "Some(Said(1 texts, 11 bytes))");
}
