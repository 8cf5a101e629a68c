//! Reading an event stream as strictly as it is meant to be written: LF, `data: ` lines, comments, blank lines.

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::Value;

use crate::Envelope;

/// The `data` of each event, in order. The body must end cleanly.
pub async fn collect(response: Response) -> Vec<String> {
    Stream::of(response).await.data()
}

/// The pieces in which the body came, and how it ended.
pub async fn pieces(response: Response) -> (Vec<Bytes>, Result<(), reqwest::Error>) {
    let mut body = response.bytes_stream();
    let mut pieces = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => pieces.push(piece),
            Err(error) => return (pieces, Err(error)),
        }
    }
    (pieces, Ok(()))
}

/// A stream that has ended cleanly.
#[derive(Debug, Clone)]
pub struct Stream {
    pub text: String,
}

impl Stream {
    pub async fn of(response: Response) -> Self {
        let status = response.status();
        let (pieces, end) = pieces(response).await;
        let text = String::from_utf8(pieces.concat());
        let text = text.unwrap_or_else(|error| panic!("a stream is UTF-8: {error}"));
        assert_eq!(status, 200, "{text}");
        assert!(end.is_ok(), "the stream was cut ({end:?}) after:\n{text}");
        Self { text }
    }

    /// The `data` of each event. Several lines of one event are joined with LF.
    #[must_use]
    pub fn data(&self) -> Vec<String> {
        let mut events = Vec::new();
        for block in self.blocks() {
            let lines: Vec<_> = block.lines().filter_map(data_of).collect();
            if !lines.is_empty() {
                events.push(lines.join("\n"));
            }
        }
        events
    }

    /// The names of the events that have one.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let lines = self.text.lines();
        lines
            .filter_map(|line| line.strip_prefix("event: "))
            .map(str::to_owned)
            .collect()
    }

    #[must_use]
    pub fn comments(&self) -> usize {
        self.text.lines().filter(|line| line.starts_with(':')).count()
    }

    /// The chunks, without `[DONE]` and without a final error.
    #[must_use]
    pub fn chunks(&self) -> Vec<Value> {
        let all = self.data();
        let data = all.iter().filter(|data| *data != "[DONE]");
        let chunks = data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")));
        chunks.filter(|chunk: &Value| chunk.get("error").is_none()).collect()
    }

    /// The content of all chunks of the first choice.
    #[must_use]
    pub fn content(&self) -> String {
        let chunks = self.chunks();
        let contents = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        contents.collect()
    }

    #[must_use]
    pub fn finish_reason(&self) -> Option<String> {
        let chunks = self.chunks();
        let mut reasons = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str());
        reasons.next_back().map(str::to_owned)
    }

    #[must_use]
    pub fn usage(&self) -> Option<Value> {
        let chunks = self.chunks();
        chunks
            .into_iter()
            .filter_map(|mut chunk| chunk.get_mut("usage").map(Value::take))
            .rfind(Value::is_object)
    }

    /// Whether the last event, and no other, is `[DONE]`.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let data = self.data();
        let place = data.iter().position(|data| data == "[DONE]");
        assert!(place.is_none_or(|place| place + 1 == data.len()), "{}", self.text);
        place.is_some()
    }

    /// The error that ends the stream: the last event, once, under no name, and no `[DONE]` after it.
    #[must_use]
    pub fn error(&self) -> Envelope {
        assert!(!self.is_done(), "an error and [DONE]:\n{}", self.text);
        let data = self.data();
        let last = data.last().unwrap_or_else(|| panic!("no event in {:?}", self.text));
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"));
        let envelope = Envelope::of(0, &value);
        assert_eq!(self.names(), Vec::<String>::new(), "{}", self.text);
        let errors = data.iter().filter(|data| data.contains("\"error\""));
        assert_eq!(errors.count(), 1, "{}", self.text);
        envelope
    }

    /// The blocks between blank lines, each of known lines only.
    fn blocks(&self) -> impl Iterator<Item = &str> {
        assert!(!self.text.contains('\r'), "we write LF only: {:?}", self.text);
        let text = self.text.strip_suffix("\n\n");
        let text = text.unwrap_or_else(|| panic!("the last event has no blank line: {:?}", self.text));
        let blocks = text.split("\n\n");
        blocks.inspect(|block| {
            for line in block.lines() {
                let is_known = line.starts_with("data: ") || line.starts_with("event: ") || line.starts_with(':');
                assert!(is_known, "not a line of an event stream as we write it: {line:?}");
            }
        })
    }
}

fn data_of(line: &str) -> Option<&str> {
    line.strip_prefix("data: ")
}
