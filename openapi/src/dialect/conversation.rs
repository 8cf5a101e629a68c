//! The messages, tools and limits of a chat completion, read for whoever must say them otherwise.
//!
//! Refuses what no dialect has a word for: deprecated functions, custom tools, parts of an unknown type.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    Untranslatable,
    object::{self, Object, Path, Wrong},
};
use crate::json;

/// The messages of a request. What `system` and `developer` say is gathered, wherever it stood.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    pub(super) instructions: Vec<Text<'a>>,
    pub(super) messages: Vec<Message<'a>>,
}

pub(super) enum Message<'a> {
    User(Vec<Part<'a>>),
    Assistant(Assistant<'a>),
    /// The result of a tool call.
    Tool {
        call: Cow<'a, str>,
        parts: Vec<Part<'a>>,
        path: String,
    },
}

#[derive(Default)]
pub(super) struct Assistant<'a> {
    pub(super) thoughts: Vec<Thought<'a>>,
    pub(super) texts: Vec<Text<'a>>,
    pub(super) calls: Vec<Call<'a>>,
    /// Google's signature of the text.
    pub(super) signature: Option<&'a RawValue>,
}

/// Reasoning that its model can check when it comes back.
pub(super) enum Thought<'a> {
    Signed {
        text: Cow<'a, str>,
        signature: Cow<'a, str>,
    },
    Redacted(Cow<'a, str>),
}

pub(super) struct Call<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// A JSON object.
    pub(super) arguments: Box<RawValue>,
    /// Google's signature of the thought behind it.
    pub(super) signature: Option<&'a RawValue>,
}

/// A text as it is written.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) written: &'a RawValue,
    /// Anthropic's mark for its cache, which clients put beside texts and tools.
    pub(super) cache_control: Option<&'a RawValue>,
}

pub(super) enum Part<'a> {
    Text(Text<'a>),
    Image(Media<'a>, String),
    Audio(Media<'a>, String),
    File(Media<'a>, String),
}

/// A medium, with the place it stood at for errors beside it.
pub(super) enum Media<'a> {
    /// Base64.
    Inline {
        mime: String,
        data: Cow<'a, str>,
    },
    Url(Cow<'a, str>),
}

pub(super) struct Tool<'a> {
    pub(super) name: &'a RawValue,
    pub(super) description: Option<&'a RawValue>,
    /// A JSON Schema.
    pub(super) parameters: Option<&'a RawValue>,
    pub(super) is_strict: bool,
    pub(super) cache_control: Option<&'a RawValue>,
}

pub(super) enum ToolChoice<'a> {
    Auto,
    None,
    Required,
    Named(Cow<'a, str>),
}

/// What the answer must look like.
pub(super) enum Format<'a> {
    Text,
    JsonObject,
    JsonSchema(&'a RawValue),
}

impl<'a> Conversation<'a> {
    pub(super) fn read(chat: &Object<'a, '_>) -> Result<Self, Untranslatable> {
        let mut conversation = Self::default();
        for (index, message) in chat.list("messages")?.into_iter().enumerate() {
            let path = chat.path.element("messages", index);
            conversation.add(&Object::read(message, path)?)?;
        }
        if conversation.messages.is_empty() {
            return Err(Untranslatable::new(
                "messages",
                "This model needs at least one message that is not of the role system or developer. Add a user message.",
            ));
        }
        Ok(conversation)
    }

    fn add(&mut self, message: &Object<'a, '_>) -> Result<(), Untranslatable> {
        match &*message.kind("role") {
            "system" | "developer" => self.instructions.extend(texts(message)?),
            "user" => self.messages.push(Message::User(parts(message)?)),
            "assistant" => self.messages.push(Message::Assistant(Assistant::read(message)?)),
            "tool" => self.messages.push(Message::Tool {
                call: message.required_text("tool_call_id")?,
                parts: parts(message)?,
                path: message.path.to_string(),
            }),
            "function" => {
                return Err(Untranslatable::new(
                    format!("{}.role", message.path),
                    "Messages of the role function have no counterpart in this model's dialect. Use tools and the role tool.",
                ));
            }
            _ => {
                let path = message.path.member("role");
                return Err(path.wrong("system, developer, user, assistant or tool").into());
            }
        }
        Ok(())
    }
}

impl<'a> Assistant<'a> {
    fn read(message: &Object<'a, '_>) -> Result<Self, Untranslatable> {
        for name in ["function_call", "audio"] {
            if message.has(name) {
                return Err(Untranslatable::new(
                    format!("{}.{name}", message.path),
                    format!("Messages with {name} have no counterpart in this model's dialect. Leave it out."),
                ));
            }
        }
        let mut assistant = Self {
            texts: texts(message)?,
            thoughts: thoughts(message)?,
            signature: signature(message)?,
            ..Self::default()
        };
        let refusal = message.raw_text("refusal")?;
        assistant
            .texts
            .extend(refusal.and_then(|refusal| Text::read(refusal, message)));
        for (index, call) in message.list("tool_calls")?.into_iter().enumerate() {
            let path = message.path.element("tool_calls", index);
            assistant.calls.push(Call::read(&Object::read(call, path)?)?);
        }
        Ok(assistant)
    }
}

impl<'a> Call<'a> {
    fn read(call: &Object<'a, '_>) -> Result<Self, Untranslatable> {
        if !matches!(&*call.kind("type"), "" | "function") {
            return Err(not_a_function(&call.path));
        }
        let id = call.required_text("id")?;
        let signature = signature(call)?;
        let function = call.object("function", |function| {
            let written = function.text("arguments")?.unwrap_or_default();
            let arguments = arguments(&written)
                .ok_or_else(|| function.path.member("arguments").wrong("a JSON object in a string"))?;
            let name = function.required_text("name")?;
            Ok::<_, Untranslatable>((name, arguments))
        })?;
        let Some((name, arguments)) = function else {
            return Err(call.path.member("function").wrong("there; it is required").into());
        };
        Ok(Self {
            id,
            name,
            arguments,
            signature,
        })
    }
}

/// The arguments of a call: an object, no deeper than a request may be. No text at all is an empty object.
pub(super) fn arguments(written: &str) -> Option<Box<RawValue>> {
    let written = written.trim();
    let written = if written.is_empty() { "{}" } else { written };
    if !written.starts_with('{') || json::is_deeper_than(written.as_bytes(), json::MAX_DEPTH) {
        return None;
    }
    RawValue::from_string(written.to_owned()).ok()
}

fn not_a_function(path: &Path<'_>) -> Untranslatable {
    Untranslatable::new(
        format!("{path}.type"),
        "Only tools of the type function have a counterpart in this model's dialect. Describe the tool as a function.",
    )
}

/// Google's `extra_content.google.thought_signature`.
fn signature<'a>(object: &Object<'a, '_>) -> Result<Option<&'a RawValue>, Wrong> {
    let found = object.object("extra_content", |extra| {
        extra.object("google", |google| google.raw_text("thought_signature"))
    })?;
    Ok(found.flatten().flatten())
}

/// `reasoning_details`, as far as they are Anthropic's. Pieces of one thought, as a stream brings them, are put together.
fn thoughts<'a>(message: &Object<'a, '_>) -> Result<Vec<Thought<'a>>, Untranslatable> {
    let mut thoughts = Vec::new();
    let mut open: Option<(u64, Cow<'a, str>)> = None;
    for (index, detail) in message.list("reasoning_details")?.into_iter().enumerate() {
        let detail = Object::read(detail, message.path.element("reasoning_details", index))?;
        let format = detail.kind("format");
        if !format.is_empty() && !format.starts_with("anthropic") {
            continue;
        }
        match &*detail.kind("type") {
            "reasoning.text" => {
                let index = detail.tokens("index");
                let piece = detail.text("text")?.unwrap_or_default();
                let text = match open.take() {
                    Some((of, before)) if of == index => before + piece,
                    _ => piece,
                };
                match detail.text("signature")?.filter(|signature| !signature.is_empty()) {
                    Some(signature) => thoughts.push(Thought::Signed { text, signature }),
                    None => open = Some((index, text)),
                }
            }
            "reasoning.encrypted" => thoughts.extend(detail.text("data")?.map(Thought::Redacted)),
            _ => {}
        }
    }
    Ok(thoughts)
}

/// Content that can only be text.
fn texts<'a>(message: &Object<'a, '_>) -> Result<Vec<Text<'a>>, Untranslatable> {
    let mut texts = Vec::new();
    for (index, part) in parts(message)?.into_iter().enumerate() {
        let Part::Text(text) = part else {
            let path = message.path.element("content", index);
            return Err(path.wrong("text, which is all that this role can say").into());
        };
        texts.push(text);
    }
    Ok(texts)
}

/// The content of a message. Empty texts are left out: nobody else accepts them, and they say nothing.
fn parts<'a>(message: &Object<'a, '_>) -> Result<Vec<Part<'a>>, Untranslatable> {
    let Some(content) = message.get("content") else {
        return Ok(Vec::new());
    };
    if object::is_text(content) {
        return Ok(Text::read(content, message).map(Part::Text).into_iter().collect());
    }
    let mut parts = Vec::new();
    for (index, part) in message.list("content")?.into_iter().enumerate() {
        let path = message.path.element("content", index);
        parts.extend(Part::read(&Object::read(part, path)?)?);
    }
    Ok(parts)
}

impl<'a> Text<'a> {
    /// `None` for an empty text.
    fn read(written: &'a RawValue, beside: &Object<'a, '_>) -> Option<Self> {
        let text = Self {
            written,
            cache_control: beside.get("cache_control"),
        };
        (!object::is_empty(written)).then_some(text)
    }
}

impl<'a> Part<'a> {
    fn read(part: &Object<'a, '_>) -> Result<Option<Self>, Untranslatable> {
        let place = || part.path.to_string();
        match &*part.kind("type") {
            kind @ ("text" | "refusal") => {
                let written = part.raw_text(kind)?;
                let missing = || part.path.member("text").wrong("there; it is a required string");
                Ok(Text::read(written.ok_or_else(missing)?, part).map(Self::Text))
            }
            "image_url" => {
                let url = match part.get("image_url") {
                    Some(url) if object::is_text(url) => part.text("image_url")?,
                    _ => part.object("image_url", |image| image.text("url"))?.flatten(),
                };
                let path = part.path.member("image_url");
                let media = Media::of_url(url.unwrap_or_default(), &path)?;
                Ok(Some(Self::Image(media, place())))
            }
            "input_audio" => {
                let audio = part.object("input_audio", |audio| {
                    let mime = match &*audio.kind("format") {
                        "wav" => "audio/wav",
                        "mp3" => "audio/mp3",
                        _ => return Err(Untranslatable::from(audio.path.member("format").wrong("wav or mp3"))),
                    };
                    Ok(Media::Inline {
                        mime: mime.to_owned(),
                        data: audio.required_text("data")?,
                    })
                })?;
                let missing = || part.path.member("input_audio").wrong("there; it is required");
                Ok(Some(Self::Audio(audio.ok_or_else(missing)?, place())))
            }
            "file" => {
                let url = part.object("file", |file| file.text("file_data"))?.flatten();
                let Some(url) = url else {
                    return Err(Untranslatable::new(
                        format!("{}.file", part.path),
                        "A file that was uploaded elsewhere cannot be given to this model. Send its content as file_data.",
                    ));
                };
                let path = part.path.member("file");
                Ok(Some(Self::File(Media::of_url(url, &path)?, place())))
            }
            _ => Err(part
                .path
                .member("type")
                .wrong("text, image_url, input_audio or file")
                .into()),
        }
    }
}

impl<'a> Media<'a> {
    fn of_url(url: Cow<'a, str>, path: &Path<'_>) -> Result<Self, Untranslatable> {
        if ["http://", "https://", "gs://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Ok(Self::Url(url));
        }
        let inline = url.strip_prefix("data:").and_then(|rest| {
            let (head, _) = rest.split_once(',')?;
            let mime = head.strip_suffix(";base64")?.split(';').next()?;
            Some((mime.to_ascii_lowercase(), url.len() - (rest.len() - head.len() - 1)))
        });
        let Some((mime, at)) = inline.filter(|(mime, _)| mime.contains('/')) else {
            let expected = "an http or https URL, or a data URL with its media type and base64";
            return Err(path.wrong(expected).into());
        };
        let data = match url {
            Cow::Borrowed(url) => Cow::Borrowed(&url[at..]),
            Cow::Owned(mut url) => Cow::Owned(url.split_off(at)),
        };
        Ok(Self::Inline { mime, data })
    }
}

impl<'a> Tool<'a> {
    pub(super) fn read_all(chat: &Object<'a, '_>) -> Result<Vec<Self>, Untranslatable> {
        let tools = chat.list("tools")?.into_iter().enumerate();
        tools
            .map(|(index, tool)| Self::read(&Object::read(tool, chat.path.element("tools", index))?))
            .collect()
    }

    fn read(tool: &Object<'a, '_>) -> Result<Self, Untranslatable> {
        if tool.kind("type") != "function" {
            return Err(not_a_function(&tool.path));
        }
        let read = tool.object("function", |function| {
            let missing = || function.path.member("name").wrong("there; it is a required string");
            let parameters = function.object("parameters", |_| Ok::<_, Untranslatable>(()))?;
            Ok::<_, Untranslatable>(Self {
                name: function.raw_text("name")?.ok_or_else(missing)?,
                description: function.raw_text("description")?,
                parameters: parameters.and_then(|()| function.get("parameters")),
                is_strict: function.flag("strict")? == Some(true),
                cache_control: tool.get("cache_control").or(function.get("cache_control")),
            })
        })?;
        read.ok_or_else(|| tool.path.member("function").wrong("there; it is required").into())
    }
}

impl<'a> ToolChoice<'a> {
    pub(super) fn read(chat: &Object<'a, '_>) -> Result<Option<Self>, Untranslatable> {
        let Some(choice) = chat.get("tool_choice") else {
            return Ok(None);
        };
        let wrong = || {
            let path = chat.path.member("tool_choice");
            Untranslatable::from(path.wrong("auto, none, required or the name of one function"))
        };
        match object::text(choice).as_deref() {
            Some("auto") => return Ok(Some(Self::Auto)),
            Some("none") => return Ok(Some(Self::None)),
            Some("required") => return Ok(Some(Self::Required)),
            Some(_) => return Err(wrong()),
            None => {}
        }
        let named = chat.object("tool_choice", |choice| {
            choice.object("function", |function| function.required_text("name"))
        })?;
        match named.flatten() {
            Some(name) => Ok(Some(Self::Named(name))),
            None => Err(wrong()),
        }
    }
}

impl<'a> Format<'a> {
    pub(super) fn read(chat: &Object<'a, '_>) -> Result<Self, Untranslatable> {
        let format = chat.object("response_format", |format| match &*format.kind("type") {
            "text" => Ok(Self::Text),
            "json_object" => Ok(Self::JsonObject),
            "json_schema" => {
                let schema = format.object("json_schema", |schema| {
                    schema.object("schema", |_| Ok::<_, Untranslatable>(()))?;
                    Ok::<_, Untranslatable>(schema.get("schema"))
                })?;
                let missing = || format.path.member("json_schema.schema").wrong("there; it is required");
                Ok(Self::JsonSchema(schema.flatten().ok_or_else(missing)?))
            }
            _ => {
                let path = format.path.member("type");
                Err(Untranslatable::from(path.wrong("text, json_object or json_schema")))
            }
        })?;
        Ok(format.unwrap_or(Self::Text))
    }
}

/// The most tokens to generate, by its new name or its old.
pub(super) fn max_tokens(chat: &Object<'_, '_>) -> Result<Option<u64>, Wrong> {
    let new = chat.count("max_completion_tokens")?;
    let old = chat.count("max_tokens")?;
    Ok(new.or(old))
}

/// The stop sequences: one, several or none.
pub(super) fn stop<'a>(chat: &Object<'a, '_>) -> Result<Vec<&'a RawValue>, Wrong> {
    let expected = "a string or an array of strings";
    let wrong = || chat.path.member("stop").wrong(expected);
    match chat.get("stop") {
        None => Ok(Vec::new()),
        Some(stop) if object::is_text(stop) => Ok(vec![stop]),
        Some(stop) => {
            let stops = object::list(stop).ok_or_else(wrong)?;
            if stops.iter().all(|stop| object::is_text(stop)) {
                Ok(stops)
            } else {
                Err(wrong())
            }
        }
    }
}

/// Parameters that would change the answer: refused unless they ask for nothing.
pub(super) fn refuse(chat: &Object<'_, '_>, names: &[&'static str], dialect: &str) -> Result<(), Untranslatable> {
    for &name in names {
        let asks = chat.get(name).is_some_and(|value| !is_neutral(name, value.get()));
        if asks {
            return Err(Untranslatable::new(
                name,
                format!("{name} has no counterpart in {dialect}, which serves this model. Leave it out."),
            ));
        }
    }
    Ok(())
}

/// What a parameter says when it asks for nothing.
fn is_neutral(name: &str, written: &str) -> bool {
    match name {
        // A seed of 0 is a seed, and calls in parallel are what is usual.
        "seed" => false,
        "parallel_tool_calls" => written == "true",
        _ if matches!(written, "false" | "0" | "0.0" | "[]" | "{}") => true,
        "n" => written == "1",
        "verbosity" => written == r#""medium""#,
        "modalities" => serde_json::from_str::<Vec<Cow<'_, str>>>(written).is_ok_and(|all| all == ["text"]),
        _ => false,
    }
}
