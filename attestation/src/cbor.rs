//! The few kinds of CBOR (RFC 8949) that evidence is made of, in the one deterministic way of writing them (§4.2.1).
//!
//! Whole numbers, byte strings, lists, maps, tags and null, all of definite length. What is not written in the shortest
//! way is not read, so that reading and writing are each other's inverse and a digest of bytes is one of content.

/// A list of steps, each of which adds one item.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(Major::Uint, value)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(Major::Bytes, length(bytes.len()));
        self.out.extend_from_slice(bytes);
        self
    }

    /// Its items are written next.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(Major::Array, length(len))
    }

    /// Its names and values are written next, in ascending order of names.
    pub fn map(&mut self, len: usize) -> &mut Self {
        self.head(Major::Map, length(len))
    }

    /// What it marks is written next.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(Major::Tag, tag)
    }

    pub fn null(&mut self) -> &mut Self {
        self.out.push(NULL);
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// RFC 8949 §3: three bits of kind and a number in the fewest bytes.
    fn head(&mut self, major: Major, value: u64) -> &mut Self {
        let kind = major.bits();
        let bytes = value.to_be_bytes();
        if let Ok(small) = u8::try_from(value) {
            if small < 24 {
                self.out.push(kind | small);
            } else {
                self.out.extend([kind | 24, small]);
            }
        } else {
            let (additional, skip) = match value {
                0..=0xffff => (25, 6),
                0x1_0000..=0xffff_ffff => (26, 4),
                _ => (27, 0),
            };
            self.out.push(kind | additional);
            self.out.extend(bytes.iter().skip(skip));
        }
        self
    }
}

/// What is left to read. `None` is: not this, or not in the one way.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn uint(&mut self) -> Option<u64> {
        self.head(Major::Uint)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.head(Major::Bytes)?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Bytes of this length.
    pub fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// How many items follow.
    pub fn array(&mut self) -> Option<u64> {
        self.head(Major::Array)
    }

    /// How many pairs follow.
    pub fn map(&mut self) -> Option<u64> {
        self.head(Major::Map)
    }

    pub fn tag(&mut self) -> Option<u64> {
        self.head(Major::Tag)
    }

    /// Whether null comes next; it is read if so.
    pub fn take_null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// That nothing is left.
    pub fn finish(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    fn head(&mut self, major: Major) -> Option<u64> {
        let (&first, rest) = self.rest.split_first()?;
        if first & 0xe0 != major.bits() {
            return None;
        }
        let (value, least, rest) = match first & 0x1f {
            small @ 0..24 => (u64::from(small), 0, rest),
            24 => {
                let (&[value], rest) = rest.split_first_chunk()?;
                (u64::from(value), 24, rest)
            }
            25 => {
                let (value, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*value)), 0x100, rest)
            }
            26 => {
                let (value, rest) = rest.split_first_chunk()?;
                (u64::from(u32::from_be_bytes(*value)), 0x1_0000, rest)
            }
            27 => {
                let (value, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*value), 0x1_0000_0000, rest)
            }
            _ => return None,
        };
        self.rest = rest;
        (value >= least).then_some(value)
    }
}

#[derive(Clone, Copy)]
enum Major {
    Uint,
    Bytes,
    Array,
    Map,
    Tag,
}

impl Major {
    const fn bits(self) -> u8 {
        match self {
            Self::Uint => 0x00,
            Self::Bytes => 0x40,
            Self::Array => 0x80,
            Self::Map => 0xa0,
            Self::Tag => 0xc0,
        }
    }
}

const NULL: u8 = 0xf6;

fn length(len: usize) -> u64 {
    // No machine has more memory than that.
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer};

    #[test]
    fn numbers_are_as_in_appendix_a() {
        // RFC 8949, appendix A.
        for (value, written) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (1000, "1903e8"),
            (65536, "1a00010000"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
            (u64::MAX, "1bffffffffffffffff"),
        ] {
            let mut writer = Writer::new();
            writer.uint(value);
            let bytes = writer.finish();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, written);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.uint(), Some(value));
            assert_eq!(reader.finish(), Some(()));
        }
    }

    #[test]
    fn only_the_shortest_form_is_read() {
        for long in [
            &[0x18, 23][..],
            &[0x19, 0, 255],
            &[0x1a, 0, 0, 255, 255],
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
            &[0x1c],
            &[0x1f],
            &[0x19, 1],
            &[],
        ] {
            assert_eq!(Reader::new(long).uint(), None, "{long:?}");
        }
        // A length beyond what is there.
        assert_eq!(Reader::new(&[0x42, 1]).bytes(), None);
        assert_eq!(
            Reader::new(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255]).bytes(),
            None
        );
    }
}
