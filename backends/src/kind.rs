//! The kinds of OpenAI-compatible server, what they can do and how they differ.

use openapi::endpoint::Endpoint;

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
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::OpenAi,
        Self::Azure,
        Self::Vllm,
        Self::SgLang,
        Self::LlamaCpp,
        Self::Ollama,
        Self::Tgi,
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
            Self::Compatible => "openai-compatible",
        }
    }

    pub fn capabilities(self) -> Capabilities {
        let all = Capabilities {
            stream_usage: true,
            developer_role: true,
            max_completion_tokens: true,
            n: true,
        };
        match self {
            // Their templates know system, user, assistant and tool, and they generate one answer.
            Self::Ollama | Self::Tgi => Capabilities {
                developer_role: false,
                max_completion_tokens: false,
                n: false,
                ..all
            },
            _ => all,
        }
    }

    /// The families of operations that the kind is known to serve.
    pub fn endpoints(self) -> &'static [Endpoint] {
        use Endpoint::{
            Audio, Batches, ChatCompletions, Completions, Detokenize, Embeddings, Files, Images, Models, Moderations,
            Rerank, Responses, Score, Tokenize,
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
            Self::Compatible => &Endpoint::ALL,
        }
    }

    /// The path whose answer says that the server is well; `None` for hosted services, which are not probed.
    pub fn health_path(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Azure => None,
            Self::Vllm | Self::SgLang | Self::LlamaCpp | Self::Tgi => Some("/health"),
            Self::Ollama => Some("/api/version"),
            Self::Compatible => Some("/v1/models"),
        }
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
