use super::*;

fn parse(json: &str) -> Result<RequestBody, RequestError> {
    RequestBody::parse(Endpoint::ChatCompletions, Bytes::copy_from_slice(json.as_bytes()))
}

/// The body after an edit, or the original when the edit is not needed.
fn edited(json: &str, edit: impl Fn(&RequestBody) -> Vec<Splice>) -> String {
    let body = parse(json).expect("a good body");
    String::from_utf8(body.spliced(edit(&body)).to_vec()).expect("UTF-8")
}

fn refused(json: &[u8]) -> String {
    match RequestBody::parse(Endpoint::ChatCompletions, Bytes::copy_from_slice(json)) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{} {:?} {error}", error.code(), error.param()),
    }
}

#[test]
fn reads_what_routing_needs() {
    let body = parse(r#"{"messages":[{"role":"user","content":"hi"}],"model":"m","stream":true,"max_tokens":7,"n":2,"stream_options":{"include_usage":true}}"#)
        .expect("a good body");
    assert_eq!(body.model(), Some("m"));
    assert!(body.is_stream() && body.wants_usage());
    assert_eq!(
        (body.max_output_tokens(), body.choices(), body.input_len()),
        (Some(7), 2, 32)
    );
}

#[test]
fn refusals_name_the_place() {
    let check = |json: &str, expect: &str| assert_eq!(refused(json.as_bytes()), expect, "for {json}");
    check(
        "{",
        "invalid_json None We could not parse the JSON body of your request: the body ends too early (line 1, column 1).",
    );
    check(
        "hello",
        "invalid_json None We could not parse the JSON body of your request: it is not valid JSON (line 1, column 1).",
    );
    check(
        r#"{"model":"m","messages":[]} x"#,
        "invalid_json None We could not parse the JSON body of your request: it is not valid JSON (line 1, column 29).",
    );
    check(
        "[1]",
        "invalid_json None The body of this request must be a JSON object.",
    );
    check(
        "",
        "invalid_json None We could not parse the JSON body of your request: the body ends too early (line 1, column 0).",
    );
    check(
        r#"{"model":"m","x":1,"x":2,"messages":[]}"#,
        "duplicate_parameter None The member 'x' appears more than once in the request body. Send it once.",
    );
    check(
        r#"{"model":"m","m\u006fdel":"n"}"#,
        "duplicate_parameter None The member 'model' appears more than once in the request body. Send it once.",
    );
    check(
        r#"{"model":5,"messages":[]}"#,
        r#"invalid_type Some("model") Invalid type for 'model': expected a string."#,
    );
    check(
        r#"{"model":"m"}"#,
        r#"missing_required_parameter Some("messages") Missing required parameter: 'messages'."#,
    );
    check(
        r#"{"model":"m","messages":{}}"#,
        r#"invalid_type Some("messages") Invalid type for 'messages': expected an array of messages."#,
    );
    check(
        r#"{"model":"m","messages":[],"stream":"yes"}"#,
        r#"invalid_type Some("stream") Invalid type for 'stream': expected a boolean."#,
    );
    check(
        r#"{"model":"m","messages":[],"max_tokens":-1}"#,
        r#"invalid_value Some("max_tokens") Invalid value for 'max_tokens': expected an integer from 0 to 2147483647."#,
    );
    check(
        r#"{"model":"m","messages":[],"max_tokens":99999999999999999999999}"#,
        r#"invalid_value Some("max_tokens") Invalid value for 'max_tokens': expected an integer from 0 to 2147483647."#,
    );
    check(
        r#"{"model":"m","messages":[],"max_tokens":1.5}"#,
        r#"invalid_type Some("max_tokens") Invalid type for 'max_tokens': expected an integer."#,
    );
    check(
        r#"{"model":"m","messages":[],"n":0}"#,
        r#"invalid_value Some("n") Invalid value for 'n': expected an integer from 1 to 128."#,
    );
    check(
        r#"{"model":"m","messages":[],"n":129}"#,
        r#"invalid_value Some("n") Invalid value for 'n': expected an integer from 1 to 128."#,
    );
    check(
        r#"{"model":"m","messages":[],"best_of":129}"#,
        r#"invalid_value Some("best_of") Invalid value for 'best_of': expected an integer from 0 to 128."#,
    );
    check(r#"{"model":"m","messages":[],"best_of":0}"#, "accepted");
}

#[test]
fn depth_and_encoding_are_checked_first() {
    let deep = format!(
        r#"{{"model":"m","messages":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(refused(deep.as_bytes()).contains("nests deeper than 64 levels"));
    let edge = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    assert_eq!(refused(edge.as_bytes()), "accepted");
    assert!(refused(b"{\"model\":\"\xff\"}").contains("not valid UTF-8"));
}

#[test]
fn a_flood_of_members_is_checked_and_bounded() {
    let flood = |members: usize| {
        let mut json = r#"{"model":"m","messages":[]"#.to_owned();
        for number in 2..members {
            json.push_str(&format!(r#","k{number}":0"#));
        }
        json
    };
    assert_eq!(refused(format!("{}}}", flood(1024)).as_bytes()), "accepted");
    assert!(refused(format!(r#"{},"k999":1}}"#, flood(1000)).as_bytes()).contains("'k999'"));
    let many = "invalid_json None We could not parse the JSON body of your request: an object in it has more than 1024 members.";
    assert_eq!(refused(format!("{}}}", flood(1025)).as_bytes()), many);
    // Read no further: whatever comes behind costs nothing.
    assert_eq!(refused(flood(1025).as_bytes()), many);
    let options = flood(1025).replace(r#""model":"m","messages":[]"#, r#""a":1,"b":1"#);
    let nested = format!(r#"{{"messages":[],"stream_options":{options}}}}}"#);
    assert_eq!(refused(nested.as_bytes()), many);
}

#[test]
fn usage_is_asked_for_by_the_smallest_edit() {
    let ask = |json: &str| edited(json, |body| body.ask_usage().into_iter().collect());
    let check = |json: &str, expect: &str| assert_eq!(ask(json), expect, "for {json}");
    check(r#"{"messages":[]}"#, r#"{"messages":[]}"#);
    check(
        r#"{ "messages":[],"stream":true}"#,
        r#"{"stream_options":{"include_usage":true}, "messages":[],"stream":true}"#,
    );
    check(
        r#"{"messages":[],"stream":true,"stream_options":{}}"#,
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        r#"{"messages":[],"stream":true,"stream_options":null}"#,
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        r#"{"messages":[],"stream":true,"stream_options":{"x":1}}"#,
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
    );
    check(
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage" : false}}"#,
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage" : true}}"#,
    );
    let asked = r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    check(asked, asked);
}

#[test]
fn other_edits() {
    let rename = |json: &str| edited(json, |body| body.rename_model("real\"name").into_iter().collect());
    assert_eq!(
        rename(r#"{"messages":[],"model" : "alias","z":1e400}"#),
        r#"{"messages":[],"model" : "real\"name","z":1e400}"#
    );

    let older = |json: &str| edited(json, |body| body.use_max_tokens().into_iter().collect());
    assert_eq!(
        older(r#"{"messages":[],"max_completion_tokens" : 5}"#),
        r#"{"messages":[],"max_tokens" : 5}"#
    );
    let both = r#"{"messages":[],"max_completion_tokens":5,"max_tokens":4}"#;
    assert_eq!(older(both), both);

    let system = |json: &str| edited(json, RequestBody::use_system_role);
    assert_eq!(
        system(r#"{"messages":[{"role":"developer","content":"a \"developer\""},{"role":"user"}]}"#),
        r#"{"messages":[{"role":"system","content":"a \"developer\""},{"role":"user"}]}"#
    );

    let insert = |json: &str| edited(json, |body| body.insert_model("d").into_iter().collect());
    assert_eq!(insert(r#"{"messages":[]}"#), r#"{"model":"d","messages":[]}"#);
}

#[test]
fn debug_shows_no_content() {
    let body = parse(r#"{"model":"m","messages":[{"role":"user","content":"tell nobody"}]}"#).expect("a good body");
    assert!(!format!("{body:?}").contains("tell nobody"));
}

#[test]
fn a_message_needs_its_bound_and_counts_its_system_prompt() {
    let parse = |json: &str| RequestBody::parse(Endpoint::Messages, Bytes::copy_from_slice(json.as_bytes()));
    let body = parse(r#"{"model":"m","max_tokens":7,"system":"short","messages":[]}"#).expect("a good body");
    assert_eq!((body.max_output_tokens(), body.input_len()), (Some(7), 9));
    assert_eq!(
        body.affinity(),
        Some(&b"\"short\""[..]),
        "what comes first is shared first"
    );
    let missing = |json: &str| parse(json).err().and_then(|error| error.param());
    assert_eq!(missing(r#"{"model":"m","messages":[]}"#), Some("max_tokens"));
    assert_eq!(missing(r#"{"model":"m","max_tokens":7}"#), Some("messages"));
    let chat = super::RequestBody::parse(
        Endpoint::ChatCompletions,
        Bytes::from_static(br#"{"model":"m","system":"a vendor's","messages":[]}"#),
    );
    assert_eq!(chat.expect("a good body").input_len(), 2);
}

#[test]
fn an_image_is_not_as_long_as_its_base64() {
    let check = |content: String, expect: std::ops::Range<usize>| {
        let body = parse(&format!(r#"{{"model":"m","messages":[{content}]}}"#)).expect("a good body");
        let len = body.text_len();
        assert!(expect.contains(&len), "{len} for {} bytes", body.input_len());
    };
    let image = "iVBORw0KGgo/+8".repeat(100_000);
    let escaped = image.replace('/', r"\/");
    check(format!(r#""data:image/png;base64,{image}","what is it?""#), 6000..6100);
    check(format!(r#""data:image/png;base64,{escaped}""#), 6000..6100);
    check(format!(r#""{image}","{image}""#), 12_000..12_100);
    let text = "Words are no attachment. ".repeat(10_000);
    check(format!(r#""{text}""#), 250_004..250_005);
    check(r#""short""#.to_owned(), 9..10);
}

#[test]
fn who_asks_is_forgotten_and_nothing_else() {
    let check = |body: &str, expect: &str| {
        let body = parse(body).expect("a good body");
        let forgotten = body.spliced(body.forget_identity().collect());
        assert_eq!(std::str::from_utf8(&forgotten), Ok(expect));
    };
    check(
        r#"{"messages":[{"role":"user","content":"user"}], "user" : "alice", "metadata":{"user_id":"a","n":[1]},"safety_identifier":"h"}"#,
        r#"{"messages":[{"role":"user","content":"user"}], "user" : null, "metadata":null,"safety_identifier":null}"#,
    );
    check(
        r#"{"messages":[],"user":null,"seed":1e400}"#,
        r#"{"messages":[],"user":null,"seed":1e400}"#,
    );
}
