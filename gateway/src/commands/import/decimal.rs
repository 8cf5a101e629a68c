//! Decimal numbers without floats: a price that went through a float is another price.

/// `text` times ten to the `shift`, where that is a whole number.
pub(in crate::commands) fn shifted(text: &str, shift: i32) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = i32::try_from(fraction.len()).ok()?;
    let mut exponent = exponent.checked_sub(fraction)?.checked_add(shift)?;
    let mut digits = digits.trim_start_matches('0').to_owned();
    while exponent < 0 && digits.ends_with('0') {
        digits.pop();
        exponent += 1;
    }
    if digits.is_empty() {
        return Some(0);
    }
    if !(0..=20).contains(&exponent) {
        return None;
    }
    digits.extend(std::iter::repeat_n('0', usize::try_from(exponent).ok()?));
    digits.parse().ok()
}

/// A price of one token as an amount per million, with at most nine digits after the point.
pub(super) fn per_million(per_one: &str) -> Option<String> {
    amount(shifted(per_one, 6 + 9)?)
}

/// A price of one request, likewise.
pub(super) fn per_request(price: &str) -> Option<String> {
    amount(shifted(price, 9)?)
}

fn amount(nano: u64) -> Option<String> {
    let (whole, rest) = (nano / 1_000_000_000, nano % 1_000_000_000);
    let text = format!("{whole}.{rest:09}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Some(text.to_owned())
}

/// Seconds, perhaps with a fraction, as a duration of ours.
pub(super) fn seconds(text: &str) -> Option<String> {
    let ms = shifted(text, 3)?;
    Some(if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{ms}ms")
    })
}

/// Numbers such as 0.9 and 0.1 as the smallest whole ones in the same proportion.
pub(super) fn proportions(texts: &[&str]) -> Option<Vec<u32>> {
    let shift = texts
        .iter()
        .map(|text| text.split_once('.').map_or(0, |(_, fraction)| fraction.len()))
        .max()
        .unwrap_or(0);
    let shift = i32::try_from(shift).ok()?;
    let numbers: Vec<u64> = texts.iter().map(|text| shifted(text, shift)).collect::<Option<_>>()?;
    let divisor = numbers.iter().copied().fold(0, gcd).max(1);
    numbers
        .iter()
        .map(|number| u32::try_from(number / divisor).ok())
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(per_million(text).as_deref(), expect, "{text}");
        check("1.5e-07", Some("0.15"));
        check("0.00000015", Some("0.15"));
        check("2.5E-6", Some("2.5"));
        check("3e-6", Some("3"));
        check("0.000003", Some("3"));
        check("0", Some("0"));
        check("0.0", Some("0"));
        check("0e-9", Some("0"));
        check("1", Some("1000000"));
        check("1e-15", Some("0.000000001"));
        check("1.0000000e-15", Some("0.000000001"));
        // What a float would make of 0.1 + 0.2 is more than nine digits, and refused.
        check("3.0000000000000004e-07", None);
        check("1e-16", None);
        check("1e300", None);
        check("1e999999999999", None);
        check("-1e-6", None);
        check("1e-6 USD", None);
        check("", None);
        check(".", None);
        check("nan", None);
        assert_eq!(per_request("0.01").as_deref(), Some("0.01"));
    }

    #[test]
    fn seconds_have_a_unit() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(seconds(text).as_deref(), expect, "{text}");
        check("600", Some("600s"));
        check("0.5", Some("500ms"));
        check("30.0", Some("30s"));
        check("1e1", Some("10s"));
        check("0.0001", None);
        check("soon", None);
    }

    #[test]
    fn weights_keep_their_proportion() {
        let check = |texts: &[&str], expect: Option<&[u32]>| assert_eq!(proportions(texts).as_deref(), expect);
        check(&["0.9", "0.1"], Some(&[9, 1]));
        check(&["900", "10", "90"], Some(&[90, 1, 9]));
        check(&["1", "0"], Some(&[1, 0]));
        check(&["0", "0"], Some(&[0, 0]));
        check(&["2", "x"], None);
    }
}
