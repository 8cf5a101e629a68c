//! From one format to another, with every value and every reference as it was written.
//!
//! What is written is read again and compared with what was read, value by value, and where the file is good in this environment also by what it means.
//! Comments are lost, aliases of YAML are written out, and in TOML single values move before the tables beside them.

use std::path::Path;

use super::document::{self, Node, Value};
use super::problem::Problems;
use super::show::Shown;
use super::{Config, ConfigError, Environment, Format};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error(transparent)]
    Unreadable(#[from] ConfigError),
    /// TOML has no null, and what stands for it was written as text.
    #[error(
        "the text \"null\" at `{0}` cannot be written as TOML, where it means null: change it, or use another format"
    )]
    NullText(String),
    /// A bug of ours, told rather than written.
    #[error("what would be written does not mean the same; please report this")]
    Different,
}

/// Converts the text of the file called `name`.
pub(crate) fn convert(text: &str, name: &str, to: Format, env: &dyn Environment) -> Result<String, ConvertError> {
    let from = Format::of(Path::new(name));
    let tree = tree(text, name, from)?;
    if to == Format::Toml
        && let Some(key) = null_text(&tree, String::new())
    {
        return Err(ConvertError::NullText(key));
    }
    let written = Shown::written(&tree).document(to);
    let again = self::tree(&written, "what was written", to)?;
    if !is_same(&tree, &again) {
        return Err(ConvertError::Different);
    }
    // Refused alike is fine: a file may need variables that are not set here.
    let meaning = |text: &str, format| {
        let mut problems = Problems::of(format);
        let root = document::parse(text, format, &mut problems)?;
        Config::read(root, name, env, problems).ok()
    };
    if meaning(text, from) != meaning(&written, to) {
        return Err(ConvertError::Different);
    }
    Ok(written)
}

/// The text of any other file of ours as JSON, whatever it is written in; its name tells.
pub(crate) fn as_json(text: &str, name: &str) -> Result<String, ConfigError> {
    let tree = tree(text, name, Format::of(Path::new(name)))?;
    Ok(Shown::written(&tree).document(Format::Json))
}

fn tree(text: &str, name: &str, format: Format) -> Result<Node, ConfigError> {
    let mut problems = Problems::of(format);
    match document::parse(text, format, &mut problems) {
        Some(tree) if problems.is_empty() => Ok(tree),
        _ => Err(problems.into_error(name)),
    }
}

/// The key of a text that is `null` and does not mean it.
fn null_text(node: &Node, key: String) -> Option<String> {
    match &node.value {
        Value::Scalar { text, plain: false } if text == "null" => Some(key),
        Value::List(items) => (0..)
            .zip(items)
            .find_map(|(i, item)| null_text(item, format!("{key}[{i}]"))),
        Value::Map(entries) => entries
            .iter()
            .find_map(|entry| null_text(&entry.node, super::interpolate::join(&key, &entry.key))),
        Value::Scalar { .. } | Value::Broken => None,
    }
}

/// Whether two trees hold the same, in whatever order the keys of a mapping stand.
fn is_same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|entry| b.get(&entry.key).is_some_and(|other| is_same(&entry.node, &other.node)))
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| is_same(a, b))
        }
        (Value::Scalar { text: left, .. }, Value::Scalar { text: right, .. }) => {
            a.is_null() == b.is_null() && (a.is_null() || left == right)
        }
        _ => false,
    }
}
