//! An app that pays by way of its sidecar, and reckons what each answer may cost.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::payments::decoded;

/// In nanoton: for a million tokens of the prompt, for a million of the answer, and for a request.
///
/// Odd on purpose, so that a cost is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) request: u64,
}

/// What the app pays the gateway.
pub(super) const CLIENT: Price = Price {
    prompt: 33_333_331,
    completion: 77_777_773,
    request: 2_000_001,
};
/// What the gateway pays its worker.
pub(super) const WORKER: Price = Price {
    prompt: 11_111_117,
    completion: 22_222_231,
    request: 1_000_003,
};

impl Price {
    /// Reckoned here and not by the product.
    pub(super) fn of(self, usage: Usage) -> u64 {
        let tokens = usage.prompt * self.prompt + usage.completion * self.completion;
        tokens.div_ceil(1_000_000) + self.request
    }

    /// What no request of these tests costs more than.
    pub(super) fn ceiling(self) -> u64 {
        self.of(Usage {
            prompt: 1_000,
            completion: 1_000,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

/// What the app saw of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// To its end.
    Whole(Answered),
    /// It began, and did not end well; or there was no answer at all.
    Broken,
    Refused {
        status: u16,
        text: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Its `x-request-id`.
    pub(super) id: String,
    pub(super) usage: Usage,
    /// What `PAYMENT-RESPONSE` says of it, where it is a header.
    pub(super) said: Option<Said>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) charged: u64,
    pub(super) signed: u64,
}

/// An app of one sidecar. It sends no key.
#[derive(Clone)]
pub(super) struct App {
    client: Client,
    url: String,
    model: String,
    key: Option<&'static str>,
}

impl App {
    pub(super) fn new(url: String, model: &str) -> Self {
        Self {
            client: e2e::client::client(),
            url,
            model: model.to_owned(),
            key: None,
        }
    }

    /// One whose requests are not paid for by the sidecar.
    pub(super) fn with_key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Each number is another question; every other answer is a stream.
    pub(super) async fn ask(&self, number: u64) -> Seen {
        let is_stream = number % 2 == 1;
        let words = "mulberry ".repeat(usize::try_from(number % 7).expect("below 7"));
        let mut body = json!({
            "model": self.model,
            "max_tokens": 1 + number % 6,
            "messages": [{"role": "user", "content": format!("What is {words}{number}?")}],
        });
        if is_stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": true});
        }
        self.send(body.to_string(), is_stream).await
    }

    pub(super) async fn send(&self, body: String, is_stream: bool) -> Seen {
        let mut request = self.client.post(&self.url).header("content-type", "application/json");
        if let Some(key) = self.key {
            request = request.bearer_auth(key);
        }
        let Ok(response) = request.body(body).send().await else {
            return Seen::Broken;
        };
        read(response, is_stream).await
    }
}

async fn read(response: Response, is_stream: bool) -> Seen {
    let status = response.status().as_u16();
    let text_of = |name: &str| {
        let value = response.headers().get(name)?.to_str().expect("text");
        Some(value.to_owned())
    };
    let id = text_of("x-request-id").unwrap_or_default();
    let said = text_of("payment-response").map(|header| said(&decoded(&header)));
    let Ok(bytes) = response.bytes().await else {
        return Seen::Broken;
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // It was under way when the sidecar lost its gateway, which may have served it.
    if status == 502 && text.contains("gateway_connection_lost") {
        return Seen::Broken;
    }
    if status != 200 {
        return Seen::Refused { status, text };
    }
    let usage = if is_stream {
        if !text.contains("\ndata: [DONE]\n\n") {
            return Seen::Broken;
        }
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        chunks.filter_map(|chunk| usage(&chunk)).next_back()
    } else {
        usage(&serde_json::from_str(&text).expect("JSON"))
    };
    let usage = usage.unwrap_or_else(|| panic!("an answer without usage: {text}"));
    Seen::Whole(Answered { id, usage, said })
}

fn said(document: &Value) -> Said {
    let amount = |value: &Value| {
        let text = value.as_str().unwrap_or_else(|| panic!("an amount in {document}"));
        text.parse().expect("digits")
    };
    Said {
        charged: amount(&document["extra"]["chargedAmount"]),
        signed: amount(&document["extra"]["voucherState"]["signedMaxClaimable"]),
    }
}

fn usage(document: &Value) -> Option<Usage> {
    let count = |name: &str| document["usage"][name].as_u64();
    Some(Usage {
        prompt: count("prompt_tokens")?,
        completion: count("completion_tokens")?,
    })
}
