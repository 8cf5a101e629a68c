//! A stream in the hands of its client: read as far as the test wants, then left or read to its end.

use e2e::client::send;
use e2e::sse::Stream;
use reqwest::{RequestBuilder, Response};

/// A stream that has begun.
pub(crate) struct Flow {
    response: Response,
    text: String,
}

impl Flow {
    /// Sends a request and waits for the first event with data.
    pub(crate) async fn begin(request: RequestBuilder) -> Self {
        let mut flow = Self::open(request).await;
        flow.until("data: ").await;
        flow
    }

    /// Sends a request and waits for its status.
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = send(request).await;
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    /// Reads until this text has come.
    pub(crate) async fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let piece = self.response.chunk().await;
            match piece.unwrap_or_else(|error| panic!("cut ({error:?}) after:\n{}", self.text)) {
                Some(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
                None => panic!("ended without {text:?}:\n{}", self.text),
            }
        }
    }

    /// What has come so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The whole stream, which must end cleanly.
    pub(crate) async fn end(mut self) -> Stream {
        loop {
            let piece = self.response.chunk().await;
            match piece.unwrap_or_else(|error| panic!("cut ({error:?}) after:\n{}", self.text)) {
                Some(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
                None => return Stream { text: self.text },
            }
        }
    }
}
