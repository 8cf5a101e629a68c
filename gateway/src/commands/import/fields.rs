//! Reading a foreign mapping so that nothing in it is passed over in silence.

use std::collections::BTreeSet;

use super::report::Report;
use crate::config::{Entry, Node, NodeValue};

/// A value with the path of its key.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    pub(super) key: String,
}

impl<'a> Field<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            node,
            key: String::new(),
        }
    }

    /// The text of a single value that is not null.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            NodeValue::Scalar { text, .. } if !self.node.is_null() => Some(text),
            _ => None,
        }
    }

    /// The same, and a note of a loss where there is something else.
    pub(super) fn text_or_lost(&self, report: &mut Report) -> Option<&'a str> {
        if self.text().is_none() && !self.node.is_null() {
            report.lost(self, "a single value was expected");
        }
        self.text()
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self.text(), Some("true" | "True" | "TRUE"))
    }

    /// Said, and said to be off or nothing.
    pub(super) fn is_off(&self) -> bool {
        self.node.is_null()
            || matches!(self.text(), Some("false" | "False" | "FALSE" | ""))
            || matches!(&self.node.value, NodeValue::List(items) if items.is_empty())
            || matches!(&self.node.value, NodeValue::Map(entries) if entries.is_empty())
    }

    pub(super) fn whole_number(&self, report: &mut Report) -> Option<u32> {
        let text = self.text_or_lost(report)?;
        let number = text.parse().ok();
        if number.is_none() {
            report.lost(self, "a whole number was expected; write it by hand");
        }
        number
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            NodeValue::List(items) => (0..)
                .zip(items)
                .map(|(i, node): (usize, _)| Field {
                    node,
                    key: format!("{}[{i}]", self.key),
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The items, or the one value where a list has one.
    pub(super) fn words(&self, report: &mut Report) -> Vec<(Field<'a>, &'a str)> {
        let fields = match &self.node.value {
            NodeValue::List(_) => self.items(),
            _ => vec![self.clone()],
        };
        let mut words = Vec::new();
        for field in fields {
            if let Some(text) = field.text_or_lost(report) {
                words.push((field, text));
            }
        }
        words
    }

    /// The names and values of a mapping whose names are the operator's.
    pub(super) fn members(&self) -> Vec<(&'a str, Field<'a>)> {
        let entries: &[Entry] = match &self.node.value {
            NodeValue::Map(entries) => entries,
            _ => &[],
        };
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), self.below(entry)))
            .collect()
    }

    fn below(&self, entry: &'a Entry) -> Field<'a> {
        let key = if self.key.is_empty() {
            entry.key.clone()
        } else {
            format!("{}.{}", self.key, entry.key)
        };
        Field { node: &entry.node, key }
    }
}

/// A mapping with known keys; what is not taken is told.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    whole: Field<'a>,
    taken: BTreeSet<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn open(whole: Field<'a>, report: &mut Report) -> Self {
        if !matches!(whole.node.value, NodeValue::Map(_)) && !whole.node.is_null() {
            report.lost(&whole, "a mapping was expected");
        }
        Self {
            whole,
            taken: BTreeSet::new(),
        }
    }

    pub(super) const fn whole(&self) -> &Field<'a> {
        &self.whole
    }

    /// A field that is there and says something.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.taken.insert(name);
        let entry = self.whole.node.get(name)?;
        (!entry.node.is_null()).then(|| self.whole.below(entry))
    }

    /// Fields that say nothing here, and whose absence changes nothing.
    pub(super) fn ignore(&mut self, names: &[&'static str]) {
        self.taken.extend(names);
    }

    /// The same for names that are known by their form.
    pub(super) fn ignore_where(&mut self, says_nothing: impl Fn(&str) -> bool) {
        let named = self.whole.members().into_iter().map(|(name, _)| name);
        self.taken.extend(named.filter(|name| says_nothing(name)));
    }

    /// Tells of every field that nobody took: with the reason for its name, or with that nothing knows it.
    pub(super) fn close(self, reasons: &[(&str, &str)], report: &mut Report) {
        for (name, field) in self.whole.members() {
            if self.taken.contains(name) || field.is_off() {
                continue;
            }
            let reason = reasons.iter().find(|(known, _)| *known == name);
            report.lost(
                &field,
                reason.map_or("nothing here has this meaning", |(_, reason)| reason),
            );
        }
    }
}
