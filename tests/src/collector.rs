//! A collector of traces: takes OTLP over HTTP with JSON, and tells what came.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Scripted;
use crate::scripted::Post;
use crate::wait::{SOON, eventually};

/// Takes every export and answers it as told.
#[derive(Debug)]
pub struct Collector(Scripted);

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub name: String,
    /// 2 is a server's, 3 a client's.
    pub kind: u64,
    pub start_nano: u64,
    pub end_nano: u64,
    /// 2 is an error.
    pub status: u64,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
    pub service: String,
}

impl Collector {
    #[must_use]
    pub fn new() -> Self {
        Self(Scripted::json("{\"partialSuccess\":{}}"))
    }

    /// One that answers with these bytes.
    #[must_use]
    pub fn answering(answer: &str) -> Self {
        Self(Scripted::answering(answer))
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        self.0.posts()
    }

    /// All that came, in its order.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let exports = self.posts().into_iter().map(|post| {
            let export: Value = serde_json::from_slice(&post.body).expect("an export is JSON");
            export
        });
        exports.flat_map(|export| decode(&export)).collect()
    }

    /// Waits until so many spans have come.
    pub async fn wait(&self, count: usize) -> Vec<Span> {
        let have_come = eventually(SOON, || self.spans().len() >= count);
        assert!(have_come.await, "{count} spans do not come: {:#?}", self.spans());
        self.spans()
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl Span {
    #[must_use]
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// Reads an export as the standard has it; panics at what is not of its shape.
fn decode(export: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in list(&export["resourceSpans"]) {
        let service = attributes(&resource["resource"]["attributes"])["service.name"].clone();
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
                let nano = |key: &str| text(key).parse().expect("a time is a number in a string");
                let (trace, id) = (text("traceId"), text("spanId"));
                assert!(is_hex(&trace, 32) && is_hex(&id, 16), "{span}");
                spans.push(Span {
                    trace,
                    id,
                    parent: text("parentSpanId"),
                    name: text("name"),
                    kind: span["kind"].as_u64().expect("a kind is a number"),
                    start_nano: nano("startTimeUnixNano"),
                    end_nano: nano("endTimeUnixNano"),
                    status: span["status"]["code"].as_u64().unwrap_or(0),
                    attributes: attributes(&span["attributes"]),
                    service: service.clone(),
                });
            }
        }
    }
    spans
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn attributes(value: &Value) -> BTreeMap<String, String> {
    let pairs = list(value).iter().map(|pair| {
        let value = &pair["value"];
        let text = value["stringValue"].as_str().or_else(|| value["intValue"].as_str());
        let other = || match (&value["boolValue"], &value["doubleValue"]) {
            (Value::Bool(truth), _) => truth.to_string(),
            (_, Value::Number(number)) => number.to_string(),
            _ => panic!("a value of an unknown kind: {pair}"),
        };
        let key = pair["key"].as_str().expect("a key is text");
        (key.to_owned(), text.map_or_else(other, str::to_owned))
    });
    pairs.collect()
}
