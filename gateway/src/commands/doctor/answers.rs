//! Whole answers of chat completions: their shape, and what may be asked for.

use serde_json::{Value, json};

use super::{
    finding::{Consequence, Finding},
    probe::{Probe, Reply},
};

pub(super) async fn examine(probe: &mut Probe) -> Vec<Finding> {
    let mut findings = bounds(probe).await;
    findings.push(match probe.post_chat(json!({})).await {
        Ok(reply) => shape(&reply),
        Err(why) => Finding::fault("chat", why, NO_ANSWER),
    });
    findings.push(roles(probe).await);
    findings.push(several(probe).await);
    findings.push(unknown_field(probe).await);
    findings
}

const NO_ANSWER: Consequence = Consequence {
    means: "there is no answer to work with",
    mulberry: "another upstream is asked, else an error in OpenAI's envelope",
};

/// Tokens asked for; servers differ in whether they count the end of a turn, so twice as many is still bound.
const BOUND: u64 = 3;

/// Which name of a bound is taken, and whether it binds.
async fn bounds(probe: &mut Probe) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["max_completion_tokens", "max_tokens"] {
        let other = if name == "max_tokens" {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        let asked = json!({ other: Value::Null, name: BOUND });
        let reply = probe.post_chat(asked).await;
        let follows = Consequence {
            means: "an answer is as long as the model likes, or refused",
            mulberry: "max_completion_tokens becomes max_tokens for kinds ollama and tgi, or with `capabilities: {max_completion_tokens: false}`",
        };
        findings.push(match reply {
            Ok(reply) if reply.status == 200 => {
                let used = reply
                    .json()
                    .and_then(|answer| answer["usage"]["completion_tokens"].as_u64());
                let is_bound = used.is_none_or(|used| used <= 2 * BOUND);
                if name == "max_completion_tokens" && is_bound {
                    probe.bound = name;
                }
                match used {
                    Some(used) if !is_bound => {
                        Finding::fault(name, format!("of {BOUND} it made {used} tokens"), follows)
                    }
                    _ => Finding::ok(name, "taken"),
                }
            }
            // OpenAI's own reasoning models take the newer name alone.
            Ok(reply) if probe.bound == "max_completion_tokens" => {
                Finding::note(name, format!("refused with {}", reply.status.as_u16()), OLD_BOUND)
            }
            Ok(reply) => Finding::fault(name, format!("refused with {}", reply.status.as_u16()), follows),
            Err(why) => Finding::fault(name, why, NO_ANSWER),
        });
    }
    findings
}

const OLD_BOUND: Consequence = Consequence {
    means: "older clients, which send max_tokens, are refused",
    mulberry: "passed as the client wrote it",
};

fn shape(reply: &Reply) -> Finding {
    if reply.status != 200 {
        return Finding::fault("chat", format!("it answers {}", reply.status.as_u16()), NO_ANSWER);
    }
    Finding::of(
        "chat",
        &faults(reply.header("content-type"), &reply.json().unwrap_or_default()),
        "an answer with all that clients read",
        Consequence {
            means: "typed clients refuse the answer, or read nothing",
            mulberry: "an error in a 200, and what is no JSON, becomes a 502 and a failover; missing keys pass as they are",
        },
    )
}

fn faults(content_type: &str, answer: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |is_good: bool, fault: &str| {
        if !is_good {
            faults.push(fault.to_owned());
        }
    };
    let is_json = content_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim() == "application/json");
    check(is_json, "the content-type is not application/json");
    if answer.get("error").is_some_and(|error| !error.is_null()) {
        check(false, "a 200 holds an error");
        return faults;
    }
    check(answer["object"] == "chat.completion", "`object` is not chat.completion");
    check(answer["id"].is_string(), "`id` is no text");
    check(answer["created"].is_u64(), "`created` is no whole number");
    check(answer["model"].is_string(), "`model` is no text");
    let choice = &answer["choices"][0];
    check(
        choice["message"]["role"] == "assistant",
        "the message has no role assistant",
    );
    let content = &choice["message"]["content"];
    check(
        content.is_string() || content.is_null(),
        "`content` is neither text nor null",
    );
    check(choice["finish_reason"].is_string(), "there is no finish_reason");
    let usage = &answer["usage"];
    let [prompt, completion, total] =
        ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| usage[name].as_u64());
    match (prompt, completion, total) {
        (Some(prompt), Some(completion), Some(total)) => {
            check(
                prompt.saturating_add(completion) == total,
                "total_tokens is not the sum of the others",
            );
        }
        _ => check(false, "`usage` lacks one of its three counts"),
    }
    faults
}

async fn roles(probe: &Probe) -> Finding {
    let messages = json!([{ "role": "developer", "content": "Be brief." }, { "role": "user", "content": "Hi" }]);
    taken(
        "developer role",
        probe.post_chat(json!({ "messages": messages })).await,
        Consequence {
            means: "current SDKs and agents send it, and are refused",
            mulberry: "it becomes system for kinds ollama and tgi, or with `capabilities: {developer_role: false}`",
        },
    )
}

async fn several(probe: &Probe) -> Finding {
    let follows = Consequence {
        means: "a client that asks for two answers gets one, or none",
        mulberry: "backends without the capability come last on a route",
    };
    match probe.post_chat(json!({ "n": 2 })).await {
        Ok(reply) if reply.status == 200 => {
            let count = reply
                .json()
                .and_then(|answer| answer["choices"].as_array().map(Vec::len))
                .unwrap_or(0);
            if count == 2 {
                Finding::ok("n", "two answers")
            } else {
                Finding::note("n", format!("of 2 it gives {count}"), follows)
            }
        }
        other => taken("n", other, follows),
    }
}

async fn unknown_field(probe: &Probe) -> Finding {
    taken(
        "unknown field",
        probe.post_chat(json!({ "mulberry_doctor": { "a": [1] } })).await,
        Consequence {
            means: "parameters of other servers are refused, as OpenAI's own refuses them",
            mulberry: "passed as the client wrote them",
        },
    )
}

/// Whether something was answered rather than refused.
fn taken(check: &'static str, reply: Result<Reply, String>, follows: Consequence) -> Finding {
    match reply {
        Ok(reply) if reply.status == 200 => Finding::ok(check, "taken"),
        Ok(reply) if reply.status.is_server_error() => {
            Finding::fault(check, format!("it answers {}", reply.status.as_u16()), follows)
        }
        Ok(reply) => Finding::note(check, format!("refused with {}", reply.status.as_u16()), follows),
        Err(why) => Finding::fault(check, why, NO_ANSWER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Value), expect: &[&str]) {
        let mut answer = json!({
            "id": "a", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hi" }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 },
        });
        change(&mut answer);
        assert_eq!(faults("application/json; charset=utf-8", &answer), expect);
    }

    #[test]
    fn each_missing_part_is_a_fault() {
        check(|_| {}, &[]);
        check(|answer| answer["choices"][0]["message"]["content"] = Value::Null, &[]);
        check(
            |answer| answer["created"] = json!("1"),
            &["`created` is no whole number"],
        );
        check(
            |answer| answer["object"] = json!("completion"),
            &["`object` is not chat.completion"],
        );
        check(
            |answer| answer["choices"] = json!([]),
            &["the message has no role assistant", "there is no finish_reason"],
        );
        check(
            |answer| answer["usage"]["total_tokens"] = json!(9),
            &["total_tokens is not the sum of the others"],
        );
        check(
            |answer| answer["usage"] = Value::Null,
            &["`usage` lacks one of its three counts"],
        );
        check(|answer| *answer = json!({ "error": "busy" }), &["a 200 holds an error"]);
        assert_eq!(
            faults("text/html", &json!({ "error": {} })),
            ["the content-type is not application/json", "a 200 holds an error"]
        );
    }
}
