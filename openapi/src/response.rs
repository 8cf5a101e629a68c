//! A whole answer: its usage, and whether it is an error in disguise.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{error::ErrorBody, usage::WireUsage};

/// What we read from the JSON body of a successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An answer, with the usage it claims and the bytes of text in its choices.
    Good { usage: Option<WireUsage>, text_len: u64 },
    /// `{"error": …}` under a success status.
    Error(ErrorBody),
    /// Not a JSON object: a login page, an empty body, an array.
    NotJson,
}

/// Looks at a body without building it.
pub fn inspect(body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        content: TextLen,
        #[serde(default)]
        reasoning_content: TextLen,
        #[serde(default)]
        reasoning: TextLen,
    }
    #[derive(Deserialize)]
    struct Choice {
        message: Option<Message>,
        #[serde(default)]
        text: TextLen,
    }
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        usage: Option<WireUsage>,
        choices: Option<Vec<Choice>>,
    }
    let view = match serde_json::from_slice::<View<'_>>(body) {
        Ok(view) => view,
        // An object of an unknown make is passed on; what is no object at all is not an answer.
        Err(error) => {
            let is_object = body.trim_ascii_start().starts_with(b"{") && error.is_data();
            return if is_object {
                Answer::Good {
                    usage: None,
                    text_len: 0,
                }
            } else {
                Answer::NotJson
            };
        }
    };
    // A failed Responses API object carries `error` by design, beside its `status`.
    if view.error.is_some_and(|error| error.get() != "null")
        && view.choices.is_none()
        && !has_member(body, "status")
        && let Some(error) = ErrorBody::from_upstream(body)
    {
        return Answer::Error(error);
    }
    let choices = view.choices.unwrap_or_default();
    let text_len = choices.iter().map(|choice| {
        let message = choice.message.as_ref();
        let said = message.map_or(0, |message| {
            message.content.0 + message.reasoning_content.0.max(message.reasoning.0)
        });
        choice.text.0 + said
    });
    Answer::Good {
        usage: view.usage,
        text_len: text_len.sum(),
    }
}

fn has_member(body: &[u8], name: &str) -> bool {
    let members: Result<std::collections::HashMap<String, IgnoredAny>, _> = serde_json::from_slice(body);
    members.is_ok_and(|members| members.contains_key(name))
}

/// The length in bytes of a string, without keeping it. Null and everything else count nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TextLen(pub(crate) u64);

impl<'de> Deserialize<'de> for TextLen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = TextLen;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E>(self, text: &str) -> Result<TextLen, E> {
                Ok(TextLen(text.len() as u64))
            }
            fn visit_unit<E>(self) -> Result<TextLen, E> {
                Ok(TextLen(0))
            }
            fn visit_bool<E>(self, _: bool) -> Result<TextLen, E> {
                Ok(TextLen(0))
            }
            fn visit_u64<E>(self, _: u64) -> Result<TextLen, E> {
                Ok(TextLen(0))
            }
            fn visit_i64<E>(self, _: i64) -> Result<TextLen, E> {
                Ok(TextLen(0))
            }
            fn visit_f64<E>(self, _: f64) -> Result<TextLen, E> {
                Ok(TextLen(0))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<TextLen, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(TextLen(0))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<TextLen, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TextLen(0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
}
