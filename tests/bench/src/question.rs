//! What a request asks of the upstream, and the bytes that ask it.
//!
//! The scenario rides in the body, in the field `bench`, so that any proxy that passes unknown
//! fields through carries it. Every request has an id of its own, which every part of the answer
//! repeats: a cached, crossed or invented answer cannot pass for this one.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// The completion tokens of a unary answer.
pub const UNARY_TOKENS: u32 = 16;
/// The ceiling of `bench.chunks`.
pub const CHUNKS_MAX: u32 = 99_999;
/// The ceiling of `bench.delay_us`: ten minutes.
pub const DELAY_US_MAX: u64 = 600_000_000;

/// A chat completion request as the upstream reads it.
#[derive(Deserialize)]
pub struct Asked<'a> {
    #[serde(borrow)]
    pub messages: Vec<Message<'a>>,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    bench: Bench,
}

#[derive(Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize, Default)]
struct Bench {
    #[serde(default, deserialize_with = "hex")]
    id: u32,
    chunks: Option<u32>,
    #[serde(default)]
    delay_us: u64,
}

impl Asked<'_> {
    pub fn id(&self) -> u32 {
        self.bench.id
    }

    /// `bench.chunks`, else `max_tokens`, else as many as a unary answer has tokens.
    pub fn chunks(&self) -> u32 {
        self.bench
            .chunks
            .or(self.max_tokens)
            .unwrap_or(UNARY_TOKENS)
            .min(CHUNKS_MAX)
    }

    pub fn delay_us(&self) -> u64 {
        self.bench.delay_us.min(DELAY_US_MAX)
    }

    pub fn include_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .is_some_and(|options| options.include_usage)
    }

    /// Derived from the text that arrived, so that a shortened prompt shows in the usage.
    pub fn prompt_tokens(&self) -> u64 {
        let bytes = self.messages.iter().map(|message| message.content.len()).sum();
        prompt_tokens(bytes)
    }
}

/// The upstream's idea of a tokenizer: four bytes a token.
pub fn prompt_tokens(content_bytes: usize) -> u64 {
    (content_bytes as u64).div_ceil(4)
}

/// Where and as whom to ask.
#[derive(Debug, Clone)]
pub struct Address {
    /// `host:port`.
    pub authority: String,
    pub path: String,
}

/// How the answer streams.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub chunks: u32,
    pub delay_us: u64,
}

/// A request, ready to send but for its id.
#[derive(Clone)]
pub struct Question {
    bytes: Vec<u8>,
    id_at: usize,
    id: u32,
    pub prompt_tokens: u64,
    pub pace: Option<Pace>,
}

impl Address {
    /// Understands `http://host:port/path` only.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let slash = rest.find('/')?;
        let (authority, path) = rest.split_at(slash);
        Some(Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Question {
    /// A request whose body has `body_bytes` bytes, or as few as it takes.
    pub fn new(address: &Address, api_key: Option<&str>, model: &str, body_bytes: usize, pace: Option<Pace>) -> Self {
        let shortest = body(model, "", pace);
        let prompt = prompt(body_bytes.saturating_sub(shortest.len()));
        let body = body(model, &prompt, pace);
        let credential = match api_key {
            Some(key) => format!("authorization: Bearer {key}\r\n"),
            None => String::new(),
        };
        let Address { authority, path } = address;
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: bench-load/1\r\n\
             accept: */*\r\ncontent-type: application/json\r\n{credential}\
             content-length: {}\r\n\r\n{body}",
            body.len(),
        );
        let id_at = bytes.rfind(ID_PLACE).expect("`body` wrote it") + ID_PLACE.len() - 8;
        Self {
            bytes: bytes.into_bytes(),
            id_at,
            id: 0,
            prompt_tokens: prompt_tokens(SYSTEM.len() + prompt.len()),
            pace,
        }
    }

    /// The bytes of the next request, under a new id.
    pub fn ask(&mut self, id: u32) -> &[u8] {
        self.id = id;
        write_hex(id, &mut self.bytes[self.id_at..self.id_at + 8]);
        &self.bytes
    }

    pub fn id(&self) -> u32 {
        self.id
    }
}

const SYSTEM: &str = "You are a helpful assistant.";
const ID_PLACE: &str = r#""bench":{"id":"00000000"#;

fn body(model: &str, prompt: &str, pace: Option<Pace>) -> String {
    let (stream, scenario) = match pace {
        Some(Pace { chunks, delay_us }) => (
            r#","stream":true,"stream_options":{"include_usage":true}"#,
            format!(r#","chunks":{chunks},"delay_us":{delay_us}"#),
        ),
        // Said aloud, so that a `max_tokens` that the proxy adds changes nothing.
        None => ("", format!(r#","chunks":{UNARY_TOKENS}"#)),
    };
    let model = serde_json::Value::from(model);
    // The prompt needs no escapes. The scenario stands last, so it arrives only if all arrives.
    format!(
        r#"{{"model":{model},"messages":[{{"role":"system","content":"{SYSTEM}"}},{{"role":"user","content":"{prompt}"}}],"temperature":0.7{stream},{ID_PLACE}"{scenario}}}}}"#
    )
}

fn prompt(bytes: usize) -> String {
    const WORDS: &str = "Summarise this report, keep the names and dates, and say what is missing. ";
    WORDS.chars().cycle().take(bytes).collect()
}

pub fn write_hex(value: u32, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in out.iter_mut().rev().enumerate() {
        *byte = DIGITS[(value >> (4 * place)) as usize & 15];
    }
}

fn hex<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    let text = Cow::<str>::deserialize(source)?;
    u32::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(body_bytes: usize, pace: Option<Pace>) -> Question {
        let address = Address::parse("http://127.0.0.1:1/v1/chat/completions").expect("a url");
        Question::new(&address, Some("sk-x"), "mock-model", body_bytes, pace)
    }

    fn body_of(bytes: &[u8]) -> &[u8] {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").expect("a head ends");
        &bytes[end + 4..]
    }

    #[test]
    fn the_upstream_reads_what_the_load_wrote() {
        let mut question = question(
            700,
            Some(Pace {
                chunks: 50,
                delay_us: 10_000,
            }),
        );
        let prompt_tokens = question.prompt_tokens;
        let bytes = question.ask(0xc0ff_ee07).to_vec();
        let asked: Asked<'_> = serde_json::from_slice(body_of(&bytes)).expect("valid JSON");
        assert_eq!(asked.id(), 0xc0ff_ee07);
        assert_eq!((asked.chunks(), asked.delay_us()), (50, 10_000));
        assert!(asked.stream && asked.include_usage());
        assert_eq!(asked.prompt_tokens(), prompt_tokens);
    }

    #[test]
    fn a_body_has_the_size_asked_for() {
        for size in [700, 32_768] {
            let mut question = question(size, None);
            assert_eq!(body_of(question.ask(1)).len(), size);
        }
    }

    #[test]
    fn a_plain_request_has_defaults() {
        let body = br#"{"messages":[{"content":"a\nb"}],"max_tokens":3}"#;
        let asked: Asked<'_> = serde_json::from_slice(body).expect("valid JSON");
        assert_eq!((asked.id(), asked.chunks(), asked.delay_us()), (0, 3, 0));
        assert!(!asked.stream && !asked.include_usage());
        assert_eq!(asked.prompt_tokens(), 1);
    }

    #[test]
    fn an_address_needs_scheme_and_path() {
        assert!(Address::parse("https://127.0.0.1/x").is_none());
        assert!(Address::parse("http://127.0.0.1:80").is_none());
    }
}
