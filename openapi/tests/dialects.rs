//! Translations, pinned by pairs of files: `tests/dialects/DIALECT/NAME.WHAT.in.json` and `….out.json`, or `.sse`.
//!
//! `WHAT` is `request`, `refused` (a request that cannot be said), `answer`, `malformed` (an answer that is none),
//! `stream`, `cut` (a stream that has no end) or `error`, whose name begins with its status.
//! `UPDATE_GOLDEN=1 cargo test --workspace --test dialects` writes every `out` anew; read the difference before it is
//! committed.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use openapi::{
    dialect::{Asked, Dialect, Translate, messages},
    endpoint::Protocol,
    error::ErrorBody,
    stream::{Outcome, Reader},
};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wire {
    Anthropic,
    Gemini,
    Messages,
}

const WIRES: [Wire; 3] = [Wire::Anthropic, Wire::Gemini, Wire::Messages];

fn asked() -> Asked {
    Asked {
        model: "smart".to_owned(),
        include_usage: true,
        id: "chatcmpl-asked".to_owned(),
        created: 1_790_000_000,
    }
}

impl Wire {
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Messages => "messages",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects").join(name)
    }

    fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Anthropic => Some(Dialect::Anthropic),
            Self::Gemini => Some(Dialect::Gemini),
            Self::Messages => None,
        }
    }

    /// The model is named by the fixture, for the words of a dialect differ with its generations.
    fn request(self, body: &[u8]) -> Result<Bytes, Value> {
        let result = match self.dialect() {
            Some(dialect) => {
                let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
                dialect.request(body, parsed["model"].as_str().unwrap_or("claude-opus-4-8"))
            }
            None => messages::request(body),
        };
        result.map_err(|refused| json!({"param": refused.param, "message": refused.message}))
    }

    fn answer(self, body: &[u8]) -> Result<Bytes, String> {
        let result = match self.dialect() {
            Some(dialect) => dialect.answer(body, &asked()),
            None => messages::answer(body),
        };
        result.map_err(|malformed| malformed.to_string())
    }

    fn stream(self) -> Box<dyn Translate> {
        match self.dialect() {
            Some(dialect) => dialect.stream(asked()),
            None => messages::stream("smart"),
        }
    }

    fn error(self, status: u16, body: &[u8]) -> Value {
        match self.dialect() {
            Some(dialect) => match dialect.error(status, body) {
                Some((status, error)) => json!({"status": status, "body": parse(&error.to_json())}),
                None => Value::Null,
            },
            None => match ErrorBody::from_upstream(body) {
                Some(error) => parse(&messages::error(status, &error, "req-1")),
                None => Value::Null,
            },
        }
    }

    fn translate(self, what: &str, name: &str, body: &[u8]) -> String {
        match what {
            "request" => pretty(
                self.request(body)
                    .unwrap_or_else(|refused| panic!("{name} is refused: {refused}")),
            ),
            "refused" => match self.request(body) {
                Ok(said) => panic!("{name} is not refused: {said:?}"),
                Err(refused) => pretty(refused.to_string().into()),
            },
            "answer" => pretty(self.answer(body).unwrap_or_else(|why| panic!("{name}: {why}"))),
            "malformed" => match self.answer(body) {
                Ok(said) => panic!("{name} is taken for an answer: {said:?}"),
                Err(why) => pretty(json!(why).to_string().into()),
            },
            "stream" | "cut" => self.streamed(&[body]),
            "error" => {
                let status = name.split('-').next().and_then(|status| status.parse().ok());
                let status = status.unwrap_or_else(|| panic!("{name} does not begin with a status"));
                pretty(self.error(status, body).to_string().into())
            }
            _ => panic!("{name} is of an unknown make, {what}"),
        }
    }

    fn streamed(self, pieces: &[&[u8]]) -> String {
        let mut translate = self.stream();
        let mut out = BytesMut::new();
        for piece in pieces {
            translate.feed(piece, &mut out);
        }
        translate.finish(&mut out);
        String::from_utf8(out.to_vec()).expect("what is written is UTF-8")
    }
}

fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("what is written is JSON")
}

fn pretty(json: Bytes) -> String {
    let mut text = serde_json::to_string_pretty(&parse(&json)).expect("a value serialises");
    text.push('\n');
    text
}

struct Fixture {
    wire: Wire,
    name: String,
    what: String,
    input: Vec<u8>,
    out: PathBuf,
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for wire in WIRES {
        let files = fs::read_dir(wire.folder()).expect("the folder is there");
        for file in files {
            let path = file.expect("the folder can be read").path();
            let file = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("names are UTF-8");
            let parts: Vec<&str> = file.split('.').collect();
            let [name, what, side, extension] = parts[..] else {
                panic!("{file} is not NAME.WHAT.in.EXTENSION");
            };
            if side == "in" {
                fixtures.push(Fixture {
                    wire,
                    name: name.to_owned(),
                    what: what.to_owned(),
                    input: fs::read(&path).expect("the file can be read"),
                    out: path.with_file_name(format!("{name}.{what}.out.{extension}")),
                });
            }
        }
    }
    fixtures.sort_by(|a, b| a.out.cmp(&b.out));
    fixtures
}

fn streams() -> impl Iterator<Item = Fixture> {
    let is_stream = |fixture: &Fixture| matches!(&*fixture.what, "stream" | "cut");
    fixtures().into_iter().filter(is_stream)
}

#[test]
fn golden() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of this test, not a setting of the gateway"
    )]
    let update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let fixtures = fixtures();
    let mut seen: BTreeMap<(Wire, &str), usize> = BTreeMap::new();
    for fixture in &fixtures {
        let Fixture { wire, name, what, .. } = fixture;
        *seen.entry((*wire, &**what)).or_default() += 1;
        let said = wire.translate(what, name, &fixture.input);
        if update {
            fs::write(&fixture.out, &said).expect("the file can be written");
        }
        let expect = fs::read_to_string(&fixture.out).unwrap_or_default();
        if said != expect {
            panic!("{wire:?} {name}.{what} became\n{said}\ninstead of\n{expect}");
        }
    }
    for wire in WIRES {
        for what in ["request", "refused", "answer", "malformed", "stream", "cut", "error"] {
            assert!(seen.contains_key(&(wire, what)), "{wire:?} has no fixture of {what}");
        }
    }
}

#[test]
fn pieces_change_nothing() {
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(64));
    for Fixture { wire, name, input, .. } in streams() {
        let whole = wire.streamed(&[&input]);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(wire.streamed(&bytes), whole, "{name} byte by byte");
        let cuts = proptest::collection::vec(0..=input.len(), 0..40);
        let same = runner.run(&cuts, |mut cuts| {
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
            prop_assert_eq!(wire.streamed(&pieces), whole.clone());
            Ok(())
        });
        assert_eq!(same, Ok(()), "for {name}");
    }
}

/// Cut anywhere, a stream is a beginning of the whole one, or ends in an error; it never ends like a whole one.
#[test]
fn a_cut_stream_has_no_end() {
    for Fixture { wire, name, input, .. } in streams().filter(|fixture| fixture.what == "stream") {
        let whole = wire.streamed(&[&input]);
        // The last line end says nothing.
        for len in 0..input.trim_ascii_end().len() {
            let said = wire.streamed(&[&input[..len]]);
            assert!(whole.starts_with(&said), "{name} cut at {len} says more: {said}");
            let ends = ["[DONE]", "\"finish_reason\":\"", "message_stop", "\"stop_reason\":\""];
            let is_ended = ends.iter().any(|end| said.contains(end));
            assert!(!is_ended, "{name} cut at {len} has an end: {said}");
        }
    }
}

/// What is written for a chat client needs none of the repairs that other servers need.
#[test]
fn the_reader_finds_nothing_to_repair() {
    for Fixture {
        wire,
        name,
        what,
        input,
        ..
    } in streams().filter(|fixture| fixture.wire != Wire::Messages)
    {
        let said = Bytes::from(wire.streamed(&[&input]));
        let mut reader = Reader::new(Protocol::Chat, false, 1 << 20);
        let mut batch = reader.feed(said.clone());
        let mut read = BytesMut::from(&batch.bytes[..]);
        if batch.outcome.is_none() {
            batch = reader.finish();
            read.extend_from_slice(&batch.bytes);
        }
        let is_complete = batch.outcome == Some(Outcome::Complete);
        assert_eq!(is_complete, what == "stream", "{name} is {:?}", batch.outcome);
        if is_complete {
            assert_eq!(read, said, "{name} was repaired");
        }
    }
}

/// A client of Anthropic's wire in front of an upstream of Anthropic's dialect gets back what the upstream said.
#[test]
fn a_message_survives_both_ways() {
    for fixture in fixtures() {
        if fixture.wire != Wire::Anthropic || fixture.what != "answer" {
            continue;
        }
        let chat = Wire::Anthropic.answer(&fixture.input).expect("it is an answer");
        let back = parse(&Wire::Messages.answer(&chat).expect("it is an answer"));
        let message = parse(&fixture.input);
        for member in ["id", "content", "stop_reason", "stop_sequence"] {
            assert_eq!(back[member], message[member], "{member} of {}", fixture.name);
        }
        for member in ["input_tokens", "cache_read_input_tokens", "output_tokens"] {
            let count = |message: &Value| message["usage"][member].as_u64().unwrap_or(0);
            assert_eq!(count(&back), count(&message), "{member} of {}", fixture.name);
        }
    }
}

/// Names and words that translations look for.
const WORDS: &str = "
    messages role content system user assistant tool type text image_url url thinking signature
    reasoning_details tool_calls id function name arguments tool_call_id tools tool_choice parameters
    input_schema tool_use tool_result tool_use_id input source data max_tokens stop stop_sequences model
    reasoning_effort response_format json_schema schema candidates parts functionCall args finishReason STOP
    usageMetadata index choices delta message finish_reason stop_reason end_turn usage error status details
    content_block message_start content_block_start content_block_delta text_delta input_json_delta
    partial_json message_delta message_stop logprobsResult chosenCandidates promptFeedback blockReason
    extra_content google thought_signature output_config format metadata user_id high auto
";

/// JSON of any kind, with those words in it.
fn arbitrary_json() -> impl Strategy<Value = Value> {
    let words: Vec<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    let word = proptest::sample::select(words);
    let text = prop_oneof![4 => word.clone(), 1 => ".{0,8}", 1 => Just("data:image/png;base64,AA==".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A fixture with one value in it replaced by any other: nearly right is where translations stumble.
fn nearly_right() -> impl Strategy<Value = Value> {
    let read = |fixture: Fixture| serde_json::from_slice::<Value>(&fixture.input).ok();
    let values: Vec<Value> = fixtures().into_iter().filter_map(read).collect();
    let value = proptest::sample::select(values);
    (value, any::<proptest::sample::Index>(), arbitrary_json()).prop_map(|(mut value, index, other)| {
        let mut pointers = Vec::new();
        pointers_of(&value, String::new(), &mut pointers);
        if let Some(place) = value.pointer_mut(index.get::<String>(&pointers)) {
            *place = other;
        }
        value
    })
}

fn pointers_of(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                pointers_of(member, format!("{at}/{name}"), into);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                pointers_of(element, format!("{at}/{index}"), into);
            }
        }
        _ => {}
    }
    into.push(at);
}

/// Everything that takes bytes takes these; what is said is JSON.
fn check_all(body: &[u8]) {
    for wire in WIRES {
        for result in [wire.request(body).ok(), wire.answer(body).ok()].into_iter().flatten() {
            parse(&result);
        }
        wire.error(400, body);
        let mut event = b"data: ".to_vec();
        event.extend_from_slice(body);
        event.extend_from_slice(b"\n\n");
        wire.streamed(&[&event, body, &event]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_json_panics(value in arbitrary_json()) {
        check_all(value.to_string().as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_all(&bytes);
    }

    #[test]
    fn what_is_nearly_right_does_not_panic(value in nearly_right()) {
        check_all(value.to_string().as_bytes());
    }

    /// A stream with an event replaced, repeated or lost still says JSON in every event, and ends at most once.
    #[test]
    fn events_may_come_in_any_order(
        stream in proptest::sample::select(streams().map(|fixture| (fixture.wire, fixture.input)).collect::<Vec<_>>()),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 1..20),
    ) {
        let (wire, input) = stream;
        let text = String::from_utf8(input).expect("fixtures are UTF-8").replace('\r', "");
        let events: Vec<&str> = text.split_inclusive("\n\n").collect();
        let shuffled: String = order.iter().map(|index| *index.get(&events)).collect();
        let said = wire.streamed(&[shuffled.as_bytes()]);
        let mut ends = 0;
        for line in said.lines() {
            let Some(data) = line.strip_prefix("data: ") else {
                prop_assert!(line.is_empty() || line.starts_with([':', 'e']), "a line says {line}");
                continue;
            };
            let is_end = matches!(data, "[DONE]" | "{\"type\":\"message_stop\"}");
            ends += u32::from(is_end);
            if data != "[DONE]" {
                parse(data.as_bytes());
            }
        }
        prop_assert!(ends <= 1, "it ends {ends} times");
    }
}

/// What is deep or long is refused or passed, and costs no stack.
#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let objects = "{\"a\":".repeat(200_000) + "1" + &"}".repeat(200_000);
    for nested in [&deep, &objects] {
        check_all(nested.as_bytes());
        for body in [
            format!(r#"{{"messages":{nested}}}"#),
            format!(r#"{{"messages":[{{"role":"user","content":{nested}}}],"model":"m","max_tokens":1}}"#),
            format!(
                r#"{{"type":"message","stop_reason":"end_turn","content":[{{"type":"tool_use","id":"a","name":"f","input":{nested}}}]}}"#
            ),
            format!(
                r#"{{"candidates":[{{"finishReason":"STOP","content":{{"parts":[{{"functionCall":{{"name":"f","args":{nested}}}}}]}}}}]}}"#
            ),
            format!(r#"{{"error":{{"message":"m","details":[{nested}]}}}}"#),
        ] {
            check_all(body.as_bytes());
        }
        let arguments = Value::from(nested.as_str());
        let call = format!(r#"[{{"id":"a","function":{{"name":"f","arguments":{arguments}}}}}]"#);
        let chat = format!(r#"{{"messages":[{{"role":"assistant","tool_calls":{call}}}]}}"#);
        assert!(
            Wire::Anthropic.request(chat.as_bytes()).is_err(),
            "arguments have a depth"
        );
        let answer = format!(r#"{{"choices":[{{"message":{{"tool_calls":{call}}},"finish_reason":"tool_calls"}}]}}"#);
        assert!(
            Wire::Messages.answer(answer.as_bytes()).is_err(),
            "arguments have a depth"
        );
    }
}

/// Numbers and texts that only move are not read: they come out as they were written.
#[test]
fn what_moves_stays_as_written() {
    let chat = br#"{"messages":[{"role":"user","content":"\ud83d \u00e9"},{"role":"assistant","tool_calls":[{"id":"a","function":
        {"name":"f","arguments":"{\"n\":12345678901234567890123,\"x\":1.50}"}}]}],"tools":[{"type":"function","function":
        {"name":"f","parameters":{"type":"object","maximum":1e400}}}],"temperature":0.70}"#;
    for wire in [Wire::Anthropic, Wire::Gemini] {
        let said = wire.request(chat).expect("it can be said");
        let said = std::str::from_utf8(&said).expect("UTF-8");
        for kept in [
            r#""\ud83d \u00e9""#,
            r#"{"n":12345678901234567890123,"x":1.50}"#,
            r#""maximum":1e400"#,
            ":0.70",
        ] {
            assert!(said.contains(kept), "{wire:?} lost {kept} in {said}");
        }
    }
}
