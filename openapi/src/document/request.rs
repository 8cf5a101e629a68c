//! Request bodies as schemas.
//!
//! Typed are the members that the gateway reads, and the few that everybody sends. All others pass unread, so every
//! object here is open.

#![expect(dead_code, reason = "only the schemas of these types are used")]

use serde_json::Value;
use utoipa::ToSchema;

/// A chat to continue. The gateway reads the members that name a bound or a model; all others pass unread.
#[derive(ToSchema)]
pub(super) struct ChatCompletionRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// The conversation so far.
    messages: Vec<ChatRequestMessage>,
    /// Answer with server-sent events.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// The most tokens to generate, reasoning included. It goes before `max_tokens`.
    #[schema(minimum = 0, maximum = 2147483647)]
    max_completion_tokens: Option<i64>,
    /// The older name of `max_completion_tokens`.
    #[schema(minimum = 0, maximum = 2147483647)]
    max_tokens: Option<i64>,
    /// How many answers to generate.
    #[schema(minimum = 1, maximum = 128)]
    n: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    /// A text, or a list of texts, that ends the answer.
    stop: Option<Value>,
    /// Functions that the model may call.
    tools: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or an object that names one tool.
    tool_choice: Option<Value>,
    /// `{"type": "text"}`, `{"type": "json_object"}` or `{"type": "json_schema", …}`.
    response_format: Option<Value>,
    /// Requests with the same key prefer the same upstream, where their prefix may be cached.
    prompt_cache_key: Option<String>,
}

/// One message of a chat. The gateway does not read it.
#[derive(ToSchema)]
pub(super) struct ChatRequestMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    role: String,
    /// A text, a list of parts, or null.
    content: Option<Value>,
}

/// Options of a stream; only for requests with `stream: true`.
#[derive(ToSchema)]
pub(super) struct StreamOptions {
    /// Send one more chunk at the end: no choices, only usage.
    include_usage: Option<bool>,
}

/// A prompt to continue.
#[derive(ToSchema)]
pub(super) struct CompletionRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// A text, a list of texts, or the token ids of either.
    prompt: Option<Value>,
    /// Answer with server-sent events.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// The most tokens to generate.
    #[schema(minimum = 0, maximum = 2147483647)]
    max_tokens: Option<i64>,
    /// How many completions to return.
    #[schema(minimum = 1, maximum = 128)]
    n: Option<i64>,
    /// How many completions to generate, of which the best `n` are returned.
    #[schema(minimum = 0, maximum = 128)]
    best_of: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    /// A text, or a list of texts, that ends the answer.
    stop: Option<Value>,
    /// Requests with the same key prefer the same upstream, where their prefix may be cached.
    prompt_cache_key: Option<String>,
}

/// Texts to embed.
#[derive(ToSchema)]
pub(super) struct EmbeddingRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// A text, a list of texts, or the token ids of either.
    input: Value,
    /// `float`, or `base64` for little-endian 32-bit floats.
    encoding_format: Option<String>,
    /// The length of each embedding, for models that offer a choice.
    dimensions: Option<i64>,
}

/// A request of the Responses API.
#[derive(ToSchema)]
pub(super) struct ResponseRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// A text or a list of input items.
    input: Option<Value>,
    /// The system's instructions.
    instructions: Option<Value>,
    /// Answer with server-sent events.
    stream: Option<bool>,
    /// The most tokens to generate, reasoning included.
    #[schema(minimum = 0, maximum = 2147483647)]
    max_output_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    /// Tools that the model may call.
    tools: Option<Vec<Value>>,
    /// The id of the response that this one continues.
    previous_response_id: Option<String>,
    /// Requests with the same key prefer the same upstream, where their prefix may be cached.
    prompt_cache_key: Option<String>,
}

/// A JSON object for the upstream. The gateway reads `model` and passes everything.
#[derive(ToSchema)]
pub(super) struct PassThroughRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: Option<String>,
}

/// A message to answer, in the words of Anthropic's API.
#[derive(ToSchema)]
pub(super) struct MessageRequest {
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// The conversation so far: roles `user` and `assistant`.
    messages: Vec<ChatRequestMessage>,
    /// The most tokens to generate.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_tokens: i64,
    /// What stands before the conversation: a text, or a list of text blocks.
    system: Option<Value>,
    /// Answer with server-sent events.
    stream: Option<bool>,
    #[schema(minimum = 0, maximum = 1)]
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Option<Vec<String>>,
    /// Functions that the model may call.
    tools: Option<Vec<Value>>,
    /// `{"type": "auto"}`, `any`, `none`, or `tool` with a `name`.
    tool_choice: Option<Value>,
    /// `{"type": "enabled", "budget_tokens": …}`.
    thinking: Option<Value>,
}

/// A recording and what to do with it.
#[derive(ToSchema)]
pub(super) struct AudioForm {
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: String,
    /// `json`, `text`, `srt`, `verbose_json` or `vtt`.
    response_format: Option<String>,
}

/// A picture and what to do with it.
#[derive(ToSchema)]
pub(super) struct ImageForm {
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    image: Vec<u8>,
    /// A model of `GET /v1/models`.
    #[schema(min_length = 1)]
    model: Option<String>,
    /// What to make of it.
    prompt: Option<String>,
}

/// A file to keep at the upstream.
#[derive(ToSchema)]
pub(super) struct FileForm {
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// What it is for, such as `batch`.
    purpose: String,
}
