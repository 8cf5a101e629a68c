use super::*;

/// Texts, what stands around them, tokens, messages; and what is not countable.
fn shown(endpoint: Endpoint, body: &str) -> String {
    let Some(asked) = Asked::of(endpoint, body.as_bytes()) else {
        return "nothing".to_owned();
    };
    let texts: Vec<&str> = asked.texts().collect();
    let mut shown = format!("{}|{}|{}", texts.join("·"), asked.around().count(), asked.messages());
    if asked.tokens() > 0 {
        shown += &format!("|{} tokens", asked.tokens());
    }
    if !asked.is_text() {
        shown += "|other prompt";
    }
    if !asked.is_answer_visible() {
        shown += "|hidden answer";
    }
    shown
}

fn check(endpoint: Endpoint, body: &str, expect: &str) {
    assert_eq!(shown(endpoint, body), expect, "for {body}");
}

#[test]
fn chats() {
    let check = |body: &str, expect: &str| check(Endpoint::ChatCompletions, body, expect);
    check(
        r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","name":"ann","content":[{"type":"text","text":"Hi"}]}]}"#,
        "Be brief.·ann·Hi|0|2",
    );
    check(
        r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"4"}],"tools":[{"type":"function"}]}"#,
        "c·f·{}·c·4|1|3",
    );
    check(
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        "|0|1|other prompt",
    );
    check(
        r#"{"messages":[{"role":"user","content":"a\ud83d"}],"n":1e999}"#,
        "a\u{fffd}|0|1",
    );
    check(r#"{"messages":[],"web_search_options":{}}"#, "|0|0|other prompt");
    check(r#"{"messages":[],"prediction":{"content":"x"}}"#, "|0|0|hidden answer");
    check(r#"{"messages":[],"tools":null,"prediction":null}"#, "|0|0");
    check("[]", "nothing");
}

#[test]
fn prompts_and_inputs() {
    let completions = |body: &str, expect: &str| check(Endpoint::Completions, body, expect);
    completions(r#"{"prompt":"Once","suffix":"end"}"#, "Once·end|0|2");
    completions(r#"{"prompt":["a","b"]}"#, "a·b|0|2");
    completions(r#"{"prompt":[1,2,3]}"#, "|0|1|3 tokens");
    completions(r#"{"prompt":[[1,2],[3]]}"#, "|0|2|3 tokens");
    completions(r#"{"prompt":"a","n":2,"best_of":4}"#, "a|0|1|hidden answer");
    completions(r#"{"prompt":"a","n":2,"best_of":2}"#, "a|0|1");
    completions(r#"{"prompt":{}}"#, "|0|0|other prompt");
    check(Endpoint::Embeddings, r#"{"input":["a","b"]}"#, "a·b|0|2");
    check(
        Endpoint::Embeddings,
        r#"{"input":[{"image":"x"}]}"#,
        "|0|0|other prompt",
    );
    check(Endpoint::Rerank, r#"{"input":"a"}"#, "nothing");
}

#[test]
fn responses_and_messages() {
    let responses = |body: &str, expect: &str| check(Endpoint::Responses, body, expect);
    responses(r#"{"instructions":"Be.","input":"Hi"}"#, "Be.·Hi|0|2");
    responses(
        r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"function_call","name":"f","arguments":"{}"},{"type":"function_call_output","output":"4"}]}"#,
        "Hi·f·{}·4|0|3",
    );
    responses(r#"{"input":"a","previous_response_id":"r"}"#, "a|0|1|other prompt");
    responses(r#"{"input":"a","previous_response_id":null}"#, "a|0|1");
    responses(r#"{"input":"a","prompt":{"id":"p"}}"#, "a|0|1|other prompt");
    responses(
        r#"{"input":"a","tools":[{"type":"web_search"}]}"#,
        "a|1|1|other prompt|hidden answer",
    );
    check(
        Endpoint::Messages,
        r#"{"system":[{"type":"text","text":"Be."}],"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"4"}]}]},{"role":"assistant","content":[{"type":"tool_use","name":"f","input":{"x":1}}]}],"stop_sequences":["END"]}"#,
        "Be.·4·f·{\"x\":1}|0|3",
    );
    check(
        Endpoint::Messages,
        r#"{"messages":[{"role":"user","content":[{"type":"document","source":{}}]}]}"#,
        "|0|1|other prompt",
    );
}

#[test]
fn stops_are_kept() {
    let stops = |body: &str| {
        let asked = Asked::of(Endpoint::ChatCompletions, body.as_bytes()).expect("an object");
        asked.stops().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(stops(r#"{"stop":"END"}"#), ["END"]);
    assert_eq!(stops(r#"{"stop":["a","b",5]}"#), ["a", "b"]);
    assert!(stops(r#"{"stop":null}"#).is_empty());
}

#[test]
fn debug_prints_lengths() {
    let asked = Asked::of(Endpoint::Completions, br#"{"prompt":"tell nobody"}"#);
    assert_eq!(format!("{asked:?}"), "Some(Asked(1 texts, 11 bytes))");
}
