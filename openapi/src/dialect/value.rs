//! JSON as it is put together: new members around values that stay as they were written.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

/// A value to be written. Holds content, so there is no `Debug`.
pub(super) enum Json<'a> {
    /// As someone else wrote it.
    Raw(&'a RawValue),
    /// JSON that stood inside a string, such as the arguments of a tool call.
    Owned(Box<RawValue>),
    Text(Cow<'a, str>),
    Count(u64),
    Flag(bool),
    Null,
    List(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object, in the order they were put.
#[derive(Default)]
pub(super) struct Members<'a>(Vec<(&'static str, Json<'a>)>);

impl<'a> Members<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Json<'a>>) -> Self {
        self.put(name, value);
        self
    }

    /// The same members with one before them.
    pub(super) fn after(mut self, name: &'static str, value: impl Into<Json<'a>>) -> Self {
        self.0.insert(0, (name, value.into()));
        self
    }

    /// A member if there is a value for it.
    pub(super) fn with_some(mut self, name: &'static str, value: Option<impl Into<Json<'a>>>) -> Self {
        self.put_some(name, value);
        self
    }

    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Json<'a>>) {
        self.0.push((name, value.into()));
    }

    pub(super) fn put_some(&mut self, name: &'static str, value: Option<impl Into<Json<'a>>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::from(self.to_vec())
    }

    /// An event without a name.
    pub(super) fn write_event(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.to_vec());
        out.extend_from_slice(b"\n\n");
    }

    pub(super) fn write_named_event(&self, name: &str, out: &mut BytesMut) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\n");
        self.write_event(out);
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names are strings and values are JSON")
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Raw(raw) => raw.serialize(serializer),
            Json::Owned(raw) => raw.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::Count(count) => serializer.serialize_u64(*count),
            Json::Flag(flag) => serializer.serialize_bool(*flag),
            Json::Null => serializer.serialize_unit(),
            Json::List(list) => list.serialize(serializer),
            Json::Object(members) => members.serialize(serializer),
        }
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Json::Raw(raw)
    }
}

impl From<Box<RawValue>> for Json<'_> {
    fn from(raw: Box<RawValue>) -> Self {
        Json::Owned(raw)
    }
}

impl<'a> From<Cow<'a, str>> for Json<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Json::Text(text)
    }
}

impl<'a> From<&'a str> for Json<'a> {
    fn from(text: &'a str) -> Self {
        Json::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Json<'_> {
    fn from(text: String) -> Self {
        Json::Text(Cow::Owned(text))
    }
}

impl From<u64> for Json<'_> {
    fn from(count: u64) -> Self {
        Json::Count(count)
    }
}

impl From<bool> for Json<'_> {
    fn from(flag: bool) -> Self {
        Json::Flag(flag)
    }
}

impl<'a> From<Vec<Json<'a>>> for Json<'a> {
    fn from(list: Vec<Json<'a>>) -> Self {
        Json::List(list)
    }
}

impl<'a> From<Members<'a>> for Json<'a> {
    fn from(members: Members<'a>) -> Self {
        Json::Object(members)
    }
}
