//! Anthropic's and Gemini's APIs, as far as they are scripted.

use backends_mock::Config;
use serde_json::{Value, json};

use crate::client::{Answer, Mock};

const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

async fn anthropic(mock: &Mock, body: &Value) -> Answer {
    let body = body.to_string();
    mock.send("POST", "/v1/messages", VERSION, body.as_bytes()).await
}

fn message(model: &str, more: &Value) -> Value {
    let mut body = json!({
        "model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "say something"}],
    });
    for (name, value) in more.as_object().expect("members") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_message_whole_and_streamed() {
    let mock = Mock::start().await;
    let whole = anthropic(&mock, &message("fault/cached", &json!({}))).await.json();
    let text = whole["content"][0]["text"].as_str().expect("a text");
    assert!(text.ends_with("You said: say something"), "{text}");
    assert_eq!(
        (&whole["type"], &whole["stop_reason"]),
        (&json!("message"), &json!("end_turn"))
    );
    assert_eq!(whole["usage"]["input_tokens"], 1);
    assert_eq!(whole["usage"]["cache_read_input_tokens"], 1);
    let streamed = anthropic(&mock, &message("mock", &json!({"stream": true}))).await;
    let events = streamed.events();
    let pieces: String = events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(pieces, text);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    assert!(streamed.text().starts_with("event: message_start\ndata: "));
}

#[tokio::test]
async fn the_rules_of_messages_hold() {
    let mock = Mock::start().await;
    let check = async |more: Value, expect: &str| {
        let answer = anthropic(&mock, &message("mock", &more)).await;
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            answer.status() == 400 && message.contains(expect),
            "for {more}: {message}"
        );
    };
    check(json!({"max_tokens": null}), "max_tokens").await;
    check(json!({"stream_options": {}}), "Extra inputs").await;
    check(json!({"temperature": 1.5}), "range: 0..1").await;
    check(json!({"thinking": {"type": "enabled", "budget_tokens": 5}}), "1024").await;
    check(json!({"messages": [{"role": "system", "content": "x"}]}), "role").await;
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
    let user = json!({"role": "user", "content": "x"});
    check(json!({"messages": [user, call, user]}), "without `tool_result`").await;
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "4"}]});
    check(json!({"messages": [user, result]}), "without its `tool_use`").await;
    let good = anthropic(&mock, &message("mock", &json!({"messages": [user, call, result]}))).await;
    assert_eq!(good.status(), 200);
    let bare = mock.post("/v1/messages", &message("mock", &json!({}))).await;
    assert_eq!((bare.status(), &bare.json()["type"]), (400, &json!("error")));
}

#[tokio::test]
async fn tools_thoughts_and_stops_of_messages() {
    let mock = Mock::start().await;
    let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    let tools = json!([{"name": "f", "input_schema": schema}, {"name": "g", "input_schema": schema}]);
    let answer = anthropic(&mock, &message("mock", &json!({"tools": tools})))
        .await
        .json();
    assert_eq!(
        (answer["content"].as_array().map(Vec::len), &answer["stop_reason"]),
        (Some(2), &json!("tool_use"))
    );
    let one = json!({"tools": tools, "tool_choice": {"type": "tool", "name": "g"}});
    let answer = anthropic(&mock, &message("mock", &one)).await.json();
    assert_eq!(answer["content"][0]["name"], "g");
    let thinking = json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let answer = anthropic(&mock, &message("mock", &thinking)).await.json();
    assert_eq!(answer["content"][0]["type"], "thinking");
    let short = anthropic(&mock, &message("mock", &json!({"max_tokens": 2})))
        .await
        .json();
    assert_eq!(short["stop_reason"], "max_tokens");
    let stopped = anthropic(&mock, &message("mock", &json!({"stop_sequences": [" scripted"]})))
        .await
        .json();
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(" scripted"))
    );
}

#[tokio::test]
async fn faults_speak_the_words_of_their_api() {
    let mock = Mock::start().await;
    let refused = anthropic(&mock, &message("fault/529", &json!({}))).await;
    assert_eq!(
        (refused.status(), &refused.json()["error"]["type"]),
        (529, &json!("overloaded_error"))
    );
    let cut = anthropic(&mock, &message("fault/err-data-no-done", &json!({"stream": true}))).await;
    assert!(cut.text().contains("event: error\ndata: "), "{}", cut.text());
    let cut = anthropic(&mock, &message("fault/clean-cut", &json!({"stream": true}))).await;
    assert!(!cut.text().contains("message_delta") && cut.whole());
    let ask = json!({"contents": [{"role": "user", "parts": [{"text": "say something"}]}]});
    let refused = mock.post("/v1beta/models/fault%2F429:generateContent", &ask).await;
    assert_eq!(
        (refused.status(), &refused.json()["error"]["status"]),
        (429, &json!("RESOURCE_EXHAUSTED"))
    );
}

#[tokio::test]
async fn gemini_whole_and_streamed() {
    let mock = Mock::start().await;
    let ask = json!({"contents": [{"role": "user", "parts": [{"text": "say something"}]}]});
    let whole = mock.post("/v1beta/models/mock:generateContent", &ask).await.json();
    let candidate = &whole["candidates"][0];
    let text = candidate["content"]["parts"][0]["text"].as_str().expect("a text");
    assert!(text.ends_with("You said: say something"));
    assert_eq!(
        (&candidate["finishReason"], &whole["usageMetadata"]["promptTokenCount"]),
        (&json!("STOP"), &json!(2))
    );
    let streamed = mock
        .post("/v1beta/models/mock:streamGenerateContent?alt=sse", &ask)
        .await;
    let events = streamed.events();
    let pieces: String = events
        .iter()
        .filter_map(|event| event["candidates"][0]["content"]["parts"][0]["text"].as_str())
        .collect();
    assert_eq!(pieces, text);
    assert_eq!(events.last().expect("events")["candidates"][0]["finishReason"], "STOP");
    assert!(streamed.text().ends_with("\r\n\r\n") && !streamed.text().contains("[DONE]"));
    let bare = mock.post("/v1beta/models/mock:streamGenerateContent", &ask).await;
    assert_eq!(bare.status(), 400);
    assert_eq!(mock.get("/v1beta/models").await["models"][0]["name"], "models/mock");
}

#[tokio::test]
async fn the_rules_of_gemini_hold() {
    let mock = Mock::start().await;
    let check = async |body: Value, expect: &str| {
        let answer = mock.post("/v1beta/models/mock:generateContent", &body).await;
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            answer.status() == 400 && message.contains(expect),
            "for {body}: {message}"
        );
    };
    let user = json!({"role": "user", "parts": [{"text": "x"}]});
    check(json!({}), "contents").await;
    check(json!({"contents": [user], "messages": []}), "Unknown name").await;
    check(
        json!({"contents": [user], "generationConfig": {"max_tokens": 5}}),
        "Unknown name",
    )
    .await;
    check(json!({"contents": [{"role": "assistant", "parts": []}]}), "valid role").await;
    let call = json!({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]});
    check(json!({"contents": [user, call, user]}), "function response parts").await;
    let response = json!({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"y": 4}}}]});
    let good = mock
        .post(
            "/v1beta/models/mock:generateContent",
            &json!({"contents": [user, call, response]}),
        )
        .await;
    assert_eq!(good.status(), 200);
}

#[tokio::test]
async fn each_api_looks_for_its_key_in_its_own_place() {
    let mock = Mock::with(Config {
        models: Vec::new(),
        chunk_delay: std::time::Duration::ZERO,
        require_key: Some("sk-1".into()),
    })
    .await;
    let body = message("mock", &json!({})).to_string();
    let ask = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}).to_string();
    for (path, body, header, status) in [
        ("/v1/messages", &body, "x-api-key: sk-1", 200),
        ("/v1/messages", &body, "authorization: Bearer sk-1", 401),
        ("/v1beta/models/mock:generateContent", &ask, "x-goog-api-key: sk-1", 200),
        ("/v1beta/models/mock:generateContent", &ask, "x-api-key: sk-1", 401),
    ] {
        let headers = format!("{VERSION}{header}\r\n");
        let answer = mock.send("POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status(), status, "{header} for {path}");
    }
}
