//! What a request may use at most, as far as its body says: the basis of a ceiling on its cost.
//!
//! Every bound errs upward. A token is at least a byte of text, and JSON is never shorter than the text in it. What is not text, or is not in the body (images, sounds, files, answers that an
//! upstream kept), has no bound here: the model's context window is one.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Key, RequestBody, View, parse_members};
use crate::{endpoint::Endpoint, splice::Splice};

/// What a request asks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Bytes of all prompts, what chat templates add apart; `None` where something in them is no text, or is not in
    /// the body.
    pub prompt: Option<u64>,
    /// Prompts in the body; each has answers of its own.
    pub prompts: u64,
    /// Answers to each prompt.
    pub choices: u64,
    /// The bound on each answer under the name that this endpoint's servers read; `None` without one.
    pub output: Option<u64>,
    /// Whether the answer is text alone, so that its bytes bound its tokens.
    pub is_text: bool,
    /// Whether the answer must be JSON of a schema, strictly.
    pub is_strict_json: bool,
    /// Whether the answer is made later and fetched by another request.
    pub is_deferred: bool,
}

impl Demand {
    /// Answers in all.
    pub fn answers(&self) -> u64 {
        self.choices.saturating_mul(self.prompts)
    }
}

/// What templates say of tools beside the tools.
const TOOLS: u64 = 512;

impl RequestBody {
    /// What the request may use at most.
    pub fn demand(&self, endpoint: Endpoint) -> Demand {
        let prompts = match endpoint {
            Endpoint::Completions | Endpoint::Embeddings | Endpoint::Moderations | Endpoint::Score => {
                self.part(&self.view.input).map_or(1, prompts)
            }
            _ => 1,
        };
        Demand {
            prompt: self.prompt_bytes(),
            prompts,
            choices: self.choices(),
            output: self.output_bound(endpoint),
            is_text: !self.view.is_heard,
            is_deferred: self.view.is_deferred,
            is_strict_json: self.part(&self.view.format).is_some_and(is_strict),
        }
    }

    /// The bound of each answer. A name that the endpoint's servers do not read bounds nothing.
    fn output_bound(&self, endpoint: Endpoint) -> Option<u64> {
        let view = &self.view;
        let old = view.max_tokens.as_ref().map(|(tokens, _)| *tokens);
        match endpoint {
            Endpoint::Completions | Endpoint::Messages => old,
            Endpoint::Responses => view.max_output_tokens,
            // Of two, a server may read either.
            _ => view.max_completion_tokens.as_ref().map(|(tokens, _)| *tokens).max(old),
        }
    }

    fn prompt_bytes(&self) -> Option<u64> {
        let view = &self.view;
        let inputs = [&view.input, &view.system]
            .into_iter()
            .filter_map(|span| self.part(span));
        let tools = self.part(&view.tools);
        if view.is_elsewhere || !inputs.into_iter().all(is_plain) || !tools.is_none_or(are_plain_tools) {
            return None;
        }
        // Some templates indent tools, which takes more of them than they are written in.
        let tools = tools.map_or(0, |tools| tools.len() as u64 + TOOLS);
        // All of the body, for servers read members that we do not know.
        Some(self.raw.expose().len() as u64 + tools)
    }

    fn part(&self, span: &Option<Range<usize>>) -> Option<&str> {
        self.text().get(span.clone()?)
    }

    /// Bounds each answer, for a client that set no bound. [`RequestBody::bound_output`] writes it.
    pub fn set_bound(&mut self, tokens: u64) {
        self.bound = Some(tokens);
    }

    /// Edit: the bound that was set, under the name that the upstream reads.
    pub fn bound_output(&self, endpoint: Endpoint, knows_new_name: bool) -> Option<Splice> {
        let tokens = self.bound?.to_string();
        let name = match endpoint {
            Endpoint::ChatCompletions if knows_new_name => "max_completion_tokens",
            Endpoint::ChatCompletions | Endpoint::Completions => "max_tokens",
            Endpoint::Responses => "max_output_tokens",
            _ => return None,
        };
        let null = self.view.nulls.iter().find(|(null, _)| *null == name);
        Some(match null {
            Some((_, span)) => Splice::replace(span.clone(), tokens),
            None => self.insert_member(name, &tokens),
        })
    }
}

impl View {
    /// Notes what a member says of the demand, beside what [`View::read`] takes from it.
    pub(super) fn note(&mut self, name: &str, raw: &str, span: &Range<usize>) {
        if raw == "null" {
            let bounds = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
            let bound = bounds.into_iter().find(|bound| *bound == name);
            self.nulls.extend(bound.map(|bound| (bound, span.clone())));
            return;
        }
        match name {
            "tools" | "functions" if self.tools.is_none() => self.tools = Some(span.clone()),
            // Both at once is nobody's; what is not looked at counts as unknown.
            "tools" | "functions" => self.is_elsewhere = true,
            "background" => self.is_deferred = raw != "false",
            "response_format" | "text" => self.format = Some(span.clone()),
            "modalities" => self.is_heard |= raw.contains("audio") || raw.contains("image") || raw.contains('\\'),
            // A template that is kept at the server, where a text is written elsewhere.
            "prompt" => self.is_elsewhere |= raw.starts_with('{'),
            "previous_response_id"
            | "conversation"
            | "chat_template"
            | "prompt_embeds"
            | "web_search_options"
            | "plugins"
            | "mcp_servers"
            | "container"
            | "images"
            | "image_data"
            | "multi_modal_data" => {
                self.is_elsewhere = true;
            }
            _ => {}
        }
    }
}

/// How many prompts a value is: a list of texts or of lists of tokens is one for each.
fn prompts(value: &str) -> u64 {
    /// Counts elements of which the first is no number.
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = u64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u64, A::Error> {
            let mut count = 0;
            while let Some(element) = seq.next_element::<&RawValue>()? {
                let is_token = element
                    .get()
                    .starts_with(|first: char| first == '-' || first.is_ascii_digit());
                count += u64::from(!is_token);
            }
            Ok(count)
        }
    }
    if !value.starts_with('[') {
        return 1;
    }
    let mut deserializer = serde_json::Deserializer::from_str(value);
    deserializer.deserialize_seq(Count).unwrap_or(1).max(1)
}

/// Whether a value holds text and nothing else, as far as one knows its parts by their type.
fn is_plain(value: &str) -> bool {
    serde_json::from_str::<Plain>(value).is_ok_and(|plain| plain.0)
}

/// Types of parts that are text, or say what text they hold.
const TEXT_TYPES: &[&str] = &[
    "text",
    "input_text",
    "output_text",
    "refusal",
    "message",
    "function",
    "function_call",
    "function_call_output",
    "custom",
    "custom_tool_call",
    "custom_tool_call_output",
    "tool_use",
    "tool_result",
    "thinking",
    "reasoning",
    "reasoning_text",
    "summary_text",
    "ephemeral",
];

struct Plain(bool);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Plain;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_str<E>(self, _: &str) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain(true))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
                let mut all = true;
                while let Some(Plain(is_plain)) = seq.next_element()? {
                    all &= is_plain;
                }
                Ok(Plain(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let mut all = true;
                while let Some(Key(key)) = map.next_key()? {
                    all &= match &*key {
                        "type" => match serde_json::from_str::<String>(map.next_value::<&RawValue>()?.get()) {
                            Ok(kind) => TEXT_TYPES.contains(&kind.as_str()),
                            Err(_) => true,
                        },
                        "image_url" | "input_audio" | "file" | "file_id" | "file_data" | "file_url" | "image"
                        | "images" | "audio" | "video" | "video_url" | "source" => {
                            map.next_value::<&RawValue>()?.get() == "null"
                        }
                        // What a model gave a tool: text, whatever it names its parts.
                        "input" | "arguments" => {
                            map.next_value::<IgnoredAny>()?;
                            true
                        }
                        _ => map.next_value::<Self::Value>()?.0,
                    };
                }
                Ok(Plain(all))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

/// Whether tools are described in the body and run by the client. Others read more than we see.
fn are_plain_tools(tools: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Tool {
        #[serde(default, rename = "type")]
        kind: Option<String>,
    }
    let plain = |tool: &Tool| matches!(tool.kind.as_deref(), None | Some("function" | "custom"));
    serde_json::from_str::<Vec<Tool>>(tools).is_ok_and(|tools| tools.iter().all(plain))
}

/// Whether a format asks for JSON of a schema, strictly: `response_format` of a chat, `text` of a response.
fn is_strict(format: &str) -> bool {
    let member = |object: &str, name: &str| {
        let members = parse_members(object).ok()?;
        let found = members.0.into_iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.get().to_owned())
    };
    let format = member(format, "format").unwrap_or_else(|| format.to_owned());
    if member(&format, "type").as_deref() != Some(r#""json_schema""#) {
        return false;
    }
    let schema = member(&format, "json_schema").unwrap_or(format);
    member(&schema, "strict").as_deref() == Some("true")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn demand(endpoint: Endpoint, body: &str) -> Demand {
        RequestBody::parse(endpoint, Bytes::copy_from_slice(body.as_bytes()))
            .expect("a body")
            .demand(endpoint)
    }

    #[test]
    fn what_is_not_plain_text_has_no_bound() {
        use Endpoint::{ChatCompletions, Completions, Embeddings, Messages, Responses};
        let check = |endpoint, body: &str, is_bounded: bool| {
            let found = demand(endpoint, body).prompt;
            assert_eq!(found.is_some(), is_bounded, "for {body}");
            assert!(found.is_none_or(|bound| bound >= body.len() as u64), "for {body}");
        };
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
            true,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#,
            true,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"im\u0061ge_url"}]}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"im\u0061ge_url":"x"}]}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"assistant","content":null,"audio":{"id":"a"}}]}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[{"role":"assistant","content":null,"audio":null,"tool_calls":[{"type":"function","id":"c","function":{"name":"f","arguments":"{\"type\":\"x\"}"}}]}]}"#,
            true,
        );
        check(ChatCompletions, r#"{"messages":[],"web_search_options":{}}"#, false);
        check(
            ChatCompletions,
            r#"{"messages":[],"chat_template":"{{ messages * 9 }}"}"#,
            false,
        );
        check(
            ChatCompletions,
            r#"{"messages":[],"tools":[{"type":"function","function":{"parameters":{"type":"object"}}}]}"#,
            true,
        );
        check(ChatCompletions, "{\"messages\":[\"\\ud83d\"]}", false);
        check(Completions, r#"{"prompt":"hi"}"#, true);
        check(Completions, r#"{"prompt_embeds":"AAAA"}"#, false);
        check(Embeddings, r#"{"input":[[1,2],[3]]}"#, true);
        check(Responses, r#"{"input":"hi"}"#, true);
        check(Responses, r#"{"input":"hi","previous_response_id":null}"#, true);
        check(Responses, r#"{"input":"hi","previous_response_id":"resp_1"}"#, false);
        check(Responses, r#"{"input":"hi","conversation":"conv_1"}"#, false);
        check(Responses, r#"{"prompt":{"id":"pmpt_1"}}"#, false);
        check(
            Responses,
            r#"{"input":[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"x"}]}]}"#,
            false,
        );
        check(Responses, r#"{"input":[{"type":"item_reference","id":"x"}]}"#, false);
        check(Responses, r#"{"input":"hi","tools":[{"type":"web_search"}]}"#, false);
        check(
            Messages,
            r#"{"max_tokens":1,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]}]}"#,
            true,
        );
        check(
            Messages,
            r#"{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{}}]}]}]}"#,
            false,
        );
        check(
            Messages,
            r#"{"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"draw","input":{"type":"circle"}}]}]}"#,
            true,
        );
    }

    #[test]
    fn answers_multiply() {
        use Endpoint::{ChatCompletions, Completions, Embeddings};
        let check = |endpoint, body: &str, prompts: u64, choices: u64| {
            let found = demand(endpoint, body);
            assert_eq!((found.prompts, found.choices), (prompts, choices), "for {body}");
        };
        check(ChatCompletions, r#"{"messages":[{},{}],"n":3}"#, 1, 3);
        check(Completions, r#"{"prompt":"a","n":2,"best_of":5}"#, 1, 5);
        check(Completions, r#"{"prompt":["a","b","c"],"n":2}"#, 3, 2);
        check(Completions, r#"{"prompt":[1,2,3]}"#, 1, 1);
        check(Completions, r#"{"prompt":[[1,2,3],[4]],"best_of":2}"#, 2, 2);
        check(Completions, r#"{"prompt":[]}"#, 1, 1);
        check(Embeddings, r#"{"input":["a","b"]}"#, 2, 1);
    }

    #[test]
    fn a_bound_counts_under_the_name_that_is_read() {
        use Endpoint::{ChatCompletions, Completions, Messages, Responses};
        let check = |endpoint, members: &str, expect: Option<u64>| {
            let body = format!(r#"{{"messages":[],{members}}}"#);
            assert_eq!(demand(endpoint, &body).output, expect, "for {body}");
        };
        check(ChatCompletions, r#""max_tokens":5"#, Some(5));
        check(ChatCompletions, r#""max_completion_tokens":5,"max_tokens":9"#, Some(9));
        check(ChatCompletions, r#""max_output_tokens":5"#, None);
        check(ChatCompletions, r#""max_tokens":null"#, None);
        check(Completions, r#""max_completion_tokens":5"#, None);
        check(Completions, r#""max_tokens":0"#, Some(0));
        check(Responses, r#""max_tokens":5"#, None);
        check(Responses, r#""max_output_tokens":5"#, Some(5));
        check(Messages, r#""max_tokens":7,"max_completion_tokens":9"#, Some(7));
    }

    #[test]
    fn a_bound_is_written_where_the_upstream_reads_it() {
        use Endpoint::{ChatCompletions, Completions, Responses};
        let check = |endpoint, body: &str, knows_new_name: bool, expect: &str| {
            let mut read = RequestBody::parse_lenient(Bytes::copy_from_slice(body.as_bytes())).expect("a body");
            assert_eq!(read.bound_output(endpoint, knows_new_name), None, "none was set");
            read.set_bound(64);
            let splices = read.bound_output(endpoint, knows_new_name).into_iter().collect();
            assert_eq!(read.spliced(splices), expect, "for {body}");
        };
        check(
            ChatCompletions,
            r#"{"a":1}"#,
            true,
            r#"{"max_completion_tokens":64,"a":1}"#,
        );
        check(ChatCompletions, r#"{"a":1}"#, false, r#"{"max_tokens":64,"a":1}"#);
        check(
            ChatCompletions,
            r#"{"max_completion_tokens":null}"#,
            true,
            r#"{"max_completion_tokens":64}"#,
        );
        check(
            ChatCompletions,
            r#"{ "max_tokens" : null }"#,
            false,
            r#"{ "max_tokens" : 64 }"#,
        );
        check(Completions, r#"{"a":1}"#, true, r#"{"max_tokens":64,"a":1}"#);
        check(
            Responses,
            r#"{"max_output_tokens":null}"#,
            true,
            r#"{"max_output_tokens":64}"#,
        );
    }

    #[test]
    fn strict_json_is_asked_for_in_two_ways() {
        let check = |body: &str, expect: bool| {
            assert_eq!(demand(Endpoint::Responses, body).is_strict_json, expect, "for {body}");
        };
        check(
            r#"{"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{}}}}"#,
            true,
        );
        check(
            r#"{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}}"#,
            false,
        );
        check(r#"{"response_format":{"type":"json_object"}}"#, false);
        check(
            r#"{"text":{"format":{"type":"json_schema","name":"x","strict":true,"schema":{}}}}"#,
            true,
        );
        check(r#"{"text":{"format":{"type":"text"}}}"#, false);
        check(r#"{"text":null}"#, false);
    }
}
