//! TOML.
//!
//! TOML has no null, so the text `"null"` stands for it, as it does in a variable; a reference may become it.
//! Numbers and dates stay text like all scalars; a number in another base becomes decimal.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::{Entry, MAX_DEPTH, Node, Value};
use crate::config::problem::{Place, Problems};

/// Reads the text of a file; every mistake of the syntax is reported.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let reader = Reader::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(Place::Whole, |span| reader.place(&span));
        // The message has what was expected, and never what was written.
        let message = error.message();
        let message = message.strip_suffix(", expected nothing").unwrap_or(message);
        problems.report(&place, "", format!("not valid TOML: {message}"), syntax_fix(message));
    }
    if !errors.is_empty() {
        return None;
    }
    let place = reader.place(&root.span());
    match reader.table(root.get_ref(), place, MAX_DEPTH) {
        Ok(root) => Some(root),
        Err(TooDeep(place)) => {
            problems.report(&place, "", "nested too deeply", "flatten the file");
            None
        }
    }
}

fn syntax_fix(message: &str) -> &'static str {
    if message.starts_with("duplicate key") {
        "keep one of the two"
    } else if message.starts_with("string values must be quoted") || message.starts_with("invalid float") {
        // An address is taken for a number with too many points.
        "put text in quotes: name = \"value\""
    } else {
        "check the quotes, brackets and `=` here; text needs quotes, and each key stands on a line of its own"
    }
}

struct TooDeep(Place);

struct Reader<'a> {
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    fn table(&self, table: &DeTable<'_>, place: Place, depth: usize) -> Result<Node, TooDeep> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            entries.push(Entry {
                key: key.get_ref().clone().into_owned(),
                place: self.place(&key.span()),
                node: self.node(value, depth)?,
            });
        }
        Ok(Node::new(place, Value::Map(entries)))
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, TooDeep> {
        let place = self.place(&value.span());
        let Some(below) = depth.checked_sub(1) else {
            return Err(TooDeep(place));
        };
        let (text, plain) = match value.get_ref() {
            DeValue::Table(table) => return self.table(table, place, below),
            DeValue::Array(items) => {
                let items: Result<Vec<Node>, TooDeep> = items.iter().map(|item| self.node(item, below)).collect();
                return Ok(Node::new(place, Value::List(items?)));
            }
            DeValue::String(text) => (text.clone().into_owned(), text == "null" || text.contains("${")),
            DeValue::Integer(number) => (self.integer(number, &value.span()), true),
            DeValue::Float(number) => (number.as_str().to_owned(), true),
            DeValue::Boolean(truth) => (truth.to_string(), true),
            DeValue::Datetime(time) => (time.to_string(), true),
        };
        Ok(Node::new(place, Value::Scalar { text, plain }))
    }

    fn integer(&self, number: &DeInteger<'_>, span: &Range<usize>) -> String {
        if number.radix() == 10 {
            return number.as_str().to_owned();
        }
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            // Beyond what any field takes: told as it was written.
            Err(_) => self.text.get(span.clone()).unwrap_or_default().to_owned(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        // Never zero, since the first line starts at the beginning.
        let line = self.lines.partition_point(|start| *start <= span.start);
        let before = self.text.get(self.lines[line - 1]..span.start).unwrap_or_default();
        Place::File {
            line,
            column: before.chars().count() + 1,
        }
    }
}
