//! The tree of a configuration file, each node with its place.
//!
//! Scalars stay text here; what they mean is decided by the field that reads them, so `2024-10-21` and `1.0` survive as written.
//! The tree is the same whatever the file is written in, so that overrides, references and problems know nothing of that.
//!
//! Refused: keys set twice, and more than [`MAX_NODES`] nodes or [`MAX_DEPTH`] levels.

mod toml;
mod yaml;

use std::path::Path;

use super::problem::{Place, Problems};

const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Yaml,
    Json,
    Toml,
}

impl Format {
    /// What the extension says, if it says anything.
    pub(crate) fn named(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    /// The same, and YAML where it says nothing.
    pub(crate) fn of(path: &Path) -> Self {
        Self::named(path).unwrap_or_default()
    }
}

/// Reads a file; `None` where the text has no shape at all.
pub(crate) fn parse(text: &str, format: Format, problems: &mut Problems) -> Option<Node> {
    match format {
        Format::Yaml => yaml::parse(text, "YAML", problems),
        Format::Json => yaml::parse(text, "JSON", problems),
        Format::Toml => toml::parse(text, problems),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
    /// The text came from the environment or another file, so no message may quote it.
    pub(crate) foreign: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// `plain` is false for quoted text, which is never null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A problem with this value was reported; readers stay silent.
    Broken,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(place: Place, value: Value) -> Self {
        Self {
            place,
            value,
            foreign: false,
        }
    }

    pub(crate) fn empty_map(place: Place) -> Self {
        Self::new(place, Value::Map(Vec::new()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// What a message calls this value: its text, unless that came from elsewhere and may be a secret.
    pub(crate) fn quoted(&self) -> String {
        match &self.value {
            Value::Scalar { .. } if self.foreign => "the value from outside this file".to_owned(),
            Value::Scalar { text, .. } => {
                let short: String = text.chars().take(60).collect();
                format!("`{}`", short.escape_debug())
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Broken => "a value".to_owned(),
        }
    }

    /// The node of a key such as `models[0].routes`, or of the nearest thing above it that was written.
    pub(crate) fn nearest(&self, key: &str) -> &Self {
        let mut node = self;
        for step in key
            .split(['.', '['])
            .map(|step| step.trim_end_matches(']'))
            .filter(|step| !step.is_empty())
        {
            let next = match &node.value {
                Value::List(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => node.get(step).map(|entry| &entry.node),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}
