//! async-openai, the Rust SDK, through the gateway to real llama.cpp servers.
//!
//! Its types are closed: an answer of the wrong shape is an error here, where another client would shrug.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::{ApiErrorResponse, OpenAIError};
use async_openai::types::chat::{CreateChatCompletionRequest, FinishReason};
use async_openai::types::embeddings::CreateEmbeddingRequest;
use e2e::{Gateway, Llama, Rig, World};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const KEY: &str = "sk-client-0123456789";

/// A gateway with a key of its own before a llama.cpp that asks for another.
struct Engine {
    client: Client<OpenAIConfig>,
    _gateway: Gateway,
    llama: Llama,
    _world: World,
}

impl Engine {
    fn new(model: &str) -> Self {
        let world = World::new();
        let llama = world.llama(model, Some("sk-llama"));
        let gateway = world.gateway(&format!(
            "backends: [{{name: llama, kind: llamacpp, url: '{}', api_key: sk-llama}}]\n\
             keys: [{{name: sdk, secret: {KEY}}}]\n",
            llama.url
        ));
        Self {
            client: client(&gateway, KEY),
            _gateway: gateway,
            llama,
            _world: world,
        }
    }
}

fn client(gateway: &Gateway, key: &str) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new()
        .with_api_base(format!("{}/v1", gateway.url()))
        .with_api_key(key);
    Client::build(e2e::client::client(), config)
}

/// A request as its JSON, read by the SDK's own types.
fn typed<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap_or_else(|error| panic!("the SDK does not know this request: {error}"))
}

fn question(more: Value) -> CreateChatCompletionRequest {
    let mut request = json!({
        "model": "tiny-chat",
        "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Say hello"}],
        "max_completion_tokens": 12,
        "temperature": 0.0,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    typed(request)
}

#[tokio::test]
async fn a_chat_is_answered_and_counted() {
    let engine = Engine::new("chat");
    let answer = engine
        .client
        .chat()
        .create(question(json!({})))
        .await
        .expect("an answer");
    let choice = &answer.choices[0];
    assert!(
        choice
            .message
            .content
            .as_deref()
            .is_some_and(|content| !content.is_empty()),
        "{answer:?}"
    );
    assert!(matches!(
        choice.finish_reason,
        Some(FinishReason::Stop | FinishReason::Length)
    ));
    let usage = answer.usage.expect("llama.cpp counts");
    assert!(
        usage.prompt_tokens > 0 && (1..=12).contains(&usage.completion_tokens),
        "{usage:?}"
    );
    assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
}

#[tokio::test]
async fn a_stream_says_the_same_and_ends_with_usage() {
    let engine = Engine::new("chat");
    let whole = engine
        .client
        .chat()
        .create(question(json!({})))
        .await
        .expect("an answer");
    let asked = question(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let mut stream = engine.client.chat().create_stream(asked).await.expect("a stream");
    let (mut text, mut reason, mut usage) = (String::new(), None, None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("every chunk is one the SDK knows");
        for choice in &chunk.choices {
            text += choice.delta.content.as_deref().unwrap_or_default();
            reason = choice.finish_reason.or(reason);
        }
        assert!(usage.is_none(), "usage is the last chunk");
        usage = chunk.usage;
    }
    assert_eq!(Some(text), whole.choices[0].message.content);
    assert_eq!(reason, whole.choices[0].finish_reason);
    let (streamed, counted) = (usage.expect("it was asked for"), whole.usage.expect("llama.cpp counts"));
    assert_eq!(streamed.completion_tokens, counted.completion_tokens);

    let mut quiet = engine
        .client
        .chat()
        .create_stream(question(json!({"stream": true})))
        .await
        .expect("a stream");
    while let Some(chunk) = quiet.next().await {
        let chunk = chunk.expect("every chunk is one the SDK knows");
        assert!(chunk.usage.is_none() && !chunk.choices.is_empty(), "{chunk:?}");
    }
}

fn tools() -> Value {
    json!([{"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"]},
    }}])
}

fn weather() -> CreateChatCompletionRequest {
    question(json!({"model": "tiny-tool", "tools": tools(), "max_completion_tokens": 200}))
}

#[tokio::test]
async fn tools_are_called_whole_and_in_pieces() {
    let engine = Engine::new("tool");
    let answer = engine.client.chat().create(weather()).await.expect("an answer");
    let message = serde_json::to_value(&answer.choices[0].message).expect("it was JSON before");
    let calls = message["tool_calls"]
        .as_array()
        .unwrap_or_else(|| panic!("no calls: {message}"));
    assert_eq!(answer.choices[0].finish_reason, Some(FinishReason::ToolCalls));
    let pairs = |calls: &[Value]| -> Vec<(Value, Value)> {
        let pair = |call: &Value| {
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            let arguments = serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{error}: {call}"));
            (call["function"]["name"].clone(), arguments)
        };
        calls.iter().map(pair).collect()
    };
    let expected = pairs(calls);
    assert!(!expected.is_empty());
    assert!(
        expected
            .iter()
            .all(|(name, arguments)| name == "get_weather" && arguments["city"].is_string()),
        "{message}"
    );

    let mut stream = engine.client.chat().create_stream(weather()).await.expect("a stream");
    let mut built: Vec<Value> = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = serde_json::to_value(chunk.expect("every chunk is one the SDK knows")).expect("it was JSON before");
        for piece in chunk["choices"][0]["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let index = piece["index"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok())
                .expect("an index");
            if index == built.len() {
                built.push(json!({"function": {"name": "", "arguments": ""}}));
            }
            for name in ["name", "arguments"] {
                let so_far = built[index]["function"][name].as_str().unwrap_or_default();
                let more = piece["function"][name].as_str().unwrap_or_default();
                built[index]["function"][name] = format!("{so_far}{more}").into();
            }
        }
    }
    assert_eq!(pairs(&built).len(), expected.len());
    assert!(
        pairs(&built)
            .iter()
            .all(|(name, arguments)| name == "get_weather" && arguments["city"].is_string())
    );
}

#[tokio::test]
async fn a_tools_result_goes_back_and_is_spoken_about() {
    let engine = Engine::new("tool");
    let answer = engine.client.chat().create(weather()).await.expect("an answer");
    let message = serde_json::to_value(&answer.choices[0].message).expect("it was JSON before");
    let results: Vec<Value> = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"}))
        .collect();
    let mut messages = vec![
        json!({"role": "user", "content": "How is the weather?"}),
        json!({"role": "assistant", "content": null, "tool_calls": message["tool_calls"]}),
    ];
    messages.extend(results);
    let next = question(json!({"model": "tiny-tool", "messages": messages, "tools": tools()}));
    let spoken = engine.client.chat().create(next).await.expect("an answer");
    assert!(
        spoken.choices[0]
            .message
            .content
            .as_deref()
            .is_some_and(|content| !content.is_empty()),
        "{spoken:?}"
    );
}

#[tokio::test]
async fn a_json_schema_is_kept_to() {
    let engine = Engine::new("chat");
    let schema = json!({"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "count"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "thing", "strict": true, "schema": schema}});
    let request = question(json!({"response_format": format, "max_completion_tokens": 100}));
    let answer = engine.client.chat().create(request).await.expect("an answer");
    let content = answer.choices[0].message.content.as_deref().unwrap_or_default();
    let thing: Value = serde_json::from_str(content).unwrap_or_else(|error| panic!("{error}: {content}"));
    assert!(thing["colour"] == "red" || thing["colour"] == "blue", "{thing}");
    assert!(thing["count"].is_u64(), "{thing}");
}

#[tokio::test]
async fn embeddings_are_the_same_as_numbers_and_as_base64() {
    let engine = Engine::new("embedding");
    let request = |format: &str| -> CreateEmbeddingRequest {
        typed(json!({"model": "tiny-embedding", "input": ["one", "another"], "encoding_format": format}))
    };
    let numbers = engine
        .client
        .embeddings()
        .create(request("float"))
        .await
        .expect("an answer");
    let packed = engine
        .client
        .embeddings()
        .create_base64(request("base64"))
        .await
        .expect("an answer");
    assert_eq!((numbers.data.len(), packed.data.len()), (2, 2));
    assert!(numbers.usage.prompt_tokens > 0);
    for (number, packed) in numbers.data.iter().zip(packed.data) {
        let number: Vec<f32> = serde_json::from_value(json!(number.embedding)).expect("a list of numbers");
        let packed: Vec<f32> = packed.embedding.into();
        assert_eq!(number.len(), packed.len());
        assert!(
            number
                .iter()
                .zip(&packed)
                .all(|(one, other)| (one - other).abs() < 1e-5)
        );
    }
}

#[track_caller]
fn api_error<T: std::fmt::Debug>(result: Result<T, OpenAIError>) -> ApiErrorResponse {
    match result {
        Err(OpenAIError::ApiError(error)) => error,
        other => panic!("an error of the API was expected: {other:?}"),
    }
}

#[tokio::test]
async fn errors_arrive_as_errors_of_the_api() {
    let engine = Engine::new("chat");
    let overflow = question(json!({"messages": [{"role": "user", "content": "a ".repeat(4000)}]}));
    let error = api_error(engine.client.chat().create(overflow).await);
    assert_eq!(error.status_code, 400);
    assert_eq!(
        error.api_error.code.as_deref(),
        Some("context_length_exceeded"),
        "{error:?}"
    );
    assert_eq!(error.api_error.r#type.as_deref(), Some("invalid_request_error"));

    let stranger = client(&engine._gateway, "sk-wrong");
    let error = api_error(stranger.chat().create(question(json!({}))).await);
    assert_eq!(
        (error.status_code.as_u16(), error.api_error.code.as_deref()),
        (401, Some("invalid_api_key"))
    );
    let error = api_error(stranger.models().list().await);
    assert_eq!(error.status_code, 401);
    assert_eq!(engine.llama.busy(), 0);

    let error = api_error(
        engine
            .client
            .chat()
            .create(question(json!({"messages": []})))
            .await
            .map(|answer| answer.id),
    );
    assert_eq!(error.status_code, 400, "{error:?}");
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let engine = Engine::new("chat");
    let listed = e2e::eventually(e2e::wait::SOON, || {
        let request = format!(
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
        );
        let answer = e2e::raw::exchange(engine._gateway.address(), request.as_bytes());
        String::from_utf8_lossy(&answer).contains("tiny-chat")
    });
    assert!(listed.await);
    let models = engine.client.models().list().await.expect("a list");
    assert!(models.data.iter().any(|model| model.id == "tiny-chat"), "{models:?}");
    let model = engine.client.models().retrieve("tiny-chat").await.expect("a model");
    assert_eq!(model.object, "model");
}

#[tokio::test]
async fn a_stream_that_is_not_whole_is_an_error_and_not_a_short_answer() {
    let rig = Rig::new();
    let client = client(&rig.gateway, "none");
    for mode in ["clean-cut", "cut", "err-data", "err-choices"] {
        let request = question(json!({"model": format!("fault/{mode}"), "stream": true, "max_completion_tokens": 100}));
        let mut stream = client.chat().create_stream(request).await.expect("a stream");
        let (mut chunks, mut failed) = (0, false);
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(_) => chunks += 1,
                Err(_) => failed = true,
            }
        }
        assert!(failed && chunks > 0, "{mode}: {chunks} chunks");
    }
}
