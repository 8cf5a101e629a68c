//! Token usage as upstreams spell it.

use serde::{Deserialize, Deserializer};

/// Totals as the wire has them: `cached` is part of `prompt`, `reasoning` is part of `completion`.
///
/// Chat and completions say `prompt_tokens`, the Responses API `input_tokens`; both land here.
/// So does Anthropic's, whose `input_tokens` leave out what was read from a cache or written to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WireUsage {
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
    pub reasoning: u64,
}

impl<'de> Deserialize<'de> for WireUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Details {
            cached_tokens: Count,
            reasoning_tokens: Count,
            /// Anthropic's name.
            thinking_tokens: Count,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Shape {
            prompt_tokens: Count,
            input_tokens: Count,
            completion_tokens: Count,
            output_tokens: Count,
            total_tokens: Count,
            cache_read_input_tokens: Count,
            cache_creation_input_tokens: Count,
            prompt_tokens_details: Option<Details>,
            input_tokens_details: Option<Details>,
            completion_tokens_details: Option<Details>,
            output_tokens_details: Option<Details>,
        }
        let shape = Shape::deserialize(deserializer)?;
        // Some proxies add Anthropic's members to OpenAI's totals, which hold them already.
        let is_anthropic = shape.prompt_tokens.0 == 0 && shape.input_tokens_details.is_none();
        let (read, written) = if is_anthropic {
            (shape.cache_read_input_tokens.0, shape.cache_creation_input_tokens.0)
        } else {
            (0, 0)
        };
        let prompt = shape
            .prompt_tokens
            .0
            .max(shape.input_tokens.0)
            .saturating_add(read)
            .saturating_add(written);
        let completion = shape.completion_tokens.0.max(shape.output_tokens.0);
        let input = shape
            .prompt_tokens_details
            .or(shape.input_tokens_details)
            .unwrap_or_default();
        let output = shape
            .completion_tokens_details
            .or(shape.output_tokens_details)
            .unwrap_or_default();
        let reasoning = output.reasoning_tokens.0.max(output.thinking_tokens.0);
        // Some, such as xAI, leave reasoning out of the completion, and their total tells.
        let apart = prompt.saturating_add(completion).saturating_add(reasoning);
        let completion = if reasoning > 0 && shape.total_tokens.0 == apart {
            completion.saturating_add(reasoning)
        } else {
            completion
        };
        Ok(Self {
            // Some rerankers and embedders give a total alone.
            prompt: if prompt == 0 && completion == 0 {
                shape.total_tokens.0
            } else {
                prompt
            },
            cached: input.cached_tokens.0.max(read),
            completion,
            reasoning,
        })
    }
}

/// A token count that forgives: null, a float or a negative number is not a reason to lose the rest.
#[derive(Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a token count")
            }
            fn visit_u64<E>(self, value: u64) -> Result<Count, E> {
                Ok(Count(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(value).unwrap_or(0)))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Count, E> {
                // `as` saturates: NaN and negatives become 0.
                Ok(Count(value as u64))
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(0))
            }
            fn visit_str<E>(self, value: &str) -> Result<Count, E> {
                Ok(Count(value.parse().unwrap_or(0)))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                while map
                    .next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?
                    .is_some()
                {}
                Ok(Count(0))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Count(0))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: (u64, u64, u64, u64)) {
        let usage: WireUsage = serde_json::from_str(json).expect("reads");
        assert_eq!(
            (usage.prompt, usage.cached, usage.completion, usage.reasoning),
            expect,
            "for {json}"
        );
    }

    #[test]
    fn both_spellings_and_odd_numbers() {
        check(
            r#"{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}"#,
            (5, 0, 3, 0),
        );
        check(
            r#"{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}"#,
            (5, 4, 3, 2),
        );
        check(
            r#"{"input_tokens":7,"output_tokens":1,"input_tokens_details":{"cached_tokens":2}}"#,
            (7, 2, 1, 0),
        );
        check(
            r#"{"input_tokens":7,"output_tokens":3,"cache_read_input_tokens":20,"cache_creation_input_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":4},"output_tokens_details":{"thinking_tokens":2},"service_tier":"standard"}"#,
            (31, 20, 3, 2),
        );
        check(
            r#"{"prompt_tokens":27,"completion_tokens":3,"cache_read_input_tokens":20,"prompt_tokens_details":{"cached_tokens":20}}"#,
            (27, 20, 3, 0),
        );
        check(r#"{"total_tokens":9}"#, (9, 0, 0, 0));
        check(
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
            (32, 0, 103, 94),
        );
        check(
            r#"{"prompt_tokens":32,"completion_tokens":103,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
            (32, 0, 103, 94),
        );
        check(
            r#"{"prompt_tokens":null,"completion_tokens":-3,"prompt_tokens_details":null}"#,
            (0, 0, 0, 0),
        );
        check(r#"{"prompt_tokens":5.0,"completion_tokens":"3"}"#, (5, 0, 3, 0));
    }
}
