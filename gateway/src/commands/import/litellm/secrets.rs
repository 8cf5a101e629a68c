//! Keys of providers: references stay references, and text becomes one.

use super::super::{fields::Field, report::Report};
use crate::config::{Node, NodeValue, Shown};

/// What people write where a server wants no key.
const NO_KEYS: [&str; 12] = [
    "none",
    "null",
    "empty",
    "dummy",
    "fake",
    "fake-key",
    "no-key",
    "not-needed",
    "not-used",
    "na",
    "n/a",
    "anything",
];

#[derive(Debug)]
pub(super) struct Secrets {
    keep: bool,
    /// Variables that the file itself names.
    referenced: Vec<String>,
    /// Variables that were made up, each with the text that it stands for.
    variables: Vec<(String, String)>,
}

impl Secrets {
    /// Secrets of a file with this tree, whose own variables are not made up again.
    pub(super) fn of(root: &Node, keep: bool) -> Self {
        let mut referenced = Vec::new();
        references(root, &mut referenced);
        Self {
            keep,
            referenced,
            variables: Vec::new(),
        }
    }

    /// A key as it is written here; `variable` is what to call it if it is no reference yet.
    pub(super) fn shown(&mut self, field: &Field<'_>, variable: &str, report: &mut Report) -> Option<Shown> {
        let text = field.text_or_lost(report)?;
        if let Some(reference) = reference(text) {
            return Some(reference);
        }
        if NO_KEYS.contains(&text.to_lowercase().as_str()) {
            report.note(field, "left out: it looks like a word for no key");
            return None;
        }
        if self.keep {
            report.note(field, "copied as it is; better set a variable and write `${NAME}`");
            return Some(Shown::text(text));
        }
        let known = self.variables.iter().find(|(_, secret)| secret == text);
        let name = match known {
            Some((name, _)) => name.clone(),
            None => {
                let numbered = (2..).map(|number: u32| format!("{variable}_{number}"));
                let mut names = std::iter::once(variable.to_owned()).chain(numbered);
                let made_up = || self.variables.iter().map(|(taken, _)| taken);
                let is_free = |name: &String| !made_up().chain(&self.referenced).any(|taken| taken == name);
                let name = names.find(is_free).unwrap_or_else(|| variable.to_owned());
                self.variables.push((name.clone(), text.to_owned()));
                name
            }
        };
        report.note(field, format!("a secret in the file is not copied: set {name} to it"));
        Some(variable_reference(&name))
    }
}

fn references(node: &Node, found: &mut Vec<String>) {
    match &node.value {
        NodeValue::Scalar { text, .. } => found.extend(text.strip_prefix("os.environ/").map(str::to_owned)),
        NodeValue::List(items) => items.iter().for_each(|item| references(item, found)),
        NodeValue::Map(entries) => entries.iter().for_each(|entry| references(&entry.node, found)),
        NodeValue::Broken => {}
    }
}

/// Text, or what LiteLLM writes for a variable.
pub(super) fn plain(text: &str) -> Shown {
    reference(text).unwrap_or_else(|| Shown::text(text))
}

/// `os.environ/NAME` as `${NAME}`.
pub(super) fn reference(text: &str) -> Option<Shown> {
    text.strip_prefix("os.environ/").map(variable_reference)
}

pub(super) fn variable_reference(name: &str) -> Shown {
    Shown::Written {
        text: format!("${{{name}}}"),
        plain: true,
    }
}
