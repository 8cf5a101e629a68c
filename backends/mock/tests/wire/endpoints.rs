//! The friendly engine, endpoint by endpoint.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{Mock, chat};

#[tokio::test]
async fn the_same_question_gets_the_same_answer() {
    let mock = Mock::start().await;
    let one = mock.chat("mock", false).await.json();
    let other = mock.chat("tiny", false).await.json();
    let text = &one["choices"][0]["message"]["content"];
    assert!(
        text.as_str()
            .is_some_and(|text| text.ends_with("You said: say something")),
        "{text}"
    );
    assert_eq!(*text, other["choices"][0]["message"]["content"]);
    assert_eq!(one["choices"][0]["finish_reason"], "stop");
    assert_eq!(one["usage"]["prompt_tokens"], 2);
    assert_eq!(one["object"], "chat.completion");
    let streamed = mock.chat("mock", true).await;
    assert_eq!(streamed.content(), *text);
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn limits_and_stops_end_an_answer() {
    let mock = Mock::start().await;
    for (field, value, text, reason) in [
        ("max_tokens", json!(2), "I am", "length"),
        ("max_completion_tokens", json!(3), "I am the", "length"),
        ("stop", json!(" scripted"), "I am the", "stop"),
        ("stop", json!(["zzz", "am"]), "I ", "stop"),
    ] {
        let mut body = chat("mock", false);
        body[field] = value;
        let answer = mock.post("/v1/chat/completions", &body).await.json();
        assert_eq!(answer["choices"][0]["message"]["content"], text);
        assert_eq!(answer["choices"][0]["finish_reason"], reason);
        body["stream"] = json!(true);
        let streamed = mock.post("/v1/chat/completions", &body).await;
        assert_eq!(streamed.content(), text);
        let last = streamed.events().pop().expect("a chunk");
        assert_eq!(last["choices"][0]["finish_reason"], reason);
    }
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    let mock = Mock::start().await;
    let mut body = chat("mock", true);
    let silent = mock.post("/v1/chat/completions", &body).await.text();
    assert!(!silent.contains("usage"), "{silent}");
    body["stream_options"] = json!({"include_usage": true});
    body["n"] = json!(2);
    body["max_tokens"] = json!(4);
    let events = mock.post("/v1/chat/completions", &body).await.events();
    let (last, chunks) = events.split_last().expect("chunks");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 8);
    assert!(chunks.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["index"] == 1));
}

#[tokio::test]
async fn tools_are_called_with_arguments_that_fit() {
    let mock = Mock::start().await;
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        }}})
    };
    let mut body = chat("mock", false);
    body["tools"] = json!([tool("one"), tool("two"), tool("three")]);
    let check = async |body: &Value, names: &[&str], reason: &str| {
        let answer = mock.post("/v1/chat/completions", body).await.json();
        let choice = &answer["choices"][0];
        let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
        let called: Vec<_> = calls.iter().map(|call| call["function"]["name"].clone()).collect();
        assert_eq!(called, names);
        assert_eq!(choice["finish_reason"], reason);
        for call in calls {
            assert_eq!(call["function"]["arguments"], "{\"city\":\"text\"}");
        }
    };
    check(&body, &["one", "two"], "tool_calls").await;
    body["parallel_tool_calls"] = json!(false);
    check(&body, &["one"], "tool_calls").await;
    body["tool_choice"] = json!({"type": "function", "function": {"name": "three"}});
    check(&body, &["three"], "stop").await;
    body["tool_choice"] = json!("none");
    check(&body, &[], "stop").await;
    body["tool_choice"] = json!("auto");
    body["messages"] = json!([{"role": "user", "content": "?"}, {"role": "tool", "content": "42"}]);
    check(&body, &[], "stop").await;
    body["messages"] = json!([{"role": "user", "content": "?"}]);
    body["stream"] = json!(true);
    let events = mock.post("/v1/chat/completions", &body).await.events();
    let deltas = events
        .iter()
        .map(|event| &event["choices"][0]["delta"]["tool_calls"][0]);
    let arguments: String = deltas
        .filter_map(|call| call["function"]["arguments"].as_str())
        .collect();
    assert_eq!(arguments, "{\"city\":\"text\"}");
}

#[tokio::test]
async fn structured_output_fits_its_schema() {
    let mock = Mock::start().await;
    let mut body = chat("mock", false);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"],
    }}});
    let answer = mock.post("/v1/chat/completions", &body).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "{\"n\":3}");
    body["response_format"] = json!({"type": "json_object"});
    let answer = mock.post("/v1/chat/completions", &body).await.json();
    let content = answer["choices"][0]["message"]["content"].as_str().expect("text");
    assert!(serde_json::from_str::<Value>(content).expect("JSON").is_object());
}

#[tokio::test]
async fn log_probabilities_cover_every_token() {
    let mock = Mock::start().await;
    let mut body = chat("mock", false);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(2);
    body["max_tokens"] = json!(3);
    let answer = mock.post("/v1/chat/completions", &body).await.json();
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 3);
    assert_eq!(tokens[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    let spoken: String = tokens.iter().filter_map(|token| token["token"].as_str()).collect();
    assert_eq!(answer["choices"][0]["message"]["content"], spoken);
}

#[tokio::test]
async fn wrong_requests_are_refused_by_name() {
    let mock = Mock::start().await;
    let with = |field: &str, value: Value| {
        let mut body = chat("mock", false);
        body[field] = value;
        body
    };
    let sized = |model: &str, n: u64| {
        let mut body = with("n", json!(n));
        body["model"] = json!(model);
        body
    };
    for (body, status, param) in [
        (with("model", Value::Null), 400, json!("model")),
        (with("model", json!("gpt-9")), 404, json!("model")),
        (with("messages", json!([])), 400, json!("messages")),
        (with("max_tokens", json!(0)), 400, json!("max_tokens")),
        (with("temperature", json!(3)), 400, json!("temperature")),
        (with("n", json!(129)), 400, json!("n")),
        (sized("m-tokens-1000000+size-60", 2), 400, Value::Null),
        (with("stream_options", json!({})), 400, json!("stream_options")),
        (with("top_logprobs", json!(2)), 400, json!("top_logprobs")),
        (json!("text"), 400, Value::Null),
    ] {
        let answer = mock.post("/v1/chat/completions", &body).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status(), &error["param"]), (status, &param), "{body}");
        for field in ["message", "type", "param", "code"] {
            assert!(error.get(field).is_some(), "{field} of {error}");
        }
    }
    let nowhere = mock.post("/v1/nowhere", &chat("mock", false)).await;
    assert_eq!(
        (nowhere.status(), &nowhere.json()["error"]["code"]),
        (404, &json!("unknown_url"))
    );
}

#[tokio::test]
async fn completions_answer_each_prompt() {
    let mock = Mock::start().await;
    let body = json!({"model": "mock", "prompt": ["a", "b c"], "max_tokens": 2, "logprobs": 1});
    let answer = mock.post("/v1/completions", &body).await.json();
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["choices"][1]["logprobs"]["text_offset"], json!([0, 1]));
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    let body = json!({"model": "mock", "prompt": "a", "stream": true, "max_tokens": 2});
    let streamed = mock.post("/v1/completions", &body).await;
    let events = streamed.events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(text, "I am");
    assert_eq!(events.last().expect("chunks")["choices"][0]["finish_reason"], "length");
    assert!(streamed.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn responses_come_whole_or_as_typed_events() {
    let mock = Mock::start().await;
    let mut body = json!({"model": "mock", "input": "hello there", "max_output_tokens": 3});
    let whole = mock.post("/v1/responses", &body).await.json();
    assert_eq!(whole["output"][0]["content"][0]["text"], "I am the");
    assert_eq!(
        (&whole["status"], &whole["usage"]["output_tokens"]),
        (&json!("incomplete"), &json!(3))
    );
    body["stream"] = json!(true);
    let streamed = mock.post("/v1/responses", &body).await;
    let events = streamed.events();
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(deltas, "I am the");
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(at, event)| event["sequence_number"] == at)
    );
    assert_eq!(events.first().expect("events")["type"], "response.created");
    let last = events.last().expect("events");
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "I am the");
    assert!(!streamed.text().contains("[DONE]"));
    assert!(streamed.text().starts_with("event: response.created\ndata: "));
}

#[tokio::test]
async fn embeddings_are_the_same_in_both_encodings() {
    let mock = Mock::start().await;
    let mut body = json!({"model": "mock", "input": ["one", "two words"], "dimensions": 4});
    let floats = mock.post("/v1/embeddings", &body).await.json();
    assert_eq!(floats["data"][1]["embedding"].as_array().map(Vec::len), Some(4));
    assert_eq!(floats["usage"]["prompt_tokens"], 3);
    body["encoding_format"] = json!("base64");
    let coded = mock.post("/v1/embeddings", &body).await.json();
    // Sixteen bytes are 22 letters and two signs of padding.
    assert_eq!(coded["data"][1]["embedding"].as_str().map(str::len), Some(24));
    assert!(coded["data"][0]["embedding"] != coded["data"][1]["embedding"]);
}

#[tokio::test]
async fn small_endpoints_answer() {
    let mock = Mock::start().await;
    let post = async |path: &str, body: Value| mock.post(path, &body).await.json();
    let flagged = post("/v1/moderations", json!({"input": ["peace", "violence"]})).await;
    assert_eq!(flagged["results"][0]["flagged"], false);
    assert_eq!(flagged["results"][1]["categories"]["violence"], true);
    let query = json!({"model": "mock", "query": "red fox", "documents": ["a dog", "a red fox", {"text": "red"}]});
    let ranked = post("/v1/rerank", query).await;
    let order: Vec<_> = (0..3).map(|at| ranked["results"][at]["index"].clone()).collect();
    assert_eq!(order, [1, 2, 0]);
    let score = post(
        "/score",
        json!({"model": "mock", "text_1": "a b", "text_2": ["a", "a b"]}),
    )
    .await;
    assert_eq!(
        (&score["data"][0]["score"], &score["data"][1]["score"]),
        (&json!(0.5), &json!(1.0))
    );
    let tokens = post("/tokenize", json!({"model": "mock", "prompt": "a b a b"})).await;
    assert_eq!(tokens["count"], 4);
    let text = post("/detokenize", json!({"model": "mock", "tokens": tokens["tokens"]})).await;
    assert_eq!(text["prompt"], "a b a b");
    let images = post("/v1/images/generations", json!({"prompt": "x", "n": 2})).await;
    assert_eq!(images["data"].as_array().map(Vec::len), Some(2));
    let speech = mock
        .post("/v1/audio/speech", &json!({"model": "mock", "input": "one two"}))
        .await;
    assert!(speech.head().contains("content-type: audio/wav"));
    assert_eq!(speech.body().len(), 44 + 1600);
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let mock = Mock::start().await;
    let list = mock.get("/v1/models").await;
    let names: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|model| &model["id"])
        .collect();
    for name in ["mock", "tiny"] {
        assert!(names.contains(&&json!(name)), "{name}");
    }
    assert!(
        !names.contains(&&json!("fault/cut")),
        "faults are for those who know them"
    );
    assert_eq!(mock.get("/v1/models/fault/cut").await["id"], "fault/cut");
    assert_eq!(mock.get("/v1/models/fault%2Fcut").await["id"], "fault/cut");
    assert_eq!(mock.get("/models/none").await["error"]["code"], "model_not_found");
}

fn multipart(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(b"--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n");
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    body
}

const FORM: &str = "content-type: multipart/form-data; boundary=edge\r\n";

#[tokio::test]
async fn a_transcription_is_the_hash_of_its_file() {
    let mock = Mock::start().await;
    let file: Vec<u8> = (0..9_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let body = multipart(&[("model", "mock")], &file);
    let answer = mock.send("POST", "/v1/audio/transcriptions", FORM, &body).await.json();
    let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer["sha256"], hash);
    assert_eq!(answer["bytes"], file.len());
}

#[tokio::test]
async fn a_batch_answers_each_line_of_its_file() {
    let mock = Mock::start().await;
    let line = |id: &str, model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1});
        json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body})
    };
    let input = format!("{}\n{}\n", line("a", "mock"), line("b", "none"));
    let upload = multipart(&[("purpose", "batch")], input.as_bytes());
    let file = mock.send("POST", "/v1/files", FORM, &upload).await.json();
    let id = file["id"].as_str().expect("an id");
    let batch = mock
        .post(
            "/v1/batches",
            &json!({"input_file_id": id, "endpoint": "/v1/chat/completions"}),
        )
        .await
        .json();
    assert_eq!(
        batch["request_counts"],
        json!({"total": 2, "completed": 1, "failed": 1})
    );
    let again = mock
        .get(&format!("/v1/batches/{}", batch["id"].as_str().expect("an id")))
        .await;
    assert_eq!(again, batch);
    let output = batch["output_file_id"].as_str().expect("an id");
    let output = mock
        .send("GET", &format!("/v1/files/{output}/content"), "", b"")
        .await
        .text();
    let lines: Vec<Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(lines[0]["response"]["body"]["choices"][0]["message"]["content"], "I");
    assert_eq!(
        (&lines[1]["custom_id"], &lines[1]["response"]["status_code"]),
        (&json!("b"), &json!(404))
    );
    let gone = mock.send("DELETE", &format!("/v1/files/{id}"), "", b"").await.json();
    assert_eq!(gone["deleted"], true);
    assert_eq!(
        mock.send("GET", &format!("/v1/files/{id}"), "", b"").await.status(),
        404
    );
}
