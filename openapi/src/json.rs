//! Checks on JSON that cost less than parsing it.

use memchr::memchr2;

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
}
