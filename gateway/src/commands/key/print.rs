//! Keys for people and for programs. A terminal obeys control characters, so names lose theirs.

use serde_json::Value;

use super::litellm::Found;
use crate::{commands::usage::plain, config::Timestamp, wall_clock::unix_seconds};

pub(super) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A list of two texts as objects.
pub(super) fn pairs(first: &str, second: &str, items: &[(String, String)]) -> Vec<Value> {
    let object = |(a, b): &(String, String)| serde_json::json!({first: a, second: b});
    items.iter().map(object).collect()
}

pub(super) fn table(keys: &[Value]) -> String {
    let heading = ["NAME", "OWNER", "SOURCE", "STATE", "MODELS", "LIMITS", "EXPIRES"].map(str::to_owned);
    let rows = keys.iter().map(|key| {
        [
            text(&key["name"]),
            text(&key["owner"]),
            text(&key["source"]),
            state(key).to_owned(),
            models(key),
            limits(key),
            text(&key["expires"]),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(heading).chain(rows).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

pub(super) fn one(key: &Value) -> String {
    let mut lines = String::new();
    let tags = key["tags"].as_object().into_iter().flatten();
    let tags: Vec<String> = tags
        .map(|(name, value)| format!("{}={}", plain(name), text(value)))
        .collect();
    for (name, value) in [
        ("name", text(&key["name"])),
        ("owner", text(&key["owner"])),
        ("source", text(&key["source"])),
        ("state", state(key).to_owned()),
        ("models", models(key)),
        ("min_tier", text(&key["min_tier"])),
        ("limits", limits(key)),
        ("account", text(&key["account"])),
        ("budget", budget(key)),
        ("expires", text(&key["expires"])),
        ("revoked", text(&key["revoked_at"])),
        ("created", text(&key["created_at"])),
        (
            "tags",
            if tags.is_empty() {
                "-".to_owned()
            } else {
                tags.join(" ")
            },
        ),
    ] {
        lines.push_str(&format!("{name:9} {value}\n"));
    }
    lines
}

pub(super) fn import(made: &[String], found: &Found) -> String {
    let mut lines = format!("{} keys imported\n", made.len());
    let mut list = |title: &str, items: &[(String, String)]| {
        if !items.is_empty() {
            lines.push_str(&format!("{title}:\n"));
        }
        for (name, why) in items {
            lines.push_str(&format!("  {}: {}\n", plain(name), plain(why)));
        }
    };
    list("not imported", &found.skipped);
    list("imported otherwise than it was", &found.changed);
    let dropped = found.dropped.iter();
    let dropped: Vec<_> = dropped
        .map(|(field, keys)| (field.clone(), format!("{keys} keys")))
        .collect();
    list("left behind, since Mulberry has nothing like it", &dropped);
    lines
}

fn state(key: &Value) -> &'static str {
    let expires = key["expires"].as_str().and_then(Timestamp::parse);
    let now = unix_seconds();
    if !key["revoked_at"].is_null() {
        "revoked"
    } else if expires.is_some_and(|at| at.unix_seconds() <= now) {
        "expired"
    } else if key["disabled"] == true {
        "disabled"
    } else {
        "active"
    }
}

fn models(key: &Value) -> String {
    let models = key["models"].as_array().into_iter().flatten();
    let models: Vec<String> = models.map(text).collect();
    if models.is_empty() {
        "none".to_owned()
    } else {
        models.join(",")
    }
}

fn limits(key: &Value) -> String {
    let limits = [
        ("rpm", &key["limits"]["requests_per_minute"]),
        ("tpm", &key["limits"]["tokens_per_minute"]),
        ("at-a-time", &key["limits"]["concurrency"]),
    ];
    let set = limits.iter().filter(|(_, limit)| !limit.is_null());
    let set: Vec<String> = set.map(|(name, limit)| format!("{name}={limit}")).collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

fn budget(key: &Value) -> String {
    let spans = ["total", "day", "month"].iter();
    let set = spans.filter_map(|span| Some(format!("{span}={}", key["budget"][span].as_str()?)));
    let set: Vec<String> = set.collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), plain)
}
