//! Reads DER (X.690): one-byte tags, definite lengths in their shortest form. Anything else is `None`.

/// What a tag's byte is in the few types that we read.
pub(super) mod tag {
    pub(in crate::gpu) const INTEGER: u8 = 0x02;
    pub(in crate::gpu) const BIT_STRING: u8 = 0x03;
    pub(in crate::gpu) const OCTET_STRING: u8 = 0x04;
    pub(in crate::gpu) const NULL: u8 = 0x05;
    pub(in crate::gpu) const OID: u8 = 0x06;
    pub(in crate::gpu) const ENUMERATED: u8 = 0x0a;
    pub(in crate::gpu) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::gpu) const SEQUENCE: u8 = 0x30;

    /// `[number]` around an element of its own.
    pub(in crate::gpu) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[number]` in place of a primitive's tag.
    pub(in crate::gpu) const fn primitive(number: u8) -> u8 {
        0x80 | number
    }
}

/// The elements that follow one another in a slice.
#[derive(Clone, Copy)]
pub(super) struct Der<'a> {
    rest: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length, as it was signed or hashed.
    pub(super) raw: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn element(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], mut rest) = self.rest.split_first_chunk()?;
        // A tag of several bytes; none of ours has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let len = match first {
            0..=0x7f => usize::from(first),
            0x81 => {
                let (&[low], after) = rest.split_first_chunk()?;
                rest = after;
                usize::from(low).checked_sub(0x80)?.checked_add(0x80)?
            }
            0x82 => {
                let (bytes, after) = rest.split_first_chunk()?;
                rest = after;
                let len = u16::from_be_bytes(*bytes);
                if len < 0x100 {
                    return None;
                }
                usize::from(len)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(len)?;
        let raw = self.rest.get(..self.rest.len().checked_sub(after.len())?)?;
        self.rest = after;
        Some(Element { tag, content, raw })
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.element().filter(|element| element.tag == tag)
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.expect(tag).map(|element| element.content)
    }

    /// The elements inside the next one, which must have this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Self> {
        self.content(tag).map(Self::new)
    }

    /// Whether the next element has this tag.
    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `()` where nothing follows.
    pub(super) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// A BIT STRING of whole bytes.
pub(super) fn whole_bytes(content: &[u8]) -> Option<&[u8]> {
    content
        .split_first()
        .filter(|(unused, _)| **unused == 0)
        .map(|(_, bytes)| bytes)
}

/// One element. `None` where it would be longer than we read.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).ok()?.to_be_bytes();
    let mut out = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend(content);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{Der, tag, write};

    fn content(bytes: &[u8]) -> Option<usize> {
        let mut der = Der::new(bytes);
        let len = der.content(tag::OCTET_STRING)?.len();
        der.end().map(|()| len)
    }

    #[test]
    fn what_is_written_is_read() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let written = write(tag::OCTET_STRING, &[&vec![7; len]]);
            assert_eq!(written.and_then(|written| content(&written)), Some(len));
        }
        assert_eq!(write(tag::OCTET_STRING, &[&[0; 0x1_0000]]), None);
    }

    #[test]
    fn a_length_has_one_form() {
        let with = |head: &[u8], len: usize| [head, &vec![7; len]].concat();
        assert_eq!(content(&[4, 0]), Some(0));
        assert_eq!(content(&with(&[4, 0x7f], 0x7f)), Some(0x7f));
        assert_eq!(content(&with(&[4, 0x81, 0x80], 0x80)), Some(0x80));
        assert_eq!(content(&with(&[4, 0x82, 1, 0], 0x100)), Some(0x100));

        assert_eq!(content(&[]), None);
        assert_eq!(content(&[4]), None);
        assert_eq!(content(&[2, 0]), None, "another tag");
        assert_eq!(content(&[4, 0, 0]), None, "something follows");
        assert_eq!(content(&with(&[4, 2], 1)), None, "too short");
        assert_eq!(content(&with(&[4, 0x81, 0x7f], 0x7f)), None, "longer than it need be");
        assert_eq!(
            content(&with(&[4, 0x82, 0, 0xff], 0xff)),
            None,
            "longer than it need be"
        );
        assert_eq!(content(&with(&[4, 0x83, 0, 1, 0], 0x100)), None, "more than we read");
        assert_eq!(content(&[4, 0x80, 0, 0]), None, "no definite length");
    }
}
