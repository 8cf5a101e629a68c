//! A chat completion as a generateContent request.

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;

use super::super::{
    Dialect, Untranslatable,
    conversation::{self, Assistant, Conversation, Format, Media, Message, Part, Text, Tool, ToolChoice},
    effort,
    object::{self, Object},
    value::{Json, Members},
};

const REFUSED: [&str; 7] = [
    "logit_bias",
    "modalities",
    "audio",
    "web_search_options",
    "verbosity",
    "functions",
    "function_call",
];

/// What Google's documentation gives for calls whose signature is not known, such as those of another model.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// The largest budget that all models with budgets take.
const MAX_BUDGET: u64 = 24_576;

pub(in super::super) fn request(chat: &Object<'_, '_>, model: &str) -> Result<Bytes, Untranslatable> {
    conversation::refuse(chat, &REFUSED, Dialect::Gemini.name())?;
    let conversation = Conversation::read(chat)?;
    let mut body = Members::new();
    if !conversation.instructions.is_empty() {
        let parts: Vec<Json<'_>> = conversation.instructions.iter().copied().map(text).collect();
        body.put("systemInstruction", Members::new().with("parts", parts));
    }
    body.put("contents", contents(conversation, !has_budget(model))?);
    put_tools(chat, &mut body)?;
    let config = config(chat, model)?;
    if !config.is_empty() {
        body.put("generationConfig", config);
    }
    Ok(body.to_bytes())
}

/// Whether a model is of the generations before Gemini 3, which take a budget of thoughts. Those to come take a level.
fn has_budget(model: &str) -> bool {
    model.contains("gemini-1") || model.contains("gemini-2")
}

fn text(text: Text<'_>) -> Json<'_> {
    Members::new().with("text", text.written).into()
}

/// Who said a turn. Results of tools are a turn of their own, which must have as many parts as there were calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    User,
    Model,
    Tools,
}

struct Contents<'a> {
    /// Gemini 3 and later know ids of calls and want signatures; those before refuse a member `id`.
    is_new: bool,
    turns: Vec<(Speaker, Vec<Json<'a>>)>,
    /// The place and name of the latest call with an id.
    calls: HashMap<Cow<'a, str>, (usize, Cow<'a, str>)>,
    /// How many calls there were.
    places: usize,
    /// The results of the turn that is open, each with the place of its call, for they go in the order of the calls.
    results: Vec<(usize, Json<'a>)>,
}

fn contents(conversation: Conversation<'_>, is_new: bool) -> Result<Vec<Json<'_>>, Untranslatable> {
    let mut contents = Contents {
        is_new,
        turns: Vec::new(),
        calls: HashMap::new(),
        places: 0,
        results: Vec::new(),
    };
    for message in conversation.messages {
        match message {
            Message::User(parts) => {
                let parts = parts.into_iter().map(part).collect();
                contents.say(Speaker::User, parts);
            }
            Message::Assistant(assistant) => {
                let parts = contents.said(assistant);
                contents.say(Speaker::Model, parts);
            }
            Message::Tool { call, parts, path } => contents.result(call, parts, &path)?,
        }
    }
    contents.end_results();
    if contents.turns.is_empty() {
        return Err(Untranslatable::new(
            "messages",
            "Every message is empty, which this model does not accept. Add a user message with text.",
        ));
    }
    let turns = contents.turns.into_iter().map(|(speaker, parts)| {
        let role = if speaker == Speaker::Model { "model" } else { "user" };
        Members::new().with("role", role).with("parts", parts).into()
    });
    Ok(turns.collect())
}

impl<'a> Contents<'a> {
    fn say(&mut self, speaker: Speaker, parts: Vec<Json<'a>>) {
        self.end_results();
        self.add(speaker, parts);
    }

    fn add(&mut self, speaker: Speaker, parts: Vec<Json<'a>>) {
        match self.turns.last_mut() {
            Some((last, before)) if *last == speaker => before.extend(parts),
            _ if parts.is_empty() => {}
            _ => self.turns.push((speaker, parts)),
        }
    }

    fn end_results(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        results.sort_by_key(|(place, _)| *place);
        let results = results.into_iter().map(|(_, result)| result).collect();
        self.add(Speaker::Tools, results);
    }

    /// What a model said before. Of its thoughts only the signatures go back.
    fn said(&mut self, assistant: Assistant<'a>) -> Vec<Json<'a>> {
        let mut parts = Vec::new();
        let last_text = assistant.texts.len().wrapping_sub(1);
        for (index, text) in assistant.texts.into_iter().enumerate() {
            let signature = assistant.signature.filter(|_| index == last_text);
            let part = Members::new().with("text", text.written);
            parts.push(part.with_some("thoughtSignature", signature).into());
        }
        let is_signed = assistant.calls.iter().any(|call| call.signature.is_some());
        for (index, call) in assistant.calls.into_iter().enumerate() {
            let made_up = self.is_new && !is_signed && index == 0;
            let signature = match call.signature {
                Some(signature) => Some(Json::Raw(signature)),
                None => made_up.then(|| NO_SIGNATURE.into()),
            };
            let function = Members::new()
                .with_some("id", self.is_new.then(|| call.id.clone()))
                .with("name", call.name.clone())
                .with("args", call.arguments);
            let part = Members::new().with("functionCall", function);
            parts.push(part.with_some("thoughtSignature", signature).into());
            let place = self.places;
            self.places += 1;
            self.calls.insert(call.id, (place, call.name));
        }
        parts
    }

    fn result(&mut self, id: Cow<'a, str>, parts: Vec<Part<'a>>, path: &str) -> Result<(), Untranslatable> {
        let Some((place, name)) = self.calls.get(&id).cloned() else {
            return Err(Untranslatable::new(
                format!("{path}.tool_call_id"),
                "It names no tool call of the messages before, which this model needs. Send the assistant's message with the call too.",
            ));
        };
        let mut output = String::new();
        for part in parts {
            let Part::Text(text) = part else {
                return Err(Untranslatable::new(
                    format!("{path}.content"),
                    "The result of a tool can only be text for this model. Put the rest into a user message.",
                ));
            };
            if !output.is_empty() {
                output.push('\n');
            }
            output.push_str(&object::text(text.written).unwrap_or_default());
        }
        let response = Members::new()
            .with_some("id", self.is_new.then_some(id))
            .with("name", name)
            .with("response", Members::new().with("output", output));
        self.results
            .push((place, Members::new().with("functionResponse", response).into()));
        Ok(())
    }
}

fn part(part: Part<'_>) -> Json<'_> {
    match part {
        Part::Text(said) => text(said),
        Part::Image(media, _) | Part::Audio(media, _) | Part::File(media, _) => medium(media).into(),
    }
}

fn medium(media: Media<'_>) -> Members<'_> {
    match media {
        Media::Inline { mime, data } => {
            let data = Members::new().with("mimeType", mime).with("data", data);
            Members::new().with("inlineData", data)
        }
        Media::Url(url) => {
            let mime = mime_of(&url);
            let file = Members::new().with_some("mimeType", mime).with("fileUri", url);
            Members::new().with("fileData", file)
        }
    }
}

/// The media type that the name of a file suggests; without one Gemini looks for itself.
fn mime_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, extension) = path.rsplit_once('.')?;
    Some(match &*extension.to_ascii_lowercase() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        _ => return None,
    })
}

fn put_tools<'a>(chat: &Object<'a, '_>, body: &mut Members<'a>) -> Result<(), Untranslatable> {
    let tools = Tool::read_all(chat)?;
    let choice = ToolChoice::read(chat)?;
    if tools.is_empty() {
        return Ok(());
    }
    conversation::refuse(chat, &["parallel_tool_calls"], Dialect::Gemini.name())?;
    let declarations: Vec<Json<'a>> = tools.into_iter().map(declaration).collect();
    let declarations = Members::new().with("functionDeclarations", declarations);
    body.put("tools", vec![declarations.into()]);
    let mut config = Members::new();
    match choice {
        None => return Ok(()),
        Some(ToolChoice::Auto) => config.put("mode", "AUTO"),
        Some(ToolChoice::None) => config.put("mode", "NONE"),
        Some(ToolChoice::Required) => config.put("mode", "ANY"),
        Some(ToolChoice::Named(name)) => {
            config.put("mode", "ANY");
            config.put("allowedFunctionNames", vec![name.into()]);
        }
    }
    body.put("toolConfig", Members::new().with("functionCallingConfig", config));
    Ok(())
}

fn declaration(tool: Tool<'_>) -> Json<'_> {
    Members::new()
        .with("name", tool.name)
        .with_some("description", tool.description)
        .with_some("parametersJsonSchema", tool.parameters)
        .into()
}

/// Names of numbers that only change their spelling.
const NUMBERS: [(&str, &str); 5] = [
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
];

fn config<'a>(chat: &Object<'a, '_>, model: &str) -> Result<Members<'a>, Untranslatable> {
    let mut config = Members::new();
    for (ours, theirs) in NUMBERS {
        chat.number(ours)?;
        config.put_some(theirs, chat.get(ours));
    }
    // A seed may be negative, and is passed as it is.
    chat.number("seed")?;
    config.put_some("seed", chat.get("seed"));
    config.put_some("candidateCount", chat.count("n")?.filter(|count| *count != 1));
    config.put_some("maxOutputTokens", conversation::max_tokens(chat)?);
    let stop = conversation::stop(chat)?;
    if !stop.is_empty() {
        config.put("stopSequences", stop.into_iter().map(Json::Raw).collect::<Vec<_>>());
    }
    if chat.flag("logprobs")? == Some(true) {
        config.put("responseLogprobs", true);
        config.put_some("logprobs", chat.count("top_logprobs")?);
    }
    match Format::read(chat)? {
        Format::Text => {}
        Format::JsonObject => config.put("responseMimeType", "application/json"),
        Format::JsonSchema(schema) => {
            config.put("responseMimeType", "application/json");
            config.put("responseJsonSchema", schema);
        }
    }
    config.put_some("thinkingConfig", thinking(chat, model)?);
    Ok(config)
}

fn thinking(chat: &Object<'_, '_>, model: &str) -> Result<Option<Members<'static>>, Untranslatable> {
    let Some(effort) = chat.text("reasoning_effort")? else {
        return Ok(None);
    };
    let has_budget = has_budget(model);
    if effort == "none" {
        if has_budget {
            return Ok(Some(Members::new().with("thinkingBudget", 0)));
        }
        return Err(Untranslatable::new(
            "reasoning_effort",
            "The thinking of this model cannot be turned off. Use minimal or low.",
        ));
    }
    let Some(budget) = effort::budget(&effort) else {
        let path = chat.path.member("reasoning_effort");
        return Err(path.wrong("none, minimal, low, medium, high, xhigh or max").into());
    };
    let config = Members::new().with("includeThoughts", true);
    if has_budget {
        return Ok(Some(config.with("thinkingBudget", budget.min(MAX_BUDGET))));
    }
    let level = match &*effort {
        "minimal" => "MINIMAL",
        "low" => "LOW",
        "medium" => "MEDIUM",
        "high" => "HIGH",
        // xhigh and max.
        _ => "XHIGH",
    };
    Ok(Some(config.with("thinkingLevel", level)))
}
