//! Amounts of money, and the currencies that they are of.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in billionths of a currency's unit: nanoton where the currency is TON.
///
/// At most [`Nano::MOST`], so that both databases hold it in a signed 64-bit column. Never negative: what is owed
/// has a direction, not a sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nano(u64);

impl Nano {
    pub const ZERO: Self = Self(0);
    /// 9,223,372,036 units and a fraction.
    pub const MOST: Self = Self(9_223_372_036_854_775_807);
    /// Billionths in a unit.
    pub const UNIT: u64 = 1_000_000_000;

    /// `None` beyond [`Nano::MOST`].
    pub const fn new(nano: u64) -> Option<Self> {
        if nano <= Self::MOST.0 { Some(Self(nano)) } else { None }
    }

    /// What is beyond [`Nano::MOST`] is that.
    pub const fn saturating(nano: u64) -> Self {
        if nano <= Self::MOST.0 { Self(nano) } else { Self::MOST }
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `None` where the sum is beyond [`Nano::MOST`].
    pub const fn checked_add(self, more: Self) -> Option<Self> {
        match self.0.checked_add(more.0) {
            Some(sum) => Self::new(sum),
            None => None,
        }
    }

    /// `None` where `less` is the greater.
    pub const fn checked_sub(self, less: Self) -> Option<Self> {
        match self.0.checked_sub(less.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    pub const fn saturating_add(self, more: Self) -> Self {
        Self::saturating(self.0.saturating_add(more.0))
    }

    /// In a currency of which one unit of this one is `rate`: rounded up. What is beyond [`Nano::MOST`] is that.
    #[must_use]
    pub fn convert(self, rate: Self) -> Self {
        // Two numbers of 64 bits never exceed 128.
        let product = u128::from(self.0).saturating_mul(u128::from(rate.0));
        let converted = product.div_ceil(u128::from(Self::UNIT));
        u64::try_from(converted).map_or(Self::MOST, Self::saturating)
    }

    pub const fn saturating_sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

/// All nine digits, so that columns line up and nothing is lost.
impl fmt::Display for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / Self::UNIT, self.0 % Self::UNIT)
    }
}

/// Not an [`Nano`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("is not an amount; write digits, with up to nine after a point, such as `2.5`")]
    Malformed,
    #[error("is more than 9223372036.854775807, the most that an amount can be")]
    TooLarge,
}

/// In units, as people write it: `2`, `2.5`, `0.000000001`.
impl FromStr for Nano {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !are_digits(whole) || !are_digits(part) || part.len() > 9 {
            return Err(AmountError::Malformed);
        }
        // Both are digits, so that only their number can be wrong.
        let whole: u64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
        let part: u64 = format!("{part:0<9}").parse().map_err(|_| AmountError::TooLarge)?;
        whole
            .checked_mul(Self::UNIT)
            .and_then(|nano| nano.checked_add(part))
            .and_then(Self::new)
            .ok_or(AmountError::TooLarge)
    }
}

/// A JSON number of billionths. Beyond 2^53 JavaScript rounds it; no single amount of a request comes near.
impl Serialize for Nano {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Nano {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nano = u64::deserialize(deserializer)?;
        Self::new(nano).ok_or_else(|| serde::de::Error::custom("an amount of at most 9223372036854775807 billionths"))
    }
}

/// The code of a currency: three capital letters, ISO 4217's and `TON`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const TON: Self = Self(*b"TON");
    pub const USD: Self = Self(*b"USD");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Not the code of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the code of a currency; write three capital letters, such as USD or TON")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(UnknownCurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_people_write_them() {
        let check = |text: &str, expect: Result<u64, AmountError>| {
            assert_eq!(text.parse::<Nano>().map(Nano::get), expect, "for {text:?}");
        };
        check("2", Ok(2_000_000_000));
        check("2.5", Ok(2_500_000_000));
        check("0.000000001", Ok(1));
        check("9223372036.854775807", Ok(Nano::MOST.get()));
        check("9223372036.854775808", Err(AmountError::TooLarge));
        check("99999999999999999999999", Err(AmountError::TooLarge));
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e9", "1,5", "0.0000000001", " 1"] {
            check(wrong, Err(AmountError::Malformed));
        }
        assert_eq!(
            "2.5".parse::<Nano>().map(|amount| amount.to_string()),
            Ok("2.500000000".to_owned())
        );
    }

    #[test]
    fn a_currency_is_three_capitals() {
        assert_eq!("TON".parse(), Ok(Currency::TON));
        for wrong in ["", "ton", "TO", "TONS", "T1N", "ÄB"] {
            assert_eq!(wrong.parse::<Currency>(), Err(UnknownCurrency), "for {wrong:?}");
        }
    }
}
