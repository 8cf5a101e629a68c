//! Which path is which operation.

use std::fmt;

/// A family of operations that a backend serves as a whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    /// Anthropic's.
    Messages,
    Moderations,
    Rerank,
    Score,
    Tokenize,
    Detokenize,
    Audio,
    Images,
    Files,
    Batches,
    /// Listing is the gateway's own answer; only what it cannot answer goes to a backend.
    Models,
}

/// How the answers of an endpoint stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Chunks with `choices`, then `[DONE]`.
    Chat,
    /// Typed events with a `sequence_number`, no `[DONE]`.
    Responses,
    /// Anthropic's typed events, from `message_start` to `message_stop`.
    Messages,
    /// Bytes that we do not read.
    Opaque,
}

impl Endpoint {
    pub const ALL: [Self; 15] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::Moderations,
        Self::Rerank,
        Self::Score,
        Self::Tokenize,
        Self::Detokenize,
        Self::Audio,
        Self::Images,
        Self::Files,
        Self::Batches,
        Self::Models,
    ];

    /// The name in configuration, metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::Audio => "audio",
            Self::Images => "images",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Models => "models",
        }
    }

    /// Where the family lives below the base path.
    fn root(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat/completions",
            other => other.as_str(),
        }
    }

    /// Whether the family has operations of any method, and below its root.
    fn has_sub_resources(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Responses
                | Self::Audio
                | Self::Images
                | Self::Files
                | Self::Batches
                | Self::Models
        )
    }

    /// Whether `POST` on the root runs a model, with a JSON body that names it.
    pub fn is_inference(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses | Self::Messages
        )
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Self::ChatCompletions | Self::Completions => Protocol::Chat,
            Self::Responses => Protocol::Responses,
            Self::Messages => Protocol::Messages,
            _ => Protocol::Opaque,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request's method and path ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub endpoint: Endpoint,
    /// Below the base path, without a leading slash: `chat/completions`, `responses/resp_1/input_items`.
    pub path: String,
    /// The deployment of an Azure-style path, which names the model.
    pub deployment: Option<String>,
    /// `POST` on the root of a family: the operation that [`Endpoint::is_inference`] speaks of.
    pub is_root_post: bool,
}

/// Why a path is not an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unroutable {
    /// No such path.
    Path,
    /// The path exists for these methods.
    Method { allow: &'static str },
}

impl Operation {
    /// Reads a method and a path. `/v1` is optional, a trailing slash is forgiven, and Azure's
    /// `/openai/deployments/{deployment}/…` and `/openai/v1/…` are understood, and `/anthropic/v1/messages`.
    pub fn parse(method: &str, path: &str) -> Result<Self, Unroutable> {
        let mut rest = path.strip_prefix('/').ok_or(Unroutable::Path)?;
        rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut deployment = None;
        if let Some(azure) = rest.strip_prefix("openai/") {
            if let Some(named) = azure.strip_prefix("deployments/") {
                let (name, tail) = named.split_once('/').ok_or(Unroutable::Path)?;
                deployment = Some(percent_decode(name).ok_or(Unroutable::Path)?);
                rest = tail;
            } else {
                rest = azure;
            }
        }
        let anthropic = rest.strip_prefix(ANTHROPIC);
        rest = anthropic.unwrap_or(rest);
        rest = rest.strip_prefix("v1/").unwrap_or(rest);

        let endpoint = Endpoint::ALL
            .into_iter()
            .find(|endpoint| below(rest, endpoint.root()).is_some())
            .filter(|endpoint| anthropic.is_none() || matches!(endpoint, Endpoint::Messages | Endpoint::Models))
            .ok_or(Unroutable::Path)?;
        if has_odd_segment(rest) {
            return Err(Unroutable::Path);
        }
        let is_root = rest.len() == endpoint.root().len();
        if !is_root && !endpoint.has_sub_resources() && rest != COUNT_TOKENS {
            return Err(Unroutable::Path);
        }
        if !endpoint.has_sub_resources() && method != "POST" {
            return Err(Unroutable::Method { allow: "POST" });
        }
        if !matches!(method, "GET" | "POST" | "DELETE" | "PUT" | "PATCH" | "HEAD") {
            return Err(Unroutable::Method {
                allow: "GET, POST, DELETE",
            });
        }
        // HEAD runs nothing; only what can be fetched has one.
        if method == "HEAD" && !matches!(endpoint, Endpoint::Models | Endpoint::Files) {
            return Err(Unroutable::Method {
                allow: "GET, POST, DELETE",
            });
        }
        if is_root && endpoint == Endpoint::Responses && method != "POST" {
            return Err(Unroutable::Method { allow: "POST" });
        }
        Ok(Self {
            endpoint,
            path: rest.to_owned(),
            deployment,
            is_root_post: is_root && method == "POST",
        })
    }

    /// Counts the tokens of a message and runs nothing.
    pub fn is_count_tokens(&self) -> bool {
        self.path == COUNT_TOKENS
    }

    /// The id of `models/{id}`, percent-decoded; it may contain slashes.
    pub fn model_id(&self) -> Option<String> {
        let id = self.path.strip_prefix("models/")?;
        percent_decode(id)
    }
}

/// Where Anthropic's clients are sent by those who serve both wires.
const ANTHROPIC: &str = "anthropic/";
/// The one operation below `messages`.
const COUNT_TOKENS: &str = "messages/count_tokens";

/// Whether who asks for a path speaks Anthropic's API, so that errors are worded for it, those of unknown paths too.
pub fn is_anthropic_path(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let rest = path.strip_prefix("v1/").unwrap_or(path);
    path.starts_with(ANTHROPIC) || below(rest, Endpoint::Messages.root()).is_some()
}

/// What follows `root` in `path`: empty, or from a slash on.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// `..` in any spelling must not climb out of the family that was checked, and an empty segment must not make a root
/// look like something below it.
fn has_odd_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        segment.is_empty()
            || percent_decode(segment).is_none_or(|segment| {
                segment == "." || segment == ".." || segment.contains("../") || segment.contains('\\')
            })
    })
}

/// Decodes `%41`; `None` when the result is not UTF-8, holds a control character or a sequence is broken.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte == b'%' {
            let high = char::from(input.next()?).to_digit(16)?;
            let low = char::from(input.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let decoded = String::from_utf8(bytes).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, expect: &str) {
        let (method, path) = request.split_once(' ').expect("METHOD PATH");
        let shown = match Operation::parse(method, path) {
            Ok(op) => {
                let deployment = op.deployment.map(|name| format!(" @{name}")).unwrap_or_default();
                let root = if op.is_root_post { " root" } else { "" };
                format!("{} {}{deployment}{root}", op.endpoint, op.path)
            }
            Err(Unroutable::Path) => "404".to_owned(),
            Err(Unroutable::Method { allow }) => format!("405 {allow}"),
        };
        assert_eq!(shown, expect, "for {request}");
    }

    #[test]
    fn paths() {
        check("POST /v1/chat/completions", "chat_completions chat/completions root");
        check("POST /chat/completions/", "chat_completions chat/completions root");
        check(
            "GET /v1/chat/completions/chatcmpl-1/messages",
            "chat_completions chat/completions/chatcmpl-1/messages",
        );
        check(
            "POST /openai/deployments/gpt%2F4/chat/completions",
            "chat_completions chat/completions @gpt/4 root",
        );
        check("POST /openai/v1/responses", "responses responses root");
        check("DELETE /v1/responses/r1", "responses responses/r1");
        check("GET /v1/responses", "405 POST");
        check("GET /v1/embeddings", "405 POST");
        check("POST /v1/embeddings/x", "404");
        check("POST /v1/audio/transcriptions", "audio audio/transcriptions");
        check("POST /tokenize", "tokenize tokenize root");
        check("GET /v1/files/f-1/content", "files files/f-1/content");
        check("TRACE /v1/files", "405 GET, POST, DELETE");
        check("POST /v1/nothing", "404");
        check("POST /v1/chat/completions//", "404");
        check("GET /v1/files//x", "404");
        check("HEAD /v1/chat/completions", "405 GET, POST, DELETE");
        check("HEAD /v1/models", "models models");
        check("POST /v1/chat", "404");
        check("POST /v1/chat/completionsx", "404");
        check("GET /v1/files/../../admin", "404");
        check("GET /v1/files/%2e%2e/admin", "404");
        check("GET /v1/files/..%2f..%2fadmin", "404");
        check("GET /v1/models", "models models");
        check("POST /v1/messages", "messages messages root");
        check("POST /anthropic/v1/messages", "messages messages root");
        check("POST /messages/", "messages messages root");
        check("POST /v1/messages/count_tokens", "messages messages/count_tokens");
        check("GET /v1/messages", "405 POST");
        check("GET /v1/messages/count_tokens", "405 POST");
        check("POST /v1/messages/batches", "404");
        check("GET /anthropic/v1/models", "models models");
        check("POST /anthropic/v1/chat/completions", "404");
    }

    #[test]
    fn whom_errors_are_worded_for() {
        for path in [
            "/v1/messages",
            "/messages/",
            "/v1/messages/batches",
            "/anthropic/v1/nothing",
        ] {
            assert!(is_anthropic_path(path), "{path}");
        }
        for path in ["/v1/chat/completions", "/v1/messagesx", "/", "/v1/responses/messages"] {
            assert!(!is_anthropic_path(path), "{path}");
        }
    }

    #[test]
    fn model_ids_keep_their_slashes() {
        let id = |path| Operation::parse("GET", path).ok().and_then(|op| op.model_id());
        assert_eq!(
            id("/v1/models/meta-llama/Llama-3"),
            Some("meta-llama/Llama-3".to_owned())
        );
        assert_eq!(
            id("/models/meta-llama%2FLlama-3"),
            Some("meta-llama/Llama-3".to_owned())
        );
        assert_eq!(id("/v1/models/a%ffb"), None);
    }
}
