//! What the server says to requests that are wrong: status, envelope, and that it says anything.

use backends::body::Outgoing;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};

use super::{
    finding::{Consequence, Finding},
    probe::{Probe, Reply},
};

pub(super) async fn examine(probe: &Probe) -> Vec<Finding> {
    let mut findings = Vec::new();
    let bad_json = probe.post("chat/completions", "{\"model\": ".to_owned()).await;
    findings.push(judged("bad JSON", bad_json, &[400]));
    let no_messages = probe.post_chat(json!({ "messages": Value::Null })).await;
    findings.push(judged("missing field", no_messages, &[400, 422]));
    let wrong_type = probe.post_chat(json!({ "messages": 5 })).await;
    findings.push(judged("wrong type", wrong_type, &[400, 422]));
    findings.push(unknown_model(probe).await);
    let unknown_url = probe.post("no/such/path", probe.chat(json!({}))).await;
    findings.push(judged("unknown URL", unknown_url, &[404]));
    let wrong_method = probe.get("chat/completions").await;
    findings.push(judged("wrong method", wrong_method, &[405, 404]));
    findings.push(wrong_key(probe).await);
    findings
}

const ENVELOPE: Consequence = Consequence {
    means: "the SDKs' error classes lack a message, a code or a type, or a retry is decided wrongly",
    mulberry: "every error leaves in OpenAI's envelope with its four keys and a code that is text",
};

async fn unknown_model(probe: &Probe) -> Finding {
    let reply = probe
        .post_chat(json!({ "model": "mulberry-doctor-no-such-model" }))
        .await;
    match &reply {
        Ok(answer) if answer.status == 200 => Finding::note(
            "unknown model",
            "it answers under any name",
            Consequence {
                means: "a slip in a model's name goes unnoticed",
                mulberry: "with `models` configured, names that are not there are refused with 404",
            },
        ),
        _ => judged("unknown model", reply, &[404, 400]),
    }
}

/// Only where the server knows of keys at all.
async fn wrong_key(probe: &Probe) -> Finding {
    if !probe.has_key() {
        return Finding::skipped("wrong key", "it wants none");
    }
    let body = Outgoing::whole(Bytes::from(probe.chat(json!({}))));
    let reply = match probe.request(Method::POST, "/v1/chat/completions", body) {
        Ok(mut request) => {
            let wrong = HeaderValue::from_static("Bearer sk-mulberry-doctor-wrong");
            request.headers_mut().insert(header::AUTHORIZATION, wrong);
            probe.ask(request).await
        }
        Err(why) => Err(why),
    };
    match &reply {
        Ok(answer) if answer.status == 200 => Finding::note(
            "wrong key",
            "it answers with any key",
            Consequence {
                means: "whoever reaches it may use it",
                mulberry: "clients need a key of the gateway's",
            },
        ),
        _ => judged("wrong key", reply, &[401, 403]),
    }
}

fn judged(check: &'static str, reply: Result<Reply, String>, expected: &[u16]) -> Finding {
    match reply {
        Ok(reply) => {
            let status = reply.status.as_u16();
            let mut faults = envelope(reply.header("content-type"), reply.json().as_ref());
            if !expected.contains(&status) {
                faults.insert(0, format!("the status is {status}"));
            }
            Finding::of(check, &faults, &format!("{status} in the envelope"), ENVELOPE)
        }
        Err(why) => Finding::fault(check, why, ENVELOPE),
    }
}

/// What is missing of `{"error": {"message", "type", "param", "code"}}`.
fn envelope(content_type: &str, body: Option<&Value>) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(body) = body else {
        return vec!["the body is not JSON".to_owned()];
    };
    if !content_type.starts_with("application/json") {
        faults.push("the content-type is not application/json".to_owned());
    }
    let Some(error) = body["error"].as_object() else {
        faults.push("there is no object `error`".to_owned());
        return faults;
    };
    for (key, may_be_null) in [("message", false), ("type", false), ("param", true), ("code", true)] {
        match error.get(key) {
            None => faults.push(format!("`{key}` is missing")),
            Some(Value::String(_)) => {}
            Some(Value::Null) if may_be_null => {}
            Some(Value::Number(_)) => faults.push(format!("`{key}` is a number")),
            Some(_) => faults.push(format!("`{key}` is no text")),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_has_four_keys() {
        let check =
            |body: Value, expect: &[&str]| assert_eq!(envelope("application/json", Some(&body)), expect, "{body}");
        check(
            json!({ "error": { "message": "m", "type": "t", "param": null, "code": null } }),
            &[],
        );
        check(
            json!({ "error": { "message": "m", "type": "t", "param": "p", "code": "c" } }),
            &[],
        );
        check(
            json!({ "error": { "message": "m", "type": null, "code": 400 } }),
            &["`type` is no text", "`param` is missing", "`code` is a number"],
        );
        check(json!({ "detail": "Not Found" }), &["there is no object `error`"]);
        check(json!({ "error": "busy" }), &["there is no object `error`"]);
        assert_eq!(envelope("text/plain", None), ["the body is not JSON"]);
        let good = json!({ "error": { "message": "m", "type": "t", "param": null, "code": null } });
        assert_eq!(
            envelope("text/plain", Some(&good)),
            ["the content-type is not application/json"]
        );
    }
}
