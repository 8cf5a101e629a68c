//! The days and months in which budgets count: UTC's, by the proleptic Gregorian calendar.
//!
//! Dates before 1970 and after 9999 are taken for the nearest one between.

use std::{fmt, str::FromStr};

use crate::Span;

/// A span that has begun: `total`, `2026-11-22`, `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    Total,
    /// Days since 1970-01-01.
    Day(u32),
    /// Months since January 1970.
    Month(u32),
}

/// The day and the month of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windows {
    /// Days since 1970-01-01.
    pub day: u32,
    /// Months since January 1970.
    pub month: u32,
}

const DAY_MS: i64 = 86_400_000;
/// 9999-12-31.
const LAST_DAY: u32 = 2_932_896;
const LAST_MONTH: u32 = 96_359;
const MONTHS: u32 = 12;
const EPOCH_YEAR: u32 = 1970;

impl Windows {
    /// Those of a Unix time.
    pub fn at(unix_ms: i64) -> Self {
        Self::of_day(day_of(unix_ms))
    }

    /// A day and the month it lies in.
    pub fn of_day(day: u32) -> Self {
        let day = day.min(LAST_DAY);
        let (year, month, _) = civil(day);
        Self {
            day,
            month: month_number(year, month),
        }
    }

    pub fn of(self, span: Span) -> Window {
        match span {
            Span::Total => Window::Total,
            Span::Day => Window::Day(self.day),
            Span::Month => Window::Month(self.month),
        }
    }
}

/// Of a Unix time, in days since 1970-01-01. A division; the month takes some more.
pub(crate) fn day_of(unix_ms: i64) -> u32 {
    u32::try_from(unix_ms.max(0).div_euclid(DAY_MS)).map_or(LAST_DAY, |day| day.min(LAST_DAY))
}

impl Window {
    pub fn span(self) -> Span {
        match self {
            Self::Total => Span::Total,
            Self::Day(_) => Span::Day,
            Self::Month(_) => Span::Month,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Total => f.write_str("total"),
            Self::Day(day) => {
                let (year, month, day) = civil(day.min(LAST_DAY));
                write!(f, "{year:04}-{month:02}-{day:02}")
            }
            Self::Month(month) => {
                let month = month.min(LAST_MONTH);
                let (years, month) = (month / MONTHS, month % MONTHS);
                // At most 9999 and 12.
                let (year, month) = (years.saturating_add(EPOCH_YEAR), month.saturating_add(1));
                write!(f, "{year:04}-{month:02}")
            }
        }
    }
}

/// Not a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a window; write `total`, a day such as 2026-11-22 or a month such as 2026-11, from 1970 to 9999")]
pub struct BadWindow;

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        if text == "total" {
            return Ok(Self::Total);
        }
        let mut parts = text.split('-');
        let mut number = |digits: usize| -> Result<Option<u32>, BadWindow> {
            let Some(part) = parts.next() else { return Ok(None) };
            if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BadWindow);
            }
            part.parse().map(Some).map_err(|_| BadWindow)
        };
        let year = number(4)?.ok_or(BadWindow)?;
        let month = number(2)?.ok_or(BadWindow)?;
        let day = number(2)?;
        if parts.next().is_some() || year < EPOCH_YEAR || !(1..=MONTHS).contains(&month) {
            return Err(BadWindow);
        }
        let Some(day) = day else {
            return Ok(Self::Month(month_number(year, month)));
        };
        // A day that its month does not have comes back as another one.
        let number = day_number(year, month, day);
        if day == 0 || number > LAST_DAY || civil(number) != (year, month, day) {
            return Err(BadWindow);
        }
        Ok(Self::Day(number))
    }
}

/// `year` is 1970 at least.
fn month_number(year: u32, month: u32) -> u32 {
    year.saturating_sub(EPOCH_YEAR)
        .saturating_mul(MONTHS)
        .saturating_add(month.saturating_sub(1))
}

/// Days from 0000-03-01 to 1970-01-01. Years that begin in March have their leap day at the end.
const SHIFT: u32 = 719_468;
/// Days in 400 years.
const ERA: u32 = 146_097;

/// Year, month and day of a day since 1970-01-01, at most [`LAST_DAY`].
///
/// Howard Hinnant's `civil_from_days`: <https://howardhinnant.github.io/date_algorithms.html>.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "of days up to 9999-12-31 no step leaves 32 bits or goes below zero"
)]
fn civil(day: u32) -> (u32, u32, u32) {
    let shifted = day + SHIFT;
    let (era, of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is 0.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// The way back. `month` is 1 to 12, `day` at most two digits, `year` 1970 to 9999.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "of four digits, a month and two digits no step leaves 32 bits or goes below zero"
)]
fn day_number(year: u32, month: u32, day: u32) -> u32 {
    let year = year - u32::from(month <= 2);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day;
    // One too many, of which the last step takes care, so that a day 0 does not go below zero.
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * ERA + of_era).saturating_sub(SHIFT + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every day from 1970 on, counted one by one as people do.
    fn slowly(days: u32) -> (u32, u32, u32) {
        let (mut year, mut month, mut day) = (1970_u32, 1_u32, 1_u32);
        for _ in 0..days {
            let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
            let length = match month {
                4 | 6 | 9 | 11 => 30,
                2 if is_leap => 29,
                2 => 28,
                _ => 31,
            };
            day = day.saturating_add(1);
            if day > length {
                (day, month) = (1, month.saturating_add(1));
            }
            if month > 12 {
                (month, year) = (1, year.saturating_add(1));
            }
        }
        (year, month, day)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn days_are_those_of_the_calendar(day in 0..200_000_u32) {
            prop_assert_eq!(civil(day), slowly(day));
        }

        #[test]
        fn a_moment_lies_in_its_windows(ms in 0..253_402_300_800_000_i64) {
            let windows = Windows::at(ms);
            let start = i64::from(windows.day).saturating_mul(DAY_MS);
            prop_assert!(start <= ms && ms < start.saturating_add(DAY_MS));
            let day = Window::Day(windows.day).to_string();
            let month = Window::Month(windows.month).to_string();
            prop_assert_eq!(&day[..7], month.as_str());
        }

        #[test]
        fn windows_come_back(day in 0..=LAST_DAY, month in 0..=LAST_MONTH) {
            for window in [Window::Total, Window::Day(day), Window::Month(month)] {
                prop_assert_eq!(window.to_string().parse(), Ok(window));
            }
        }

        #[test]
        fn any_text_is_a_window_or_is_refused(text in "[0-9a-z-]{0,12}") {
            if let Ok(window) = text.parse::<Window>() {
                prop_assert_eq!(window.to_string(), text);
            }
        }
    }

    #[test]
    fn texts() {
        let check = |text: &str, expect: Result<Window, BadWindow>| assert_eq!(text.parse(), expect, "for {text:?}");
        check("1970-01-01", Ok(Window::Day(0)));
        check("2000-02-29", Ok(Window::Day(11_016)));
        check("2026-11-22", Ok(Window::Day(20_779)));
        check("2026-11", Ok(Window::Month(682)));
        check("9999-12-31", Ok(Window::Day(LAST_DAY)));
        check("9999-12", Ok(Window::Month(LAST_MONTH)));
        for wrong in [
            "",
            "Total",
            "2026",
            "2026-13",
            "2026-00",
            "2026-02-29",
            "2100-02-29",
            "2026-11-00",
            "2026-11-31",
            "1969-12-31",
            "1969-12",
            "10000-01",
            "2026-1",
            "2026-11-2",
            "2026-11-022",
            "2026-11-22-1",
            "+026-11",
        ] {
            check(wrong, Err(BadWindow));
        }
    }

    #[test]
    fn moments_out_of_range_are_the_nearest() {
        assert_eq!(Windows::at(i64::MIN), Windows { day: 0, month: 0 });
        assert_eq!(Windows::at(-1), Windows { day: 0, month: 0 });
        let last = Windows {
            day: LAST_DAY,
            month: LAST_MONTH,
        };
        assert_eq!(Windows::at(i64::MAX), last);
        assert_eq!(Windows::of_day(u32::MAX), last);
    }
}
