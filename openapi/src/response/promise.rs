//! Whether an answer that was to be JSON, strictly, is JSON.
//!
//! Only that it parses: whether it keeps to its schema is between the client and the model. An answer that stopped at
//! its length, or refused, promised nothing.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json;

/// Whether a choice of a chat completion, or a text of a response, ended by itself and is no JSON.
pub fn is_broken_json(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, default)]
        choices: Vec<Choice<'a>>,
        #[serde(borrow)]
        status: Option<&'a RawValue>,
        #[serde(borrow, default)]
        output: Vec<Item<'a>>,
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow)]
        message: Option<Message<'a>>,
        #[serde(borrow)]
        finish_reason: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, default)]
        content: Vec<Part<'a>>,
    }
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow)]
        text: Option<&'a RawValue>,
    }
    let is_broken = |text: Option<&RawValue>| {
        let text = text.and_then(json::string);
        text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(&text).is_err())
    };
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        return false;
    };
    let stopped = answer
        .choices
        .iter()
        .filter(|choice| choice.finish_reason.is_some_and(|reason| reason.get() == r#""stop""#));
    let mut contents = stopped
        .filter_map(|choice| choice.message.as_ref())
        .map(|said| said.content);
    let is_whole = answer.status.is_some_and(|status| status.get() == r#""completed""#);
    let mut texts = answer
        .output
        .iter()
        .flat_map(|item| &item.content)
        .map(|part| part.text);
    contents.any(is_broken) || is_whole && texts.any(is_broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_stopped_by_itself_breaks_its_promise() {
        let check = |body: &str, expect: bool| assert_eq!(is_broken_json(body.as_bytes()), expect, "for {body}");
        check(
            r#"{"choices":[{"message":{"content":"{\"a\":1}"},"finish_reason":"stop"}]}"#,
            false,
        );
        check(
            r#"{"choices":[{"message":{"content":"{\"a\":"},"finish_reason":"stop"}]}"#,
            true,
        );
        check(
            r#"{"choices":[{"message":{"content":"{\"a\":"},"finish_reason":"length"}]}"#,
            false,
        );
        check(
            r#"{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}"#,
            false,
        );
        check(
            r#"{"status":"completed","output":[{"content":[{"text":"nope"}]}]}"#,
            true,
        );
        check(
            r#"{"status":"incomplete","output":[{"content":[{"text":"nope"}]}]}"#,
            false,
        );
    }
}
