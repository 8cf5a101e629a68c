//! Canonical JSON, RFC 8785, restricted to what receipts need: text, whole numbers below 2^53, objects with names in
//! ASCII that come in ascending order, and lists.
//!
//! There are no fractions, so that the one hard rule of RFC 8785, how to print one, is never needed. Amounts are texts
//! of digits: JavaScript, and whoever reads numbers as it does, would round them beyond 2^53.

use std::fmt::Write as _;

use super::hex::push_hex;
use crate::Nano;

/// The greatest whole number that every reader of JSON keeps exactly.
pub(super) const MOST: u64 = 9_007_199_254_740_991;

/// An object that is being written. Names are given in ascending order; the tests read back what was written.
pub(super) struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

/// Writes an object.
pub(super) fn object(out: &mut String, members: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    members(&mut Object {
        out: &mut *out,
        is_empty: true,
    });
    out.push('}');
}

impl Object<'_> {
    /// Begins a member; its value is what the caller writes next.
    pub(super) fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        text(self.out, name);
        self.out.push(':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        text(self.name(name), value);
    }

    pub(super) fn text_or_null(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    /// A count. What is beyond [`MOST`] is written as that; nothing that was believed of an upstream comes near.
    pub(super) fn count(&mut self, name: &str, value: u64) {
        let _ok = write!(self.name(name), "{}", value.min(MOST));
    }

    /// A number of billionths, as text.
    pub(super) fn digits(&mut self, name: &str, value: u64) {
        let _ok = write!(self.name(name), "\"{value}\"");
    }

    pub(super) fn amount(&mut self, name: &str, value: Nano) {
        self.digits(name, value.get());
    }

    /// A hash, as other formats name it: `sha256:` and digits.
    pub(super) fn hash(&mut self, name: &str, value: Option<&[u8; 32]>) {
        let out = self.name(name);
        match value {
            Some(value) => {
                out.push_str("\"sha256:");
                push_hex(out, value);
                out.push('"');
            }
            None => out.push_str("null"),
        }
    }

    pub(super) fn null(&mut self, name: &str) {
        self.name(name).push_str("null");
    }

    pub(super) fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>)) {
        object(self.name(name), members);
    }
}

/// A string, with the fewest escapes: RFC 8785, 3.2.2.2.
pub(super) fn text(out: &mut String, value: &str) {
    out.push('"');
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control @ '\u{0}'..='\u{1f}' => {
                let _ok = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_of_rfc_8785() {
        let mut out = String::new();
        text(&mut out, "\u{20ac}$\u{f}\nA'B\"\\\\\"/");
        assert_eq!(out, r#""€$\u000f\nA'B\"\\\\\"/""#);
    }

    #[test]
    fn numbers_stay_exact_in_every_reader() {
        let mut out = String::new();
        object(&mut out, |o| {
            o.count("a", u64::MAX);
            o.amount("b", Nano::MOST);
        });
        assert_eq!(out, r#"{"a":9007199254740991,"b":"9223372036854775807"}"#);
    }
}
