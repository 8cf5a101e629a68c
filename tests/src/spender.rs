//! Clients that spend: each asks, reads to the end of what comes, and tells what it saw.

use futures_util::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::client;

/// A client of one gateway, with one API key.
#[derive(Debug, Clone)]
pub struct Spender {
    client: Client,
    url: String,
    key: String,
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its `x-request-id`.
    pub id: String,
    pub model: String,
    pub prompt: String,
    pub is_stream: bool,
    pub max_tokens: Option<u64>,
}

/// What the client saw of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All of it: a whole body, or a stream up to `[DONE]`.
    End(Usage),
    /// It began, and did not end well.
    Broken,
    Refused {
        status: u16,
        code: String,
    },
    /// No answer at all.
    Nothing,
}

/// What an answer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
}

impl Spender {
    #[must_use]
    pub fn new(url: &str, key: &str) -> Self {
        Self {
            client: client::client(),
            url: format!("{url}/v1/chat/completions"),
            key: key.to_owned(),
        }
    }

    pub async fn ask(&self, question: &Question) -> Seen {
        let mut body = json!({
            "model": question.model,
            "messages": [{"role": "user", "content": question.prompt}],
        });
        if question.is_stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
        }
        if let Some(max_tokens) = question.max_tokens {
            body["max_tokens"] = json!(max_tokens);
        }
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
            .header("x-request-id", &question.id)
            .body(body.to_string());
        let Ok(response) = request.send().await else {
            return Seen::Nothing;
        };
        let status = response.status().as_u16();
        let text = read(response).await;
        if status != 200 {
            let error: Value = serde_json::from_str(&text).unwrap_or_default();
            let code = error["error"]["code"].as_str().unwrap_or_default().to_owned();
            return Seen::Refused { status, code };
        }
        let usage = if question.is_stream {
            // Who has this line has seen the end, whatever the connection does then.
            text.contains("\ndata: [DONE]\n\n").then(|| last_usage(&text))
        } else {
            serde_json::from_str::<Value>(&text).ok().map(|whole| usage(&whole))
        };
        match usage {
            Some(usage) => Seen::End(usage.unwrap_or_else(|| panic!("an end without usage: {text}"))),
            None => Seen::Broken,
        }
    }
}

/// What came of a body, to its end or not.
async fn read(response: Response) -> String {
    let mut body = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_usage(stream: &str) -> Option<Usage> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    chunks.filter_map(|chunk| usage(&chunk)).next_back()
}

fn usage(answer: &Value) -> Option<Usage> {
    let count = |name: &str| answer["usage"][name].as_u64();
    Some(Usage {
        prompt: count("prompt_tokens")?,
        completion: count("completion_tokens")?,
    })
}
