//! The kinds of server, what they can do and how they differ.

use http::{HeaderName, HeaderValue, header};
use openapi::{dialect::Dialect, endpoint::Endpoint};

/// What a backend runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    OpenAi,
    Azure,
    Vllm,
    SgLang,
    LlamaCpp,
    Ollama,
    Tgi,
    Anthropic,
    Gemini,
    /// Anything else that speaks the same wire.
    Compatible,
}

/// What a backend understands. A configuration may correct each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Knows `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Accepts messages of role `developer`.
    pub developer_role: bool,
    /// Knows `max_completion_tokens`.
    pub max_completion_tokens: bool,
    /// Gives several answers to one request.
    pub n: bool,
    /// Reasons at length, counts that and does not show it: its count has nothing to be held against.
    pub hidden_reasoning: bool,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::OpenAi,
        Self::Azure,
        Self::Vllm,
        Self::SgLang,
        Self::LlamaCpp,
        Self::Ollama,
        Self::Tgi,
        Self::Anthropic,
        Self::Gemini,
        Self::Compatible,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Vllm => "vllm",
            Self::SgLang => "sglang",
            Self::LlamaCpp => "llamacpp",
            Self::Ollama => "ollama",
            Self::Tgi => "tgi",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Compatible => "openai-compatible",
        }
    }

    /// What it speaks, where that is not OpenAI's.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Anthropic => Some(Dialect::Anthropic),
            Self::Gemini => Some(Dialect::Gemini),
            _ => None,
        }
    }

    /// Whether it counts the tokens of Anthropic's messages itself: vLLM and llama.cpp have that operation too.
    pub fn counts_messages(self) -> bool {
        matches!(self, Self::Anthropic | Self::Vllm | Self::LlamaCpp)
    }

    pub fn capabilities(self) -> Capabilities {
        let all = Capabilities {
            stream_usage: true,
            developer_role: true,
            max_completion_tokens: true,
            n: true,
            hidden_reasoning: false,
        };
        match self {
            // Their templates know system, user, assistant and tool, and they generate one answer.
            Self::Ollama | Self::Tgi => Capabilities {
                developer_role: false,
                max_completion_tokens: false,
                n: false,
                ..all
            },
            Self::Anthropic => Capabilities {
                n: false,
                hidden_reasoning: true,
                ..all
            },
            Self::OpenAi | Self::Azure | Self::Gemini => Capabilities {
                hidden_reasoning: true,
                ..all
            },
            _ => all,
        }
    }

    /// The families of operations that the kind is known to serve.
    pub fn endpoints(self) -> &'static [Endpoint] {
        use Endpoint::{
            Audio, Batches, ChatCompletions, Completions, Detokenize, Embeddings, Files, Images, Messages, Models,
            Moderations, Rerank, Responses, Score, Tokenize,
        };
        match self {
            Self::OpenAi => &[
                ChatCompletions,
                Completions,
                Embeddings,
                Responses,
                Moderations,
                Audio,
                Images,
                Files,
                Batches,
                Models,
            ],
            Self::Azure => &[
                ChatCompletions,
                Completions,
                Embeddings,
                Responses,
                Audio,
                Images,
                Files,
                Batches,
            ],
            Self::Vllm => &[
                ChatCompletions,
                Completions,
                Embeddings,
                Responses,
                Rerank,
                Score,
                Tokenize,
                Detokenize,
                Audio,
            ],
            Self::SgLang => &[
                ChatCompletions,
                Completions,
                Embeddings,
                Responses,
                Rerank,
                Score,
                Tokenize,
                Detokenize,
            ],
            Self::LlamaCpp => &[
                ChatCompletions,
                Completions,
                Embeddings,
                Responses,
                Rerank,
                Tokenize,
                Detokenize,
            ],
            Self::Ollama => &[ChatCompletions, Completions, Embeddings, Responses],
            Self::Tgi => &[ChatCompletions, Completions, Tokenize],
            Self::Anthropic | Self::Gemini => &[ChatCompletions, Messages],
            Self::Compatible => &Endpoint::ALL,
        }
    }

    /// The path whose answer says that the server is well; `None` for hosted services, which are not probed.
    pub fn health_path(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Azure | Self::Anthropic | Self::Gemini => None,
            Self::Vllm | Self::SgLang | Self::LlamaCpp | Self::Tgi => Some("/health"),
            Self::Ollama => Some("/api/version"),
            Self::Compatible => Some("/v1/models"),
        }
    }

    /// The path that lists its models; `None` where the list says nothing of what can be called.
    pub fn models_path(self) -> Option<&'static str> {
        match self {
            // Azure lists a resource's base models.
            Self::Azure => None,
            // Their pages are short unless asked otherwise.
            Self::Anthropic => Some("/v1/models?limit=1000"),
            Self::Gemini => Some("/v1beta/models?pageSize=1000"),
            _ => Some("/v1/models"),
        }
    }

    /// The header that carries our credential.
    pub fn credential_header(self) -> HeaderName {
        match self {
            Self::Azure => HeaderName::from_static("api-key"),
            Self::Anthropic => HeaderName::from_static("x-api-key"),
            Self::Gemini => HeaderName::from_static("x-goog-api-key"),
            _ => header::AUTHORIZATION,
        }
    }

    /// A header that it demands; the configuration's own goes before it.
    pub fn demanded_header(self) -> Option<(HeaderName, HeaderValue)> {
        (self == Self::Anthropic).then(|| {
            (
                HeaderName::from_static("anthropic-version"),
                HeaderValue::from_static("2023-06-01"),
            )
        })
    }

    /// Where an operation lives on a server of this kind, below its base path.
    pub fn path(self, endpoint: Endpoint, operation: &str) -> String {
        match endpoint {
            // Engines serve these beside /v1, not below it.
            Endpoint::Tokenize | Endpoint::Detokenize | Endpoint::Score => format!("/{operation}"),
            _ => format!("/v1/{operation}"),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
