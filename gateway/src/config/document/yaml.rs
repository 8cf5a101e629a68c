//! YAML, and JSON, which the same parser reads.
//!
//! `saphyr-parser` is asked for events only, because a typed deserialiser stops at the first mistake and loses the places.
//!
//! Refused: several documents, keys that are not scalars, and tags other than YAML's own.
//! Aliases are copied, so a small file could grow without a bound, were there none.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, MAX_DEPTH, MAX_NODES, Node, Value};
use crate::config::interpolate::join;
use crate::config::problem::{Place, Problems};

/// Reads the text of a file in `language`.
pub(super) fn parse(text: &str, language: &str, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let (line, column) = (error.marker().line(), error.marker().col() + 1);
                problems.report(
                    &Place::File { line, column },
                    "",
                    format!("not valid {language}: {}", error.info()),
                    syntax_fix(text, line),
                );
                return None;
            }
        };
        if let Err(refusal) = builder.take(event, span, problems) {
            problems.report(&place(span), "", refusal.message, refusal.fix);
            return None;
        }
    }
    Some(builder.root.unwrap_or_else(|| Node::empty_map(Place::Whole)))
}

/// The parser often stops on the line after the mistake, so both are looked at.
fn syntax_fix(text: &str, line: usize) -> &'static str {
    let near: Vec<&str> = text.lines().skip(line.saturating_sub(2)).take(2).collect();
    if near.iter().any(|line| line.contains("${") && line.contains(['{', '['])) {
        "inside { } or [ ] quote a reference: \"${NAME}\""
    } else if near.iter().any(|line| line.starts_with('\t')) {
        "indent with spaces, not tabs"
    } else {
        "check the indentation, quotes and brackets here and on the line before"
    }
}

struct Refusal {
    message: &'static str,
    fix: &'static str,
}

const fn refusal(message: &'static str, fix: &'static str) -> Refusal {
    Refusal { message, fix }
}

/// A list or mapping that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, problems: &mut Problems) -> Result<(), Refusal> {
        let place = place(span);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(refusal(
                "a second document begins here",
                "keep one document per file; remove the `---`",
            )),
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref())?;
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let text = text.into_owned();
                self.put(Node::new(place, Value::Scalar { text, plain }), anchor, problems)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.begin(Node::new(place, Value::List(Vec::new())), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.begin(Node::empty_map(place), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.put(node, anchor, problems),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.put(node, 0, problems),
                None => Err(refusal(
                    "this alias names an anchor that is not complete yet",
                    "write the value out",
                )),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Refusal> {
        if self.open.len() >= MAX_DEPTH {
            return Err(refusal("nested too deeply", "flatten the file"));
        }
        if self.open.last().is_some_and(Open::expects_key) {
            return Err(COMPLEX_KEY);
        }
        self.open.push(Open {
            node,
            anchor,
            key: None,
        });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize, problems: &mut Problems) -> Result<(), Refusal> {
        self.nodes += size(&node);
        if self.nodes > MAX_NODES {
            return Err(refusal("too many values", "use fewer aliases"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        if open.expects_key() {
            let Value::Scalar { text, .. } = node.value else {
                return Err(COMPLEX_KEY);
            };
            open.key = Some((text, node.place));
            return Ok(());
        }
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => {
                if let Some((key, place)) = open.key.take() {
                    if entries.iter().any(|entry| entry.key == key) {
                        let key = join(&self.path(), &key);
                        problems.report(&place, &key, "set twice", "keep one of the two");
                    } else {
                        entries.push(Entry { key, place, node });
                    }
                }
            }
            // Only lists and mappings are ever open.
            Value::Scalar { .. } | Value::Broken => {}
        }
        Ok(())
    }

    /// The key path of the innermost list or mapping that is open.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match (&open.node.value, &open.key) {
                (Value::List(items), _) => path = format!("{path}[{}]", items.len()),
                (_, Some((key, _))) => path = join(&path, key),
                (_, None) => {}
            }
        }
        path
    }
}

impl Open {
    fn expects_key(&self) -> bool {
        matches!(self.node.value, Value::Map(_)) && self.key.is_none()
    }
}

const COMPLEX_KEY: Refusal = refusal(
    "a key must be a single word",
    "quote it if it begins with a special character; write `name: value`",
);

fn check_tag(tag: Option<&Tag>) -> Result<(), Refusal> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(refusal(
            "this YAML tag has no meaning here",
            "remove the tag, or quote the text if it begins with `!`",
        )),
        _ => Ok(()),
    }
}

fn place(span: Span) -> Place {
    Place::File {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

/// The cost of a copy; containers were counted child by child when they were first read.
fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
        Value::Scalar { .. } | Value::Broken => 0,
    }
}
