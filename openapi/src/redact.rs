//! Content enters the program here, so it is closed here.

use std::fmt;

use bytes::Bytes;

/// Bytes that hold a prompt, a completion or an upload.
///
/// `Debug` prints a length and there is no `Display`, so that no log line, panic or error can show what is inside.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content(Bytes);

impl Content {
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Every use is a place that a privacy review looks at.
    pub fn expose(&self) -> &Bytes {
        &self.0
    }

    pub fn into_inner(self) -> Bytes {
        self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_a_length() {
        let content = Content::new(Bytes::from_static(b"tell nobody"));
        assert_eq!(format!("{content:?}"), "Content(11 bytes)");
    }
}
