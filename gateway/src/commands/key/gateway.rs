//! Keys of a running gateway, by its admin API.

use http::Method;
use serde_json::{Value, json};

use super::{Change, Outcome};
use crate::commands::remote::{Remote, RemoteError, segment};

pub(super) async fn list(remote: &Remote) -> Result<Vec<Value>, RemoteError> {
    let mut answer = remote.ask(Method::GET, "keys", None).await?;
    match answer.get_mut("data").map(Value::take) {
        Some(Value::Array(keys)) => Ok(keys),
        _ => Err(remote.stranger()),
    }
}

pub(super) async fn change(remote: &Remote, change: &Change) -> Result<Outcome, RemoteError> {
    let answer = match change {
        Change::Create { name, edit, sha256 } => {
            let mut body = json!(edit);
            body["name"] = name.as_str().into();
            if let Some(sha256) = sha256 {
                let hex: String = sha256.0.iter().map(|byte| format!("{byte:02x}")).collect();
                body["sha256"] = hex.into();
            }
            remote.ask(Method::POST, "keys", Some(body)).await?
        }
        Change::Update { name, edit } => {
            let key = remote.ask(Method::PATCH, &path(name), Some(json!(edit))).await?;
            json!({"key": key})
        }
        Change::Rotate { name, grace } => {
            let body = json!({"grace": format!("{}ms", grace.as_millis())});
            let path = format!("{}/rotate", path(name));
            remote.ask(Method::POST, &path, Some(body)).await?
        }
        Change::Revoke { name } => {
            let key = remote.ask(Method::DELETE, &path(name), None).await?;
            json!({"key": key})
        }
    };
    if !is_answer_to(change, &answer) {
        return Err(remote.stranger());
    }
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    Ok(Outcome {
        secret: text("secret"),
        old_valid_until: text("old_valid_until"),
        key: answer["key"].clone(),
    })
}

/// Whether this says that the change was made: any other program may answer 200 to whatever it is asked.
fn is_answer_to(change: &Change, answer: &Value) -> bool {
    let (name, has_secret, is_over) = match change {
        Change::Create { name, sha256, .. } => (name, sha256.is_none(), false),
        Change::Update { name, .. } => (name, false, false),
        Change::Rotate { name, .. } => (name, true, false),
        Change::Revoke { name } => (name, false, true),
    };
    let key = &answer["key"];
    key["name"] == name.as_str()
        && answer["secret"].is_string() == has_secret
        && key["revoked_at"].is_string() == is_over
}

fn path(name: &str) -> String {
    format!("keys/{}", segment(name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_a_gateway_says_of_this_key_is_an_answer() {
        let revoke = Change::Revoke {
            name: "alice".to_owned(),
        };
        let rotate = Change::Rotate {
            name: "alice".to_owned(),
            grace: Duration::ZERO,
        };
        let check = |change: &Change, answer: Value, expect: bool| {
            assert_eq!(is_answer_to(change, &answer), expect, "{answer}");
        };
        for nothing in [json!(null), json!([]), json!("ok"), json!({}), json!({"key": null})] {
            check(&revoke, nothing.clone(), false);
            check(&rotate, nothing, false);
        }
        let at = "2026-01-01T00:00:00Z";
        check(&revoke, json!({"key": {"name": "alice", "revoked_at": at}}), true);
        check(&revoke, json!({"key": {"name": "alice", "revoked_at": null}}), false);
        check(&revoke, json!({"key": {"name": "bob", "revoked_at": at}}), false);
        let alice = json!({"name": "alice", "revoked_at": null});
        check(&rotate, json!({"key": alice, "secret": "sk-mb-1"}), true);
        check(&rotate, json!({"key": alice}), false);
    }
}
