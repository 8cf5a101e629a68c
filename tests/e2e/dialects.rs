//! Clients of OpenAI's and of Anthropic's API, before upstreams that speak OpenAI's, Anthropic's and Gemini's.

use e2e::client::{request, send};
use e2e::sse::Stream;
use e2e::{Answer, Gateway, Mock, World};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::record::{self, Record};

mod answers;
mod errors;
mod requests;
mod streams;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Chat,
    Messages,
}

/// A client's wire, and the kind of the backend.
type Way = (Wire, &'static str);

/// Every way but the one that needs no translation at all; chats before OpenAI's are tested everywhere else.
const WAYS: [Way; 5] = [
    (Wire::Chat, "anthropic"),
    (Wire::Chat, "gemini"),
    (Wire::Messages, "openai-compatible"),
    (Wire::Messages, "anthropic"),
    (Wire::Messages, "gemini"),
];

/// Where each kind runs the model `fault/ok`.
fn place(kind: &str, model: &str, is_stream: bool) -> String {
    let model = model.replace('/', "%2F").replace('+', "%2B");
    match (kind, is_stream) {
        ("anthropic", _) => "/v1/messages".to_owned(),
        ("gemini", false) => format!("/v1beta/models/{model}:generateContent"),
        ("gemini", true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        _ => "/v1/chat/completions".to_owned(),
    }
}

const UPSTREAM_KEY: &str = "upstream-key";
const CLIENT_KEY: &str = "client-key";

struct Served {
    mock: Mock,
    gateway: Gateway,
    _world: World,
}

fn serve(kind: &str) -> Served {
    serve_with(kind, "")
}

/// With more of the file.
fn serve_with(kind: &str, more: &str) -> Served {
    let world = World::new();
    let mock = world.mock(&["--require-key", UPSTREAM_KEY]);
    let gateway = world.gateway(&format!(
        "keys: [{{name: suite, secret: {CLIENT_KEY}}}]\n\
         backends: [{{name: only, kind: {kind}, url: '{}', api_key: {UPSTREAM_KEY}, breaker: {{failures: 1000}}, health: {{enabled: false}}}}]\n\
         {more}",
        mock.url()
    ));
    Served {
        mock,
        gateway,
        _world: world,
    }
}

impl Wire {
    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// Four words to a model.
    fn ask(self, model: &str, is_stream: bool) -> Value {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Say hello to me"}]});
        if is_stream {
            body["stream"] = true.into();
        }
        if self == Self::Messages {
            body["max_tokens"] = 4000.into();
        }
        body
    }

    /// The text of a whole answer, and why it ended.
    fn told(self, answer: &Value) -> (String, String) {
        let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("in {answer}")).to_owned();
        match self {
            Self::Chat => {
                let choice = &answer["choices"][0];
                (word(&choice["message"]["content"]), word(&choice["finish_reason"]))
            }
            Self::Messages => {
                let blocks = answer["content"]
                    .as_array()
                    .unwrap_or_else(|| panic!("no content in {answer}"));
                let texts = blocks.iter().filter(|block| block["type"] == "text");
                (
                    texts.map(|block| word(&block["text"])).collect(),
                    word(&answer["stop_reason"]),
                )
            }
        }
    }

    /// The text of a stream, why it ended, and whether it came to its end.
    fn told_by(self, stream: &Stream) -> (String, Option<String>, bool) {
        match self {
            Self::Chat => (stream.content(), stream.finish_reason(), stream.is_done()),
            Self::Messages => {
                let events = events(stream);
                let texts = events.iter().filter_map(|event| event["delta"]["text"].as_str());
                let reasons = events.iter().filter_map(|event| event["delta"]["stop_reason"].as_str());
                let is_done = events.last().is_some_and(|event| event["type"] == "message_stop");
                (texts.collect(), reasons.map(str::to_owned).next_back(), is_done)
            }
        }
    }

    /// The kind and the message of an error in an answer.
    fn error(self, answer: &Answer) -> (String, String) {
        match self {
            Self::Chat => {
                let envelope = answer.envelope();
                (envelope.kind, envelope.message)
            }
            Self::Messages => {
                let id = answer.header("request-id");
                assert!(
                    !id.is_empty() && id == answer.header("x-request-id"),
                    "{:?}",
                    answer.headers
                );
                let body = answer.json();
                assert_eq!(body["request_id"], id, "{body}");
                theirs(&body)
            }
        }
    }

    /// The same, of the error that ends a stream.
    fn error_in(self, stream: &Stream) -> (String, String) {
        match self {
            Self::Chat => {
                let envelope = stream.error();
                (envelope.kind, envelope.message)
            }
            Self::Messages => {
                let events = events(stream);
                let errors = events.iter().filter(|event| event["type"] == "error");
                assert_eq!(errors.count(), 1, "{}", stream.text);
                let is_stopped = events.iter().any(|event| event["type"] == "message_stop");
                assert!(!is_stopped, "an end and an error:\n{}", stream.text);
                theirs(events.last().unwrap_or_else(|| panic!("no event in {:?}", stream.text)))
            }
        }
    }
}

/// Reads `{"type": "error", "error": {"type", "message"}}`, with or without a request id.
fn theirs(body: &Value) -> (String, String) {
    assert_eq!(body["type"], "error", "{body}");
    let error = body["error"]
        .as_object()
        .unwrap_or_else(|| panic!("no error in {body}"));
    assert!(
        error.keys().eq(["message", "type"]) || error.keys().eq(["type", "message"]),
        "{body}"
    );
    let text = |name: &str| {
        error[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} in {body}"))
            .to_owned()
    };
    (text("type"), text("message"))
}

/// Anthropic's events, each named as its data says.
fn events(stream: &Stream) -> Vec<Value> {
    assert!(!stream.text.contains("[DONE]"), "{}", stream.text);
    let events: Vec<Value> = stream
        .data()
        .iter()
        .map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")))
        .collect();
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(stream.names(), kinds, "{}", stream.text);
    events
}

impl Served {
    fn request(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}{path}", self.gateway.url());
        request(&url, body.to_string()).header("x-api-key", CLIENT_KEY)
    }

    async fn post(&self, wire: Wire, body: &Value) -> Answer {
        Answer::of(send(self.request(wire.path(), body)).await).await
    }

    async fn ask(&self, wire: Wire, model: &str) -> Answer {
        self.post(wire, &wire.ask(model, false)).await
    }

    async fn stream(&self, wire: Wire, model: &str) -> Stream {
        Stream::of(send(self.request(wire.path(), &wire.ask(model, true))).await).await
    }

    /// Asks under a name, and gives the record of it too.
    async fn recorded(&self, wire: Wire, id: &str, body: &Value) -> (Answer, Record) {
        let request = self.request(wire.path(), body).header("x-request-id", id);
        let answer = Answer::of(send(request).await).await;
        (answer, record::of(&self.gateway, id).await)
    }
}
