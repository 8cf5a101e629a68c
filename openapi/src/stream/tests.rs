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
