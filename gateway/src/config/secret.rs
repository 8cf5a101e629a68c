//! Text that must never be printed.

use std::fmt;

use super::decode::{Decode, scalar};
use super::describe::{self, Definitions, Describe};
use super::document::Node;
use super::problem::Problems;
use super::show::{Show, Shown};

/// An API key or a header value.
///
/// It has no `Display`, its `Debug` and its printed form are `***`, and no problem quotes it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Decode for Secret {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "text", problems)?;
        let (message, fix) = if text.is_empty() {
            ("is empty", "leave it out, or give it a value")
        } else if text.chars().any(char::is_control) {
            (
                "holds a line break or another control character",
                "a header cannot carry it; keep it on one line",
            )
        } else {
            return Some(Self(text.to_owned()));
        };
        problems.report(&node.place, key, message, fix);
        None
    }
}

impl Describe for Secret {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::any_text()
    }
}

impl Show for Secret {
    fn show(&self) -> Shown {
        Shown::hidden()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Shown::HIDDEN)
    }
}
