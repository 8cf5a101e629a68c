//! A chat completion as a Messages request.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::{
    Dialect, Untranslatable,
    conversation::{self, Assistant, Conversation, Format, Media, Message, Part, Text, Thought, Tool, ToolChoice},
    effort,
    object::Object,
    value::{Json, Members},
};

/// For requests that set no limit, which Anthropic wants: room for an answer, thinking apart.
const MAX_TOKENS: u64 = 4096;
/// Anthropic's least budget.
const MIN_BUDGET: u64 = 1024;
/// With room for an answer it stays within the 32,000 tokens that the smallest of these models can write.
const MAX_BUDGET: u64 = 24_576;

const REFUSED: [&str; 13] = [
    "n",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "modalities",
    "audio",
    "web_search_options",
    "verbosity",
    "functions",
    "function_call",
];

pub(in super::super) fn request(chat: &Object<'_, '_>, model: &str) -> Result<Bytes, Untranslatable> {
    let dialect = Dialect::Anthropic.name();
    conversation::refuse(chat, &REFUSED, dialect)?;
    let conversation = Conversation::read(chat)?;
    let thinking = Thinking::read(chat, model)?.without_lost_thoughts(&conversation);
    let max_tokens = conversation::max_tokens(chat)?;

    let mut body = Members::new().with("model", model).with(
        "max_tokens",
        max_tokens.unwrap_or(MAX_TOKENS.saturating_add(thinking.room())),
    );
    if !conversation.instructions.is_empty() {
        body.put(
            "system",
            conversation.instructions.iter().copied().map(text).collect::<Vec<_>>(),
        );
    }
    body.put("messages", turns(conversation)?);
    put_tools(chat, &mut body)?;
    let stop = conversation::stop(chat)?;
    if !stop.is_empty() {
        body.put("stop_sequences", stop.into_iter().map(Json::Raw).collect::<Vec<_>>());
    }
    put_sampling(chat, &mut body)?;
    put_output(chat, thinking, max_tokens, &mut body)?;
    let user = chat.raw_text("safety_identifier")?.or(chat.raw_text("user")?);
    if let Some(user) = user {
        body.put("metadata", Members::new().with("user_id", user));
    }
    body.put_some("cache_control", chat.get("cache_control"));
    body.put_some("stream", chat.flag("stream")?.filter(|stream| *stream));
    Ok(body.to_bytes())
}

fn text(text: Text<'_>) -> Json<'_> {
    Members::new()
        .with("type", "text")
        .with("text", text.written)
        .with_some("cache_control", text.cache_control)
        .into()
}

/// Anthropic takes letters, digits, `_` and `-` in the id of a call, and other servers write others too.
fn call_id(id: Cow<'_, str>) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if id.chars().all(is_plain) {
        return id;
    }
    id.replace(|c| !is_plain(c), "_").into()
}

/// Turns that alternate: what one side said in a row is one turn, and results of parallel calls are the next.
fn turns(conversation: Conversation<'_>) -> Result<Vec<Json<'_>>, Untranslatable> {
    let mut turns: Vec<(&'static str, Vec<Json<'_>>)> = Vec::new();
    for message in conversation.messages {
        let (role, blocks) = match message {
            Message::User(parts) => ("user", blocks(parts)?),
            Message::Assistant(assistant) => ("assistant", said(assistant)),
            Message::Tool { call, parts, .. } => {
                let mut result = Members::new()
                    .with("type", "tool_result")
                    .with("tool_use_id", call_id(call));
                if !parts.is_empty() {
                    result.put("content", blocks(parts)?);
                }
                ("user", vec![result.into()])
            }
        };
        match turns.last_mut() {
            Some((last, before)) if *last == role => before.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => turns.push((role, blocks)),
        }
    }
    if turns.is_empty() {
        return Err(Untranslatable::new(
            "messages",
            "Every message is empty, which this model does not accept. Add a user message with text.",
        ));
    }
    let turns = turns.into_iter();
    Ok(turns
        .map(|(role, blocks)| Members::new().with("role", role).with("content", blocks).into())
        .collect())
}

fn said(assistant: Assistant<'_>) -> Vec<Json<'_>> {
    let mut blocks = Vec::new();
    for thought in assistant.thoughts {
        blocks.push(Json::from(match thought {
            Thought::Signed { text, signature } => Members::new()
                .with("type", "thinking")
                .with("thinking", text)
                .with("signature", signature),
            Thought::Redacted(data) => Members::new().with("type", "redacted_thinking").with("data", data),
        }));
    }
    blocks.extend(assistant.texts.into_iter().map(text));
    for call in assistant.calls {
        let block = Members::new()
            .with("type", "tool_use")
            .with("id", call_id(call.id))
            .with("name", call.name)
            .with("input", call.arguments);
        blocks.push(block.into());
    }
    blocks
}

fn blocks(parts: Vec<Part<'_>>) -> Result<Vec<Json<'_>>, Untranslatable> {
    parts.into_iter().map(block).collect()
}

fn block(part: Part<'_>) -> Result<Json<'_>, Untranslatable> {
    let refused = |place: String, what: &str| {
        let message = format!(
            "{what} has no counterpart in {}, which serves this model. Leave it out.",
            Dialect::Anthropic.name()
        );
        Err(Untranslatable::new(place, message))
    };
    let (kind, source) = match part {
        Part::Text(written) => return Ok(text(written)),
        Part::Audio(_, place) => return refused(place, "Audio"),
        Part::Image(media, place) => match media {
            Media::Url(url) if url.starts_with("gs://") => return refused(place, "A gs:// URL"),
            media => ("image", source(media)),
        },
        Part::File(media, place) => match &media {
            Media::Url(url) if url.starts_with("http") => ("document", source(media)),
            Media::Inline { mime, .. } if mime == "application/pdf" => ("document", source(media)),
            _ => return refused(place, "A file other than a PDF"),
        },
    };
    Ok(Members::new().with("type", kind).with("source", source).into())
}

fn source(media: Media<'_>) -> Members<'_> {
    match media {
        Media::Inline { mime, data } => Members::new()
            .with("type", "base64")
            .with("media_type", mime)
            .with("data", data),
        Media::Url(url) => Members::new().with("type", "url").with("url", url),
    }
}

fn put_tools<'a>(chat: &Object<'a, '_>, body: &mut Members<'a>) -> Result<(), Untranslatable> {
    let tools = Tool::read_all(chat)?;
    let is_serial = chat.flag("parallel_tool_calls")? == Some(false);
    let choice = ToolChoice::read(chat)?;
    let choice = match choice {
        // Without tools there is nothing to choose.
        Some(ToolChoice::Auto | ToolChoice::None) | None if tools.is_empty() => None,
        None if !is_serial => None,
        Some(ToolChoice::Auto) | None => Some(Members::new().with("type", "auto")),
        Some(ToolChoice::None) => Some(Members::new().with("type", "none")),
        Some(ToolChoice::Required) => Some(Members::new().with("type", "any")),
        Some(ToolChoice::Named(ref name)) => Some(Members::new().with("type", "tool").with("name", name.clone())),
    }
    .map(|members| {
        let can_call = !matches!(choice, Some(ToolChoice::None));
        members.with_some("disable_parallel_tool_use", (is_serial && can_call).then_some(true))
    });
    if !tools.is_empty() {
        body.put("tools", tools.into_iter().map(tool).collect::<Vec<_>>());
    }
    body.put_some("tool_choice", choice);
    Ok(())
}

fn tool(tool: Tool<'_>) -> Json<'_> {
    let schema = match tool.parameters {
        Some(schema) => Json::Raw(schema),
        None => Members::new()
            .with("type", "object")
            .with("properties", Members::new())
            .into(),
    };
    Members::new()
        .with("name", tool.name)
        .with_some("description", tool.description)
        .with("input_schema", schema)
        .with_some("strict", tool.is_strict.then_some(true))
        .with_some("cache_control", tool.cache_control)
        .into()
}

fn put_sampling<'a>(chat: &Object<'a, '_>, body: &mut Members<'a>) -> Result<(), Untranslatable> {
    if chat.number("temperature")?.is_some_and(|temperature| temperature > 1.0) {
        return Err(Untranslatable::new(
            "temperature",
            "Anthropic's Messages API, which serves this model, takes a temperature between 0 and 1. Lower it.",
        ));
    }
    for name in ["temperature", "top_p", "top_k"] {
        chat.number(name)?;
        body.put_some(name, chat.get(name));
    }
    Ok(())
}

/// How to think, and what the answer must look like.
fn put_output<'a>(
    chat: &Object<'a, '_>,
    thinking: Thinking<'a>,
    max_tokens: Option<u64>,
    body: &mut Members<'a>,
) -> Result<(), Untranslatable> {
    let mut output = Members::new();
    match thinking {
        Thinking::Unsaid => {}
        Thinking::AsGiven(config, _) => body.put("thinking", config),
        Thinking::Off => body.put("thinking", Members::new().with("type", "disabled")),
        Thinking::Effort(effort) => {
            // Newer models leave the text of their thinking out unless they are asked for it.
            let adaptive = Members::new().with("type", "adaptive").with("display", "summarized");
            body.put("thinking", adaptive);
            output.put("effort", effort);
        }
        Thinking::Budget(budget) => {
            let budget = within(budget, max_tokens)?;
            let enabled = Members::new().with("type", "enabled").with("budget_tokens", budget);
            body.put("thinking", enabled);
        }
    }
    match Format::read(chat)? {
        Format::Text => {}
        Format::JsonSchema(schema) => {
            output.put(
                "format",
                Members::new().with("type", "json_schema").with("schema", schema),
            );
        }
        Format::JsonObject => {
            return Err(Untranslatable::new(
                "response_format",
                "json_object has no counterpart in Anthropic's Messages API, which serves this model. Use json_schema and give the schema.",
            ));
        }
    }
    if !output.is_empty() {
        body.put("output_config", output);
    }
    Ok(())
}

/// The budget must be less than `max_tokens`, which counts the thinking too, as `max_completion_tokens` does.
fn within(budget: u64, max_tokens: Option<u64>) -> Result<u64, Untranslatable> {
    let Some(max_tokens) = max_tokens else {
        return Ok(budget);
    };
    if max_tokens <= MIN_BUDGET {
        return Err(Untranslatable::new(
            "max_completion_tokens",
            "With reasoning_effort this model needs a max_completion_tokens above 1024. Raise it, or leave reasoning_effort out.",
        ));
    }
    // Where both do not fit, half is for the answer.
    Ok(if budget < max_tokens {
        budget
    } else {
        (max_tokens / 2).max(MIN_BUDGET)
    })
}

/// How to think.
enum Thinking<'a> {
    Unsaid,
    Off,
    /// For models that decide themselves, within an effort.
    Effort(&'static str),
    /// For models that want a number of tokens.
    Budget(u64),
    /// In Anthropic's own words, with the budget that stands in them.
    AsGiven(&'a RawValue, u64),
}

impl<'a> Thinking<'a> {
    fn read(chat: &Object<'a, '_>, model: &str) -> Result<Self, Untranslatable> {
        let given = chat.object("thinking", |config| {
            Ok::<_, Untranslatable>(config.tokens("budget_tokens"))
        })?;
        if let (Some(budget), Some(config)) = (given, chat.get("thinking")) {
            return Ok(Self::AsGiven(config, budget));
        }
        let Some(effort) = chat.text("reasoning_effort")? else {
            return Ok(Self::Unsaid);
        };
        if effort == "none" {
            return Ok(Self::Off);
        }
        let Some(budget) = effort::budget(&effort) else {
            let path = chat.path.member("reasoning_effort");
            return Err(path.wrong("none, minimal, low, medium, high, xhigh or max").into());
        };
        if wants_budget(model) {
            return Ok(Self::Budget(budget.min(MAX_BUDGET)));
        }
        Ok(Self::Effort(match &*effort {
            "minimal" | "low" => "low",
            "medium" => "medium",
            "high" => "high",
            "xhigh" => "xhigh",
            _ => "max",
        }))
    }

    /// A model with a budget refuses to go on thinking after a tool call whose thoughts did not come back, and most
    /// clients of OpenAI's wire drop them: it then answers without.
    fn without_lost_thoughts(self, conversation: &Conversation<'_>) -> Self {
        let is_lost = || {
            let last = conversation.messages.last();
            let mut assistants = conversation.messages.iter().rev();
            let asked = assistants.find_map(|message| match message {
                Message::Assistant(assistant) => Some(assistant.thoughts.is_empty()),
                _ => None,
            });
            matches!(last, Some(Message::Tool { .. })) && asked == Some(true)
        };
        match self {
            Self::Budget(_) if is_lost() => Self::Unsaid,
            other => other,
        }
    }

    /// The tokens that thinking may take.
    fn room(&self) -> u64 {
        match self {
            Self::Unsaid | Self::Off => 0,
            Self::Effort(effort) => effort::budget(effort).unwrap_or(0),
            Self::Budget(budget) | Self::AsGiven(_, budget) => *budget,
        }
    }
}

/// Whether a model is of the generations before adaptive thinking: Claude 3.7, 4, 4.1 and 4.5. Those that came later
/// take an effort, and so will those to come.
fn wants_budget(model: &str) -> bool {
    let model: Cow<'_, str> = model.replace('.', "-").into();
    let is_four = |family: &str| {
        let version = model.split_once(family).and_then(|(_, after)| after.strip_prefix("-4"));
        let Some(version) = version else {
            return false;
        };
        let minor: String = version.chars().skip(1).take_while(char::is_ascii_digit).collect();
        // A date is no minor version.
        minor.len() > 3 || matches!(&*minor, "" | "0" | "1" | "5")
    };
    model.contains("claude-3") || ["opus", "sonnet", "haiku"].into_iter().any(is_four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_apart() {
        for old in [
            "claude-3-7-sonnet-latest",
            "claude-sonnet-4-20250514",
            "claude-opus-4-1-20250805",
            "anthropic/claude-opus-4.5",
            "claude-haiku-4-5-20251001",
            "claude-sonnet-4-0",
            "claude-opus-4",
        ] {
            assert!(wants_budget(old), "{old} takes a budget");
        }
        for new in [
            "claude-opus-4-6",
            "claude-sonnet-4.6",
            "claude-opus-4-10",
            "claude-opus-5",
            "claude-fable-5",
            "proxy-name",
        ] {
            assert!(!wants_budget(new), "{new} takes an effort");
        }
    }
}
