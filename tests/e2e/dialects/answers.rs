//! Whole answers and streams say the same on every way, and are counted alike.

use e2e::sse::Stream;
use serde_json::{Value, json};

use super::{WAYS, Wire, events, serve};

#[tokio::test]
async fn a_text_arrives_whole_and_streamed() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let answer = served.ask(wire, "mock").await;
        assert_eq!(answer.status, 200, "{wire:?} {kind}: {}", answer.text());
        let (text, reason) = wire.told(&answer.json());
        assert!(text.ends_with("You said: Say hello to me"), "{wire:?} {kind}: {text}");
        let expect = if wire == Wire::Chat { "stop" } else { "end_turn" };
        assert_eq!(reason, expect, "{wire:?} {kind}");
        let stream = served.stream(wire, "mock").await;
        assert_eq!(
            wire.told_by(&stream),
            (text, Some(expect.to_owned()), true),
            "{wire:?} {kind}:\n{}",
            stream.text
        );
    }
}

#[tokio::test]
async fn usage_is_recorded_as_the_upstream_told_it() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        // Of four words of the prompt two came from a cache; the answer has seven; five were thought.
        for (mode, usage) in [
            ("tokens-7", [4, 0, 7, 0]),
            ("tokens-7+cached", [2, 2, 7, 0]),
            ("tokens-7+reasoning", [4, 0, 7, 5]),
        ] {
            for is_stream in [false, true] {
                let body = wire.ask(&format!("fault/{mode}"), is_stream);
                let id = format!("{}-{is_stream}", mode.replace('+', "-"));
                let (answer, record) = served.recorded(wire, &id, &body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let what = format!("{wire:?} {kind} {id}: {record:?}");
                assert_eq!((record.usage(), record.field("usage")), (usage, "upstream"), "{what}");
                assert_eq!((record.end.as_str(), record.status), ("complete", 200), "{what}");
            }
        }
        let body = wire.ask("fault/tokens-7+no-usage", true);
        let (_, record) = served.recorded(wire, "unsaid", &body).await;
        let [prompt, _, completion, _] = record.usage();
        assert_eq!(record.field("usage"), "estimated", "{wire:?} {kind}: {record:?}");
        assert!(prompt > 0 && completion >= 7, "{wire:?} {kind}: {record:?}");
    }
}

#[tokio::test]
async fn usage_is_told_in_the_words_of_the_client() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let usage = served.ask(wire, "fault/tokens-7+cached").await.json()["usage"].clone();
        match wire {
            Wire::Chat => {
                assert_eq!(usage["prompt_tokens"], 4, "{kind}: {usage}");
                assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2, "{kind}: {usage}");
                assert_eq!(
                    (&usage["completion_tokens"], &usage["total_tokens"]),
                    (&json!(7), &json!(11))
                );
            }
            Wire::Messages => {
                assert_eq!(usage["input_tokens"], 2, "{kind}: {usage}");
                assert_eq!(usage["cache_read_input_tokens"], 2, "{kind}: {usage}");
                assert_eq!(usage["output_tokens"], 7, "{kind}: {usage}");
            }
        }
    }
}

#[tokio::test]
async fn usage_is_in_a_stream_if_the_client_asked() {
    for kind in ["anthropic", "gemini"] {
        let served = serve(kind);
        let silent = served.stream(Wire::Chat, "mock").await;
        assert!(silent.usage().is_none(), "{kind}:\n{}", silent.text);
        let mut body = Wire::Chat.ask("fault/tokens-7", true);
        body["stream_options"] = json!({"include_usage": true});
        let stream = Stream {
            text: served.post(Wire::Chat, &body).await.text(),
        };
        let usage = stream.usage().unwrap_or_else(|| panic!("{kind}:\n{}", stream.text));
        assert_eq!(
            (&usage["prompt_tokens"], &usage["completion_tokens"]),
            (&json!(4), &json!(7))
        );
        assert_eq!(stream.chunks().last().expect("chunks")["choices"], json!([]), "{kind}");
    }
}

/// A tool with one whole number.
fn tools(wire: Wire) -> Value {
    let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    match wire {
        Wire::Chat => json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]),
        Wire::Messages => json!([{"name": "f", "input_schema": schema}]),
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_goes_back() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let mut body = wire.ask("mock", false);
        body["tools"] = tools(wire);
        let answer = served.post(wire, &body).await.json();
        let (turn, call) = match wire {
            Wire::Chat => {
                let message = &answer["choices"][0]["message"];
                assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls", "{kind}: {answer}");
                (message.clone(), message["tool_calls"][0].clone())
            }
            Wire::Messages => {
                assert_eq!(answer["stop_reason"], "tool_use", "{kind}: {answer}");
                let turn = json!({"role": "assistant", "content": answer["content"]});
                (turn, answer["content"][0].clone())
            }
        };
        let id = call["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{kind}: no id in {answer}"));
        let result = match wire {
            Wire::Chat => {
                assert_eq!(call["function"]["name"], "f", "{kind}: {answer}");
                let arguments = call["function"]["arguments"].as_str().expect("JSON as text");
                let arguments: Value = serde_json::from_str(arguments).expect("the arguments are JSON");
                assert!(arguments["x"].is_i64(), "{kind}: {arguments}");
                json!({"role": "tool", "tool_call_id": id, "content": "twenty-two"})
            }
            Wire::Messages => {
                assert_eq!(
                    (&call["type"], &call["name"]),
                    (&json!("tool_use"), &json!("f")),
                    "{kind}: {answer}"
                );
                assert!(call["input"]["x"].is_i64(), "{kind}: {answer}");
                let result = json!({"type": "tool_result", "tool_use_id": id, "content": "twenty-two"});
                json!({"role": "user", "content": [result]})
            }
        };
        let messages = body["messages"].as_array_mut().expect("messages");
        messages.extend([turn, result]);
        let answer = served.post(wire, &body).await;
        assert_eq!(answer.status, 200, "{wire:?} {kind}: {}", answer.text());
        let (text, _) = wire.told(&answer.json());
        assert!(text.contains("twenty-two"), "{wire:?} {kind}: {text}");
    }
}

#[tokio::test]
async fn streamed_calls_come_in_order_and_whole() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let mut body = wire.ask("mock", true);
        let mut tools = tools(wire);
        let mut second = tools[0].clone();
        match wire {
            Wire::Chat => second["function"]["name"] = "g".into(),
            Wire::Messages => second["name"] = "g".into(),
        }
        tools.as_array_mut().expect("a list").push(second);
        body["tools"] = tools;
        let stream = Stream {
            text: served.post(wire, &body).await.text(),
        };
        let calls: Vec<(String, String)> = match wire {
            Wire::Chat => {
                let mut calls: Vec<(String, String)> = Vec::new();
                for chunk in stream.chunks() {
                    let deltas = chunk["choices"][0]["delta"]["tool_calls"].as_array().cloned();
                    for delta in deltas.unwrap_or_default() {
                        let index = usize::try_from(delta["index"].as_u64().expect("an index")).expect("a small one");
                        if index == calls.len() {
                            calls.push((
                                delta["function"]["name"].as_str().expect("a name").to_owned(),
                                String::new(),
                            ));
                        }
                        calls[index].1 += delta["function"]["arguments"].as_str().unwrap_or_default();
                    }
                }
                assert_eq!(stream.finish_reason().as_deref(), Some("tool_calls"), "{kind}");
                calls
            }
            Wire::Messages => {
                let mut calls: Vec<(String, String)> = Vec::new();
                let mut open = None;
                for event in events(&stream) {
                    match event["type"].as_str() {
                        Some("content_block_start") => {
                            assert_eq!(open, None, "{kind}: one block at a time\n{}", stream.text);
                            open = event["index"].as_u64();
                            let name = event["content_block"]["name"].as_str().expect("a call");
                            calls.push((name.to_owned(), String::new()));
                        }
                        Some("content_block_delta") => {
                            assert_eq!(open, event["index"].as_u64(), "{kind}\n{}", stream.text);
                            let piece = event["delta"]["partial_json"].as_str().expect("arguments");
                            calls.last_mut().expect("a call is open").1 += piece;
                        }
                        Some("content_block_stop") => open = None,
                        _ => {}
                    }
                }
                calls
            }
        };
        let parsed: Vec<(String, Value)> = calls
            .into_iter()
            .map(|(name, arguments)| {
                let value = serde_json::from_str(&arguments);
                (
                    name,
                    value.unwrap_or_else(|error| panic!("{wire:?} {kind}: {error} in {arguments:?}")),
                )
            })
            .collect();
        let names: Vec<_> = parsed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["f", "g"], "{wire:?} {kind}:\n{}", stream.text);
        assert!(
            parsed.iter().all(|(_, input)| input["x"].is_i64()),
            "{wire:?} {kind}: {parsed:?}"
        );
    }
}

#[tokio::test]
async fn calls_that_are_mixed_end_in_an_error_and_a_record_of_it() {
    let served = serve("openai-compatible");
    let wire = Wire::Messages;
    let (answer, record) = served.recorded(wire, "mixed", &wire.ask("fault/tools", true)).await;
    let stream = Stream { text: answer.text() };
    wire.error_in(&stream);
    assert_eq!(
        (record.end.as_str(), record.field("code")),
        ("failed", "upstream_error"),
        "{record:?}"
    );
}

#[tokio::test]
async fn thoughts_are_told_apart_from_the_answer() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let thought = "The words are known beforehand.";
        let answer = served.ask(wire, "fault/reasoning").await.json();
        let whole = match wire {
            Wire::Chat => answer["choices"][0]["message"]["reasoning_content"].clone(),
            Wire::Messages => answer["content"][0]["thinking"].clone(),
        };
        assert_eq!(whole, thought, "{wire:?} {kind}: {answer}");
        let stream = served.stream(wire, "fault/reasoning").await;
        let streamed: String = match wire {
            Wire::Chat => {
                let chunks = stream.chunks();
                let deltas = chunks
                    .iter()
                    .map(|chunk| &chunk["choices"][0]["delta"]["reasoning_content"]);
                deltas.filter_map(Value::as_str).collect()
            }
            Wire::Messages => {
                let events = events(&stream);
                events
                    .iter()
                    .filter_map(|event| event["delta"]["thinking"].as_str())
                    .collect()
            }
        };
        assert_eq!(streamed, thought, "{wire:?} {kind}:\n{}", stream.text);
        let (text, _, is_done) = wire.told_by(&stream);
        assert!(is_done && !text.contains(thought), "{wire:?} {kind}: {text}");
    }
}

#[tokio::test]
async fn a_bound_on_tokens_ends_the_answer() {
    for (wire, kind) in WAYS {
        let served = serve(kind);
        let mut body = wire.ask("mock", false);
        body["max_tokens"] = 3.into();
        let expect = if wire == Wire::Chat { "length" } else { "max_tokens" };
        let told = wire.told(&served.post(wire, &body).await.json());
        assert_eq!(told, ("I am the".to_owned(), expect.to_owned()), "{wire:?} {kind}");
    }
}
