//! A whole answer: its usage, and whether it is an error in disguise.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    error::ErrorBody,
    json::{self, TextLen},
    usage::WireUsage,
};

/// What we read from the JSON body of a successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An answer, with the usage it claims and the text in its choices, in Anthropic's `content` or in a response's
    /// `output`.
    Good { usage: Option<WireUsage>, text: Text },
    /// `{"error": …}` under a success status.
    Error(ErrorBody),
    /// Not a JSON object: a login page, an empty body, an array.
    NotJson,
}

/// How much text an answer has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text {
    /// All that a model wrote, calls of tools as they are written in the answer.
    pub len: u64,
    /// What of it is reasoning.
    pub reasoning_len: u64,
}

impl Text {
    fn add(&mut self, more: Self) {
        self.len += more.len;
        self.reasoning_len += more.reasoning_len;
    }
}

mod costs;
mod promise;

pub use costs::{Costs, events_with_costs, with_comment, with_costs};
pub use promise::is_broken_json;

/// Looks at a body without building it: what is kept does not grow with what an upstream sends.
pub fn inspect(body: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(body) else {
        return Answer::NotJson;
    };
    let is_object = text.trim_ascii_start().starts_with('{');
    let view = serde_json::from_str::<View<'_>>(text).ok().filter(|_| is_object);
    // An object of an unknown make is passed on; what breaks off behind its odd member is not an answer.
    let Some(view) = view.or_else(|| View::outline(text)) else {
        return Answer::NotJson;
    };
    // A failed Responses API object carries `error` by design, beside its `status`.
    if view.error.is_some() && !view.status.is_some_and(is_response_status) {
        return Answer::Error(ErrorBody::from_error(body));
    }
    Answer::Good {
        usage: view.usage.and_then(usage_of),
        text: {
            let mut text = view.choices.unwrap_or_default().0;
            text.add(view.content.map_or_else(Text::default, blocks_text));
            text.add(view.output.map_or_else(Text::default, items_text));
            text
        },
    }
}

#[derive(Default, Deserialize)]
struct View<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    choices: Option<ChoicesText>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

impl<'a> View<'a> {
    /// What can be told of an object whose choices are none, or whose members repeat.
    fn outline(text: &'a str) -> Option<Self> {
        let mut view = Self::default();
        let is_object = json::for_members(text, |name, value| {
            let member = match &*name {
                "error" => &mut view.error,
                "status" => &mut view.status,
                "usage" => &mut view.usage,
                "content" => &mut view.content,
                "output" => &mut view.output,
                _ => return,
            };
            if value.get() != "null" {
                *member = Some(value);
            }
        });
        is_object.then_some(view)
    }
}

/// Other servers' errors have a `status` too, such as 500.
fn is_response_status(status: &RawValue) -> bool {
    matches!(
        status.get(),
        r#""completed""# | r#""failed""# | r#""in_progress""# | r#""cancelled""# | r#""queued""# | r#""incomplete""#
    )
}

/// The text of all choices, added up as they are read.
#[derive(Default)]
struct ChoicesText(Text);

impl<'de> Deserialize<'de> for ChoicesText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Message<'a> {
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
            #[serde(borrow)]
            function_call: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Choice<'a> {
            #[serde(borrow)]
            message: Option<Message<'a>>,
            #[serde(default)]
            text: TextLen,
        }
        struct Choices;
        impl<'de> Visitor<'de> for Choices {
            type Value = ChoicesText;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("choices")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ChoicesText, A::Error> {
                let mut text = Text::default();
                while let Some(choice) = seq.next_element::<Choice<'_>>()? {
                    text.len += choice.text.0;
                    if let Some(said) = choice.message {
                        // Engines that mirror reasoning under both names have written it once.
                        let reasoning_len = said.reasoning_content.0.max(said.reasoning.0);
                        let calls = [said.tool_calls, said.function_call].into_iter().flatten();
                        // Those of no call are `null` and `[]`.
                        let calls = calls.map(|calls| calls.get().len() as u64).filter(|len| *len > 4);
                        text.add(Text {
                            len: said.content.0 + said.refusal.0 + reasoning_len + calls.sum::<u64>(),
                            reasoning_len,
                        });
                    }
                }
                Ok(ChoicesText(text))
            }
        }
        deserializer.deserialize_seq(Choices)
    }
}

/// The text of a message's blocks, a tool's input counted as it is written. Nothing for a content of another make.
fn blocks_text(content: &RawValue) -> Text {
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(default)]
        text: TextLen,
        #[serde(default)]
        thinking: TextLen,
        #[serde(borrow)]
        input: Option<&'a RawValue>,
    }
    sum(content, |block: Block<'_>| Text {
        len: block.text.0 + block.thinking.0 + block.input.map_or(0, |input| input.get().len() as u64),
        reasoning_len: block.thinking.0,
    })
}

/// The text of a response's items. Parts of an unknown make count as they are written.
fn items_text(output: &RawValue) -> Text {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        #[serde(borrow)]
        summary: Option<&'a RawValue>,
        #[serde(default)]
        arguments: TextLen,
        #[serde(default)]
        input: TextLen,
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: TextLen,
        #[serde(default)]
        refusal: TextLen,
    }
    let parts = |content: Option<&RawValue>| {
        let of_part = |part: Part| Text {
            len: part.text.0 + part.refusal.0,
            reasoning_len: 0,
        };
        content.map_or(0, |content| sum(content, of_part).len)
    };
    sum(output, |item: Item<'_>| {
        let len = parts(item.content) + parts(item.summary);
        let is_reasoning = item.kind.is_some_and(|kind| kind.get() == r#""reasoning""#);
        Text {
            len: len + item.arguments.0 + item.input.0,
            reasoning_len: if is_reasoning { len } else { 0 },
        }
    })
}

/// The text of the elements of a list, added up as they are read; nothing for what is no list of such.
fn sum<'a, T: Deserialize<'a>>(list: &'a RawValue, text_of: impl Fn(T) -> Text) -> Text {
    struct Sum<T, F>(F, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: Fn(T) -> Text> Visitor<'de> for Sum<T, F> {
        type Value = Text;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
            let mut text = Text::default();
            while let Some(element) = seq.next_element()? {
                text.add((self.0)(element));
            }
            Ok(text)
        }
    }
    let written = list.get();
    if !written.starts_with('[') {
        return Text::default();
    }
    let mut deserializer = serde_json::Deserializer::from_str(written);
    let summed = deserializer.deserialize_seq(Sum(text_of, std::marker::PhantomData));
    summed.unwrap_or_default()
}

/// More than any usage object holds.
const MAX_USAGE: usize = 16 * 1024;

/// Reads usage so that one odd member, such as `1e999`, counts 0 and does not take the rest with it.
pub(crate) fn usage_of(raw: &RawValue) -> Option<WireUsage> {
    let written = raw.get();
    if written.len() > MAX_USAGE {
        return None;
    }
    let usage = serde_json::from_str(written);
    usage.or_else(|_| serde_json::from_str(&readable(written, 1))).ok()
}

/// An object's members that are finite numbers, and those of the objects in it; empty for what is no object.
fn readable(object: &str, levels: usize) -> String {
    let mut out = String::new();
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    let is_object = json::for_members(object, |name, value| {
        let value = value.get();
        let value = if value.starts_with('{') && levels > 0 {
            Cow::Owned(readable(value, levels - 1))
        } else if value.parse().is_ok_and(f64::is_finite) {
            Cow::Borrowed(value)
        } else {
            return;
        };
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_details = name.ends_with("_details");
        if is_plain && is_details == value.starts_with('{') && seen.len() < 64 && !seen.contains(&name) {
            let comma = if out.is_empty() { "" } else { "," };
            out.push_str(&format!(r#"{comma}"{name}":{value}"#));
            seen.push(name);
        }
    });
    if is_object { format!("{{{out}}}") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_errors_and_neither() {
        let good = inspect(br#"{"choices":[{"message":{"content":"four","reasoning_content":null}}],"usage":{"prompt_tokens":2,"completion_tokens":1}}"#);
        let usage = WireUsage {
            prompt: 2,
            completion: 1,
            ..WireUsage::default()
        };
        assert_eq!(
            good,
            Answer::Good {
                usage: Some(usage),
                text: Text {
                    len: 4,
                    reasoning_len: 0
                }
            }
        );
        assert!(matches!(
            inspect(br#"{"error":{"message":"no","code":502}}"#),
            Answer::Error(_)
        ));
        assert!(matches!(inspect(br#"{"error":"no"}"#), Answer::Error(_)));
        assert!(matches!(
            inspect(br#"{"error":null,"data":[]}"#),
            Answer::Good { usage: None, .. }
        ));
        assert!(matches!(
            inspect(br#"{"object":"response","status":"failed","error":{"message":"m"}}"#),
            Answer::Good { .. }
        ));
        assert!(matches!(
            inspect(br#"{"usage":"odd"}"#),
            Answer::Good { usage: None, .. }
        ));
        for body in ["<html>", "", "[]", r#"{"cut"#] {
            assert_eq!(inspect(body.as_bytes()), Answer::NotJson, "for {body}");
        }
    }

    /// The usage's prompt and completion, and the text; or the error's message and code; or nothing.
    fn shown(body: &str) -> String {
        match inspect(body.as_bytes()) {
            Answer::Good { usage, text } => {
                let usage = usage.map(|usage| (usage.prompt, usage.completion));
                format!("good {usage:?} {}", text.len)
            }
            Answer::Error(error) => format!("error {} {:?}", error.message, error.code),
            Answer::NotJson => "not JSON".to_owned(),
        }
    }

    #[test]
    fn a_message_of_anthropics_is_an_answer() {
        let check = |body: &str, expect: &str| assert_eq!(shown(body), expect, "for {body}");
        check(
            r#"{"type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"four"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}],"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":3}}"#,
            "good Some((12, 3)) 13",
        );
        check(
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "error Overloaded None",
        );
        check(r#"{"content":"odd"}"#, "good None 0");
        check(r#"{"content":[1,{}]}"#, "good None 0");
    }

    #[test]
    fn text_is_measured_wherever_it_stands() {
        let check = |body: &str, len: u64, reasoning_len: u64| {
            let Answer::Good { text, .. } = inspect(body.as_bytes()) else {
                panic!("no answer: {body}");
            };
            assert_eq!(text, Text { len, reasoning_len }, "for {body}");
        };
        check(
            r#"{"choices":[{"message":{"content":"four","reasoning_content":"hm","reasoning":"hm"}}]}"#,
            6,
            2,
        );
        check(
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"c"}]}}]}"#,
            12,
            0,
        );
        check(
            r#"{"choices":[{"message":{"content":"a","tool_calls":[],"function_call":null}}]}"#,
            1,
            0,
        );
        check(
            r#"{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"four"}]}"#,
            6,
            2,
        );
        check(
            r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"message","content":[{"type":"output_text","text":"four"},{"type":"refusal","refusal":"no"}]},{"type":"function_call","name":"f","arguments":"{}"}]}"#,
            10,
            2,
        );
        check(r#"{"output":"odd"}"#, 0, 0);
    }

    #[test]
    fn strings_that_serde_refuses_are_answers() {
        let body =
            r#"{"choices":[{"message":{"content":"a\ud83d","refusal":"\ude00"}},{"text":"\udead"}],"x":"\ud83d"}"#;
        assert_eq!(shown(body), "good None 19");
        let odd_name = body.replace(r#""x""#, r#""\ud83d""#);
        assert_eq!(shown(&odd_name), "good None 0", "the choices are hidden, no more");
        assert_eq!(inspect(b"{\"x\":\"\xff\"}"), Answer::NotJson);
    }

    #[test]
    fn an_error_is_never_an_answer() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let check = |body: &str, expect: &str| assert_eq!(shown(body), expect, "for {body}");
        check(r#"{"error":{"message":"m"},"choices":[]}"#, "error m None");
        check(
            r#"{"error":{"message":"m","limit":1e999,"code":5}}"#,
            "error m Some(\"5\")",
        );
        check(&format!(r#"{{"error":{{"message":"m","d":{deep}}}}}"#), "error m None");
        check(r#"{"error":{"message":"m"},"choices":5}"#, "error m None");
        check(r#"{"error":{"message":"m"},"error":null}"#, "error m None");
        check(
            r#"{"error":1e999}"#,
            "error The upstream reported an error without a message. None",
        );
        check(r#"{"status":500,"error":"Internal"}"#, "error Internal None");
        check(r#"{"status":"failed","error":{"message":"m"}}"#, "good None 0");
    }

    #[test]
    fn what_follows_an_odd_member_is_read_too() {
        let check = |body: &str, expect: &str| assert_eq!(shown(body), expect, "for {body}");
        check(r#"{"usage":"odd","choices":[{"mess"#, "not JSON");
        check(r#"{"choices":"odd","x":[}"#, "not JSON");
        check(r#"{"choices":"odd"} x"#, "not JSON");
        check(
            r#"{"choices":"odd","usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
            "good Some((3, 1)) 0",
        );
    }

    #[test]
    fn an_odd_count_is_0_and_the_rest_stays() {
        let check = |usage: &str, expect: &str| {
            let body = format!(r#"{{"choices":[{{"text":"abc"}}],"usage":{usage}}}"#);
            assert_eq!(shown(&body), expect, "for {usage}");
        };
        check(
            r#"{"prompt_tokens":1e999,"completion_tokens":7}"#,
            "good Some((0, 7)) 3",
        );
        check(
            r#"{"prompt_tokens":3,"completion_tokens":"\ud83d","prompt_tokens_details":{"cached_tokens":-1e999}}"#,
            "good Some((3, 0)) 3",
        );
        check(
            r#"{"prompt_tokens":3,"prompt_tokens":4,"prompt_tokens_details":5}"#,
            "good Some((3, 0)) 3",
        );
        check(r#""odd""#, "good None 3");
        check("1e999", "good None 3");
    }
}
