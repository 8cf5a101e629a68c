//! The members of a request that routing, pricing and streaming need. All else stays raw.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    endpoint::Endpoint,
    json,
    redact::Content,
    splice::{self, Splice},
};

mod demand;

pub use demand::Demand;

/// Engines hold token counts in 32 bits; more is a mistake, not a wish.
const MAX_TOKENS: u64 = i32::MAX as u64;
/// OpenAI's document: `n` is 1 to 128.
const MAX_N: u64 = 128;
/// OpenAI documents fewer than fifty members; each costs us a little memory, and a body holds millions.
const MAX_MEMBERS: usize = 1024;

/// A JSON request body with what we read from it.
#[derive(Debug, Clone)]
pub struct RequestBody {
    raw: Content,
    view: View,
    /// A bound on each answer that the client did not set.
    bound: Option<u64>,
}

/// Why a body is refused before any upstream sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("We could not parse the JSON body of your request: the body is not valid UTF-8.")]
    NotUtf8,
    #[error("We could not parse the JSON body of your request: it nests deeper than {limit} levels.")]
    TooDeep { limit: usize },
    #[error("We could not parse the JSON body of your request: {reason} (line {line}, column {column}).")]
    NotJson { reason: String, line: usize, column: usize },
    #[error("The body of this request must be a JSON object.")]
    NotObject,
    #[error("We could not parse the JSON body of your request: an object in it has more than {limit} members.")]
    TooMany { limit: usize },
    #[error("The member '{name}' appears more than once in the request body. Send it once.")]
    Duplicate { name: String },
    #[error("Missing required parameter: '{param}'.")]
    Missing { param: &'static str },
    #[error("Invalid type for '{param}': expected {expected}.")]
    WrongType {
        param: &'static str,
        expected: &'static str,
    },
    #[error("Invalid value for '{param}': expected {expected}.")]
    OutOfRange {
        param: &'static str,
        expected: &'static str,
    },
}

impl RequestError {
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::Missing { param } | Self::WrongType { param, .. } | Self::OutOfRange { param, .. } => Some(param),
            _ => None,
        }
    }

    /// The `code` of the envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::TooDeep { .. } | Self::NotJson { .. } | Self::NotObject | Self::TooMany { .. } => {
                "invalid_json"
            }
            Self::Duplicate { .. } => "duplicate_parameter",
            Self::Missing { .. } => "missing_required_parameter",
            Self::WrongType { .. } => "invalid_type",
            Self::OutOfRange { .. } => "invalid_value",
        }
    }
}

/// What `stream_options` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StreamOptions {
    /// The whole value.
    span: Range<usize>,
    /// The value of `include_usage`, if that member exists.
    include_usage: Option<(bool, Range<usize>)>,
    is_object: bool,
    is_empty: bool,
}

/// Spans are byte ranges of the raw body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct View {
    model: Option<(String, Range<usize>)>,
    stream: bool,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<(u64, Range<usize>)>,
    max_completion_tokens: Option<(u64, Range<usize>)>,
    max_output_tokens: Option<u64>,
    n: u64,
    best_of: u64,
    /// `messages`, `prompt` or `input`: what the model reads.
    input: Option<Range<usize>>,
    messages: Option<Range<usize>>,
    /// What the model reads before `messages`; a member of Anthropic's API only.
    system: Option<Range<usize>>,
    prompt_cache_key: Option<String>,
    /// `tools`, or `functions` of old.
    tools: Option<Range<usize>>,
    /// `response_format`, or `text` of the Responses API.
    format: Option<Range<usize>>,
    /// Bounds on the answer that are null, each with its value.
    nulls: Vec<(&'static str, Range<usize>)>,
    /// What tells who asks: the values of `user`, `metadata` and `safety_identifier`.
    identity: Vec<Range<usize>>,
    /// Whether the model reads what is not in the body.
    is_elsewhere: bool,
    /// Whether the answer is more than text.
    is_heard: bool,
    /// `background`.
    is_deferred: bool,
    /// Whether the object has no member at all, which decides on a comma.
    is_empty: bool,
}

impl RequestBody {
    /// Reads the body of a `POST` to the root of `endpoint`.
    pub fn parse(endpoint: Endpoint, raw: Bytes) -> Result<Self, RequestError> {
        let mut body = Self::parse_lenient(raw)?;
        body.check(endpoint)?;
        if endpoint != Endpoint::Messages {
            body.view.system = None;
        }
        Ok(body)
    }

    /// Reads a body of which we demand only that it is a JSON object with sane members.
    pub fn parse_lenient(raw: Bytes) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(&raw).map_err(|_| RequestError::NotUtf8)?;
        if json::is_deeper_than(&raw, json::MAX_DEPTH) {
            return Err(RequestError::TooDeep { limit: json::MAX_DEPTH });
        }
        let members = parse_members(text)?;
        let view = View::read(text, members)?;
        Ok(Self {
            raw: Content::new(raw),
            view,
            bound: None,
        })
    }

    fn check(&self, endpoint: Endpoint) -> Result<(), RequestError> {
        let required = match endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages => "messages",
            Endpoint::Embeddings => "input",
            _ => return Ok(()),
        };
        if self.view.input.is_none() {
            return Err(RequestError::Missing { param: required });
        }
        if endpoint == Endpoint::Messages && self.view.max_tokens.is_none() {
            return Err(RequestError::Missing { param: "max_tokens" });
        }
        Ok(())
    }

    pub fn model(&self) -> Option<&str> {
        self.view.model.as_ref().map(|(name, _)| name.as_str())
    }

    pub fn is_stream(&self) -> bool {
        self.view.stream
    }

    /// Whether the client asked for the usage chunk at the end of a stream.
    pub fn wants_usage(&self) -> bool {
        let options = self.view.stream_options.as_ref();
        options
            .and_then(|options| options.include_usage.as_ref())
            .is_some_and(|(wanted, _)| *wanted)
    }

    /// The bound on output tokens that the client set; the newer name wins.
    pub fn max_output_tokens(&self) -> Option<u64> {
        let chat = self
            .view
            .max_completion_tokens
            .as_ref()
            .or(self.view.max_tokens.as_ref());
        chat.map(|(tokens, _)| *tokens).or(self.view.max_output_tokens)
    }

    /// How many answers are generated for each prompt: the larger of `n` and `best_of`.
    pub fn choices(&self) -> u64 {
        self.view.n.max(self.view.best_of).max(1)
    }

    /// The size in bytes of what the model reads, as JSON.
    pub fn input_len(&self) -> usize {
        let len = |span: &Option<Range<usize>>| span.as_ref().map_or(0, |span| span.len());
        len(&self.view.input) + len(&self.view.system)
    }

    /// The same, with an image, a sound or a file within it counted as a page of text: what such a thing costs follows
    /// its pixels and its seconds, and not the length of its base64.
    pub fn text_len(&self) -> usize {
        let spans = [&self.view.input, &self.view.system];
        let inputs = spans
            .into_iter()
            .flatten()
            .filter_map(|span| self.raw.expose().get(span.clone()));
        inputs.map(text_len).sum()
    }

    /// What requests that share a prefix share: `prompt_cache_key`, else the beginning of the input.
    pub fn affinity(&self) -> Option<&[u8]> {
        /// Long enough to hold a system prompt's beginning, short enough that the first user turn rarely differs.
        const PREFIX: usize = 1024;
        if let Some(key) = &self.view.prompt_cache_key {
            return Some(key.as_bytes());
        }
        let first = self.view.system.as_ref().or(self.view.input.as_ref())?;
        let input = self.raw.expose().get(first.clone())?;
        Some(&input[..input.len().min(PREFIX)])
    }

    pub fn raw(&self) -> &Content {
        &self.raw
    }

    /// The body with these edits.
    pub fn spliced(&self, splices: Vec<Splice>) -> Bytes {
        splice::apply(self.raw.expose(), splices)
    }

    /// Edit: the model's name at the upstream.
    pub fn rename_model(&self, name: &str) -> Option<Splice> {
        let (current, span) = self.view.model.as_ref()?;
        (current != name).then(|| Splice::replace(span.clone(), quoted(name)))
    }

    /// Edit: a model where the client named none, as on an Azure-style path.
    pub fn insert_model(&self, name: &str) -> Option<Splice> {
        if self.view.model.is_some() {
            return self.rename_model(name);
        }
        Some(self.insert_member("model", &quoted(name)))
    }

    /// Edit: ask for usage at the end of a stream, whether or not the client did.
    pub fn ask_usage(&self) -> Option<Splice> {
        if !self.view.stream {
            return None;
        }
        let Some(options) = &self.view.stream_options else {
            return Some(self.insert_member("stream_options", r#"{"include_usage":true}"#));
        };
        match &options.include_usage {
            Some((true, _)) => None,
            Some((false, span)) => Some(Splice::replace(span.clone(), "true")),
            None if !options.is_object => Some(Splice::replace(options.span.clone(), r#"{"include_usage":true}"#)),
            None => {
                let comma = if options.is_empty { "" } else { "," };
                Some(Splice::insert(
                    options.span.start + 1,
                    format!(r#""include_usage":true{comma}"#),
                ))
            }
        }
    }

    /// Edit: no `stream_options`, for backends that refuse what they do not know.
    pub fn forget_stream_options(&self) -> Option<Splice> {
        let options = self.view.stream_options.as_ref()?;
        Some(Splice::replace(options.span.clone(), "null"))
    }

    /// Edits: nothing that tells who asks, for machines of strangers.
    pub fn forget_identity(&self) -> impl Iterator<Item = Splice> {
        let values = self.view.identity.iter();
        values.map(|span| Splice::replace(span.clone(), "null"))
    }

    /// Edit: the output bound under the older name, for backends that know no other.
    pub fn use_max_tokens(&self) -> Option<Splice> {
        let (_, span) = self.view.max_completion_tokens.as_ref()?;
        if self.view.max_tokens.is_some() {
            return None;
        }
        let key = self.key_before(span.start)?;
        Some(Splice::replace(key, r#""max_tokens""#))
    }

    /// Edits: `developer` messages become `system` messages, for backends that refuse the role.
    pub fn use_system_role(&self) -> Vec<Splice> {
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            role: Option<&'a RawValue>,
        }
        let text = self.text();
        let Some(messages) = self.view.messages.clone().and_then(|span| text.get(span)) else {
            return Vec::new();
        };
        let Ok(messages) = serde_json::from_str::<Vec<Message<'_>>>(messages) else {
            return Vec::new();
        };
        let roles = messages.into_iter().filter_map(|message| message.role);
        let developers = roles.filter(|role| role.get() == r#""developer""#);
        developers
            .map(|role| Splice::replace(span_of(text, role.get()), r#""system""#))
            .collect()
    }

    fn insert_member(&self, name: &str, value: &str) -> Splice {
        let text = self.text();
        let open = text.find('{').map_or(0, |at| at + 1);
        let comma = if self.view.is_empty { "" } else { "," };
        Splice::insert(open, format!(r#""{name}":{value}{comma}"#))
    }

    /// The quoted key of the member whose value starts at `value`.
    fn key_before(&self, value: usize) -> Option<Range<usize>> {
        let head = self.text().get(..value)?;
        let end = head.rfind('"')? + 1;
        let start = head.get(..end - 1)?.rfind('"')?;
        Some(start..end)
    }

    fn text(&self) -> &str {
        // Checked in `parse_lenient`; an empty view is the safe answer should that ever change.
        std::str::from_utf8(self.raw.expose()).unwrap_or_default()
    }
}

impl View {
    fn read(text: &str, members: Members<'_>) -> Result<Self, RequestError> {
        let mut view = Self {
            n: 1,
            best_of: 1,
            is_empty: members.0.is_empty(),
            ..Self::default()
        };
        for (key, value) in members.0 {
            let raw = value.get();
            let span = span_of(text, raw);
            view.note(&key, raw, &span);
            match key.as_ref() {
                "model" => {
                    let name: String = typed(raw, "model", "a string")?;
                    if name.is_empty() {
                        return Err(RequestError::Missing { param: "model" });
                    }
                    view.model = Some((name, span));
                }
                "stream" => view.stream = typed::<Option<bool>>(raw, "stream", "a boolean")?.unwrap_or(false),
                "stream_options" => view.stream_options = Some(StreamOptions::read(text, raw)?),
                "max_tokens" => view.max_tokens = count(raw, "max_tokens", 0)?.map(|tokens| (tokens, span)),
                "max_completion_tokens" => {
                    view.max_completion_tokens = count(raw, "max_completion_tokens", 0)?.map(|tokens| (tokens, span));
                }
                // The Responses API's name.
                "max_output_tokens" => view.max_output_tokens = count(raw, "max_output_tokens", 0)?,
                "n" => view.n = choices(raw, "n", 1, "an integer from 1 to 128")?,
                // 0 stands in OpenAI's description, and means what 1 does.
                "best_of" => view.best_of = choices(raw, "best_of", 0, "an integer from 0 to 128")?,
                "messages" => {
                    if !raw.starts_with('[') {
                        return Err(RequestError::WrongType {
                            param: "messages",
                            expected: "an array of messages",
                        });
                    }
                    view.messages = Some(span.clone());
                    view.input = Some(span);
                }
                "prompt" | "input" => view.input = Some(span),
                "system" => view.system = Some(span),
                "user" | "metadata" | "safety_identifier" if raw != "null" => view.identity.push(span),
                "prompt_cache_key" => {
                    view.prompt_cache_key = typed(raw, "prompt_cache_key", "a string")?;
                }
                _ => {}
            }
        }
        Ok(view)
    }
}

impl StreamOptions {
    fn read(text: &str, raw: &str) -> Result<Self, RequestError> {
        let span = span_of(text, raw);
        if raw == "null" {
            return Ok(Self {
                span,
                include_usage: None,
                is_object: false,
                is_empty: true,
            });
        }
        if !raw.starts_with('{') {
            return Err(RequestError::WrongType {
                param: "stream_options",
                expected: "an object",
            });
        }
        let members = parse_members(raw)?;
        let mut include_usage = None;
        for (key, value) in &members.0 {
            if key == "include_usage" {
                let wanted: Option<bool> = typed(value.get(), "stream_options.include_usage", "a boolean")?;
                include_usage = Some((wanted.unwrap_or(false), span_of(text, value.get())));
            }
        }
        Ok(Self {
            span,
            include_usage,
            is_object: true,
            is_empty: members.0.is_empty(),
        })
    }
}

/// The members of an object in order, each value raw.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

fn parse_members(text: &str) -> Result<Members<'_>, RequestError> {
    /// Stops at the first member that is refused, and says why on the side: a serde error cannot carry it.
    struct Object<'r>(&'r mut Option<RequestError>);
    impl<'de> Visitor<'de> for Object<'_> {
        type Value = Members<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(12);
            let mut seen = std::collections::HashSet::new();
            while let Some(Key(key)) = map.next_key()? {
                if members.len() == MAX_MEMBERS {
                    *self.0 = Some(RequestError::TooMany { limit: MAX_MEMBERS });
                    return Err(A::Error::custom("too many members"));
                }
                // A handful is compared one by one; a flood of members must not cost the square of its number.
                let is_new = if members.len() < 32 {
                    !members.iter().any(|(other, _)| *other == key)
                } else {
                    if seen.is_empty() {
                        seen.extend(members.iter().map(|(key, _)| key.clone()));
                    }
                    seen.insert(key.clone())
                };
                if !is_new {
                    *self.0 = Some(RequestError::Duplicate {
                        name: clip(key.into_owned()),
                    });
                    return Err(A::Error::custom("a member twice"));
                }
                members.push((key, map.next_value()?));
            }
            Ok(Members(members))
        }
    }

    if !text.trim_start().starts_with('{') {
        // Say "not an object" only of what is JSON at all.
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        return Err(RequestError::NotObject);
    }
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Object(&mut refused));
    if let Some(refused) = refused {
        return Err(refused);
    }
    let members = members.map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    Ok(members)
}

/// A key that borrows unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor).map_err(D::Error::custom)
    }
}

/// serde_json's own message quotes at most punctuation, never content; the category is enough.
fn not_json(error: serde_json::Error) -> RequestError {
    let reason = match error.classify() {
        serde_json::error::Category::Eof => "the body ends too early",
        _ => "it is not valid JSON",
    };
    RequestError::NotJson {
        reason: reason.to_owned(),
        line: error.line(),
        column: error.column(),
    }
}

fn typed<'a, T: Deserialize<'a>>(raw: &'a str, param: &'static str, expected: &'static str) -> Result<T, RequestError> {
    serde_json::from_str(raw).map_err(|_| RequestError::WrongType { param, expected })
}

fn count(raw: &str, param: &'static str, least: u64) -> Result<Option<u64>, RequestError> {
    if raw == "null" {
        return Ok(None);
    }
    let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if !is_number {
        return Err(RequestError::WrongType {
            param,
            expected: "an integer",
        });
    }
    if let Ok(value) = raw.parse::<u64>() {
        if (least..=MAX_TOKENS).contains(&value) {
            return Ok(Some(value));
        }
    } else if raw.contains(['.', 'e', 'E']) {
        return Err(RequestError::WrongType {
            param,
            expected: "an integer",
        });
    }
    Err(RequestError::OutOfRange {
        param,
        expected: "an integer from 0 to 2147483647",
    })
}

fn choices(raw: &str, param: &'static str, least: u64, expected: &'static str) -> Result<u64, RequestError> {
    let value = match count(raw, param, 0) {
        Err(RequestError::OutOfRange { .. }) => MAX_N + 1,
        other => other?.unwrap_or(1),
    };
    if !(least..=MAX_N).contains(&value) {
        return Err(RequestError::OutOfRange { param, expected });
    }
    Ok(value)
}

/// Where `part`, a slice of `whole`, lies in it.
fn span_of(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    debug_assert!(start + part.len() <= whole.len(), "not a part of the whole");
    start..start + part.len()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string serialises")
}

fn clip(mut name: String) -> String {
    if let Some((end, _)) = name.char_indices().nth(64) {
        name.truncate(end);
    }
    name
}

/// The length of an input, long runs of base64 apart.
fn text_len(input: &[u8]) -> usize {
    /// No text goes on for so long without a space.
    const LONG: usize = 4096;
    /// About a page.
    const ATTACHMENT: usize = 6000;
    if input.len() <= LONG {
        return input.len();
    }
    // A slash may be escaped.
    let is_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    let mut len = input.len();
    for run in input.split(|byte| !is_base64(byte)) {
        if run.len() > LONG {
            len -= run.len().saturating_sub(ATTACHMENT);
        }
    }
    len
}

#[cfg(test)]
mod tests;
