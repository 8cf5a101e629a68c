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
    /// An answer, with the usage it claims and the bytes of text in its choices, or in Anthropic's `content`.
    Good { usage: Option<WireUsage>, text_len: u64 },
    /// `{"error": …}` under a success status.
    Error(ErrorBody),
    /// Not a JSON object: a login page, an empty body, an array.
    NotJson,
}

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
        text_len: view.choices.unwrap_or_default().0 + view.content.map_or(0, blocks_len),
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
    choices: Option<ChoicesLen>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
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
struct ChoicesLen(u64);

impl<'de> Deserialize<'de> for ChoicesLen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Message {
            #[serde(default)]
            content: TextLen,
            #[serde(default)]
            reasoning_content: TextLen,
            #[serde(default)]
            reasoning: TextLen,
            #[serde(default)]
            refusal: TextLen,
        }
        #[derive(Deserialize)]
        struct Choice {
            message: Option<Message>,
            #[serde(default)]
            text: TextLen,
        }
        struct Choices;
        impl<'de> Visitor<'de> for Choices {
            type Value = ChoicesLen;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("choices")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ChoicesLen, A::Error> {
                let mut len = 0;
                while let Some(choice) = seq.next_element::<Choice>()? {
                    len += choice.text.0;
                    if let Some(said) = choice.message {
                        // Engines that mirror reasoning under both names have written it once.
                        len += said.content.0 + said.refusal.0 + said.reasoning_content.0.max(said.reasoning.0);
                    }
                }
                Ok(ChoicesLen(len))
            }
        }
        deserializer.deserialize_seq(Choices)
    }
}

/// The text of a message's blocks, a tool's input counted as it is written. Nothing for a content of another make.
fn blocks_len(content: &RawValue) -> u64 {
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(default)]
        text: TextLen,
        #[serde(default)]
        thinking: TextLen,
        #[serde(borrow)]
        input: Option<&'a RawValue>,
    }
    struct Sum;
    impl<'de> Visitor<'de> for Sum {
        type Value = u64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("blocks")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u64, A::Error> {
            let mut len = 0;
            while let Some(block) = seq.next_element::<Block<'_>>()? {
                len += block.text.0 + block.thinking.0 + block.input.map_or(0, |input| input.get().len() as u64);
            }
            Ok(len)
        }
    }
    let written = content.get();
    if !written.starts_with('[') {
        return 0;
    }
    let mut deserializer = serde_json::Deserializer::from_str(written);
    deserializer.deserialize_seq(Sum).unwrap_or(0)
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
                text_len: 4
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
            Answer::Good { usage, text_len } => {
                let usage = usage.map(|usage| (usage.prompt, usage.completion));
                format!("good {usage:?} {text_len}")
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
