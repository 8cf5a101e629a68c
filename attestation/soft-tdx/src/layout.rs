//! Bytes that remember which field each of them belongs to, so that a test can walk them and forget none.

use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub range: Range<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Sheet {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// In the order of the bytes, without gaps.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn put(&mut self, name: &'static str, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend(bytes);
        self.fields.push(Field {
            name,
            range: start..self.bytes.len(),
        });
    }

    pub(crate) fn append(&mut self, other: Self) {
        let start = self.bytes.len();
        self.bytes.extend(other.bytes);
        self.fields.extend(other.fields.into_iter().map(|field| Field {
            name: field.name,
            range: field.range.start + start..field.range.end + start,
        }));
    }
}
