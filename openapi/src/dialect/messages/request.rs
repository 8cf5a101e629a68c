//! A Messages request as a chat completion.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::{
    Untranslatable, effort,
    object::{self, Object, Path, Wrong},
    value::{Json, Members},
};

/// What changes the answer and has no counterpart.
const REFUSED: [&str; 3] = ["container", "mcp_servers", "inference_geo"];

pub(super) fn request(messages: &Object<'_, '_>) -> Result<Bytes, Untranslatable> {
    for name in REFUSED {
        if messages.get(name).is_some_and(|value| value.get() != "[]") {
            let message =
                format!("{name} cannot be given to this model, which Anthropic does not serve. Leave it out.");
            return Err(Untranslatable::new(name, message));
        }
    }
    let missing = |name: &'static str, expected| Untranslatable::from(messages.path.member(name).wrong(expected));
    let max_tokens = messages.count("max_tokens")?;
    let max_tokens = max_tokens.ok_or_else(|| missing("max_tokens", "there; it is a required number"))?;
    let model = messages.raw_text("model")?;
    let mut body = Members::new()
        .with(
            "model",
            model.ok_or_else(|| missing("model", "there; it is a required string"))?,
        )
        .with("messages", conversation(messages)?)
        .with("max_completion_tokens", max_tokens);
    if messages.flag("stream")? == Some(true) {
        body.put("stream", true);
        body.put("stream_options", Members::new().with("include_usage", true));
    }
    for name in ["temperature", "top_p", "top_k"] {
        messages.number(name)?;
        body.put_some(name, messages.get(name));
    }
    let stops = messages.list("stop_sequences")?;
    if !stops.iter().all(|stop| object::is_text(stop)) {
        return Err(missing("stop_sequences", "an array of strings"));
    }
    if !stops.is_empty() {
        body.put("stop", stops.into_iter().map(Json::Raw).collect::<Vec<_>>());
    }
    put_tools(messages, &mut body)?;
    put_thinking(messages, &mut body)?;
    let user = messages.object("metadata", |metadata| metadata.raw_text("user_id"))?;
    body.put_some("user", user.flatten());
    Ok(body.to_bytes())
}

/// The messages, the system prompt first.
fn conversation<'a>(messages: &Object<'a, '_>) -> Result<Vec<Json<'a>>, Untranslatable> {
    let mut all = Vec::new();
    let system = texts(messages, "system")?;
    if !system.is_empty() {
        all.push(message("system").with("content", joined(system)).into());
    }
    if !messages.has("messages") {
        return Err(messages
            .path
            .member("messages")
            .wrong("there; it is a required array")
            .into());
    }
    for (index, turn) in messages.list("messages")?.into_iter().enumerate() {
        let turn = Object::read(turn, messages.path.element("messages", index))?;
        match &*turn.kind("role") {
            "user" => user(&turn, &mut all)?,
            "assistant" => all.push(assistant(&turn)?.into()),
            "system" => all.push(
                message("system")
                    .with("content", joined(texts(&turn, "content")?))
                    .into(),
            ),
            _ => return Err(turn.path.member("role").wrong("user, assistant or system").into()),
        }
    }
    Ok(all)
}

fn message<'a>(role: &'static str) -> Members<'a> {
    Members::new().with("role", role)
}

/// One text as it is written, or several as one: not every server takes parts where it takes a string.
fn joined(texts: Vec<&RawValue>) -> Json<'_> {
    match texts[..] {
        [text] => Json::Raw(text),
        _ => {
            let texts: Vec<Cow<'_, str>> = texts.into_iter().filter_map(object::text).collect();
            texts.join("\n").into()
        }
    }
}

/// A member that is a string or blocks of text.
fn texts<'a>(object: &Object<'a, '_>, name: &'static str) -> Result<Vec<&'a RawValue>, Untranslatable> {
    let mut texts = Vec::new();
    each_block(object, name, |block| {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Other(block) if block.kind("type") == "text" => texts.push(written_text(&block)?),
            Block::Other(block) => return Err(block.path.member("type").wrong("text").into()),
        }
        Ok(())
    })?;
    Ok(texts)
}

enum Block<'a, 'p> {
    /// Content that is a string.
    Text(&'a RawValue),
    Other(Object<'a, 'p>),
}

fn each_block<'a>(
    object: &Object<'a, '_>,
    name: &'static str,
    mut each: impl FnMut(Block<'a, '_>) -> Result<(), Untranslatable>,
) -> Result<(), Untranslatable> {
    match object.get(name) {
        None => Ok(()),
        Some(text) if object::is_text(text) => each(Block::Text(text)),
        Some(_) => {
            for (index, block) in object.list(name)?.into_iter().enumerate() {
                each(Block::Other(Object::read(block, object.path.element(name, index))?))?;
            }
            Ok(())
        }
    }
}

fn written_text<'a>(block: &Object<'a, '_>) -> Result<&'a RawValue, Wrong> {
    let missing = || block.path.member("text").wrong("there; it is a required string");
    block.raw_text("text")?.ok_or_else(missing)
}

/// What a user's turn says beside the results of tools.
#[derive(Default)]
struct Parts<'a> {
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    Written(&'a RawValue),
    Text(String),
    Image(Json<'a>),
}

/// Results of tools become messages of their own and come first, for they must follow the calls.
fn user<'a>(turn: &Object<'a, '_>, all: &mut Vec<Json<'a>>) -> Result<(), Untranslatable> {
    let mut said = Parts::default();
    each_block(turn, "content", |block| {
        match block {
            Block::Text(text) => said.parts.push(Part::Written(text)),
            Block::Other(block) if block.kind("type") == "tool_result" => all.push(tool_result(&block, &mut said)?),
            Block::Other(block) => said.add(&block)?,
        }
        Ok(())
    })?;
    if let Some(content) = said.content() {
        all.push(message("user").with("content", content).into());
    }
    Ok(())
}

/// A tool's message can hold only text, so its images go to the user's.
fn tool_result<'a>(block: &Object<'a, '_>, said: &mut Parts<'a>) -> Result<Json<'a>, Untranslatable> {
    let id = block.raw_text("tool_use_id")?;
    let missing = || block.path.member("tool_use_id").wrong("there; it is a required string");
    let id = id.ok_or_else(missing)?;
    let mut result = Parts::default();
    each_block(block, "content", |part| match part {
        Block::Text(text) => {
            result.parts.push(Part::Written(text));
            Ok(())
        }
        Block::Other(part) => result.add(&part),
    })?;
    let (images, texts) = result
        .parts
        .into_iter()
        .partition(|part| matches!(part, Part::Image(_)));
    said.parts.extend::<Vec<_>>(images);
    let texts = Parts { parts: texts };
    let content = if block.flag("is_error")? == Some(true) {
        // OpenAI's wire has no other way to tell.
        format!("Error: {}", texts.joined()).into()
    } else {
        texts.content().unwrap_or_else(|| "".into())
    };
    Ok(message("tool").with("tool_call_id", id).with("content", content).into())
}

impl<'a> Parts<'a> {
    fn add(&mut self, block: &Object<'a, '_>) -> Result<(), Untranslatable> {
        match &*block.kind("type") {
            "text" => self.parts.push(Part::Written(written_text(block)?)),
            "image" => self.parts.push(Part::Image(image(block)?)),
            "document" => self.document(block)?,
            "search_result" => {
                let mut text = heading(block, ["title", "source"])?;
                for part in texts(block, "content")? {
                    text.push_str(&object::text(part).unwrap_or_default());
                    text.push('\n');
                }
                self.parts.push(Part::Text(text));
            }
            kind => return Err(no_such_block(&block.path, kind)),
        }
        Ok(())
    }

    fn document(&mut self, block: &Object<'a, '_>) -> Result<(), Untranslatable> {
        let heading = heading(block, ["title", "context"])?;
        let known = block.object("source", |source| {
            match &*source.kind("type") {
                "text" => {
                    let text = heading + &source.required_text("data")?;
                    self.parts.push(Part::Text(text));
                }
                "content" => {
                    if !heading.is_empty() {
                        self.parts.push(Part::Text(heading));
                    }
                    each_block(&source, "content", |part| match part {
                        Block::Text(text) => {
                            self.parts.push(Part::Written(text));
                            Ok(())
                        }
                        Block::Other(part) if matches!(&*part.kind("type"), "text" | "image") => self.add(&part),
                        Block::Other(part) => Err(no_such_block(&part.path, &part.kind("type"))),
                    })?;
                }
                _ => {
                    return Err(Untranslatable::new(
                        format!("{}.source", block.path),
                        "This model, which Anthropic does not serve, reads documents as text only. Send the text of the document.",
                    ));
                }
            }
            Ok(())
        })?;
        known.ok_or_else(|| block.path.member("source").wrong("there; it is required").into())
    }

    /// A string where there is only text, else parts. `None` for nothing.
    fn content(self) -> Option<Json<'a>> {
        if self.parts.is_empty() {
            return None;
        }
        if let [Part::Written(text)] = self.parts[..] {
            return Some(Json::Raw(text));
        }
        if !self.parts.iter().any(|part| matches!(part, Part::Image(_))) {
            return Some(self.joined().into());
        }
        let text = |text: Json<'a>| Json::from(Members::new().with("type", "text").with("text", text));
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Written(written) => text(written.into()),
            Part::Text(said) => text(said.into()),
            Part::Image(image) => image,
        });
        Some(parts.collect::<Vec<_>>().into())
    }

    fn joined(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Written(written) => object::text(written),
            Part::Text(text) => Some(Cow::Borrowed(&**text)),
            Part::Image(_) => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// A line for each member that is there.
fn heading(block: &Object<'_, '_>, names: [&str; 2]) -> Result<String, Wrong> {
    let mut heading = String::new();
    for name in names {
        if let Some(text) = block.text(name)? {
            heading.push_str(&text);
            heading.push('\n');
        }
    }
    Ok(heading)
}

fn no_such_block(path: &Path<'_>, kind: &str) -> Untranslatable {
    // The kind is the client's own word; only a short name is repeated.
    let is_name = kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let kind = if is_name && !kind.is_empty() { kind } else { "this type" };
    Untranslatable::new(
        format!("{path}.type"),
        format!("A block of {kind} cannot be given to this model, which Anthropic does not serve. Leave it out."),
    )
}

fn image<'a>(block: &Object<'a, '_>) -> Result<Json<'a>, Untranslatable> {
    let url = block.object("source", |source| match &*source.kind("type") {
        "base64" => {
            let mime = source.required_text("media_type")?;
            let data = source.required_text("data")?;
            Ok(Json::from(format!("data:{mime};base64,{data}")))
        }
        "url" => Ok(source.required_text("url")?.into()),
        _ => Err(Untranslatable::new(
            format!("{}.type", source.path),
            "This model, which Anthropic does not serve, takes an image as base64 or by its URL. Send it so.",
        )),
    })?;
    let missing = || block.path.member("source").wrong("there; it is required");
    let url = Members::new().with("url", url.ok_or_else(missing)?);
    Ok(Members::new().with("type", "image_url").with("image_url", url).into())
}

fn assistant<'a>(turn: &Object<'a, '_>) -> Result<Members<'a>, Untranslatable> {
    let mut texts: Vec<&'a RawValue> = Vec::new();
    let mut reasoning = String::new();
    let mut details: Vec<Json<'a>> = Vec::new();
    let mut calls: Vec<Json<'a>> = Vec::new();
    each_block(turn, "content", |block| {
        let block = match block {
            Block::Text(text) => {
                texts.push(text);
                return Ok(());
            }
            Block::Other(block) => block,
        };
        match &*block.kind("type") {
            "text" => texts.push(written_text(&block)?),
            "thinking" => {
                let thinking = block.required_text("thinking")?;
                reasoning.push_str(&thinking);
                let signature = block.text("signature")?.unwrap_or_default();
                if !signature.is_empty() {
                    let index = details.len() as u64;
                    details.push(super::super::anthropic::thought(index, &thinking, &signature).into());
                }
            }
            "redacted_thinking" => {
                let index = details.len() as u64;
                let data = block.required_text("data")?;
                details.push(super::super::anthropic::redacted(index, data).into());
            }
            "tool_use" => calls.push(tool_call(&block)?),
            kind => return Err(no_such_block(&block.path, kind)),
        }
        Ok(())
    })?;
    let content = match texts[..] {
        [] if calls.is_empty() => "".into(),
        [] => Json::Null,
        [text] => Json::Raw(text),
        _ => Json::from(texts.into_iter().filter_map(object::text).collect::<String>()),
    };
    let mut said = message("assistant").with("content", content);
    if !reasoning.is_empty() {
        said.put("reasoning_content", reasoning);
    }
    if !details.is_empty() {
        said.put("reasoning_details", details);
    }
    if !calls.is_empty() {
        said.put("tool_calls", calls);
    }
    Ok(said)
}

fn tool_call<'a>(block: &Object<'a, '_>) -> Result<Json<'a>, Untranslatable> {
    let id = block.required_text("id")?;
    let name = block.required_text("name")?;
    block.object("input", |_| Ok::<_, Wrong>(()))?;
    let input = block.get("input").map_or("{}", |input| input.get());
    Ok(super::super::completion::tool_call(id.into(), name.into(), input.into()).into())
}

fn put_tools<'a>(messages: &Object<'a, '_>, body: &mut Members<'a>) -> Result<(), Untranslatable> {
    let mut tools: Vec<Json<'a>> = Vec::new();
    for (index, tool) in messages.list("tools")?.into_iter().enumerate() {
        let tool = Object::read(tool, messages.path.element("tools", index))?;
        if !matches!(&*tool.kind("type"), "" | "custom") {
            return Err(Untranslatable::new(
                format!("{}.type", tool.path),
                "Tools that Anthropic runs or defines cannot be given to this model, which Anthropic does not serve. Use tools of your own, with an input_schema.",
            ));
        }
        let name = tool.raw_text("name")?;
        let missing = || tool.path.member("name").wrong("there; it is a required string");
        tool.object("input_schema", |_| Ok::<_, Wrong>(()))?;
        let function = Members::new()
            .with("name", name.ok_or_else(missing)?)
            .with_some("description", tool.raw_text("description")?)
            .with_some("parameters", tool.get("input_schema"))
            .with_some("strict", tool.flag("strict")?.filter(|strict| *strict));
        tools.push(
            Members::new()
                .with("type", "function")
                .with("function", function)
                .into(),
        );
    }
    if tools.is_empty() {
        return Ok(());
    }
    body.put("tools", tools);
    messages.object("tool_choice", |choice| {
        let value: Json<'a> = match &*choice.kind("type") {
            "auto" => "auto".into(),
            "any" => "required".into(),
            "none" => "none".into(),
            "tool" => {
                let name = Members::new().with("name", choice.required_text("name")?);
                Members::new().with("type", "function").with("function", name).into()
            }
            _ => return Err(choice.path.member("type").wrong("auto, any, tool or none")),
        };
        body.put("tool_choice", value);
        if choice.flag("disable_parallel_tool_use")? == Some(true) {
            body.put("parallel_tool_calls", false);
        }
        Ok(())
    })?;
    Ok(())
}

/// How to think, and what the answer must look like. That thinking is off goes without saying: not every server has a
/// word for it.
fn put_thinking<'a>(messages: &Object<'a, '_>, body: &mut Members<'a>) -> Result<(), Untranslatable> {
    let budget = messages.object("thinking", |thinking| match &*thinking.kind("type") {
        "enabled" => Ok(thinking.count("budget_tokens")?),
        "disabled" | "adaptive" | "between_tools" => Ok(None),
        _ => Err(thinking.path.member("type").wrong("enabled, disabled or adaptive")),
    })?;
    let mut effort = None;
    let mut format = messages.get("output_format");
    messages.object("output_config", |config| {
        effort = config.text("effort")?;
        format = config.get("format").or(format);
        Ok::<_, Wrong>(())
    })?;
    let effort: Option<Json<'a>> = match (effort.as_deref(), budget.flatten()) {
        // The most that every server knows: vLLM refuses other words.
        (Some("xhigh" | "max"), _) => Some("high".into()),
        (Some(_), _) => effort.map(Json::Text),
        (None, Some(budget)) => Some(effort::of_budget(budget).into()),
        (None, None) => None,
    };
    body.put_some("reasoning_effort", effort);
    let Some(format) = format else {
        return Ok(());
    };
    let path = messages.path.member("output_config");
    let format = Object::read(format, path.member("format"))?;
    let schema = format.get("schema").filter(|_| format.kind("type") == "json_schema");
    let schema = schema.ok_or_else(|| format.path.wrong("a json_schema with its schema"))?;
    let named = Members::new()
        .with("name", "answer")
        .with("schema", schema)
        .with("strict", true);
    let response_format = Members::new().with("type", "json_schema").with("json_schema", named);
    body.put("response_format", response_format);
    Ok(())
}
