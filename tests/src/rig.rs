//! The common case: one gateway in front of one scripted upstream.

use reqwest::RequestBuilder;

use crate::client::{chat, chat_stream, request, send};
use crate::sse::Stream;
use crate::{Answer, Gateway, Mock, World};

/// A gateway, the mock behind it, and their world. They end in this order.
#[derive(Debug)]
pub struct Rig {
    pub gateway: Gateway,
    pub mock: Mock,
    pub world: World,
}

impl Rig {
    #[must_use]
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// `backend` is added to the backend, such as `kind: vllm, keep_alive: 1s`; `more` to the file.
    #[must_use]
    pub fn with(backend: &str, more: &str) -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let url = mock.url();
        let gateway = world.gateway(&format!("backends:\n  - {{name: only, url: {url}, {backend}}}\n{more}"));
        Self { gateway, mock, world }
    }

    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    /// A POST of JSON to `/v1/chat/completions`, to be given headers and sent.
    pub fn request(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        request(&self.url("/v1/chat/completions"), body)
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(send(request(&self.url(path), body)).await).await
    }

    /// Asks the model for a whole answer.
    pub async fn chat(&self, model: &str) -> Answer {
        self.chat_of(chat(model)).await
    }

    pub async fn chat_of(&self, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(send(self.request(body)).await).await
    }

    /// Asks the model for a stream, which must begin and end cleanly as HTTP.
    pub async fn stream(&self, model: &str) -> Stream {
        self.stream_of(chat_stream(model)).await
    }

    pub async fn stream_of(&self, body: impl Into<reqwest::Body>) -> Stream {
        Stream::of(send(self.request(body)).await).await
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}
