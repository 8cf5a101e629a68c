//! From the tree to typed values, collecting every problem on the way.
//!
//! A value that is wrong is reported and a stand-in takes its place, so that the next one is read too.
//! No stand-in escapes: a configuration with a problem is never returned.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Entry, Node, Value};
use super::interpolate::join;
use super::problem::{Place, Problems, nearest};
use super::units::{self, Amount, Size, Timestamp};

/// A value that can be read from a node.
pub(super) trait Decode: Sized {
    /// The keys of a mapping that has a fixed list of them.
    const FIELDS: &'static [&'static str] = &[];

    /// Whether the value is written as a mapping, and so never as one word of a variable.
    const IS_MAPPING: bool = false;

    /// `None` after a problem was reported.
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self>;

    /// What `null` means; by default the same as leaving the key out.
    fn null() -> Option<Self> {
        None
    }
}

/// A mapping that is being read, field by field.
pub(super) struct Section<'a> {
    node: &'a Node,
    key: &'a str,
    entries: &'a [Entry],
    /// The fields asked for, in order: what is not among them is unknown.
    known: Vec<&'static str>,
    /// False where the mapping itself is wrong, which is one problem and not one per field.
    complain: bool,
}

impl<'a> Section<'a> {
    pub(super) fn open(node: &'a Node, key: &'a str, problems: &mut Problems) -> Self {
        let (entries, complain): (&[Entry], bool) = match &node.value {
            Value::Map(entries) => (entries, true),
            Value::Broken => (&[], false),
            Value::Scalar { .. } | Value::List(_) => {
                let fix = match &node.place {
                    Place::Variable(name) => format!("set its keys one by one: {name}__KEY"),
                    _ => problems.mapping_fix().to_owned(),
                };
                let message = format!("expected a mapping, found {}", node.quoted());
                problems.report(&node.place, key, message, fix);
                (&[], false)
            }
        };
        Self {
            node,
            key,
            entries,
            known: Vec::new(),
            complain,
        }
    }

    /// A field that must be there.
    pub(super) fn required<T: Decode + Default>(&mut self, name: &'static str, problems: &mut Problems) -> T {
        if self.has(name) || !self.complain {
            return self.or(name, T::default(), problems);
        }
        self.known.push(name);
        let key = join(self.key, name);
        let fix = problems.key_fix(name);
        problems.report(&self.node.place, &key, "missing", fix);
        T::default()
    }

    /// A field with a default.
    pub(super) fn or<T: Decode>(&mut self, name: &'static str, default: T, problems: &mut Problems) -> T {
        self.known.push(name);
        let Some(node) = self.node(name) else {
            return default;
        };
        let read = if node.is_null() {
            T::null()
        } else {
            T::decode(node, &join(self.key, name), problems)
        };
        read.unwrap_or(default)
    }

    /// Whether the field is written and is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some_and(|node| !node.is_null())
    }

    /// Whether a list is written and has no items, rather than items that were refused.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        self.node(name)
            .is_some_and(|node| matches!(&node.value, Value::List(items) if items.is_empty()))
    }

    pub(super) fn node(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(&entry.node)
    }

    /// What a message calls the value of a field, or of an item such as `models[0]`.
    pub(super) fn quoted(&self, name: &str) -> String {
        self.node.nearest(name).quoted()
    }

    /// Reports a problem of one field or item, at its place if it is written, else at the section's.
    pub(super) fn report(
        &self,
        name: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
        problems: &mut Problems,
    ) {
        if !self.complain {
            return;
        }
        let place = &self.node.nearest(name).place;
        problems.report(place, &join(self.key, name), message, fix);
    }

    /// Refuses zero in the fields named, where it would stop all work.
    pub(super) fn refuse_zero(&self, fields: &[(&str, bool)], problems: &mut Problems) {
        for (name, _) in fields.iter().filter(|(_, zero)| *zero) {
            let fix = "leave it out for the default, or write a larger value";
            self.report(name, "must not be zero", fix, problems);
        }
    }

    /// Reports the fields that nobody asked for.
    pub(super) fn close(self, problems: &mut Problems) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let fix = match suggestion(&entry.key, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it; the keys here are {}", listed(&self.known)),
            };
            let place = match &entry.node.place {
                variable @ Place::Variable(_) => variable,
                _ => &entry.place,
            };
            problems.report(place, &join(self.key, &entry.key), "unknown key", fix);
        }
    }
}

/// Names that other programs use for the same thing.
const SYNONYMS: &[(&str, &str)] = &[
    ("api_base", "url"),
    ("base_url", "url"),
    ("endpoint", "url"),
    ("provider", "kind"),
    ("type", "kind"),
    ("token", "api_key"),
    ("hash", "sha256"),
    ("bind", "listen"),
    ("port", "listen"),
    ("targets", "routes"),
    ("servers", "upstreams"),
    ("origin", "origins"),
];

fn suggestion<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let synonym = SYNONYMS
        .iter()
        .filter(|(word, _)| *word == key.to_lowercase())
        .find_map(|(_, ours)| known.iter().find(|name| *name == ours).copied());
    synonym.or_else(|| nearest(key, known))
}

pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The text of a scalar, or the report that it is none.
pub(super) fn scalar<'a>(node: &'a Node, key: &str, expected: &str, problems: &mut Problems) -> Option<&'a str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Broken => None,
        Value::List(_) | Value::Map(_) => {
            problems.report(
                &node.place,
                key,
                format!("expected {expected}, found {}", node.quoted()),
                "write a single value",
            );
            None
        }
    }
}

impl Decode for String {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "text", problems)?;
        if text.is_empty() {
            let fix = "leave it out, or give it a value";
            problems.report(&node.place, key, "is empty", fix);
            return None;
        }
        Some(text.to_owned())
    }
}

impl Decode for PathBuf {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        String::decode(node, key, problems).map(PathBuf::from)
    }
}

impl Decode for bool {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        match scalar(node, key, "true or false", problems)? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => {
                let message = format!("expected true or false, found {}", node.quoted());
                problems.report(&node.place, key, message, "write `true` or `false`");
                None
            }
        }
    }
}

impl Decode for u32 {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a whole number", problems)?;
        text.parse().ok().or_else(|| {
            let message = format!("expected a whole number, found {}", node.quoted());
            let fix = format!("write a number from 0 to {}", u32::MAX);
            problems.report(&node.place, key, message, fix);
            None
        })
    }
}

impl Decode for Duration {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a duration", problems)?;
        units::duration(text).or_else(|| {
            let message = format!("expected a duration, found {}", node.quoted());
            let fix = "write a whole number with its unit: `500ms`, `5s`, `2m` or `1h`";
            problems.report(&node.place, key, message, fix);
            None
        })
    }
}

impl Decode for Size {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a size", problems)?;
        units::size(text).or_else(|| {
            let message = format!("expected a size above zero, found {}", node.quoted());
            let fix = "write bytes, or a whole number with its unit: `64KiB`, `32MiB` or `1GiB`";
            problems.report(&node.place, key, message, fix);
            None
        })
    }
}

impl Decode for Timestamp {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a time", problems)?;
        units::timestamp(text).or_else(|| {
            let message = format!("expected a day or a time, found {}", node.quoted());
            let fix = "write it like `2027-01-01` or `2027-01-01T12:00:00Z`";
            problems.report(&node.place, key, message, fix);
            None
        })
    }
}

impl Decode for Amount {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "an amount", problems)?;
        units::amount(text).or_else(|| {
            let message = format!("expected an amount, found {}", node.quoted());
            let fix = "write a number such as `2.50`, with at most nine digits after the point";
            problems.report(&node.place, key, message, fix);
            None
        })
    }
}

impl Decode for SocketAddr {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "an address", problems)?;
        text.parse().ok().or_else(|| {
            let message = format!("expected an IP address and a port, found {}", node.quoted());
            problems.report(&node.place, key, message, address_fix(text));
            None
        })
    }
}

/// Guesses what was meant by `8080`, `:8080` and `localhost:8080`.
fn address_fix(text: &str) -> String {
    let port = match text.rsplit_once(':') {
        Some(("" | "localhost" | "*", port)) => port,
        Some(_) => "",
        None => text,
    };
    match port.parse::<u16>() {
        Ok(port) => format!("write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for every interface"),
        Err(_) => "write it like `127.0.0.1:8080` or `[::1]:8080`".to_owned(),
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        T::decode(node, key, problems).map(Some)
    }

    fn null() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(i, item)| T::decode(item, &format!("{key}[{i}]"), problems))
                    .collect(),
            ),
            // A variable holds one scalar, so its list has commas.
            Value::Scalar { text, .. } if node.foreign && !T::IS_MAPPING => Some(
                text.split(',')
                    .filter_map(|word| {
                        let mut item = node.clone();
                        item.value = Value::Scalar {
                            text: word.trim().to_owned(),
                            plain: true,
                        };
                        T::decode(&item, key, problems)
                    })
                    .collect(),
            ),
            Value::Broken => None,
            Value::Scalar { .. } | Value::Map(_) => {
                let message = format!("expected a list, found {}", node.quoted());
                let fix = match &node.place {
                    Place::Variable(name) => format!("set its items one by one: {name}__0__KEY"),
                    _ => problems.list_fix().to_owned(),
                };
                problems.report(&node.place, key, message, fix);
                None
            }
        }
    }
}

/// The value that a section has when nothing of it is written.
pub(super) fn unwritten<T: Decode>() -> T {
    T::decode(&Node::empty_map(Place::Whole), "", &mut Problems::default())
        .expect("a section decodes from an empty mapping")
}
