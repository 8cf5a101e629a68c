//! JSON that serde_json refuses and clients read: lone surrogates, numbers beyond a float.
//!
//! An answer must not escape a recount by one odd character.

use serde_json::Value;

use crate::json;

/// The value of a member; `None` for what no client could read either.
pub(super) fn value(written: &str) -> Option<Value> {
    serde_json::from_str(written)
        .or_else(|_| serde_json::from_str(&readable(written)))
        .ok()
}

/// The named members of an object, whatever stands beside them. Of one that repeats the last counts.
pub(super) fn members<const N: usize>(object: &str, names: [&str; N]) -> Option<[Option<Value>; N]> {
    let mut found = [const { None }; N];
    let is_object = json::for_members(object, |name, written| {
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            found[at] = value(written.get());
        }
    });
    is_object.then_some(found)
}

/// The same JSON with U+FFFD for each lone surrogate and 0 for each number that is not finite.
fn readable(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    let mut in_string = false;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' => {
                in_string = !in_string;
                1
            }
            '\\' if in_string => {
                let len = escape_len(rest);
                if len == 6 && is_surrogate(rest) {
                    out.push_str("\\ufffd");
                    rest = &rest[len..];
                    continue;
                }
                len
            }
            '-' | '0'..='9' if !in_string => {
                let is_digit = |c: char| matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9');
                let len = rest.find(|c| !is_digit(c)).unwrap_or(rest.len());
                if !rest[..len].parse().is_ok_and(f64::is_finite) {
                    out.push('0');
                    rest = &rest[len..];
                    continue;
                }
                len
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// The length of the escape at the beginning of `text`: 12 for a surrogate pair.
fn escape_len(text: &str) -> usize {
    let hex = |at: usize| text.get(at..at + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    if !text.starts_with("\\u") {
        let escaped = text.chars().nth(1).map_or(0, char::len_utf8);
        return 1 + escaped;
    }
    match hex(2) {
        Some(0xd800..=0xdbff) if text[6..].starts_with("\\u") && matches!(hex(8), Some(0xdc00..=0xdfff)) => 12,
        Some(_) => 6,
        None => 2,
    }
}

fn is_surrogate(escape: &str) -> bool {
    escape
        .get(2..6)
        .and_then(|hex| u16::from_str_radix(hex, 16).ok())
        .is_some_and(|unit| (0xd800..=0xdfff).contains(&unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_characters_do_not_hide_the_rest() {
        let check = |written: &str, expect: Option<Value>| assert_eq!(value(written), expect, "for {written}");
        check(
            r#"["a\ud83d","\ude00b","\ud83d\ude00"]"#,
            Some(json!(["a\u{fffd}", "\u{fffd}b", "😀"])),
        );
        check(
            r#"{"x":1e999,"y":-1E999,"z":"1e999"}"#,
            Some(json!({"x": 0, "y": 0, "z": "1e999"})),
        );
        check(r#"["\\ud83d","\"\ud83d"]"#, Some(json!(["\\ud83d", "\"\u{fffd}"])));
        check(r#"["\ud83dé"]"#, Some(json!(["\u{fffd}é"])));
        for bad in ["", "[", r#""\u12"#, r#""\ud83"#, "\"\\é\"", r#""\"#, r#""\uaéb""#] {
            check(bad, None);
        }
    }

    #[test]
    fn members_are_found_beside_anything() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let object = format!(r#"{{"pad":{deep},"a":1,"a":2,"n":1e999,"b":"\ud83d"}}"#);
        assert_eq!(
            members(&object, ["a", "b", "c"]),
            Some([Some(json!(2)), Some(json!("\u{fffd}")), None])
        );
        assert_eq!(members("[]", ["a"]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(written in r#"["\\ud8cfe0-9{}:,\[\]é.+-]{0,40}"#) {
            let _ = value(&written);
        }

        #[test]
        fn what_reads_is_not_changed(text in any::<String>(), number in any::<f64>()) {
            prop_assume!(number.is_finite());
            let written = json!({"t": text, "n": number}).to_string();
            prop_assert_eq!(readable(&written), written);
        }
    }
}
