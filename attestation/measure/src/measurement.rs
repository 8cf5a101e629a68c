//! One register, or what is extended into one.

use std::fmt;

use sha2::{Digest, Sha384};

/// A SHA-384 digest, written as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Measurement(pub [u8; 48]);

impl Measurement {
    /// A register before anything was extended.
    pub const ZERO: Self = Self([0; 48]);

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha384::digest(bytes).into())
    }

    /// The register after `event`: SHA-384(register ‖ event), as TDG.MR.RTMR.EXTEND does.
    #[must_use]
    pub fn extend(self, event: Self) -> Self {
        let mut hash = Sha384::new();
        hash.update(self.0);
        hash.update(event.0);
        Self(hash.finalize().into())
    }

    /// Reads 96 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 96 {
            return None;
        }
        let mut bytes = [0; 48];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0_u32;
            for digit in pair {
                value = value.checked_mul(16)?.checked_add(char::from(*digit).to_digit(16)?)?;
            }
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_it_is_written() {
        // FIPS 180-4's example for "abc".
        let abc = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(Measurement::of(b"abc").to_string(), abc);
        assert_eq!(Measurement::from_hex(abc), Some(Measurement::of(b"abc")));
        for wrong in ["", &abc[1..], &abc.replace('c', "g"), &format!("{abc}00")] {
            assert_eq!(Measurement::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn extending_depends_on_order() {
        let (a, b) = (Measurement::of(b"a"), Measurement::of(b"b"));
        let of = |first, second| Measurement::ZERO.extend(first).extend(second);
        assert_ne!(of(a, b), of(b, a));
        let mut chained = [0; 96];
        chained[48..].copy_from_slice(&a.0);
        assert_eq!(Measurement::ZERO.extend(a), Measurement::of(&chained));
    }
}
