//! A month of UTC, as statements are made for.

use std::{fmt, str::FromStr};

use billing::{Window, Windows};

const DAY_MS: i64 = 86_400_000;

/// In months since January 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Month(u32);

/// Not a month.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`month` is a month of UTC, such as 2026-11")]
pub(crate) struct NoMonth;

impl Month {
    pub(crate) fn at(unix_ms: i64) -> Self {
        Self(Windows::at(unix_ms).month)
    }

    /// From its first moment to the first after it.
    pub(crate) fn bounds_ms(self) -> (i64, i64) {
        (self.begin_ms(), Self(self.0.saturating_add(1)).begin_ms())
    }

    fn begin_ms(self) -> i64 {
        match format!("{self}-01").parse() {
            Ok(Window::Day(day)) => i64::from(day) * DAY_MS,
            // Beyond the last month that has a name.
            _ => i64::MAX,
        }
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        match text.parse() {
            Ok(Window::Month(month)) => Ok(Self(month)),
            _ => Err(NoMonth),
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Window::Month(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let bounds = |text: &str| text.parse::<Month>().map(Month::bounds_ms);
        assert_eq!(bounds("1970-01"), Ok((0, 31 * DAY_MS)));
        assert_eq!(bounds("2026-11"), Ok((1_793_491_200_000, 1_796_083_200_000)));
        assert_eq!(bounds("2026-12").map(|(begin, _)| begin), Ok(1_796_083_200_000));
        assert_eq!(Month::at(1_796_083_199_999).to_string(), "2026-11");
        for bad in ["", "2026", "2026-13", "2026-11-01", "total", "2026-1"] {
            assert_eq!(bounds(bad), Err(NoMonth), "{bad}");
        }
    }
}
