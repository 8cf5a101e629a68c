//! `mulberry key import litellm`: the table `LiteLLM_VerificationToken`, whose `token` is the SHA-256 of a key, as ours.
//!
//! A key is never imported as more than it was: what is not understood makes it less, or leaves it out, and is told.
//! A budget becomes one of a UTC day or month, or, where it never began anew, what was left of it.
//! Left behind: whatever else has no like here; the report names each with its number of keys.

use std::collections::{BTreeMap, BTreeSet};

use billing::{Budget, Nano};
use billing_store::{Grant, NewKey, Sha256};
use serde_json::{Map, Value};

use crate::{
    commands::import::decimal,
    config::{KeyHash, Timestamp, is_pattern},
    directory::{check_name, fresh},
};

mod table;

#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum ImportError {
    #[error("cannot read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("the file is neither JSON (a list of rows, or `keys` or `data` with one) nor CSV with a heading: {what}")]
    Shape { what: &'static str },
}

/// What a table holds.
#[derive(Debug, Default)]
pub(in crate::commands) struct Found {
    pub(in crate::commands) keys: Vec<NewKey>,
    /// Name, and why not.
    pub(in crate::commands) skipped: Vec<(String, String)>,
    /// Name, and what is not as it was.
    pub(in crate::commands) changed: Vec<(String, String)>,
    /// Fields that are left behind, with how many keys had them.
    pub(in crate::commands) dropped: BTreeMap<String, usize>,
}

/// The fields that are read, or say nothing of what a key may do.
const READ: [&str; 19] = [
    "token",
    "key_alias",
    "key_name",
    "models",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "max_budget",
    "budget_duration",
    "budget_reset_at",
    "expires",
    "blocked",
    "user_id",
    "team_id",
    "metadata",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
];

pub(in crate::commands) fn read(text: &str) -> Result<Found, ImportError> {
    let rows = table::rows(text)?;
    if !rows.iter().any(|row| row.contains_key("token")) && !rows.is_empty() {
        return Err(ImportError::Shape {
            what: "no row has a `token`",
        });
    }
    let mut found = Found::default();
    let mut names: BTreeSet<String> = rows.iter().filter_map(named).collect();
    for row in &rows {
        let name = named(row).unwrap_or_else(|| {
            // LiteLLM's own name for it shows the end of the secret.
            let numbered = (1..).map(|number| format!("litellm-{number}"));
            let free = numbered.into_iter().find(|name| !names.contains(name));
            let free = free.unwrap_or_default();
            names.insert(free.clone());
            free
        });
        match key(&name, row, &mut found) {
            Ok(key) => {
                found.keys.push(key);
                for (field, value) in row {
                    if !READ.contains(&field.as_str()) && says_something(value) {
                        *found.dropped.entry(field.clone()).or_default() += 1;
                    }
                }
            }
            Err(why) => found.skipped.push((name, why.to_owned())),
        }
    }
    Ok(found)
}

/// The alias, where it can be a name here.
fn named(row: &Map<String, Value>) -> Option<String> {
    let alias = row.get("key_alias")?.as_str()?.trim();
    let alias: String = alias.chars().map(|c| if c == '/' { '-' } else { c }).collect();
    check_name(&alias).is_ok().then_some(alias)
}

fn key(name: &str, row: &Map<String, Value>, found: &mut Found) -> Result<NewKey, &'static str> {
    let token = row.get("token").and_then(Value::as_str).unwrap_or_default().trim();
    // A table that was never hashed has the keys themselves.
    let hash = if token.starts_with("sk-") {
        Some(KeyHash::of(token))
    } else {
        KeyHash::parse(token)
    };
    let hash = hash.ok_or("its `token` is no SHA-256")?;
    if hash.is_of_nothing() {
        return Err("its `token` is the hash of an empty text");
    }
    if row.get("team_id").and_then(Value::as_str) == Some("litellm-dashboard") {
        return Err("it is a session of LiteLLM's dashboard");
    }
    let mut note = |what: String| found.changed.push((name.to_owned(), what));
    let mut grant = Grant {
        models: models(row.get("models"), &mut note)?,
        expires_at_ms: expiry(row.get("expires"))?,
        disabled: blocked(row.get("blocked"))?,
        ..fresh()
    };
    grant.budget = budget(row, &mut note)?;
    let mut is_shut = false;
    for (field, limit) in [
        ("rpm_limit", &mut grant.requests_per_minute),
        ("tpm_limit", &mut grant.tokens_per_minute),
        ("max_parallel_requests", &mut grant.concurrency),
    ] {
        *limit = match number(row.get(field))? {
            Some(0) => {
                is_shut = true;
                note(format!("its {field} was 0, so it is disabled"));
                None
            }
            Some(count) => Some(u32::try_from(count).unwrap_or_else(|_| {
                note(format!("its {field} of {count} became {}", u32::MAX));
                u32::MAX
            })),
            None => None,
        };
    }
    grant.disabled |= is_shut;
    let words = |field| {
        row.get(field)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let team = words("team_id");
    grant.owner = words("user_id").or(team).map(str::to_owned);
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (tag, value) in metadata(row.get("metadata"))? {
        match value {
            Value::String(text) if !text.chars().any(char::is_control) && text.len() <= 256 && tag.len() <= 256 => {
                tags.insert(tag, text);
            }
            Value::Number(_) | Value::Bool(_) => {
                tags.insert(tag, value.to_string());
            }
            value if says_something(&value) => {
                *found.dropped.entry(format!("metadata.{tag}")).or_default() += 1;
            }
            _ => {}
        }
    }
    if let Some(team) = team {
        tags.insert("team".to_owned(), team.to_owned());
    }
    grant.tags = tags.into_iter().collect();
    Ok(NewKey {
        name: name.to_owned(),
        grant,
        sha256: Sha256(*hash.as_bytes()),
    })
}

/// An empty list means every model there.
fn models(value: Option<&Value>, note: &mut impl FnMut(String)) -> Result<Vec<String>, &'static str> {
    let listed: Vec<String> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned));
            items.collect::<Option<_>>().ok_or("its `models` cannot be read")?
        }
        Some(Value::String(text)) => table::list(text).ok_or("its `models` cannot be read")?,
        Some(_) => return Err("its `models` cannot be read"),
    };
    if listed.is_empty() || listed.iter().any(|model| model == "*" || model == "all-proxy-models") {
        return Ok(vec!["*".to_owned()]);
    }
    let mut models = Vec::with_capacity(listed.len());
    for model in listed {
        let is_understood = is_pattern(&model) && !model.is_empty() && !model.chars().any(char::is_control);
        if matches!(model.as_str(), "all-team-models" | "no-default-models") {
            note(format!(
                "`{model}` gives no model here; name them with `mulberry key update --models`"
            ));
        } else if is_understood {
            models.push(model);
        } else {
            note(format!(
                "`{model}` is no name and no beginning of names here, and gives no model"
            ));
        }
    }
    Ok(models)
}

/// LiteLLM writes UTC, with or without saying so.
fn expiry(value: Option<&Value>) -> Result<Option<i64>, &'static str> {
    const UNREADABLE: &str = "its `expires` cannot be read";
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().replace(' ', "T"),
        Some(_) => return Err(UNREADABLE),
    };
    let bare = ["+00:00", "+00", "Z"].iter().find_map(|zone| text.strip_suffix(zone));
    let text = format!("{}Z", bare.unwrap_or(&text));
    let at = Timestamp::parse(&text).ok_or(UNREADABLE)?;
    let at_ms = at
        .unix_seconds()
        .checked_mul(1000)
        .and_then(|at_ms| i64::try_from(at_ms).ok());
    Ok(Some(at_ms.ok_or(UNREADABLE)?))
}

fn blocked(value: Option<&Value>) -> Result<bool, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(blocked)) => Ok(*blocked),
        Some(Value::String(text)) => match text.trim().to_lowercase().as_str() {
            "" | "f" | "false" | "0" | "no" => Ok(false),
            "t" | "true" | "1" | "yes" => Ok(true),
            _ => Err("its `blocked` cannot be read"),
        },
        Some(_) => Err("its `blocked` cannot be read"),
    }
}

fn number(value: Option<&Value>) -> Result<Option<u64>, &'static str> {
    const UNREADABLE: &str = "one of its limits cannot be read";
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or(UNREADABLE),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| UNREADABLE),
        Some(_) => Err(UNREADABLE),
    }
}

/// What the key may spend, in LiteLLM's dollars: never more in any time than it could there.
fn budget(row: &Map<String, Value>, note: &mut impl FnMut(String)) -> Result<Budget, &'static str> {
    const UNREADABLE: &str = "its `max_budget` cannot be read";
    let none = Budget::default();
    let Some(most) = dollars(row.get("max_budget")).ok_or(UNREADABLE)? else {
        return Ok(none);
    };
    let duration = row.get("budget_duration").and_then(Value::as_str).map(str::trim);
    let duration = duration.filter(|text| !text.is_empty());
    let Some(duration) = duration else {
        let spent = dollars(row.get("spend")).ok_or("its `spend` cannot be read")?;
        let left = most.saturating_sub(spent.unwrap_or_default());
        note(format!("of its max_budget of {most}, {left} is left to be spent here"));
        return Ok(Budget {
            total: Some(left),
            ..none
        });
    };
    const DAY: u64 = 86_400;
    let digits = duration.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().map_err(|_| "its `budget_duration` cannot be read")?;
    let unit = match &duration[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        "w" => 7 * DAY,
        "mo" => 31 * DAY,
        _ => return Err("its `budget_duration` cannot be read"),
    };
    let (said, budget) = match count.saturating_mul(unit) {
        0 => return Err("its `budget_duration` cannot be read"),
        1..=DAY => (
            "a day",
            Budget {
                day: Some(most),
                ..none
            },
        ),
        seconds if seconds <= 31 * DAY => (
            "a month",
            Budget {
                month: Some(most),
                ..none
            },
        ),
        _ => (
            "in all",
            Budget {
                total: Some(most),
                ..none
            },
        ),
    };
    if !matches!(duration, "1d" | "24h" | "1mo") {
        note(format!("its max_budget of {most} for {duration} became {most} {said}"));
    }
    Ok(budget)
}

/// An amount that LiteLLM keeps as a float, rounded down; `None` where it cannot be read.
#[expect(clippy::option_option, reason = "there may be none, and it may be unreadable")]
fn dollars(value: Option<&Value>) -> Option<Option<Nano>> {
    let text = match value {
        None | Some(Value::Null) => return Some(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) if text.trim().is_empty() => return Some(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(_) => return None,
    };
    // As many digits as a float has to be written with; what is behind the ninth is cut.
    let exact = (9..=27).find_map(|digits| {
        let scaled = decimal::shifted(&text, digits)?;
        Some(scaled / 10_u64.checked_pow(u32::try_from(digits - 9).ok()?)?)
    });
    Some(Some(Nano::new(exact?)?))
}

fn metadata(value: Option<&Value>) -> Result<Map<String, Value>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| "its `metadata` cannot be read"),
        Some(_) => Err("its `metadata` cannot be read"),
    }
}

/// Whether a field holds more than its emptiness.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim(), "" | "{}" | "[]" | "null" | "0" | "0.0" | "f" | "false"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

#[cfg(test)]
mod tests;
