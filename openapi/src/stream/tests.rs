use super::*;

/// Feeds a stream whole and byte by byte, and shows what the client would get and how it ended.
fn check_with(protocol: Protocol, hide_usage: bool, stream: &str, expect: &str, outcome: &str) {
    for step in [stream.len().max(1), 1] {
        let mut reader = Reader::new(protocol, hide_usage, 1 << 20);
        let mut out = Vec::new();
        let mut ended = None;
        for chunk in stream.as_bytes().chunks(step) {
            let batch = reader.feed(Bytes::copy_from_slice(chunk));
            out.extend_from_slice(&batch.bytes);
            ended = batch.outcome;
            if ended.is_some() {
                break;
            }
        }
        if ended.is_none() {
            let batch = reader.finish();
            out.extend_from_slice(&batch.bytes);
            ended = batch.outcome;
        }
        let shown = match ended {
            Some(Outcome::Complete) => "complete".to_owned(),
            Some(Outcome::Cut) => "cut".to_owned(),
            Some(Outcome::Failed(Fault::Upstream(error))) => format!("upstream: {}", error.message),
            Some(Outcome::Failed(fault)) => format!("{fault:?}"),
            None => "none".to_owned(),
        };
        assert_eq!(
            (String::from_utf8_lossy(&out).as_ref(), shown.as_str()),
            (expect, outcome),
            "in steps of {step}"
        );
    }
}

fn check(stream: &str, expect: &str, outcome: &str) {
    check_with(Protocol::Chat, true, stream, expect, outcome);
}

const HI: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n";
const END: &str = "data: [DONE]\n\n";

#[test]
fn a_good_stream_passes_untouched() {
    let stream = format!("{HI}{STOP}{END}");
    check(&stream, &stream, "complete");
    let mut reader = Reader::new(Protocol::Chat, true, 1024);
    let chunk = Bytes::from(stream.into_bytes());
    let batch = reader.feed(chunk.clone());
    assert_eq!(batch.bytes.as_ptr(), chunk.as_ptr(), "without a copy");
    assert_eq!(
        (batch.facts.frames, batch.facts.deltas, batch.facts.text_len),
        (2, 1, 2)
    );
}

#[test]
fn usage_is_hidden_from_those_who_did_not_ask() {
    check(
        &format!("{HI}{STOP}{USAGE}{END}"),
        &format!("{HI}{STOP}{END}"),
        "complete",
    );
    let asked = format!("{HI}{STOP}{USAGE}{END}");
    check_with(Protocol::Chat, false, &asked, &asked, "complete");
    let mut reader = Reader::new(Protocol::Chat, true, 1024);
    let batch = reader.feed(Bytes::from(format!("{STOP}{USAGE}")));
    assert_eq!(
        batch.facts.usage.map(|usage| (usage.prompt, usage.completion)),
        Some((5, 3))
    );
}

#[test]
fn a_stream_without_a_finish_is_truncated() {
    check(HI, HI, "Truncated");
    check("", "", "Truncated");
    let two = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}\n\n";
    check(&format!("{HI}{two}{STOP}"), &format!("{HI}{two}{STOP}"), "Truncated");
}

#[test]
fn done_is_added_after_a_finish_and_ends_everything() {
    check(&format!("{HI}{STOP}"), &format!("{HI}{STOP}{END}"), "complete");
    check(
        &format!("{HI}{STOP}data: [DONE]"),
        &format!("{HI}{STOP}{END}"),
        "complete",
    );
    check(
        &format!("{HI}{STOP}{END}data: {{\"late\":1}}\n\n"),
        &format!("{HI}{STOP}{END}"),
        "complete",
    );
}

#[test]
fn line_ends_become_lf() {
    for end in ["\r\n", "\r"] {
        check(
            &format!("{HI}{STOP}{END}").replace('\n', end),
            &format!("{HI}{STOP}{END}"),
            "complete",
        );
    }
}

#[test]
fn errors_in_every_shape_end_the_stream() {
    let plain = "data: {\"error\":{\"message\":\"boom\",\"code\":5}}\n\n";
    check(&format!("{HI}{plain}{END}"), HI, "upstream: boom");
    check(&format!("{HI}event: error\n{plain}{END}"), HI, "upstream: boom");
    let beside = "data: {\"error\":{\"message\":\"gone\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    check(&format!("{HI}{beside}{END}"), HI, "upstream: gone");
    let reason = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n";
    check(
        &format!("{HI}{reason}{END}"),
        HI,
        "upstream: The upstream ended the answer with an error.",
    );
    check(&format!("{HI}data: <html>\n\n"), HI, "Malformed");
}

#[test]
fn noise_is_dropped_and_comments_pass() {
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    check(
        &format!("{ping}: here\n\n{HI}\n{STOP}{END}"),
        &format!(": here\n\n{HI}{STOP}{END}"),
        "complete",
    );
    let bare = "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    check(&format!("{HI}{bare}{END}"), &format!("{HI}{END}"), "complete");
    let azure = "data: {\"id\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    check(
        &format!("{azure}{HI}{STOP}{END}"),
        &format!("{azure}{HI}{STOP}{END}"),
        "complete",
    );
    let vendor = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"zzz\":{\"a\":1e400}},\"finish_reason\":null}],\"x\":18446744073709551616}\n\n";
    check(
        &format!("{vendor}{STOP}{END}"),
        &format!("{vendor}{STOP}{END}"),
        "complete",
    );
}

fn tool(piece: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{piece}]}}}}]}}\n\n")
}

#[test]
fn tool_calls_get_an_index_and_keep_one_name() {
    let named = tool(r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\""}}"#);
    let more = tool(r#"{"index":0,"function":{"arguments":":1}"}}"#);
    check(
        &format!("{named}{more}{STOP}{END}"),
        &format!("{named}{more}{STOP}{END}"),
        "complete",
    );

    let again = tool(r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":":1}"}}"#);
    check(
        &format!("{named}{again}{STOP}{END}"),
        &format!("{named}{more}{STOP}{END}"),
        "complete",
    );

    let bare = |id: &str| {
        tool(&format!(
            r#"{{"id":"{id}","function":{{"name":"f","arguments":"{{}}"}}}}"#
        ))
    };
    let indexed = |id: &str, index: u32| {
        tool(&format!(
            r#"{{"id":"{id}","function":{{"name":"f","arguments":"{{}}"}},"index":{index}}}"#
        ))
    };
    check(
        &format!("{}{}{STOP}{END}", bare("a"), bare("b")),
        &format!("{}{}{STOP}{END}", indexed("a", 0), indexed("b", 1)),
        "complete",
    );
}

#[test]
fn calls_that_share_an_index_are_told_apart_by_their_ids() {
    let call = |index: u32, id: &str| {
        tool(&format!(
            r#"{{"index":{index},"id":"{id}","function":{{"name":"{id}","arguments":"{{}}"}}}}"#
        ))
    };
    let more = |index: u64| tool(&format!(r#"{{"index":{index},"function":{{"arguments":" "}}}}"#));
    check(
        &format!("{}{}{}{STOP}{END}", call(0, "a"), call(0, "b"), more(1)),
        &format!("{}{}{}{STOP}{END}", call(0, "a"), call(1, "b"), more(1)),
        "complete",
    );
    let last = u64::MAX;
    let far = tool(&format!(
        r#"{{"index":{last},"id":"z","function":{{"name":"f","arguments":"1"}}}}"#
    ));
    check(&format!("{far}{STOP}{END}"), &format!("{far}{STOP}{END}"), "complete");
}

#[test]
fn typed_events_pass_and_must_end() {
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"delta\":\"hi\"}\n\n";
    let done = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":5,\"response\":{\"usage\":{\"input_tokens\":2,\"output_tokens\":1}}}\n\n";
    let check =
        |stream: &str, expect: &str, outcome: &str| check_with(Protocol::Responses, true, stream, expect, outcome);
    check(&format!("{delta}{done}"), &format!("{delta}{done}"), "complete");
    check(delta, delta, "Truncated");
    let mut reader = Reader::new(Protocol::Responses, true, 1024);
    reader.feed(Bytes::from(delta));
    let event = reader.error_event(&ErrorBody::new("server_error", "stream_truncated", "cut"));
    assert_eq!(
        event,
        "event: error\ndata: {\"type\":\"error\",\"code\":\"stream_truncated\",\"message\":\"cut\",\"param\":null,\"sequence_number\":5}\n\n"
    );
}

/// A message that says `hi`, without its `message_stop`.
fn message() -> String {
    [
        r#"{"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":5,"cache_read_input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"{"type":"some_day","x":1e999}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
    ]
    .map(typed)
    .concat()
}

fn typed(data: &str) -> String {
    let kind: serde_json::Value = serde_json::from_str(&data.replace("1e999", "1")).expect("JSON");
    format!("event: {}\ndata: {data}\n\n", kind["type"].as_str().expect("a type"))
}

#[test]
fn a_message_passes_and_must_stop() {
    let check = |stream: &str, expect: &str, outcome: &str| {
        check_with(Protocol::Messages, true, stream, expect, outcome);
    };
    let (message, stop) = (message(), typed(r#"{"type":"message_stop"}"#));
    let ping = typed(r#"{"type":"ping"}"#);
    let whole = format!("{message}{ping}{stop}");
    check(&format!("{whole}{ping}"), &whole, "complete");
    let cr = whole.replace('\n', "\r\n");
    check(&cr, &whole, "complete");
    check(&message, &message, "Truncated");
    check(&format!("{message}{END}"), &message, "Truncated");
    check(&stop, "", "Truncated");
    let error = typed(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
    check(&format!("{message}{error}{stop}"), &message, "upstream: Overloaded");
    check(
        &format!("{message}event: error\ndata: boom\n\n"),
        &message,
        "upstream: The upstream reported an error.",
    );
    check(&format!("{message}data: {{\n\n"), &message, "Malformed");
}

#[test]
fn a_messages_error_has_our_code() {
    for event in [
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        "data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},\"delta\":5}\n\n",
    ] {
        let batch = Reader::new(Protocol::Messages, true, 1 << 20).feed(Bytes::from(event));
        let Some(Outcome::Failed(Fault::Upstream(error))) = batch.outcome else {
            panic!("{event}: {:?}", batch.outcome);
        };
        assert_eq!(error.code.as_deref(), Some("overloaded"), "{event}");
    }
}

#[test]
fn a_message_is_counted() {
    let stream = message() + &typed(r#"{"type":"ping"}"#);
    let facts = Reader::new(Protocol::Messages, true, 1 << 20)
        .feed(Bytes::from(stream))
        .facts;
    let usage = WireUsage {
        prompt: 8,
        cached: 3,
        completion: 7,
        reasoning: 0,
    };
    assert_eq!(
        (facts.frames, facts.deltas, facts.text_len, facts.usage),
        (6, 2, 4, Some(usage))
    );
    let so_far = WireUsage { completion: 1, ..usage };
    assert_eq!(facts.so_far, Some(so_far));
    let silent = message() + &typed(r#"{"type":"message_delta","delta":{}}"#);
    let facts = Reader::new(Protocol::Messages, true, 1 << 20)
        .feed(Bytes::from(silent))
        .facts;
    assert_eq!(facts.usage, Some(usage), "what says nothing of usage unsays none");
    let ping = Reader::new(Protocol::Messages, true, 1 << 20).feed(Bytes::from(typed(r#"{"type":"ping"}"#)));
    assert_eq!(
        ping.facts,
        Facts::default(),
        "no frame yet, so another upstream may still answer"
    );
}

#[test]
fn an_event_named_error_is_one_whatever_it_holds() {
    let check_error = |event: &str, message: &str| {
        check(&format!("{HI}{event}{END}"), HI, &format!("upstream: {message}"));
    };
    check_error("event: error\ndata: {\"detail\":\"boom\"}\n\n", "boom");
    check_error("event: error\ndata: {\"message\":\"boom\"}\n\n", "boom");
    for data in ["boom", "[DONE]", "[1]", "{\"choices\":[]}"] {
        check_error(
            &format!("event: error\ndata: {data}\n\n"),
            "The upstream reported an error.",
        );
    }
    check_error(
        "data: {\"object\":\"error\",\"message\":\"boom\",\"code\":500}\n\n",
        "boom",
    );
    check_error("data: {\"object\":\"error\"}\n\n", "The upstream reported an error.");
    check_error("data: {\"detail\":\"boom\"}\n\n", "boom");
    check_error("event: note\ndata: {\"detail\":\"boom\"}\n\n", "boom");
    check_error(
        "data: {\"error\":{\"message\":\"boom\",\"x\":1e999},\"choices\":5}\n\n",
        "boom",
    );
    let note = "event: note\ndata: {\"step\":1}\n\n";
    check(
        &format!("{HI}{note}{STOP}{END}"),
        &format!("{HI}{STOP}{END}"),
        "complete",
    );
}

#[test]
fn done_ends_what_has_begun() {
    check(END, "", "Truncated");
    check(&format!(": here\n\n{END}"), ": here\n\n", "Truncated");
    check(&format!("{USAGE}{END}"), "", "Truncated");
    check(&format!("{HI}{END}"), &format!("{HI}{END}"), "complete");
    let empty = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"\"}]}\n\n";
    check(empty, empty, "Truncated");
    check(&format!("{empty}{STOP}"), &format!("{empty}{STOP}{END}"), "complete");
}

#[test]
fn a_stream_that_fails_at_once_has_no_frames() {
    let many = "{},".repeat(300);
    for first in [
        END.to_owned(),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n".to_owned(),
        format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{many}{{}}]}}}}]}}\n\n"),
        format!("data: {{\"choices\":[{many}{{}}]}}\n\n"),
    ] {
        let mut reader = Reader::new(Protocol::Chat, true, 1 << 20);
        let batch = reader.feed(Bytes::from(first));
        assert!(matches!(batch.outcome, Some(Outcome::Failed(_))));
        assert_eq!((batch.facts, batch.bytes.len()), (Facts::default(), 0));
    }
}

#[test]
fn odd_strings_and_numbers_pass_and_count() {
    let odd = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud83d\",\"refusal\":\"\\ude00\"}}],\"usage\":{\"prompt_tokens\":1e999,\"completion_tokens\":4}}\n\n";
    let stream = format!("{odd}{STOP}{END}");
    check(&stream, &stream, "complete");
    let batch = Reader::new(Protocol::Chat, true, 1 << 20).feed(Bytes::from(stream));
    assert_eq!(
        (batch.facts.deltas, batch.facts.text_len, batch.facts.usage),
        (
            1,
            12,
            Some(WireUsage {
                completion: 4,
                ..WireUsage::default()
            })
        )
    );
}

#[test]
fn what_is_broken_behind_an_odd_member_is_malformed() {
    check(&format!("{HI}data: {{\"choices\":5,\"x\":[}}\n\n"), HI, "Malformed");
    check(
        &format!("{HI}data: {{\"choices\":\"odd\",\"usage\":[{{\"de\n\n"),
        HI,
        "Malformed",
    );
    let odd = "data: {\"choices\":5}\n\n";
    check(&format!("{odd}{STOP}{END}"), &format!("{odd}{STOP}{END}"), "complete");
    let typed = |stream: &str, expect: &str, outcome: &str| {
        check_with(Protocol::Responses, true, stream, expect, outcome);
    };
    typed("data: {\"type\":5,\"x\":[}\n\n", "", "Malformed");
}

#[test]
fn bytes_that_are_not_text_are_malformed() {
    let bad = |protocol: Protocol, stream: &[u8]| {
        let batch = Reader::new(protocol, true, 1 << 20).feed(Bytes::copy_from_slice(stream));
        (batch.bytes, batch.outcome)
    };
    let malformed = (Bytes::new(), Some(Outcome::Failed(Fault::Malformed)));
    for protocol in [Protocol::Chat, Protocol::Responses, Protocol::Messages] {
        assert_eq!(bad(protocol, b"data: {\"choices\":[],\"x\":\"\xff\"}\n\n"), malformed);
        assert_eq!(bad(protocol, b": \xff\n\n"), (Bytes::new(), None), "a comment");
    }
}

/// A stream of which no more than `most` tokens may pass, in one piece and byte by byte.
fn check_cut(protocol: Protocol, hide_usage: bool, most: u64, stream: &str, expect: &str, tokens: u64) {
    let most = Most {
        completion: most,
        prompt: 7,
    };
    for step in [stream.len(), 1] {
        let mut reader = Reader::new(protocol, hide_usage, 1 << 20).watching(Watch {
            most: Some(most),
            json: false,
        });
        let (mut out, mut facts, mut ended, mut held) = (Vec::new(), Facts::default(), None, None);
        for chunk in stream.as_bytes().chunks(step) {
            let batch = reader.feed(Bytes::copy_from_slice(chunk));
            held = batch.end_from.map(|from| out.len() + from);
            out.extend_from_slice(&batch.bytes);
            facts.add(&batch.facts);
            ended = batch.outcome;
            if ended.is_some() {
                break;
            }
        }
        let out = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(
            (out.as_str(), ended),
            (expect, Some(Outcome::Cut)),
            "in steps of {step}"
        );
        assert_eq!(facts.completion(), tokens, "in steps of {step}");
        let held = held.expect("the end is marked");
        assert!(out[held..].starts_with(": x_budget_exhausted\n\n"), "{}", &out[held..]);
    }
}

#[test]
fn a_stream_past_its_bound_ends_as_one_of_full_length() {
    let chunk = |text: &str, index: u32| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let head = r#""id":"c","object":"chat.completion.chunk","created":5,"model":"m","#;
    let why = ": x_budget_exhausted\n\n";
    let end = |index: u32| {
        format!(
            "data: {{{head}\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"length\"}}],\"x_budget_exhausted\":true}}\n\n"
        )
    };
    let word = chunk("four", 0);
    let stream = format!("{}{STOP}{END}", word.repeat(5));
    let given = word.repeat(3);
    check_cut(
        Protocol::Chat,
        true,
        3,
        &stream,
        &format!("{given}{why}{}{END}", end(0)),
        3,
    );
    let usage = format!(
        "data: {{{head}\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}}}}\n\n"
    );
    check_cut(
        Protocol::Chat,
        false,
        3,
        &stream,
        &format!("{given}{why}{}{usage}{END}", end(0)),
        3,
    );
    let both = format!("{word}{}", chunk("five", 1));
    check_cut(
        Protocol::Chat,
        true,
        2,
        &both.repeat(3),
        &format!("{both}{why}{}{}{END}", end(0), end(1)),
        2,
    );
    let long = chunk(&"x".repeat(100), 0);
    check_cut(
        Protocol::Chat,
        true,
        2,
        &format!("{word}{long}{word}"),
        &format!("{word}{why}{}{END}", end(0)),
        1,
    );
}

#[test]
fn other_protocols_have_ends_of_their_own() {
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let why = ": x_budget_exhausted\n\n";
    let start = event(
        "message_start",
        ",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}",
    );
    let block = event(
        "content_block_start",
        ",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}",
    );
    let word = event(
        "content_block_delta",
        ",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"four\"}",
    );
    let stop = event("content_block_stop", ",\"index\":2");
    let delta = event(
        "message_delta",
        ",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}",
    );
    let begun = format!("{start}{block}{word}{word}");
    check_cut(
        Protocol::Messages,
        true,
        2,
        &format!("{begun}{word}{word}"),
        &format!("{begun}{why}{stop}{delta}{}", event("message_stop", "")),
        2,
    );

    let created = event(
        "response.created",
        ",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"incomplete_details\":null,\"output\":[],\"usage\":null}",
    );
    let word = |number: u32| {
        event(
            "response.output_text.delta",
            &format!(",\"sequence_number\":{number},\"delta\":\"four\""),
        )
    };
    let begun = format!("{created}{}{}", word(1), word(2));
    let incomplete = event(
        "response.incomplete",
        ",\"sequence_number\":3,\"response\":{\"id\":\"r\",\"output\":[],\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":7,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":2,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":9}}",
    );
    check_cut(
        Protocol::Responses,
        true,
        2,
        &format!("{begun}{}{}", word(3), word(4)),
        &format!("{begun}{why}{incomplete}"),
        2,
    );
}

#[test]
fn the_end_of_an_answer_is_marked() {
    let check_end = |protocol: Protocol, stream: &str, expect: &str| {
        let batch = Reader::new(protocol, false, 1 << 20).feed(Bytes::copy_from_slice(stream.as_bytes()));
        let end = batch
            .end_from
            .map_or("none", |from| std::str::from_utf8(&batch.bytes[from..]).expect("text"));
        assert_eq!(end, expect, "for {stream}");
    };
    check_end(Protocol::Chat, HI, "none");
    check_end(Protocol::Chat, &format!("{HI}{STOP}"), STOP);
    check_end(
        Protocol::Chat,
        &format!("{HI}{STOP}{USAGE}{END}"),
        &format!("{STOP}{USAGE}{END}"),
    );
    // A second answer begins behind the end of the first.
    check_end(
        Protocol::Chat,
        &format!("{STOP}{}", HI.replace("\"index\":0", "\"index\":1")),
        "none",
    );
    check_end(Protocol::Chat, &format!("{HI}{END}"), END);
    let completed = "data: {\"type\":\"response.completed\"}\n\n";
    check_end(Protocol::Responses, &format!("data: {{}}\n\n{completed}"), completed);
    let last = "data: {\"type\":\"message_delta\"}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    check_end(
        Protocol::Messages,
        &format!("data: {{\"type\":\"message_start\"}}\n\n{last}"),
        last,
    );
}

#[test]
fn what_was_to_be_json_is_looked_at() {
    let check_json = |stream: &str, expect: bool| {
        let mut reader = Reader::new(Protocol::Chat, true, 1 << 20).watching(Watch { most: None, json: true });
        let batch = reader.feed(Bytes::copy_from_slice(stream.as_bytes()));
        assert_eq!(batch.facts.is_broken_json, expect, "for {stream}");
    };
    let chunk = |text: &str, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let begun = chunk(r#""{\"a\"""#, "null");
    check_json(&format!("{begun}{}", chunk(r#"":1}""#, r#""stop""#)), false);
    check_json(&format!("{begun}{}", chunk(r#""""#, r#""stop""#)), true);
    check_json(&format!("{begun}{}", chunk(r#""""#, r#""length""#)), false);
    // What is too long is not looked at, and so is not said to be broken, whatever follows.
    let piece = |len: usize| chunk(&format!("\"{}\"", "1".repeat(len)), "null");
    let end = chunk(r#""{""#, r#""stop""#);
    for long in [piece(60_000).repeat(80), piece(80_000)] {
        let mut reader = Reader::new(Protocol::Chat, true, 1 << 20).watching(Watch { most: None, json: true });
        let batch = reader.feed(Bytes::from(format!("{long}{end}")));
        assert_eq!((batch.facts.is_broken_json, batch.outcome), (false, None));
    }
    check_json(
        &format!("{}{}", chunk("null", "null"), chunk("\"{}\"", r#""stop""#)),
        false,
    );
}

#[test]
fn floods_are_refused() {
    let items = |item: &str, count: usize| vec![item; count].join(",");
    let chunk = |choices: &str, rest: &str| format!("data: {{\"choices\":[{choices}]{rest}}}\n\n");
    let check_one = |chunk: &str, outcome: &str| {
        let shown = if outcome == "complete" {
            format!("{chunk}{END}")
        } else {
            String::new()
        };
        let batch = Reader::new(Protocol::Chat, true, 1 << 20).feed(Bytes::from(format!("{chunk}{END}")));
        let ended = match batch.outcome {
            Some(Outcome::Complete) => "complete".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!((batch.bytes.len(), ended.as_str()), (shown.len(), outcome));
    };
    let malformed = "Some(Failed(Malformed))";
    check_one(&chunk(&items("{}", 128), ""), "complete");
    check_one(&chunk(&items("{}", 129), ""), malformed);
    let tools = |pieces: &str| format!("{{\"delta\":{{\"tool_calls\":[{pieces}]}}}}");
    let piece = r#"{"index":0,"function":{"arguments":"x"}}"#;
    check_one(&chunk(&tools(&items(piece, 256)), ""), "complete");
    check_one(&chunk(&tools(&items(piece, 257)), ""), malformed);
    let two = format!("{},{}", tools(&items(piece, 200)), tools(&items(piece, 200)));
    check_one(&chunk(&two, ""), malformed);
    // Large is well while nothing is to repair.
    let rest = format!(",\"x\":[{}]", items("0", 200_000));
    check_one(&chunk(&tools(piece), &rest), "complete");
    check_one(&chunk(&tools(r#"{"id":"a"}"#), &rest), malformed);
}
