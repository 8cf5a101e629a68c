//! Streams of chat completions: framing, order, end, usage.

use bytes::Bytes;
use openapi::sse::{Event, Splitter};
use serde_json::{Value, json};

use super::{
    finding::{Consequence, Finding},
    probe::{Ending, Probe, Reply},
};

/// Longer than any event that a server should send.
const LONGEST_EVENT: usize = 8 << 20;
/// A model that streams sends more pieces than this for sixteen tokens.
const FEW: usize = 3;

pub(super) async fn examine(probe: &Probe) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    match probe.post_chat(asked).await {
        Ok(reply) if reply.status == 200 => {
            let seen = Seen::of(&reply.body);
            findings.extend(form(&reply, &seen));
            findings.extend(seen.findings());
            findings.push(end(&seen, &reply.ending));
            findings.push(seen.usage_asked());
        }
        Ok(reply) => findings.push(Finding::fault(
            "stream",
            format!("it answers {}", reply.status.as_u16()),
            NO_STREAM,
        )),
        Err(why) => findings.push(Finding::fault("stream", why, NO_STREAM)),
    }
    findings.push(match probe.post_chat(json!({ "stream": true })).await {
        Ok(reply) if reply.status == 200 => Seen::of(&reply.body).usage_unasked(),
        _ => Finding::skipped("usage not asked", "there was no stream"),
    });
    findings.push(characters(probe).await);
    findings
}

const NO_STREAM: Consequence = Consequence {
    means: "nothing can be streamed",
    mulberry: "another upstream is asked, else an error in OpenAI's envelope",
};

/// What the head says, and how the bytes came.
fn form(reply: &Reply, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let kind = reply.header("content-type");
    findings.push(if kind.starts_with("text/event-stream") {
        Finding::ok("stream type", kind)
    } else {
        let follows = Consequence {
            means: "clients that look at the content-type read no stream",
            mulberry: "set to text/event-stream; charset=utf-8",
        };
        Finding::fault("stream type", format!("the content-type is `{kind}`"), follows)
    });
    findings.push(if reply.frames <= 1 && seen.chunks.len() > FEW {
        let follows = Consequence {
            means: "the first word comes with the last: something buffers",
            mulberry: "flushed as it comes, which is at once here too",
        };
        Finding::note(
            "streaming",
            format!("{} chunks came in one piece", seen.chunks.len()),
            follows,
        )
    } else {
        Finding::ok(
            "streaming",
            format!("{} chunks in {} pieces", seen.chunks.len(), reply.frames),
        )
    });
    findings
}

/// A stream, read to its end.
#[derive(Debug, Default)]
struct Seen {
    chunks: Vec<Value>,
    /// Events that only a lenient parser reads.
    unclean: usize,
    /// Data that is no chunk, by what it is.
    foreign: Vec<String>,
    is_done: bool,
    after_done: usize,
}

impl Seen {
    fn of(body: &Bytes) -> Self {
        let mut seen = Self::default();
        let mut splitter = Splitter::new(LONGEST_EVENT);
        let mut ends = Vec::new();
        let Ok(block) = splitter.feed(body.clone(), &mut ends) else {
            seen.foreign.push("an event without an end".to_owned());
            return seen;
        };
        let mut start = 0;
        for end in ends {
            seen.event(&block[start..end]);
            start = end;
        }
        let rest = splitter.take_rest();
        if !rest.is_empty() {
            seen.unclean += 1;
            seen.event(&rest);
        }
        seen
    }

    fn event(&mut self, raw: &[u8]) {
        let event = Event::parse(raw);
        let Some(data) = &event.data else { return };
        if !event.is_clean {
            self.unclean += 1;
        }
        if self.is_done {
            self.after_done += 1;
            return;
        }
        if data.as_ref() == b"[DONE]" {
            self.is_done = true;
            return;
        }
        let name = event.name.map(|name| String::from_utf8_lossy(name).into_owned());
        match serde_json::from_slice::<Value>(data) {
            Ok(chunk) if chunk.get("error").is_some_and(|error| !error.is_null()) => {
                self.foreign.push("an error".to_owned());
            }
            Ok(chunk) if chunk["choices"].is_array() => self.chunks.push(chunk),
            Ok(_) => self.foreign.push(match name {
                Some(name) => format!("an event `{name}`"),
                None => "data without `choices`".to_owned(),
            }),
            Err(_) if std::str::from_utf8(data).is_err() => self.foreign.push("data that is not UTF-8".to_owned()),
            Err(_) => self.foreign.push("data that is not JSON".to_owned()),
        }
    }

    fn choices(&self) -> impl Iterator<Item = &Value> {
        self.chunks
            .iter()
            .filter_map(|chunk| chunk["choices"].as_array())
            .flatten()
    }

    fn is_finished(&self) -> bool {
        self.choices().any(|choice| {
            choice["finish_reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty())
        })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.push(if self.unclean == 0 {
            Finding::ok("framing", "LF, one data line an event")
        } else {
            let follows = Consequence {
                means: "simple parsers, which know `data: ` and LF, lose events",
                mulberry: "written anew",
            };
            Finding::note(
                "framing",
                format!("{} events of an unusual form", self.unclean),
                follows,
            )
        });
        let mut foreign = self.foreign.clone();
        foreign.dedup();
        let follows = Consequence {
            means: "typed clients stop at what is no chunk",
            mulberry: "pings are dropped; an error or garbage becomes one error event, and no [DONE]",
        };
        findings.push(Finding::of("only chunks", &foreign, "every event is a chunk", follows));
        findings.push(self.form());
        let first = self.choices().next();
        findings.push(if first.is_some_and(|choice| choice["delta"]["role"] == "assistant") {
            Finding::ok("first delta", "it has the role")
        } else {
            let follows = Consequence {
                means: "clients that build the message from deltas have no role",
                mulberry: "passed as it came",
            };
            Finding::note("first delta", "it has no role assistant", follows)
        });
        findings
    }

    fn form(&self) -> Finding {
        let mut faults = Vec::new();
        for (key, is_good) in [
            ("id", Value::is_string as fn(&Value) -> bool),
            ("object", |value| value == "chat.completion.chunk"),
            ("created", |value| value.is_u64()),
            ("model", Value::is_string),
        ] {
            let bad = self.chunks.iter().filter(|chunk| !is_good(&chunk[key])).count();
            if bad > 0 {
                faults.push(format!(
                    "`{key}` is missing or wrong in {bad} of {} chunks",
                    self.chunks.len()
                ));
            }
        }
        let no_index = self.choices().filter(|choice| !choice["index"].is_u64()).count();
        if no_index > 0 {
            faults.push(format!("a choice has no `index` in {no_index} chunks"));
        }
        let follows = Consequence {
            means: "typed clients refuse the chunk",
            mulberry: "passed as it came",
        };
        Finding::of("chunk shape", &faults, "all keys", follows)
    }

    /// Usage that was asked for comes once, in a chunk of its own.
    fn usage_asked(&self) -> Finding {
        let follows = Consequence {
            means: "what a stream used cannot be known",
            mulberry: "estimated, and marked so, where the upstream says nothing",
        };
        let with_usage: Vec<&Value> = self.chunks.iter().filter(|chunk| chunk["usage"].is_object()).collect();
        let Some(last) = with_usage.last() else {
            return Finding::fault("usage asked", "include_usage brings none", follows);
        };
        if !last["usage"]["prompt_tokens"].is_u64() || !last["usage"]["completion_tokens"].is_u64() {
            return Finding::fault("usage asked", "it lacks a count", follows);
        }
        let is_apart = last["choices"].as_array().is_some_and(Vec::is_empty);
        let is_null_elsewhere = self.chunks.iter().all(|chunk| chunk.get("usage").is_some());
        let follows = Consequence {
            means: "clients that expect OpenAI's own order look in the wrong chunk; the SDKs cope",
            mulberry: "counted wherever it is; the chunk passes as it came",
        };
        match (is_apart, with_usage.len(), is_null_elsewhere) {
            (true, 1, true) => Finding::ok("usage asked", "one last chunk, null before"),
            (true, 1, false) => Finding::note("usage asked", "one last chunk, but no `usage: null` before", follows),
            (false, ..) => Finding::note("usage asked", "in a chunk with choices", follows),
            (true, count, _) => Finding::note("usage asked", format!("in {count} chunks"), follows),
        }
    }

    fn usage_unasked(&self) -> Finding {
        let apart = self.chunks.iter().filter(|chunk| chunk["usage"].is_object());
        if apart.clone().next().is_none() {
            return Finding::ok("usage not asked", "none comes");
        }
        let is_empty = apart
            .clone()
            .any(|chunk| chunk["choices"].as_array().is_some_and(Vec::is_empty));
        let follows = Consequence {
            means: "clients that read choices[0] of every chunk fail where there is none",
            mulberry: "a chunk of usage alone is dropped unless the client asked",
        };
        if is_empty {
            Finding::fault("usage not asked", "a chunk without choices comes", follows)
        } else {
            Finding::note("usage not asked", "it comes in a chunk with choices", follows)
        }
    }
}

/// How it ended, which is what tells a whole answer from a cut one.
fn end(seen: &Seen, ending: &Ending) -> Finding {
    let mut faults = Vec::new();
    if !seen.is_finished() {
        faults.push("no finish_reason".to_owned());
    }
    if !seen.is_done {
        faults.push("no [DONE]".to_owned());
    }
    if seen.after_done > 0 {
        faults.push(format!("{} events after [DONE]", seen.after_done));
    }
    match ending {
        Ending::Whole => {}
        Ending::Broken => faults.push("the connection broke off".to_owned()),
        Ending::Held if seen.is_done => faults.push("it stays open after [DONE]".to_owned()),
        Ending::Held => faults.push("it never ended".to_owned()),
    }
    let follows = Consequence {
        means: "the SDKs take a stream that was cut for a whole one, or wait for its end",
        mulberry: "[DONE] is added after a finish reason, and the stream ends with it; a cut one gets an error event",
    };
    Finding::of("stream end", &faults, "finish_reason, [DONE], closed", follows)
}

/// Characters of several bytes, which a server may cut between two tokens.
async fn characters(probe: &Probe) -> Finding {
    let messages = json!([{ "role": "user", "content": "Repeat exactly: äöü 漢字 🙂🙃" }]);
    let reply = match probe.post_chat(json!({ "stream": true, "messages": messages })).await {
        Ok(reply) if reply.status == 200 => reply,
        _ => return Finding::skipped("characters", "there was no stream"),
    };
    let seen = Seen::of(&reply.body);
    let mut text = String::new();
    for choice in seen.choices() {
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    let follows = Consequence {
        means: "a character of several tokens arrives as replacement characters",
        mulberry: "passed as it came; data that is not UTF-8 at all ends the stream with an error event",
    };
    if std::str::from_utf8(&reply.body).is_err() {
        return Finding::fault("characters", "the stream is not UTF-8", follows);
    }
    if text.contains('\u{fffd}') {
        return Finding::note("characters", "deltas hold replacement characters", follows);
    }
    if text.is_ascii() {
        return Finding::ok("characters", "UTF-8; the model said nothing beyond ASCII");
    }
    Finding::ok("characters", "UTF-8, each whole in its delta")
}

#[cfg(test)]
mod tests;
