//! Dates as collateral writes them.

use x509_parser::{prelude::FromDer as _, time::ASN1Time};

use crate::certificate;

/// `2026-01-12T15:46:45Z` as Unix time, by way of the GeneralizedTime `20260112154645Z`, whose reader knows calendars.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut der = vec![0x18, 15];
    for (at, byte) in text.bytes().enumerate() {
        match (at, byte) {
            (4 | 7, b'-') | (10, b'T') | (13 | 16, b':') => {}
            (19, b'Z') => der.push(byte),
            (0..19, b'0'..=b'9') => der.push(byte),
            _ => return None,
        }
    }
    let (rest, time) = ASN1Time::from_der(&der).ok()?;
    rest.is_empty().then(|| certificate::seconds(time.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_are_seconds() {
        for (text, expect) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-12T15:46:45Z", Some(1_768_232_805)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-01-12T15:46:45+01:00", None),
            ("2026-01-12T15:46:45", None),
            ("2026-01-12T15:46:45ZZ", None),
            ("2026-01-12 15:46:45Z", None),
            ("20260112T154645Z", None),
            ("2026-13-12T15:46:45Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expect, "{text}");
        }
    }
}
