//! Dates and bytes from text.

/// `2026-01-31` at midnight, as Unix time. Days by Howard Hinnant's `days_from_civil`.
pub(crate) fn date(text: &str) -> u64 {
    let mut parts = text.split('-').map(|part| part.parse::<u64>().expect("digits"));
    let mut part = || parts.next().expect("year-month-day");
    let (year, month, day) = (part(), part(), part());
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400
}

/// Bytes from hex digits, whitespace aside.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| u8::try_from(character.to_digit(16).expect("a hex digit")).expect("below 16"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
