//! Whom a deployment speaks to: `provider/model`, or a name that LiteLLM knows by itself.

/// A provider that a backend can be.
#[derive(Debug)]
pub(super) struct Provider {
    /// What the model begins with, before the slash.
    prefixes: &'static [&'static str],
    /// What its backends are called.
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    /// Where it is, unless `api_base` says otherwise.
    pub(super) base: Option<&'static str>,
    /// The variable that LiteLLM reads where neither is there.
    pub(super) base_variable: Option<&'static str>,
    /// The variable that LiteLLM takes its key from; engines of one's own need none.
    pub(super) key_variable: Option<&'static str>,
}

/// A provider in the cloud, at one address.
const fn cloud(
    prefixes: &'static [&'static str],
    kind: &'static str,
    base: &'static str,
    key_variable: &'static str,
) -> Provider {
    Provider {
        prefixes,
        label: prefixes[0],
        kind,
        base: Some(base),
        base_variable: None,
        key_variable: Some(key_variable),
    }
}

/// An engine that somebody runs, at whatever address.
const fn engine(
    prefixes: &'static [&'static str],
    label: &'static str,
    kind: &'static str,
    base_variable: Option<&'static str>,
) -> Provider {
    Provider {
        prefixes,
        label,
        kind,
        base: None,
        base_variable,
        key_variable: None,
    }
}

const COMPATIBLE: &str = "openai-compatible";

const PROVIDERS: &[Provider] = &[
    cloud(
        &["openai", "text-completion-openai"],
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
    ),
    Provider {
        prefixes: &["azure", "azure_text"],
        label: "azure",
        kind: "azure",
        base: None,
        base_variable: Some("AZURE_API_BASE"),
        key_variable: Some("AZURE_API_KEY"),
    },
    cloud(
        &["anthropic"],
        "anthropic",
        "https://api.anthropic.com",
        "ANTHROPIC_API_KEY",
    ),
    cloud(
        &["gemini"],
        "gemini",
        "https://generativelanguage.googleapis.com",
        "GEMINI_API_KEY",
    ),
    cloud(&["groq"], COMPATIBLE, "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    cloud(&["mistral"], COMPATIBLE, "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    cloud(
        &["codestral"],
        COMPATIBLE,
        "https://codestral.mistral.ai/v1",
        "CODESTRAL_API_KEY",
    ),
    cloud(
        &["together_ai"],
        COMPATIBLE,
        "https://api.together.xyz/v1",
        "TOGETHERAI_API_KEY",
    ),
    cloud(
        &["fireworks_ai"],
        COMPATIBLE,
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_AI_API_KEY",
    ),
    cloud(
        &["deepseek"],
        COMPATIBLE,
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
    ),
    cloud(
        &["openrouter"],
        COMPATIBLE,
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
    ),
    cloud(&["xai"], COMPATIBLE, "https://api.x.ai/v1", "XAI_API_KEY"),
    cloud(
        &["nvidia_nim"],
        COMPATIBLE,
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_NIM_API_KEY",
    ),
    cloud(
        &["cerebras"],
        COMPATIBLE,
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
    ),
    cloud(
        &["sambanova"],
        COMPATIBLE,
        "https://api.sambanova.ai/v1",
        "SAMBANOVA_API_KEY",
    ),
    cloud(
        &["moonshot"],
        COMPATIBLE,
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
    ),
    engine(&["hosted_vllm", "vllm"], "vllm", "vllm", Some("HOSTED_VLLM_API_BASE")),
    Provider {
        base: Some("http://localhost:11434"),
        ..engine(&["ollama", "ollama_chat"], "ollama", "ollama", None)
    },
    // Without an address it is Hugging Face's own router, which is another API.
    engine(&["huggingface"], "tgi", "tgi", None),
    engine(&["lm_studio"], "lm-studio", COMPATIBLE, Some("LM_STUDIO_API_BASE")),
    engine(&["llamafile"], "llamafile", "llamacpp", Some("LLAMAFILE_API_BASE")),
    engine(&["xinference"], "xinference", COMPATIBLE, Some("XINFERENCE_API_BASE")),
    engine(
        &["openai_like", "custom_openai"],
        "compatible",
        COMPATIBLE,
        Some("OPENAI_LIKE_API_BASE"),
    ),
    engine(
        &["litellm_proxy"],
        "litellm",
        COMPATIBLE,
        Some("LITELLM_PROXY_API_BASE"),
    ),
];

/// Beginnings of names that LiteLLM knows without a provider before them.
const KNOWN: &[(&str, &str)] = &[
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-", "openai"),
    ("text-moderation", "openai"),
    ("omni-moderation", "openai"),
    ("dall-e", "openai"),
    ("whisper-1", "openai"),
    ("tts-1", "openai"),
    ("ft:gpt-", "openai"),
    ("claude-", "anthropic"),
];

/// The provider of a model and the model's name there, or why there is none.
pub(super) fn find<'a>(model: &'a str, stated: Option<&str>) -> Result<(&'static Provider, &'a str), String> {
    let named = |prefix: &str| PROVIDERS.iter().find(|provider| provider.prefixes.contains(&prefix));
    if let Some(stated) = stated {
        let provider = named(stated).ok_or_else(|| unknown(stated))?;
        let own = model.split_once('/').filter(|(prefix, _)| *prefix == stated);
        return Ok((provider, own.map_or(model, |(_, name)| name)));
    }
    if let Some((prefix, name)) = model.split_once('/')
        && !prefix.contains('*')
    {
        return match named(prefix) {
            Some(provider) => Ok((provider, name)),
            None => Err(unknown(prefix)),
        };
    }
    let known = KNOWN.iter().find(|(start, _)| model.starts_with(start));
    let provider = known.and_then(|(_, provider)| named(provider));
    match provider {
        Some(provider) => Ok((provider, model)),
        None if model == "*" => Err(
            "every provider at once has no like here: add a pattern for each, such as `gpt-*` with `openai/gpt-*`"
                .to_owned(),
        ),
        None => Err("it does not say whose it is; write `provider/model`".to_owned()),
    }
}

fn unknown(prefix: &str) -> String {
    let shown = prefix.escape_debug();
    match prefix {
        "bedrock" | "bedrock_converse" | "sagemaker" | "sagemaker_chat" => {
            format!("{shown} signs its requests as AWS does, which no backend here can")
        }
        "vertex_ai" | "vertex_ai_beta" => {
            format!("{shown} wants Google's service accounts; the same models with an API key are kind gemini")
        }
        "cohere" | "cohere_chat" | "replicate" | "watsonx" | "databricks" | "predibase" | "nlp_cloud" => {
            format!("{shown} has an API of its own, which no backend here speaks")
        }
        _ => {
            format!("the provider {shown} is not known here; if it speaks OpenAI's API, write openai/ and its api_base")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(model: &str, stated: Option<&str>, expect: Result<(&str, &str), &str>) {
        match (find(model, stated), expect) {
            (Ok((provider, name)), Ok(expect)) => assert_eq!((provider.label, name), expect),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, _) => panic!("{model}: {found:?}"),
        }
    }

    #[test]
    fn a_model_says_whose_it_is() {
        check("openai/gpt-4o", None, Ok(("openai", "gpt-4o")));
        check("text-completion-openai/x", None, Ok(("openai", "x")));
        check("gpt-4o", None, Ok(("openai", "gpt-4o")));
        check("o3-mini", None, Ok(("openai", "o3-mini")));
        check("claude-sonnet-4", None, Ok(("anthropic", "claude-sonnet-4")));
        check("openrouter/meta/llama", None, Ok(("openrouter", "meta/llama")));
        check("hosted_vllm/Qwen/Qwen3-4B", None, Ok(("vllm", "Qwen/Qwen3-4B")));
        check("Qwen/Qwen3-4B", Some("hosted_vllm"), Ok(("vllm", "Qwen/Qwen3-4B")));
        check("groq/llama", Some("groq"), Ok(("groq", "llama")));
        check("ollama_chat/llama3", None, Ok(("ollama", "llama3")));
        check("openai/*", None, Ok(("openai", "*")));
    }

    #[test]
    fn what_cannot_be_reached_says_why() {
        check("bedrock/anthropic.claude", None, Err("as AWS does"));
        check("vertex_ai/gemini-pro", None, Err("kind gemini"));
        check("gemini-pro", None, Err("provider/model"));
        check("acme/x", None, Err("the provider acme is not known"));
        check("x", Some("acme"), Err("the provider acme is not known"));
        check("*", None, Err("every provider at once"));
        check("*/x", None, Err("provider/model"));
    }
}
