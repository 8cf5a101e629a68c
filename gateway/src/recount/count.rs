//! One recount: the text of a request and of its answer, in tokens.
//!
//! What stands around the text is allowed for, so that an honest upstream is never struck: a template's frame of each
//! message, the system prompt that some templates write themselves, tools and schemas written out, the marks between
//! reasoning, calls and text, and the stop sequence that was generated and not delivered.

use std::{fmt, sync::Arc, time::Instant};

use backends::attempt::Outbound;
use billing::{Answer, Recount, Side};
use openapi::{
    endpoint::Endpoint,
    text::{Asked, Kind, Said},
};

use super::{
    transcript::Transcript,
    vocabulary::{Unfinished, Vocabulary},
};

/// What one request and its answer said.
pub(crate) struct Texts {
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) answer: Transcript,
    /// Whether the answer came as a stream.
    pub(crate) is_stream: bool,
    /// Whether the answer came to its end.
    pub(crate) is_whole: bool,
}

/// A request larger than this is not counted.
const MOST_PROMPT: usize = 4 * 1024 * 1024;
/// Around each message: its role and its marks.
const MESSAGE: u64 = 8;
/// What a template writes by itself: gpt-oss's about 70 tokens, Llama's 25, Qwen's 20.
const TEMPLATE: u64 = 80;
/// How a template tells a model of tools, beside the tools.
const TOOLS: u64 = 256;
/// Around a prompt that no template touches: a beginning and an end.
const PROMPT: u64 = 2;
/// Between reasoning and what follows.
const REASONING: u64 = 8;
/// Around a call of a tool.
const CALL: u64 = 16;
/// Around a further choice.
const CHOICE: u64 = 2;
/// What may have been under way when a stream broke off.
const IN_FLIGHT: u64 = 16;

impl Texts {
    /// Counts until then. A side that is not text alone stays `None`, and the claim for it stands.
    pub(super) fn count(&self, vocabulary: &Vocabulary, until: Instant) -> Result<Recount, Unfinished> {
        let Some(body) = self.outbound.json() else {
            return Ok(Recount::default());
        };
        let endpoint = self.outbound.operation.endpoint;
        let Some(asked) = Asked::of(endpoint, body.raw().expose()) else {
            return Ok(Recount::default());
        };
        let counter = Counter { vocabulary, until };
        Ok(Recount {
            prompt: counter.prompt(endpoint, &asked, body.raw().len())?,
            answer: self.answer(endpoint, &asked, &counter)?,
        })
    }

    fn answer(&self, endpoint: Endpoint, asked: &Asked, counter: &Counter<'_>) -> Result<Option<Answer>, Unfinished> {
        if endpoint == Endpoint::Embeddings {
            // Numbers, and no token of an answer.
            return Ok(Some(Answer::default()));
        }
        let Some(bytes) = self.answer.bytes() else {
            return Ok(None);
        };
        let said = if self.is_stream {
            Said::of_stream(endpoint.protocol(), bytes)
        } else {
            Said::of_answer(endpoint.protocol(), bytes)
        };
        let Some(said) = said.filter(|said| said.is_text() && asked.is_answer_visible()) else {
            return Ok(None);
        };
        let mut answer = Answer::default();
        for (kind, text) in said.texts() {
            let tokens = counter.count(text)?;
            match kind {
                Kind::Visible => answer.visible = answer.visible.saturating_add(tokens),
                Kind::Reasoning => {
                    answer.reasoning = answer.reasoning.saturating_add(tokens);
                    answer.around = answer.around.saturating_add(REASONING);
                }
                Kind::Call => {
                    answer.visible = answer.visible.saturating_add(tokens);
                    answer.around = answer.around.saturating_add(CALL);
                }
            }
        }
        let mut stop = 0;
        for text in asked.stops() {
            stop = counter.count(text)?.max(stop);
        }
        let choices = said.choices().max(1);
        let in_flight = if self.is_whole { 0 } else { IN_FLIGHT };
        let frames = choices.saturating_mul(stop).saturating_add(in_flight);
        let further = (choices - 1).saturating_mul(CHOICE);
        answer.around = answer.around.saturating_add(frames).saturating_add(further);
        Ok(Some(answer))
    }
}

struct Counter<'a> {
    vocabulary: &'a Vocabulary,
    until: Instant,
}

impl Counter<'_> {
    fn count(&self, text: &str) -> Result<u64, Unfinished> {
        self.vocabulary.count(text, self.until)
    }

    fn prompt(&self, endpoint: Endpoint, asked: &Asked, len: usize) -> Result<Option<Side>, Unfinished> {
        if !asked.is_text() || len > MOST_PROMPT {
            return Ok(None);
        }
        let mut tokens = asked.tokens();
        for text in asked.texts() {
            tokens = tokens.saturating_add(self.count(text)?);
        }
        let mut around = match endpoint {
            Endpoint::Completions | Endpoint::Embeddings => asked.messages().saturating_mul(PROMPT),
            _ => asked.messages().saturating_mul(MESSAGE).saturating_add(TEMPLATE),
        };
        for (text, at) in asked.around().zip(0..) {
            // Some templates indent what came compact.
            let written = self.count(text)?.saturating_mul(2);
            let told = if at == 0 { TOOLS } else { 0 };
            around = around.saturating_add(written).saturating_add(told);
        }
        Ok(Some(Side { tokens, around }))
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Texts")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backends::{attempt::Payload, verdict::Demand};
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use openapi::{endpoint::Operation, request::RequestBody};

    use super::*;
    use crate::recount::{transcript::Memory, vocabulary::tests::o200k};

    fn count(path: &str, request: &str, answer: &str) -> Recount {
        let operation = Operation::parse("POST", path).expect("is served");
        let body = RequestBody::parse(operation.endpoint, Bytes::copy_from_slice(request.as_bytes())).expect("is good");
        let mut transcript = Transcript::new(Arc::new(Memory::new(usize::MAX)));
        transcript.push(answer.as_bytes());
        let texts = Texts {
            is_stream: answer.starts_with("data"),
            is_whole: !answer.ends_with("cut"),
            answer: transcript,
            outbound: Arc::new(Outbound {
                method: Method::POST,
                query: None,
                headers: HeaderMap::new(),
                operation,
                payload: Payload::Json(Box::new(body)),
                model: None,
                demand: Demand::any(),
            }),
        };
        let until = Instant::now() + Duration::from_secs(600);
        texts.count(&o200k(), until).expect("in time")
    }

    /// `tokens+around` of the prompt, `visible/reasoning+around` of the answer.
    fn check(path: &str, request: &str, answer: &str, expect: &str) {
        let Recount { prompt, answer: said } = count(path, request, answer);
        let prompt = prompt.map_or("-".to_owned(), |side| format!("{}+{}", side.tokens, side.around));
        let said = said.map_or("-".to_owned(), |said| {
            format!("{}/{}+{}", said.visible, said.reasoning, said.around)
        });
        assert_eq!(format!("{prompt} {said}"), expect, "for {request} and {answer}");
    }

    #[test]
    fn whole_answers() {
        let chat = |request: &str, answer: &str, expect: &str| check("/v1/chat/completions", request, answer, expect);
        chat(
            r#"{"messages":[{"role":"user","content":"hello world"}]}"#,
            r#"{"choices":[{"message":{"content":"tiktoken is great!","reasoning_content":"hello world"}}]}"#,
            "2+88 6/2+8",
        );
        chat(
            r#"{"messages":[{"role":"user","content":"hello world"}],"stop":["hello world","x"]}"#,
            r#"{"choices":[{"index":0,"message":{"content":"hello"}},{"index":1,"message":{"content":"world"}}]}"#,
            "2+88 2/0+6",
        );
        chat(
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
            r#"{"choices":[{"message":{"content":"hello world"}}]}"#,
            "- 2/0+0",
        );
        chat(
            r#"{"messages":[{"role":"user","content":"hello"}]}"#,
            r#"{"choices":[{"message":{"content":"a","audio":{"data":"AAAA"}}}]}"#,
            "1+88 -",
        );
        check(
            "/v1/completions",
            r#"{"prompt":["hello","world"]}"#,
            r#"{"choices":[{"text":"!"}]}"#,
            "2+4 1/0+0",
        );
        check(
            "/v1/embeddings",
            r#"{"input":"hello world"}"#,
            r#"{"data":[]}"#,
            "2+2 0/0+0",
        );
    }

    #[test]
    fn streams() {
        let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n";
        let chat = |answer: String, expect: &str| {
            let request = r#"{"stream":true,"messages":[{"role":"user","content":"hello world"}]}"#;
            check("/v1/chat/completions", request, &answer, expect);
        };
        chat(format!("{event}data: [DONE]\n\n"), "2+88 1/0+0");
        chat(format!("{event}{event}data: {{\"choi cut"), "2+88 2/0+16");
        chat(format!("{}data: [DONE]\n\n", event.repeat(150_000)), "2+88 -");
    }

    #[test]
    fn calls_and_tools() {
        check(
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"hello"}],"tools":["hello"]}"#,
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"hello","arguments":""}}]}}]}"#,
            // `["hello"]` is three tokens.
            "1+350 1/0+16",
        );
    }
}
