//! Environment variables that set keys: `MULBERRY_LIMITS__BODY=8MiB` sets `limits.body`.
//!
//! Two underscores go one level down, a number is an index into a list (the next free index appends), and a list of words is written with commas.
//! The value is taken literally, as one scalar, so it can never add structure.
//!
//! A variable whose first part is no key of ours is not an error: orchestrators set such variables themselves (a Kubernetes service named `mulberry` gives every pod `MULBERRY_PORT`), and operators keep their own there.
//! Where it looks like a slip of the pen it becomes a warning.

use super::document::{Entry, Node, Value};
use super::interpolate::join;
use super::problem::{Place, Problems, nearest};

const PREFIX: &str = "MULBERRY_";

/// What the commands read themselves, and is no slip.
const OTHERS: [&str; 2] = ["config", "admin_token"];

/// Applies the overrides among `variables` to the tree, whose top has the keys `sections`.
pub(super) fn apply(root: &mut Node, sections: &[&str], mut variables: Vec<(String, String)>, problems: &mut Problems) {
    // So that list indices are appended in order, whatever order the environment has.
    variables.sort();
    for (name, value) in variables {
        let Some(path) = path(&name) else { continue };
        let steps: Vec<&str> = path.split("__").collect();
        if sections.contains(&steps[0]) {
            if root.is_null() {
                root.value = Value::Map(Vec::new());
            }
            set(root, &steps, "", &Place::Variable(name), value, problems);
        }
    }
}

/// Warns of variables that set nothing and nearly have the name of one that would.
pub(super) fn near_misses(sections: &[&str], variables: Vec<(String, String)>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, _) in variables {
        let Some(path) = path(&name) else { continue };
        let section = path.split("__").next().unwrap_or_default();
        if !sections.contains(&section)
            && !OTHERS.contains(&path.as_str())
            && let Some(near) = nearest(section, sections)
        {
            let near = near.to_uppercase();
            warnings.push(format!(
                "the environment variable {name} sets nothing; was {PREFIX}{near} meant?"
            ));
        }
    }
    warnings
}

fn path(name: &str) -> Option<String> {
    name.strip_prefix(PREFIX).map(str::to_lowercase)
}

fn set(node: &mut Node, steps: &[&str], key: &str, place: &Place, value: String, problems: &mut Problems) {
    let Some((step, rest)) = steps.split_first() else {
        *node = Node {
            place: place.clone(),
            value: Value::Scalar {
                text: value,
                plain: true,
            },
            foreign: true,
        };
        return;
    };
    // `tls:` with nothing after it is a place where a section may grow.
    if node.is_null() {
        let value = if step.parse::<usize>().is_ok() {
            Value::List(Vec::new())
        } else {
            Value::Map(Vec::new())
        };
        *node = Node::new(place.clone(), value);
    }
    match &mut node.value {
        Value::Map(entries) => {
            let key = join(key, step);
            let at = entries.iter().position(|entry| entry.key == *step).unwrap_or_else(|| {
                entries.push(Entry {
                    key: (*step).to_owned(),
                    place: place.clone(),
                    node: unset(place),
                });
                entries.len() - 1
            });
            set(&mut entries[at].node, rest, &key, place, value, problems);
        }
        Value::List(items) => {
            let next = items.len();
            match step.parse::<usize>() {
                Ok(i) if i <= next => {
                    if i == next {
                        items.push(unset(place));
                    }
                    let key = format!("{key}[{i}]");
                    set(&mut items[i], rest, &key, place, value, problems);
                }
                _ => problems.report(
                    place,
                    key,
                    format!("`{step}` is not an index of this list"),
                    format!("use an index from 0 to {next}"),
                ),
            }
        }
        Value::Scalar { .. } | Value::Broken => problems.report(
            place,
            key,
            format!("is a single value, so it has no key `{step}`"),
            format!("set {PREFIX}{} itself", key.to_uppercase()),
        ),
    }
}

fn unset(place: &Place) -> Node {
    Node::new(
        place.clone(),
        Value::Scalar {
            text: String::new(),
            plain: true,
        },
    )
}
