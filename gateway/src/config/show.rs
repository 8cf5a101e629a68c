//! What a configuration looks like when it is written: by hand of the gateway, with every default and no secret in it, or from another file.

mod json;
mod toml;
mod yaml;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Format, Node, Value};
use super::units::{Amount, Size, Timestamp, show_duration};

/// A value that can be printed.
pub(crate) trait Show {
    fn show(&self) -> Shown;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Null,
    /// Ours: a number, a word or a unit, which needs no quotes in YAML.
    Plain(String),
    /// The operator's, as it is: quoted where it could be read as something else.
    Text(String),
    /// Text of a file, whose references are still to be resolved.
    Written {
        text: String,
        plain: bool,
    },
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
}

impl Shown {
    pub(super) const HIDDEN: &str = "***";

    pub(super) fn hidden() -> Self {
        Self::text(Self::HIDDEN)
    }

    /// The tree of a file as it is written, its references unresolved.
    pub(super) fn written(node: &Node) -> Self {
        match &node.value {
            Value::List(items) => Self::List(items.iter().map(Self::written).collect()),
            Value::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), Self::written(&entry.node)))
                    .collect(),
            ),
            Value::Scalar { .. } if node.is_null() => Self::Null,
            Value::Scalar { text, plain } if *plain && is_bare(text) => Self::Plain(text.clone()),
            Value::Scalar { text, plain } => Self::Written {
                text: text.clone(),
                plain: *plain,
            },
            Value::Broken => Self::Null,
        }
    }

    /// A mapping of these entries.
    pub(crate) fn map(entries: Vec<(&str, Self)>) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The text of a whole file.
    pub(crate) fn document(&self, format: Format) -> String {
        match format {
            Format::Yaml => yaml::document(self),
            Format::Json => json::document(self),
            Format::Toml => toml::document(self),
        }
    }
}

/// A number or a truth value as JSON and TOML write them, so that it needs no quotes.
fn is_bare(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let (whole, rest) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let is_number = digits(whole) && digits(rest) && (whole == "0" || !whole.starts_with('0'));
    is_number || matches!(word, "true" | "false")
}

/// The operator's text as it is written where references are resolved: printed text that is read again must not be resolved again.
fn literal(text: &str) -> Cow<'_, str> {
    if text.contains("${") {
        Cow::Owned(text.replace("${", "$${"))
    } else {
        Cow::Borrowed(text)
    }
}

impl Show for String {
    fn show(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

impl Show for PathBuf {
    fn show(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }
}

impl Show for bool {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for u32 {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for Duration {
    fn show(&self) -> Shown {
        Shown::Plain(show_duration(*self))
    }
}

impl Show for Size {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for Timestamp {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Show for Amount {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for SocketAddr {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Shown {
        Shown::List(self.iter().map(Show::show).collect())
    }
}
