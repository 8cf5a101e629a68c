//! Durations, sizes, times and amounts as an operator writes them.
//!
//! Whole numbers only, and a unit that says what it is: a duration without a unit is refused, because nobody can know which was meant.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// A number of bytes, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

impl Size {
    pub(super) const fn mib(count: u64) -> Self {
        Self(count * MIB)
    }

    /// The same for buffers; a size beyond the address space is the whole of it.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
            if self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn size(text: &str) -> Option<Size> {
    let (count, unit) = split(text)?;
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    let bytes = count.checked_mul(unit)?;
    (bytes > 0).then_some(Size(bytes))
}

/// A moment, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    pub(crate) const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// A day (its first moment, UTC) or an RFC 3339 time that ends in `Z`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        timestamp(text)
    }

    pub(crate) const fn unix_seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs(self.0);
        fmt::Display::fmt(&humantime::format_rfc3339_seconds(time), f)
    }
}

/// A day (its first moment, UTC) or an RFC 3339 time that ends in `Z`.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let is_day = text.len() == "2027-01-01".len();
    let time = if is_day {
        humantime::parse_rfc3339(&format!("{text}T00:00:00Z"))
    } else {
        humantime::parse_rfc3339(text)
    };
    let since = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(since.as_secs()))
}

/// An amount of some currency in billionths of its unit, so that no price is ever a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u64);

impl Amount {
    const NANO: u64 = 1_000_000_000;
    pub(super) const ZERO: Self = Self(0);

    pub(crate) const fn nano(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Self::NANO, self.0 % Self::NANO);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A plain decimal number with at most nine digits after the point.
pub(super) fn amount(text: &str) -> Option<Amount> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(rest) || rest.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let rest: u64 = format!("{rest:0<9}").parse().ok()?;
    whole.checked_mul(Amount::NANO)?.checked_add(rest).map(Amount)
}

/// A whole number and a unit: `500ms`, `5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (count, unit) = split(text)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // A deadline is now plus this, so it must stay far from what the clock can hold.
    let limit_ms = 366 * 24 * 3_600_000;
    let ms = count.checked_mul(unit_ms)?;
    (ms <= limit_ms).then(|| Duration::from_millis(ms))
}

/// Prints a duration that [`duration`] reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    for (unit_ms, name) in [(3_600_000_u128, "h"), (60_000, "m"), (1_000, "s")] {
        if ms.is_multiple_of(unit_ms) {
            return format!("{}{name}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// `32 MiB` and `32MiB` are the same.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}
