//! Answers as schemas.
//!
//! They must hold for what real servers send, not for OpenAI's document: servers leave members out, send null, and add
//! their own. So every object is open, and required is only what makes an answer an answer.
//! What the gateway writes itself, errors and models, is exact.

#![expect(dead_code, reason = "only the schemas of these types are used")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// An answer to a chat.
#[derive(ToSchema)]
pub(super) struct ChatCompletion {
    id: Option<String>,
    /// `chat.completion`.
    object: Option<String>,
    /// Unix seconds.
    created: Option<i64>,
    model: Option<String>,
    choices: Vec<ChatChoice>,
    usage: Option<Usage>,
    system_fingerprint: Option<String>,
    service_tier: Option<String>,
}

/// One of `n` answers.
#[derive(ToSchema)]
pub(super) struct ChatChoice {
    index: Option<i64>,
    message: ChatMessage,
    /// `stop`, `length`, `tool_calls`, `content_filter` or a vendor's word.
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// What the model said, or in a stream the next piece of it.
#[derive(ToSchema)]
pub(super) struct ChatMessage {
    role: Option<String>,
    /// Text. Null beside tool calls; a few vendors send a list of parts.
    content: Option<Value>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
    /// What the model thought, as DeepSeek and SGLang name it.
    reasoning_content: Option<String>,
    /// What the model thought, as vLLM and OpenRouter name it.
    reasoning: Option<Value>,
}

/// A call that the model asks for.
#[derive(ToSchema)]
pub(super) struct ToolCall {
    /// Which call a piece of a stream belongs to.
    index: Option<i64>,
    id: Option<String>,
    /// `function`, or a vendor's word.
    r#type: Option<String>,
    function: Option<FunctionCall>,
}

/// A function and its arguments.
#[derive(ToSchema)]
pub(super) struct FunctionCall {
    name: Option<String>,
    /// JSON in a string; in a stream, the next piece of it.
    arguments: Option<String>,
}

/// The data of one event of a streamed chat.
#[derive(ToSchema)]
pub(super) struct ChatCompletionChunk {
    id: Option<String>,
    /// `chat.completion.chunk`.
    object: Option<String>,
    /// Unix seconds.
    created: Option<i64>,
    model: Option<String>,
    /// Empty in the chunk that brings usage.
    choices: Vec<ChatChunkChoice>,
    usage: Option<Usage>,
    system_fingerprint: Option<String>,
    service_tier: Option<String>,
}

/// The next piece of one of `n` answers.
#[derive(ToSchema)]
pub(super) struct ChatChunkChoice {
    index: Option<i64>,
    delta: Option<ChatMessage>,
    /// Null until the last piece.
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// A continued prompt, or in a stream the next piece of it.
#[derive(ToSchema)]
pub(super) struct Completion {
    id: Option<String>,
    /// `text_completion`.
    object: Option<String>,
    /// Unix seconds.
    created: Option<i64>,
    model: Option<String>,
    choices: Vec<CompletionChoice>,
    usage: Option<Usage>,
    system_fingerprint: Option<String>,
}

/// One of `n` completions.
#[derive(ToSchema)]
pub(super) struct CompletionChoice {
    index: Option<i64>,
    text: Option<String>,
    /// `stop`, `length` or a vendor's word.
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// Embeddings in the order of the inputs.
#[derive(ToSchema)]
pub(super) struct EmbeddingList {
    /// `list`.
    object: Option<String>,
    data: Vec<Embedding>,
    model: Option<String>,
    usage: Option<Usage>,
}

/// The embedding of one input.
#[derive(ToSchema)]
pub(super) struct Embedding {
    index: Option<i64>,
    /// `embedding`.
    object: Option<String>,
    /// A list of numbers; with `encoding_format: base64`, a string of little-endian 32-bit floats.
    embedding: Value,
}

/// Token usage as the upstream counted it.
#[derive(ToSchema)]
pub(super) struct Usage {
    /// Cached tokens included.
    prompt_tokens: Option<i64>,
    /// Reasoning tokens included.
    completion_tokens: Option<i64>,
    total_tokens: Option<i64>,
    prompt_tokens_details: Option<PromptTokensDetails>,
    completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Parts of `prompt_tokens`.
#[derive(ToSchema)]
pub(super) struct PromptTokensDetails {
    cached_tokens: Option<i64>,
}

/// Parts of `completion_tokens`.
#[derive(ToSchema)]
pub(super) struct CompletionTokensDetails {
    reasoning_tokens: Option<i64>,
}

/// The models that the caller may use.
#[derive(ToSchema)]
pub(super) struct ModelList {
    /// `list`.
    object: String,
    data: Vec<Model>,
}

/// One model.
#[derive(ToSchema)]
pub(super) struct Model {
    /// May contain slashes.
    id: String,
    /// `model`.
    object: String,
    /// Unix seconds; 0 when nobody knows.
    created: i64,
    owned_by: String,
    /// The highest tier among those who serve it now: `open`, `tee` or `tee+gpu`; null while nobody does.
    tier: Option<String>,
    /// Every tier among those who serve it now, the lowest first.
    tiers: Option<Vec<String>>,
}

/// The envelope of every error.
#[derive(ToSchema)]
pub(super) struct Error {
    error: ErrorBody,
}

/// What is inside the envelope.
#[derive(ToSchema)]
pub(super) struct ErrorBody {
    /// A sentence for the person who reads the client's log.
    message: String,
    /// The class that SDKs show, such as `invalid_request_error`.
    r#type: String,
    /// The request parameter at fault, if one is.
    #[schema(required)]
    param: Option<String>,
    /// The code that programs compare, such as `model_not_found`.
    #[schema(required)]
    code: Option<String>,
    /// Of `no_attested_upstream`: how many upstreams there are for each reason.
    reasons: Option<BTreeMap<String, u32>>,
}

/// An answer of Anthropic's Messages API.
#[derive(ToSchema)]
pub(super) struct Message {
    id: Option<String>,
    /// `message`.
    r#type: Option<String>,
    role: Option<String>,
    model: Option<String>,
    /// Blocks: `text`, `thinking`, `tool_use` and their like.
    content: Vec<Value>,
    /// `end_turn`, `max_tokens`, `stop_sequence`, `tool_use` or `refusal`.
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Option<Value>,
}

/// How many tokens a message would be.
#[derive(ToSchema)]
pub(super) struct MessageTokens {
    input_tokens: i64,
}

/// The envelope of every error on the paths of Anthropic's API.
#[derive(ToSchema)]
pub(super) struct MessagesError {
    /// `error`.
    r#type: String,
    error: MessagesErrorBody,
    request_id: String,
}

/// What is inside the envelope.
#[derive(ToSchema)]
pub(super) struct MessagesErrorBody {
    /// The class that SDKs show, such as `invalid_request_error`.
    r#type: String,
    message: String,
}
