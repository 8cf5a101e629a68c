//! One chunk of a chat or text completion.
//!
//! What is kept of a chunk does not grow with it: choices are added up as they are read, and a chunk of more than
//! [`MAX_CHOICES`] is refused.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Facts, Fate, Fault, Last, Outcome, Watch, tools};
use crate::{
    error::ErrorBody,
    json::{self, TextLen},
    response::usage_of,
    sse::Event,
};

/// OpenAI's document: `n` is at most 128.
const MAX_CHOICES: u32 = 128;

/// What a stream has shown so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether a frame has passed.
    is_begun: bool,
    /// Choices seen, and choices that gave a finish reason; one bit for each index.
    begun: u128,
    finished: u128,
    tools: tools::State,
    /// What names the answer in each chunk, where we may have to write one.
    head: Option<Head>,
    /// What each choice has said, where it must be JSON; `None` once it was looked at, or is too long to be.
    texts: Vec<(u32, Option<String>)>,
}

/// Members of the first chunk, each as it was written.
#[derive(Debug, Default, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) object: String,
    pub(super) created: String,
    pub(super) model: String,
}

/// The longest member of a head that is kept.
const MAX_HEAD: usize = 1024;
/// The longest answer that is looked at for being JSON.
const MAX_TEXT: usize = 4 << 20;
/// Choices that are looked at for being JSON.
const MAX_TEXTS: usize = 128;

/// Members are taken as they are written where serde_json may refuse what clients do not: a lone surrogate, `1e999`.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Choices<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// Legacy completions have text where chat has a delta.
    #[serde(default)]
    text: TextLen,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// The members that name an answer.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// What each choice of a chunk says, for who must know.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    choices: Vec<SaidBy<'a>>,
}

#[derive(Deserialize)]
struct SaidBy<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    delta: Option<SaidIn<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SaidIn<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default)]
    content: TextLen,
    #[serde(default)]
    reasoning_content: TextLen,
    #[serde(default)]
    reasoning: TextLen,
    #[serde(default)]
    refusal: TextLen,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// The choices of one chunk, added up.
#[derive(Default)]
struct Choices<'a> {
    len: u32,
    begun: u128,
    finished: u128,
    has_failed: bool,
    text_len: u64,
    reasoning_len: u64,
    deltas: u64,
    /// The tool calls, with the index of their choice.
    tools: Vec<(u32, &'a RawValue)>,
}

impl State {
    /// Whether every choice that began has given its reason to stop.
    pub(super) fn is_finished(&self) -> bool {
        self.finished != 0 && self.begun & !self.finished == 0
    }

    /// Whether the stream has said anything, so that `[DONE]` may end it.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Choices that began and gave no reason to stop; the first, where none began.
    pub(super) fn open_choices(&self) -> impl Iterator<Item = u32> {
        let open = if self.begun == 0 {
            1
        } else {
            self.begun & !self.finished
        };
        (0..u128::BITS).filter(move |index| open >> index & 1 == 1)
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn read(
        &mut self,
        event: &Event<'_>,
        data: &[u8],
        hide_usage: bool,
        watch: Watch,
        facts: &mut Facts,
    ) -> Fate {
        if event.name == Some(b"error") {
            return failed(ErrorBody::from_error(data));
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return malformed();
        };
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(text) else {
            return self.read_unknown(text, facts);
        };
        if chunk.error.is_some() {
            return failed(ErrorBody::from_error(data));
        }
        let usage = chunk.usage.and_then(usage_of);
        let Some(choices) = chunk.choices else {
            if let Some(error) = ErrorBody::from_upstream(data) {
                return failed(error);
            }
            // `event: ping` and its like: SDKs take every event with data for a chunk.
            let is_ping = chunk.kind.is_some_and(|kind| kind.get() == r#""ping""#);
            if usage.is_none() && (event.name.is_some() || is_ping) {
                return Fate::Drop;
            }
            facts.usage = usage.or(facts.usage);
            return self.keep(facts);
        };
        facts.usage = usage.or(facts.usage);
        if choices.len == 0 && usage.is_some() && hide_usage {
            return Fate::Drop;
        }
        if choices.len > MAX_CHOICES {
            return malformed();
        }
        if choices.has_failed {
            return failed(ErrorBody::new(
                "server_error",
                "upstream_error",
                "The upstream ended the answer with an error.",
            ));
        }
        if watch.most.is_some() && self.head.is_none() {
            self.head = Some(Head::of(text));
        }
        if watch.json {
            facts.is_broken_json |= self.is_broken_json(text);
        }
        let mut said = Facts {
            text_len: choices.text_len,
            reasoning_len: choices.reasoning_len,
            deltas: choices.deltas,
            ..Facts::default()
        };
        let fate = if choices.tools.is_empty() {
            Fate::Keep
        } else {
            self.tools.read(text, &choices.tools, &mut said)
        };
        if !matches!(fate, Fate::End(..)) {
            self.begun |= choices.begun;
            self.finished |= choices.finished;
            facts.add(&said);
            self.keep(facts);
        }
        fate
    }

    /// Adds up what the choices say, and tells whether one that has stopped has said something that is no JSON.
    fn is_broken_json(&mut self, text: &str) -> bool {
        let Ok(said) = serde_json::from_str::<Said<'_>>(text) else {
            return false;
        };
        let mut is_broken = false;
        for choice in said.choices {
            let at = self.texts.iter().position(|(index, _)| *index == choice.index);
            if at.is_none() && self.texts.len() >= MAX_TEXTS {
                continue;
            }
            let at = at.unwrap_or_else(|| {
                self.texts.push((choice.index, Some(String::new())));
                self.texts.len() - 1
            });
            let said = &mut self.texts[at].1;
            let Some(text) = said else { continue };
            let content = choice.delta.and_then(|delta| delta.content);
            let content = content.filter(|content| content.get() != "null");
            let Some(content) = content.map_or(Some("".into()), json::string) else {
                // A piece that is too long to be read.
                *said = None;
                continue;
            };
            text.push_str(&content);
            if text.len() > MAX_TEXT {
                *said = None;
            } else if choice.finish_reason.is_some_and(|reason| reason.get() == r#""stop""#) {
                // Once: however often a server says that it has stopped.
                is_broken |= serde_json::from_str::<IgnoredAny>(text).is_err();
                *said = None;
            }
        }
        is_broken
    }

    /// JSON of a shape we do not know is the client's business, what is no JSON would break its parser.
    fn read_unknown(&mut self, text: &str, facts: &mut Facts) -> Fate {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return malformed();
        }
        match ErrorBody::from_upstream(text.as_bytes()) {
            Some(error) => failed(error),
            None => self.keep(facts),
        }
    }

    fn keep(&mut self, facts: &mut Facts) -> Fate {
        self.is_begun = true;
        facts.frames += 1;
        Fate::Keep
    }
}

impl<'a> Choices<'a> {
    fn add(&mut self, choice: &Choice<'a>) {
        let index = choice.index.and_then(|index| index.get().parse().ok()).unwrap_or(0u32);
        let bit = 1u128 << index.min(127);
        self.len += 1;
        self.begun |= bit;
        match choice.finish_reason.map(RawValue::get) {
            Some(r#""error""#) => self.has_failed = true,
            // Some servers write an empty reason in every chunk.
            Some(reason) if reason.starts_with('"') && reason.len() > 2 => self.finished |= bit,
            _ => {}
        }
        let (text_len, reasoning_len, tools) = choice.delta.as_ref().map_or((0, 0, None), Delta::measure);
        let text_len = text_len + choice.text.0;
        self.text_len += text_len;
        self.reasoning_len += reasoning_len;
        self.deltas += u64::from(text_len > 0);
        self.tools.extend(tools.map(|tools| (index, tools)));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Choices<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("choices")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Choices<'de>, A::Error> {
                let mut choices = Choices::default();
                while choices.len <= MAX_CHOICES {
                    match seq.next_element()? {
                        Some(choice) => choices.add(&choice),
                        None => return Ok(choices),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(choices)
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}

impl<'a> Delta<'a> {
    /// Bytes of text, those of reasoning among them, and the tool calls if there are any.
    fn measure(&self) -> (u64, u64, Option<&'a RawValue>) {
        // Engines that mirror reasoning under both names have written it once.
        let reasoning = self.reasoning_content.0.max(self.reasoning.0);
        let tools = self
            .tool_calls
            .filter(|tools| tools.get() != "null" && tools.get() != "[]");
        (self.content.0 + reasoning + self.refusal.0, reasoning, tools)
    }
}

impl Head {
    fn of(chunk: &str) -> Self {
        let Ok(named) = serde_json::from_str::<Named<'_>>(chunk) else {
            return Self::default();
        };
        let written = |member: Option<&RawValue>| {
            let member = member.filter(|member| member.get().len() <= MAX_HEAD);
            member.map_or_else(String::new, |member| member.get().to_owned())
        };
        Self {
            id: written(named.id),
            object: written(named.object),
            created: written(named.created),
            model: written(named.model),
        }
    }
}

fn failed(error: ErrorBody) -> Fate {
    Fate::End(Outcome::Failed(Fault::Upstream(error)), Last::Drop)
}

pub(super) fn malformed() -> Fate {
    Fate::End(Outcome::Failed(Fault::Malformed), Last::Drop)
}
