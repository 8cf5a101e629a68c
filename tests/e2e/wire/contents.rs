//! What the chunks of a stream hold: usage, tool calls, fields of other makers.

use e2e::Rig;
use e2e::client::chat_stream;
use e2e::sse::Stream;
use serde_json::{Value, json};

#[tokio::test]
async fn usage_is_asked_for_and_shown_only_to_who_asked() {
    let rig = Rig::new();
    let hidden = rig.stream("mock").await;
    assert_eq!(hidden.usage(), None, "{}", hidden.text);
    assert!(
        hidden.chunks().iter().all(|chunk| chunk["choices"] != json!([])),
        "{}",
        hidden.text
    );
    let sent: Value = serde_json::from_str(rig.mock.only()["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(sent["stream_options"], json!({"include_usage": true}));

    let asked = chat_stream("mock").replace("true}", r#"true,"stream_options":{"include_usage":true}}"#);
    let shown = rig.stream_of(asked).await;
    let last = shown.chunks().pop().expect("there are chunks");
    assert_eq!(last["choices"], json!([]), "{}", shown.text);
    assert!(
        last["usage"]["total_tokens"].as_u64().is_some_and(|total| total > 0),
        "{}",
        shown.text
    );
    assert!(shown.is_done());

    let refused = chat_stream("mock").replace("true}", r#"true,"stream_options":{"include_usage":false}}"#);
    assert_eq!(rig.stream_of(refused).await.usage(), None);
}

#[tokio::test]
async fn usage_on_the_finish_chunk_passes() {
    let rig = Rig::new();
    let stream = rig.stream("fault/usage-in-last").await;
    let chunks = stream.chunks();
    let finish = chunks
        .iter()
        .find(|chunk| chunk["choices"][0]["finish_reason"] == "stop");
    assert!(
        finish.is_some_and(|chunk| chunk["usage"].is_object()),
        "{}",
        stream.text
    );
}

#[tokio::test]
async fn tool_calls_get_an_index_and_are_named_once() {
    let rig = Rig::new();
    for mode in ["tools", "tools-no-index", "tools-repeat"] {
        let stream = rig.stream(&format!("fault/{mode}")).await;
        let calls = assembled(&stream);
        let expected = if mode == "tools" { 2 } else { 1 };
        assert_eq!(calls.len(), expected, "{mode}: {}", stream.text);
        let whole = rig.chat(&format!("fault/{mode}")).await.json();
        for (nth, call) in calls.iter().enumerate() {
            let wanted = &whole["choices"][0]["message"]["tool_calls"][nth];
            assert_eq!(call.id, wanted["id"].as_str().unwrap_or_default(), "{mode}");
            assert_eq!(
                call.name,
                wanted["function"]["name"].as_str().unwrap_or_default(),
                "{mode}"
            );
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| panic!("{}", stream.text));
            assert!(arguments.is_object());
            assert_eq!(
                call.arguments,
                wanted["function"]["arguments"].as_str().unwrap_or_default(),
                "{mode}"
            );
        }
        assert!(stream.is_done());
    }
}

#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// Puts the calls together as SDKs do: by index, texts joined.
fn assembled(stream: &Stream) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for chunk in stream.chunks() {
        let pieces = chunk["choices"][0]["delta"]["tool_calls"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for piece in pieces {
            let index = piece["index"].as_u64().unwrap_or_else(|| panic!("no index: {piece}"));
            let index = usize::try_from(index).expect("a small number");
            assert!(index <= calls.len(), "indices count up: {piece}");
            if index == calls.len() {
                calls.push(Call::default());
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            calls[index].id += &text(&piece["id"]);
            calls[index].name += &text(&piece["function"]["name"]);
            calls[index].arguments += &text(&piece["function"]["arguments"]);
        }
    }
    calls
}

#[tokio::test]
async fn fields_that_we_do_not_know_reach_the_client() {
    let rig = Rig::new();
    let vendor = rig.stream("fault/unknown").await;
    assert!(vendor.text.contains("zzz_vendor"), "{}", vendor.text);
    let reasoning = rig.stream("fault/reasoning").await;
    assert!(
        reasoning
            .chunks()
            .iter()
            .any(|chunk| chunk["choices"][0]["delta"]["reasoning_content"].is_string())
    );
    let padded = rig.stream("fault/obfuscation").await;
    assert!(
        padded.chunks().iter().any(|chunk| chunk["obfuscation"].is_string()),
        "{}",
        padded.text
    );
}
