//! ASN.1 in DER (ITU-T X.690), written. Nothing here reads.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// 2050-01-01: from here on RFC 5280 §4.1.2.5 writes years with four digits.
const GENERALIZED_FROM: u64 = 2_524_608_000;

/// A tag, the length, and the parts one after another.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let digits = long.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
            out.push(0x80 | digits.len() as u8);
            out.extend(digits);
        }
    }
    out.extend(content);
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// `[number] EXPLICIT`.
pub(crate) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, &[content])
}

/// A number that is not negative, from its big-endian bytes.
pub(crate) fn integer(magnitude: &[u8]) -> Vec<u8> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let digits = &magnitude[zeros.min(magnitude.len().saturating_sub(1))..];
    let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) {
        &[0]
    } else {
        &[]
    };
    element(INTEGER, &[sign, digits])
}

pub(crate) fn number(value: u64) -> Vec<u8> {
    integer(&value.to_be_bytes())
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(BOOLEAN, &[&[if value { 0xff } else { 0 }]])
}

pub(crate) fn enumerated(value: u8) -> Vec<u8> {
    element(ENUMERATED, &[&[value]])
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, &[bytes])
}

/// All bits of the last byte but `unused` count.
pub(crate) fn bits(unused: u8, bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[unused], bytes])
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    element(UTF8_STRING, &[text.as_bytes()])
}

pub(crate) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut body = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let mut digits = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        body.extend(digits.iter().rev());
    }
    element(OBJECT_IDENTIFIER, &[&body])
}

pub(crate) fn time(unix: u64) -> Vec<u8> {
    let (year, month, day, hour, minute, second) = crate::calendar::civil(unix);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    if unix < GENERALIZED_FROM {
        element(UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        element(GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_as_short_as_they_can_be() {
        assert_eq!(octets(&[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(octets(&[0; 127])[..2], [4, 127]);
        assert_eq!(octets(&[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(octets(&[0; 256])[..4], [4, 0x82, 1, 0]);
        assert_eq!(number(0), [2, 1, 0]);
        assert_eq!(number(127), [2, 1, 127]);
        assert_eq!(number(128), [2, 2, 0, 128]);
        assert_eq!(integer(&[0, 0, 1, 2]), [2, 2, 1, 2]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn an_identifier_is_packed_in_groups_of_seven_bits() {
        let arcs = [1, 2, 840, 113_741, 1, 13, 1];
        assert_eq!(oid(&arcs), [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 13, 1]);
    }

    #[test]
    fn years_have_four_digits_from_2050_on() {
        assert_eq!(time(GENERALIZED_FROM - 1)[..2], [0x17, 13]);
        assert_eq!(&time(GENERALIZED_FROM - 1)[2..], b"491231235959Z");
        assert_eq!(time(GENERALIZED_FROM)[..2], [0x18, 15]);
        assert_eq!(&time(GENERALIZED_FROM)[2..], b"20500101000000Z");
    }
}
