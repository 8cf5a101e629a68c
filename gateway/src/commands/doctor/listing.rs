//! `/v1/models`: reachable at all, and of the shape that clients read.

use http::StatusCode;
use serde_json::Value;

use super::{
    finding::{Consequence, Finding},
    probe::{Probe, Reply},
};

/// What the server lists.
#[derive(Debug)]
pub(super) struct Listed {
    reply: Reply,
    cards: Vec<Value>,
}

/// The first look, without which there is no second.
pub(super) async fn look(probe: &Probe) -> Result<Listed, String> {
    let reply = probe.get("models").await?;
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if probe.has_key() => {
            return Err(format!("it answers {} to this key", reply.status.as_u16()));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err("it wants an API key: give one with --key, or as MULBERRY_DOCTOR_KEY".to_owned());
        }
        _ => {}
    }
    let json = reply.json();
    let cards = json.as_ref().and_then(|list| list["data"].as_array()).cloned();
    Ok(Listed {
        reply,
        cards: cards.unwrap_or_default(),
    })
}

impl Listed {
    /// The first model that is likely to hold a conversation.
    pub(super) fn talker(&self) -> Option<String> {
        let mut ids = self.cards.iter().filter_map(|card| card["id"].as_str());
        let first = ids.clone().next();
        let is_other = |id: &&str| {
            !["embed", "rerank", "whisper", "tts", "moderation", "dall-e"]
                .iter()
                .any(|word| id.contains(word))
        };
        ids.find(is_other).or(first).map(str::to_owned)
    }

    pub(super) async fn findings(&self, probe: &Probe) -> Vec<Finding> {
        let mut findings = vec![self.list()];
        findings.push(match probe.get(&format!("models/{}", probe.model)).await {
            Ok(reply) if reply.status == 200 && reply.json().is_some_and(|card| card["id"] == *probe.model) => {
                Finding::ok("one model", "GET /v1/models/{id} answers")
            }
            Ok(reply) => Finding::note(
                "one model",
                format!("GET /v1/models/{{id}} answers {}", reply.status.as_u16()),
                Consequence {
                    means: "models.retrieve of the SDKs fails",
                    mulberry: "answered by the gateway itself",
                },
            ),
            Err(why) => Finding::note("one model", why, UNSAID),
        });
        findings
    }

    fn list(&self) -> Finding {
        let follows = Consequence {
            means: "typed clients refuse the list",
            mulberry: "the gateway writes the list itself, with all four keys",
        };
        if self.reply.status != 200 {
            let found = format!("GET /v1/models answers {}", self.reply.status.as_u16());
            return Finding::fault("model list", found, follows);
        }
        let mut faults = Vec::new();
        let list = self.reply.json().unwrap_or_default();
        if list["object"] != "list" || !list["data"].is_array() {
            faults.push("it is no object `list` with `data`".to_owned());
        }
        for (key, is_good) in [
            ("id", Value::is_string as fn(&Value) -> bool),
            ("object", |value| value == "model"),
            ("created", |value| value.is_u64()),
            ("owned_by", Value::is_string),
        ] {
            let bad = self.cards.iter().filter(|card| !is_good(&card[key])).count();
            if bad > 0 {
                faults.push(format!("`{key}` is missing or wrong in {bad} of {}", self.cards.len()));
            }
        }
        Finding::of("model list", &faults, &format!("{} listed", self.cards.len()), follows)
    }
}

const UNSAID: Consequence = Consequence {
    means: "the request brought no answer",
    mulberry: "another upstream is asked",
};
