//! The values in certificates and revocation lists, by the names that RFC 5280 and Intel's profile give them.

use std::ops::Range;

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
/// And the length of the whole, which depends on it.
const SIGNATURE: &str = "signature";

/// One value, or the tag and length that frame it.
pub(crate) struct Element {
    /// Places in the tree: `[0, 3, 1]` is the second value in the fourth of the first.
    path: Vec<usize>,
    is_frame: bool,
    pub(crate) range: Range<usize>,
}

/// All bytes of it, each in one element.
pub(crate) fn elements(bytes: &[u8]) -> Vec<Element> {
    let mut found = Vec::new();
    walk(bytes, 0, &[], &mut found);
    found
}

impl Element {
    pub(crate) fn of_certificate(&self) -> String {
        self.named(match *self.path {
            [0, 0, 0, ..] => "version",
            [0, 0, 1, ..] => "serial",
            [0, 0, 2, ..] => "algorithm",
            [0, 0, 3, ..] => "issuer",
            [0, 0, 4, ..] => "validity",
            [0, 0, 5, ..] => "subject",
            [0, 0, 6, ..] => "key",
            [0, 0, 7, 0, 0, ..] => "key_usage",
            [0, 0, 7, 0, 1, ..] => "basic_constraints",
            [0, 0, 7, 0, 2, 1, 0, 0, ..] => "sgx.ppid",
            [0, 0, 7, 0, 2, 1, 0, 1, ..] => "sgx.tcb",
            [0, 0, 7, 0, 2, 1, 0, 2, ..] => "sgx.pce_id",
            [0, 0, 7, 0, 2, 1, 0, 3, ..] => "sgx.fmspc",
            [0, 0, 7, 0, 2, 1, 0, 4, ..] => "sgx.type",
            [0, 0, 7, 0, 2, 1, 0, 5, ..] => "sgx.instance",
            [0, 0, 7, 0, 2, 1, 0, 6, ..] => "sgx.configuration",
            [0, 0, 7, 0, 2, ..] => "sgx",
            [0, 0, 7, ..] => "extensions",
            [0, 1, ..] => "outer algorithm",
            [0, 2, ..] | [0] => return SIGNATURE.to_owned(),
            [0, 0] => "whole",
            _ => panic!("a certificate has nothing at {:?}", self.path),
        })
    }

    pub(crate) fn of_list(&self) -> String {
        self.named(match *self.path {
            [0, 0, 0, ..] => "version",
            [0, 0, 1, ..] => "algorithm",
            [0, 0, 2, ..] => "issuer",
            [0, 0, 3, ..] => "this_update",
            [0, 0, 4, ..] => "next_update",
            [0, 0, 5, ..] => "revoked",
            [0, 0, 6, ..] => "number",
            [0, 1, ..] => "outer algorithm",
            [0, 2, ..] | [0] => return SIGNATURE.to_owned(),
            [0, 0] => "whole",
            _ => panic!("a list has nothing at {:?}", self.path),
        })
    }

    fn named(&self, name: &str) -> String {
        if self.is_frame {
            format!("{name} (frame)")
        } else {
            name.to_owned()
        }
    }
}

fn walk(bytes: &[u8], offset: usize, path: &[usize], found: &mut Vec<Element>) {
    let (mut at, mut number) = (0, 0);
    while at < bytes.len() {
        let (header, len) = header(&bytes[at..]).expect("it is DER");
        let content = at + header..at + header + len;
        let path = [path, &[number]].concat();
        let inner = &bytes[content.clone()];
        let is_constructed = bytes[at] & CONSTRUCTED != 0 || bytes[at] == OCTET_STRING && is_sequence(inner);
        found.push(Element {
            path: path.clone(),
            is_frame: true,
            range: offset + at..offset + content.start,
        });
        if is_constructed {
            walk(inner, offset + content.start, &path, found);
        } else if !content.is_empty() {
            found.push(Element {
                path,
                is_frame: false,
                range: offset + content.start..offset + content.end,
            });
        }
        at = content.end;
        number += 1;
    }
}

/// As extensions are: DER within a string of bytes.
fn is_sequence(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && header(bytes).is_some_and(|(header, len)| header + len == bytes.len())
}

/// How many bytes tag and length take, and the length.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        short @ 0..0x80 => Some((2, usize::from(short))),
        long => {
            let end = 2 + usize::from(long & 0x7f);
            let digits = bytes.get(2..end)?;
            Some((end, digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit))))
        }
    }
}
