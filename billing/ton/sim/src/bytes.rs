//! Numbers and byte strings one after another, as the chain's file has them. Big-endian; lengths are 32 bits.

/// Something ends too early, or a number is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the chain's file cannot be read")]
pub(crate) struct Malformed;

#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.array(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.array(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.array(&value.to_be_bytes());
    }

    pub(crate) fn array(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub(crate) fn len(&mut self, len: usize) {
        // Nothing that we keep comes near: a block has 512 transactions at most, a message 64 KiB.
        self.u32(u32::try_from(len).expect("shorter than 4 GiB"));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.len(value.len());
        self.array(value);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// How many there are of something that takes at least `least` bytes each, so that a wrong number takes no memory.
    pub(crate) fn len(&mut self, least: usize) -> Result<usize, Malformed> {
        let len = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        match len.checked_mul(least) {
            Some(bytes) if bytes <= self.0.len() => Ok(len),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.len(1)?;
        self.take(len)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
