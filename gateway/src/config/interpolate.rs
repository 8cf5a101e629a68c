//! `${NAME}`, `${NAME:-default}` and `${file:PATH}` in scalars.
//!
//! Resolved in the tree, after the YAML was read: a value can contain anything and still is only a value.
//! A default stands in where the variable is unset or empty, as in a shell.
//! The end of a file's last line is dropped, because secrets are kept in files written by editors.
//! `$${` writes a literal `${`.
//! What was brought in is marked foreign, so that no message quotes it.

use std::path::Path;

use super::document::{Node, Value};
use super::environment::Environment;
use super::problem::Problems;

/// Resolves every scalar under `node`, whose key path is `key`.
pub(super) fn resolve(node: &mut Node, key: &str, env: &dyn Environment, problems: &mut Problems) {
    // An override is the environment's own text: taken literally.
    if node.foreign {
        return;
    }
    match &mut node.value {
        Value::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                resolve(item, &format!("{key}[{i}]"), env, problems);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let key = join(key, &entry.key);
                resolve(&mut entry.node, &key, env, problems);
            }
        }
        Value::Scalar { text, .. } if text.contains("${") => match expand(text, env) {
            Ok(expanded) => {
                *text = expanded;
                node.foreign = true;
            }
            Err(failure) => {
                problems.report(&node.place, key, failure.message, failure.fix);
                node.value = Value::Broken;
            }
        },
        Value::Scalar { .. } | Value::Broken => {}
    }
}

pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

struct Failure {
    message: String,
    fix: String,
}

fn expand(text: &str, env: &dyn Environment) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = reference;
            continue;
        }
        out.push_str(before);
        let Some(end) = reference.find('}') else {
            return Err(Failure {
                message: "a `${` is never closed".to_owned(),
                fix: "close it with `}`, or write `$${` for a literal `${`".to_owned(),
            });
        };
        out.push_str(&lookup(&reference[..end], env)?);
        rest = &reference[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn lookup(reference: &str, env: &dyn Environment) -> Result<String, Failure> {
    if let Some(path) = reference.strip_prefix("file:") {
        return match env.read(Path::new(path)) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            // The kind only: the text of a foreign error may hold more than it should.
            Err(error) => Err(Failure {
                message: format!("cannot read the file `{path}`: {}", error.kind()),
                fix: "check the path (a relative one starts at the working directory) and its permissions".to_owned(),
            }),
        };
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(Failure {
            message: "what stands in `${…}` is not the name of a variable".to_owned(),
            fix: "write `${NAME}`, `${NAME:-default}` or `${file:PATH}`".to_owned(),
        });
    }
    match (env.variable(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Failure {
            message: format!("the environment variable {name} is not set"),
            fix: format!("set {name}, or write `${{{name}:-default}}`"),
        }),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
