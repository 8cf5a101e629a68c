//! JSON objects as both sides of a translation read them: the name of a member and its value as it is written.
//!
//! Values are not parsed into a tree. A text that only moves to another place moves as it stands, so that escapes,
//! numbers and schemas survive; and however deep a value is, reading past it costs no stack.
//! A member that is null is absent, and of a name that stands twice the last counts.
//! What cannot be read is told by its path and by what should have been there, never by what was there.

use std::{borrow::Cow, fmt};

use serde::Deserializer as _;
use serde_json::value::RawValue;

use crate::json;

/// The most elements of an array that is read, so that a liar's list costs no more than its bytes.
const MAX_ELEMENTS: usize = 100_000;

/// What stands somewhere is not what should. The path and the expectation are ours, so both may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not {expected}")]
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) expected: &'static str,
}

/// Where a value stands: shared by the objects below it, and written out only for an error.
#[derive(Debug, Clone, Copy)]
enum Place<'p> {
    Root,
    Member(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, &'p str, usize),
}

/// The path of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p>(Place<'p>);

impl<'p> Path<'p> {
    pub(super) const ROOT: Self = Self(Place::Root);

    pub(super) fn member(&'p self, name: &'p str) -> Self {
        Self(Place::Member(self, name))
    }

    pub(super) fn element(&'p self, name: &'p str, index: usize) -> Self {
        Self(Place::Element(self, name, index))
    }

    pub(super) fn wrong(&self, expected: &'static str) -> Wrong {
        Wrong {
            path: self.to_string(),
            expected,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = |parent: &Path<'_>, f: &mut fmt::Formatter<'_>| match parent.0 {
            Place::Root => Ok(()),
            _ => write!(f, "{parent}."),
        };
        match self.0 {
            Place::Root => f.write_str("body"),
            Place::Member(parent, name) => dot(parent, f).and_then(|()| f.write_str(name)),
            Place::Element(parent, name, index) => dot(parent, f).and_then(|()| write!(f, "{name}[{index}]")),
        }
    }
}

/// The members of an object. Holds content, so there is no `Debug`.
pub(super) struct Object<'a, 'p> {
    pub(super) path: Path<'p>,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a, 'p> Object<'a, 'p> {
    /// Reads bytes that are one object.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Object<'a, 'static>, Wrong> {
        let text = std::str::from_utf8(bytes).map_err(|_| Path::ROOT.wrong("UTF-8"))?;
        Object::of_text(text, Path::ROOT)
    }

    pub(super) fn read(value: &'a RawValue, path: Path<'p>) -> Result<Self, Wrong> {
        Self::of_text(value.get(), path)
    }

    fn of_text(text: &'a str, path: Path<'p>) -> Result<Self, Wrong> {
        let mut members = Vec::new();
        let is_object = json::for_members(text, |name, value| {
            if value.get() != "null" {
                members.push((name, value));
            }
        });
        if is_object {
            Ok(Self { path, members })
        } else {
            Err(path.wrong("a JSON object"))
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let named = self.members.iter().rev().find(|(known, _)| known == name);
        named.map(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text of a member as it is written, quotes and escapes included.
    pub(super) fn raw_text(&self, name: &str) -> Result<Option<&'a RawValue>, Wrong> {
        self.typed(name, "a string", |value| is_text(value).then_some(value))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Wrong> {
        self.typed(name, "a string", text)
    }

    pub(super) fn required_text(&self, name: &str) -> Result<Cow<'a, str>, Wrong> {
        self.text(name)?
            .ok_or_else(|| self.path.member(name).wrong("there; it is a required string"))
    }

    /// The member `type` and its like: a short name, empty when there is none.
    pub(super) fn kind(&self, name: &str) -> Cow<'a, str> {
        self.get(name).and_then(text).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Wrong> {
        self.typed(name, "a number", |value| value.get().parse().ok())
    }

    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Wrong> {
        self.typed(name, "a whole number", |value| value.get().parse().ok())
    }

    /// A count of tokens, which forgives: what is no such number is none.
    pub(super) fn tokens(&self, name: &str) -> u64 {
        // `as` saturates: NaN and negatives become 0.
        let count = |value: &RawValue| value.get().parse::<f64>().ok().map(|count| count as u64);
        self.get(name).and_then(count).unwrap_or(0)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Wrong> {
        self.typed(name, "true or false", |value| value.get().parse().ok())
    }

    /// The elements of an array; none when it is absent.
    pub(super) fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, Wrong> {
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        list(value).ok_or_else(|| self.path.member(name).wrong("an array of at most 100000 elements"))
    }

    /// A member that is an object, with `read` on what it holds.
    pub(super) fn object<T, E: From<Wrong>>(
        &self,
        name: &str,
        read: impl FnOnce(Object<'a, '_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let path = self.path.member(name);
        read(Object::read(value, path)?).map(Some)
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a RawValue) -> Option<T>,
    ) -> Result<Option<T>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.path.member(name).wrong(expected)),
        }
    }
}

pub(super) fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// Whether a text as it is written says nothing.
pub(super) fn is_empty(text: &RawValue) -> bool {
    text.get() == r#""""#
}

/// What a JSON string says, however long, with U+FFFD for each lone surrogate. `None` for what is no string.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    struct Text;
    impl<'de> serde::de::Visitor<'de> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    let written = value.get();
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let decoded = serde_json::Deserializer::from_str(written).deserialize_bytes(Text);
    decoded.ok().map(Cow::Owned)
}

/// The elements of an array as they are written. `None` for what is no array, or a very long one.
pub(super) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements;
    impl<'de> serde::de::Visitor<'de> for Elements {
        type Value = Option<Vec<&'de RawValue>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element::<&RawValue>()? {
                if elements.len() == MAX_ELEMENTS {
                    while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                elements.push(element);
            }
            Ok(Some(elements))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    deserializer.deserialize_seq(Elements).ok().flatten()
}
