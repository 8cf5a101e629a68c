//! Bytes of a fixed length, in lowercase hex wherever people or documents see them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not {} hex digits", .len.saturating_mul(2))]
pub struct NotHex {
    /// In bytes.
    len: usize,
}

impl<const N: usize> Hex<N> {
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = NotHex;

    /// Digits in either case; written in lower case.
    fn from_str(text: &str) -> Result<Self, NotHex> {
        let digits = text.as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        let mut bytes = [0; N];
        if pairs.len() != N || !rest.is_empty() {
            return Err(NotHex { len: N });
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                return Err(NotHex { len: N });
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn digit(character: u8) -> Option<u8> {
    let value = char::from(character).to_digit(16)?;
    u8::try_from(value).ok()
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Hex;

    #[test]
    fn digits_are_bytes() {
        assert_eq!("00fF10".parse(), Ok(Hex([0, 255, 16])));
        assert_eq!(Hex([0, 255, 16]).to_string(), "00ff10");
        for wrong in ["", "00ff1", "00ff1000", "00fg10", "+0ff10", "00ff1é"] {
            assert!(wrong.parse::<Hex<3>>().is_err(), "{wrong}");
        }
        assert_eq!("".parse(), Ok(Hex([])));
    }
}
