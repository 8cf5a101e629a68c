//! Reads fixed formats from the front of a slice; `None` where the bytes end too early.

#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn slice(&mut self, len: impl Into<u64>) -> Option<&'a [u8]> {
        let len = usize::try_from(len.into()).ok()?;
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| *byte)
    }

    pub(super) fn u16_le(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    pub(super) fn u24_le(&mut self) -> Option<u32> {
        self.array()
            .map(|[low, middle, high]| u32::from_le_bytes([*low, *middle, *high, 0]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
