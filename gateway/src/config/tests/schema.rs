//! The JSON Schema is that of the fields, and the one in the repository.

use std::collections::BTreeSet;

use serde_json::Value;

use super::accepted::{FULL, full_environment};
use crate::config::document::{self, Format, Node};
use crate::config::problem::Problems;
use crate::config::{Config, json_schema};

#[test]
fn the_schema_in_the_repository_is_fresh() {
    let kept = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../mulberry.schema.json"));
    assert!(
        kept == json_schema(),
        "the configuration changed: write the schema again with\n\n  cargo run -- config schema > mulberry.schema.json\n"
    );
}

/// Each mapping of the full file that has a fixed list of keys: an unknown one is put into it, and the keys that the refusal lists are compared with the schema's.
#[test]
fn every_mapping_has_the_keys_that_are_read() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("a schema is JSON");
    let root = document::parse(FULL, Format::Yaml, &mut Problems::default()).expect("a good file");
    let mut seen = BTreeSet::new();
    check(&root, &schema, &schema, "", &mut seen);
    let defined: BTreeSet<String> = schema["$defs"]
        .as_object()
        .expect("definitions")
        .keys()
        .filter(|name| *name != "Reference")
        .cloned()
        .collect();
    assert_eq!(seen, defined, "definitions that the full file does not reach");
}

fn check(node: &Node, schema: &Value, top: &Value, path: &str, seen: &mut BTreeSet<String>) {
    let schema = resolved(schema, top, seen);
    match &node.value {
        document::Value::List(items) => {
            if let Some(below) = schema.get("items") {
                for (i, item) in items.iter().enumerate() {
                    check(item, below, top, &format!("{path}[{i}]"), seen);
                }
            }
        }
        document::Value::Map(entries) if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
            let properties = schema["properties"].as_object().expect("a mapping has properties");
            let mut described: Vec<&str> = properties.keys().map(String::as_str).collect();
            described.retain(|name| *name != "$schema");
            described.sort_unstable();
            let mut read = keys_read(path);
            read.sort_unstable();
            assert_eq!(described, read, "{path}");
            for entry in entries {
                let below = &properties.get(&entry.key);
                let below = below.unwrap_or_else(|| panic!("no {} in {path}", entry.key));
                let key = crate::config::interpolate::join(path, &entry.key);
                check(&entry.node, below, top, &key, seen);
            }
        }
        _ => {}
    }
}

/// The schema behind references and choices.
fn resolved<'a>(schema: &'a Value, top: &'a Value, seen: &mut BTreeSet<String>) -> &'a Value {
    let choice = schema.get("anyOf").and_then(|choices| choices.get(0));
    let schema = choice.unwrap_or(schema);
    match schema.get("$ref").and_then(Value::as_str) {
        Some(name) => {
            let name = name.trim_start_matches("#/$defs/");
            seen.insert(name.to_owned());
            &top["$defs"][name]
        }
        None => schema,
    }
}

/// The keys of the mapping at `path`, as the refusal of an unknown one lists them.
fn keys_read(path: &str) -> Vec<String> {
    let mut variable = "MULBERRY".to_owned();
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        let separator = if variable == "MULBERRY" { "_" } else { "__" };
        variable = format!("{variable}{separator}{}", step.trim_end_matches(']').to_uppercase());
    }
    let (text, env) = if path.is_empty() {
        (format!("{FULL}\nqqqqqqqqqqqq: 1\n"), full_environment())
    } else {
        let env = full_environment().variable(&format!("{variable}__QQQQQQQQQQQQ"), "1");
        (FULL.to_owned(), env)
    };
    let error = Config::parse(&text, "m.yaml", &env)
        .expect_err("an unknown key")
        .to_string();
    let (_, list) = error
        .split_once("remove it; the keys here are ")
        .unwrap_or_else(|| panic!("{path}: {error}"));
    let list = list.lines().next().unwrap_or_default();
    list.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}
