//! Gemini's `models/NAME:generateContent` and `models/NAME:streamGenerateContent`.
//!
//! It holds requests to rules of the true one: members that the API does not know are refused, roles are `user` and
//! `model`, and a turn of calls is followed by a turn with as many responses, of the same names.

use std::iter;

use serde_json::{Value, json};

use crate::fault::{Fault, Plan};
use crate::refusal::Refusal;
use crate::schema;
use crate::sse::{Event, Events, Part};
use crate::text::{self, Limits};

const MEMBERS: &[&str] = &[
    "contents",
    "tools",
    "toolConfig",
    "safetySettings",
    "systemInstruction",
    "generationConfig",
    "cachedContent",
    "store",
    "serviceTier",
];
const SETTINGS: &[&str] = &[
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "_responseJsonSchema",
    "responseModalities",
    "candidateCount",
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "enableEnhancedCivicAnswers",
    "speechConfig",
    "thinkingConfig",
    "imageConfig",
    "mediaResolution",
];
const THOUGHT: &str = "The words are known beforehand.";

/// What `models/NAME:METHOD` asks for.
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) is_stream: bool,
}

struct Answer {
    model: String,
    id: String,
    parts: Vec<Value>,
    finish: &'static str,
    usage: Value,
}

impl Call {
    /// Reads the path of a request to run a model.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (model, method) = path.strip_prefix("/v1beta/models/")?.rsplit_once(':')?;
        let is_stream = match method {
            "generateContent" => false,
            "streamGenerateContent" => true,
            _ => return None,
        };
        Some(Self {
            model: model.replace("%2F", "/").replace("%2B", "+"),
            is_stream,
        })
    }
}

pub(crate) fn list(models: &Value) -> Value {
    let names = models["data"].as_array().into_iter().flatten();
    let models: Vec<_> = names
        .filter_map(|model| model["id"].as_str())
        .map(|name| {
            json!({
                "name": format!("models/{name}"),
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
            })
        })
        .collect();
    json!({"models": models})
}

pub(crate) fn unary(call: &Call, body: &Value, plan: &Plan, id: u64) -> Result<Value, Refusal> {
    let answer = answer(call, body, plan, id)?;
    let candidate = json!({
        "content": {"role": "model", "parts": answer.parts}, "finishReason": answer.finish, "index": 0,
    });
    Ok(answer.with(&candidate))
}

pub(crate) fn stream(call: &Call, body: &Value, plan: &Plan, id: u64) -> Result<Events, Refusal> {
    let answer = answer(call, body, plan, id)?;
    let pieces: Vec<Value> = answer.parts.iter().flat_map(pieces).collect();
    let finish = json!({
        "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": answer.finish, "index": 0,
    });
    let finish = Event::new(Part::Finish, &answer.with(&finish));
    let contents = pieces.into_iter().map(move |part| {
        let candidate = json!({"content": {"role": "model", "parts": [part]}, "index": 0});
        Event::new(Part::Content, &answer.with(&candidate))
    });
    Ok(Box::new(contents.chain(iter::once(finish))))
}

/// Text comes in pieces, calls come whole.
fn pieces(part: &Value) -> Vec<Value> {
    let Some(words) = part["text"].as_str() else {
        return vec![part.clone()];
    };
    let pieces = text::pieces(words).into_iter();
    pieces
        .map(|piece| {
            let mut part = part.clone();
            part["text"] = piece.into();
            part
        })
        .collect()
}

fn answer(call: &Call, body: &Value, plan: &Plan, id: u64) -> Result<Answer, Refusal> {
    check(body)?;
    let settings = &body["generationConfig"];
    let limits = Limits {
        most_tokens: settings["maxOutputTokens"]
            .as_u64()
            .and_then(|most| usize::try_from(most).ok()),
        stop: {
            let list = settings["stopSequences"].as_array().into_iter().flatten();
            list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        },
    };
    let mut parts = Vec::new();
    let mut thought = 0;
    if settings["thinkingConfig"]["includeThoughts"] == true || plan.has(Fault::Reasoning) {
        parts.push(json!({"text": THOUGHT, "thought": true}));
        thought = text::count(THOUGHT);
    }
    let calls = calls(body, plan)?;
    let mut finish = "STOP";
    let written;
    if calls.is_empty() {
        let (words, cut) = limits.cut(said(body, plan));
        text::check_size(words.len(), false)?;
        if cut == "length" {
            finish = "MAX_TOKENS";
        }
        written = text::count(&words);
        parts.push(json!({"text": words}));
    } else {
        written = calls.len() as u64;
        parts.extend(calls);
    }
    let prompt = prompt(body);
    let mut usage = json!({
        "promptTokenCount": prompt,
        "candidatesTokenCount": written,
        "totalTokenCount": prompt + written + thought,
    });
    if thought > 0 {
        usage["thoughtsTokenCount"] = thought.into();
    }
    if plan.has(Fault::Cached) {
        usage["cachedContentTokenCount"] = (prompt / 2).into();
    }
    Ok(Answer {
        model: call.model.clone(),
        id: format!("mock-{id}"),
        parts,
        finish,
        usage: if plan.has(Fault::NoUsage) { Value::Null } else { usage },
    })
}

impl Answer {
    fn with(&self, candidate: &Value) -> Value {
        let mut whole = json!({
            "candidates": [candidate], "modelVersion": self.model, "responseId": self.id,
        });
        if !self.usage.is_null() {
            whole["usageMetadata"] = self.usage.clone();
        }
        whole
    }
}

fn check(body: &Value) -> Result<(), Refusal> {
    let known = |value: &Value, names: &[&str], place: &str| {
        let members = value.as_object().into_iter().flatten();
        for (name, _) in members {
            if !names.contains(&name.as_str()) {
                return Err(Refusal::bad(format!(
                    "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
                )));
            }
        }
        Ok(())
    };
    known(body, MEMBERS, "")?;
    known(&body["generationConfig"], SETTINGS, " at 'generation_config'")?;
    let contents = body["contents"].as_array().filter(|contents| !contents.is_empty());
    let contents =
        contents.ok_or_else(|| Refusal::bad("* GenerateContentRequest.contents: contents is not specified"))?;
    let mut asked: Vec<&str> = Vec::new();
    for content in contents {
        let role = content["role"].as_str().unwrap_or("user");
        if role != "user" && role != "model" {
            return Err(Refusal::bad("Please use a valid role: user, model."));
        }
        let answered = names(content, "functionResponse");
        if !(asked.is_empty() && answered.is_empty()) && sorted(&asked) != sorted(&answered) {
            return Err(Refusal::bad(
                "Please ensure that the number of function response parts is equal to the number of function call \
                 parts of the function call turn.",
            ));
        }
        asked = names(content, "functionCall");
    }
    Ok(())
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

/// The functions that a turn calls, or answers.
fn names<'a>(content: &'a Value, kind: &str) -> Vec<&'a str> {
    let parts = content["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part[kind]["name"].as_str()).collect()
}

fn calls(body: &Value, plan: &Plan) -> Result<Vec<Value>, Refusal> {
    let call = |name: &str, args: &Value| json!({"functionCall": {"name": name, "args": args}});
    if plan.has(Fault::Tools) {
        return Ok(vec![call("f", &json!({"x": 1})), call("g", &json!({"y": 2}))]);
    }
    let tools = body["tools"].as_array().into_iter().flatten();
    let functions: Vec<&Value> = tools
        .filter_map(|tool| tool["functionDeclarations"].as_array())
        .flatten()
        .collect();
    let config = &body["toolConfig"]["functionCallingConfig"];
    let last = body["contents"].as_array().and_then(|contents| contents.last());
    let is_answered = last.is_some_and(|content| !names(content, "functionResponse").is_empty());
    if functions.is_empty() || config["mode"] == "NONE" || is_answered && config["mode"] != "ANY" {
        return Ok(Vec::new());
    }
    let allowed = config["allowedFunctionNames"].as_array();
    let called = functions
        .into_iter()
        .filter(|function| allowed.is_none_or(|names| names.contains(&function["name"])));
    called
        .take(2)
        .map(|function| {
            let name = function["name"]
                .as_str()
                .ok_or_else(|| Refusal::bad("function_declarations[0].name: Invalid function name."))?;
            let schema = function.get("parametersJsonSchema").or(function.get("parameters"));
            let args = schema.map(|schema| schema::instance(&lower(schema)));
            Ok(call(name, &args.filter(Value::is_object).unwrap_or_else(|| json!({}))))
        })
        .collect()
}

fn said(body: &Value, plan: &Plan) -> String {
    if let Some(sized) = text::sized(plan) {
        return sized;
    }
    let settings = &body["generationConfig"];
    let schema = settings.get("responseJsonSchema").or(settings.get("responseSchema"));
    if let Some(schema) = schema {
        return schema::instance(&lower(schema)).to_string();
    }
    let last = body["contents"].as_array().and_then(|contents| contents.last());
    let reply = text::reply(&last.map(words).unwrap_or_default());
    if settings["responseMimeType"] == "application/json" {
        return json!({"answer": reply}).to_string();
    }
    reply
}

/// The schema with types as JSON Schema writes them: here they are `OBJECT` as often as `object`.
fn lower(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let lowered = members.iter().map(|(name, value)| match value {
                Value::String(kind) if name == "type" => (name.clone(), kind.to_lowercase().into()),
                other => (name.clone(), lower(other)),
            });
            Value::Object(lowered.collect())
        }
        Value::Array(items) => items.iter().map(lower).collect(),
        other => other.clone(),
    }
}

fn words(content: &Value) -> String {
    let parts = content["parts"].as_array().into_iter().flatten();
    let said = parts.map(|part| match &part["functionResponse"]["response"] {
        Value::Null => part["text"].as_str().unwrap_or_default().to_owned(),
        response => response.to_string(),
    });
    said.collect::<Vec<_>>().join(" ")
}

fn prompt(body: &Value) -> u64 {
    let contents = body["contents"].as_array().into_iter().flatten();
    let said: u64 = contents.map(|content| text::count(&words(content))).sum();
    said + text::count(&words(&body["systemInstruction"]))
}
