//! Checks and views of JSON that cost less than parsing it.

use std::borrow::Cow;

use memchr::memchr2;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// How deep a request may nest. Deeper is refused: recursive parsers behind us would fall over.
pub const MAX_DEPTH: usize = 64;

/// Whether arrays and objects nest deeper than `limit`. Strings are skipped at memchr speed; syntax is not checked.
pub fn is_deeper_than(json: &[u8], limit: usize) -> bool {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(json, at),
            _ => {}
        }
    }
    false
}

/// Where the string that began just before `at` ends: the index after its closing quote, or the end of input.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// Gives `each` the members of an object in order: the name as it reads, the value as it is written.
/// Nothing is kept and nothing is built, however large or deep the object is. `false` when it is no JSON object;
/// `each` may have been called by then.
pub(crate) fn for_members<'a>(json: &'a str, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> bool {
    struct Object<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Object<F> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                if let Some(key) = string(key) {
                    (self.0)(key, value);
                }
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = deserializer.deserialize_map(Object(each));
    read.and_then(|()| deserializer.end()).is_ok()
}

/// The longest string that [`string`] decodes, as written. Beyond it there is no name, code or message worth its cost.
const MAX_STRING: usize = 64 * 1024;

/// What a JSON string says, with U+FFFD for each lone surrogate. `None` for what is no string, or a very long one.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    /// serde_json refuses a lone surrogate in text, and gives it in bytes.
    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = String;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    let written = raw.get();
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() > MAX_STRING {
        return None;
    }
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let decoded = serde_json::Deserializer::from_str(written).deserialize_bytes(Bytes);
    decoded.ok().map(Cow::Owned)
}

/// The length of text without keeping it: the bytes between the quotes, so that an escape counts as it is written.
/// A list of parts counts what they hold of text. Null and everything else count nothing. Strings are not decoded, so none is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TextLen(pub(crate) u64);

impl<'de> Deserialize<'de> for TextLen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(text_len(raw, PART_DEPTH)))
    }
}

/// Mistral's thoughts are parts of a part.
const PART_DEPTH: u8 = 2;

/// Bytes of a text, or of the texts in a list of parts.
fn text_len(raw: &str, depth: u8) -> u64 {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        text: Option<&'a RawValue>,
        #[serde(borrow, default)]
        thinking: Option<&'a RawValue>,
    }
    if raw.starts_with('"') {
        return raw.len() as u64 - 2;
    }
    if depth == 0 || !raw.starts_with('[') {
        return 0;
    }
    let parts: Vec<Part<'_>> = serde_json::from_str(raw).unwrap_or_default();
    let texts = parts.iter().flat_map(|part| [part.text, part.thinking]).flatten();
    texts.map(|text| text_len(text.get(), depth - 1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(depth: usize) -> Vec<u8> {
        let mut json = vec![b'['; depth];
        json.extend(vec![b']'; depth]);
        json
    }

    #[test]
    fn counts_brackets_outside_strings_only() {
        assert!(!is_deeper_than(&nest(64), MAX_DEPTH));
        assert!(is_deeper_than(&nest(65), MAX_DEPTH));
        assert!(is_deeper_than(&nest(200_000), MAX_DEPTH));
        assert!(!is_deeper_than(br#"{"a":"[[[[\"[[[[","b":[1]}"#, 2));
        assert!(!is_deeper_than(br#"["\\",[]]"#, 2));
        assert!(!is_deeper_than(br#"["unterminated \"#, 1));
    }

    #[test]
    fn members_are_shown_whatever_they_hold() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let json = format!(r#"{{"a\ud83d":1e999,"\u0062":"\udead","d":{deep}}}"#);
        let mut seen = Vec::new();
        assert!(for_members(&json, |key, value| {
            seen.push((key.into_owned(), value.get().len()));
        }));
        let name = |name: &str, len: usize| (name.to_owned(), len);
        assert_eq!(seen[1..], [name("b", 8), name("d", deep.len())]);
        assert!(seen[0].0.starts_with('a') && seen[0].0.ends_with('\u{fffd}'));
        for bad in ["[1]", "5", r#"{"a":1"#, r#"{"a":1} x"#] {
            assert!(!for_members(bad, |_, _| {}), "for {bad}");
        }
    }

    #[test]
    fn text_is_measured_as_written() {
        let check = |json: &str, expect: u64| {
            let len: TextLen = serde_json::from_str(json).expect("reads");
            assert_eq!(len, TextLen(expect), "for {json}");
        };
        check(r#""four""#, 4);
        check(r#""\ud83d""#, 6);
        check("\"é\"", 2);
        check(r#"[{"type":"text","text":"four"},{"type":"image_url"}]"#, 4);
        check(
            r#"[{"type":"thinking","thinking":[{"type":"text","text":"three"}]},{"type":"text","text":"four"}]"#,
            9,
        );
        // Deeper than anybody writes it.
        let deep = "[{\"text\":".repeat(50_000) + "\"x\"" + &"}]".repeat(50_000);
        check(&deep, 0);
        for other in ["null", "true", "1e999", "[\"a\"]", "{\"a\":\"b\"}"] {
            check(other, 0);
        }
    }
}
