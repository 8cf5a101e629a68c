//! Header values with parameters: `form-data; name="model"` (RFC 9110 section 5.6.6).
//!
//! What two readers could understand differently is refused: a parameter twice, a quote that does not end, a quoted value
//! that ends in a backslash, blanks within a value without quotes and all that some take for one.

use std::borrow::Cow;

/// A header's value, taken apart.
#[derive(PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// What comes before the parameters.
    pub(super) kind: &'a [u8],
    /// Names in small letters.
    parameters: Vec<(String, Cow<'a, [u8]>)>,
}

impl Parsed<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.names_and_values()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    pub(super) fn names_and_values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), &**value))
    }
}

pub(super) fn parse(value: &[u8]) -> Option<Parsed<'_>> {
    let (kind, mut rest) = split_at_semicolon(value);
    let mut parameters = Vec::new();
    while let Some(more) = rest.map(<[u8]>::trim_ascii).filter(|more| !more.is_empty()) {
        let end = memchr::memchr(b'=', more)?;
        let name = &more[..end];
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|_| is_token(name))?
            .to_ascii_lowercase();
        if parameters.iter().any(|(known, _)| *known == name) {
            return None;
        }
        let (value, after) = match &more[end + 1..] {
            [b'"', quoted @ ..] => unquote(quoted)?,
            plain => {
                let (value, after) = split_at_semicolon(plain);
                (Some(value).filter(|value| is_plain(value))?.into(), after)
            }
        };
        parameters.push((name, value));
        rest = after;
    }
    Some(Parsed {
        kind: kind.trim_ascii(),
        parameters,
    })
}

/// What is before the first semicolon, and what is behind it if there is one.
fn split_at_semicolon(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', value) {
        Some(at) => (value[..at].trim_ascii_end(), Some(&value[at + 1..])),
        None => (value.trim_ascii_end(), None),
    }
}

/// A value, and what is behind the semicolon that follows it.
type ValueAndRest<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>);

/// Reads a quoted string from behind its first quote.
fn unquote(quoted: &[u8]) -> Option<ValueAndRest<'_>> {
    let mut value = Vec::new();
    let mut bytes = quoted.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => value.push(bytes.next()?.1),
            // To some readers the quote that ends it is one within it.
            b'"' if quoted[..at].ends_with(b"\\") => return None,
            b'"' => {
                let (between, after) = split_at_semicolon(&quoted[at + 1..]);
                return between.is_empty().then_some((value.into(), after));
            }
            _ => value.push(byte),
        }
    }
    None
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(name: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_tchar)
}

fn is_plain(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\,".contains(byte);
    !value.is_empty() && value.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        let parsed = parse(value.as_bytes())?;
        let mut shown = String::from_utf8_lossy(parsed.kind).into_owned();
        for (name, value) in parsed.names_and_values() {
            shown.push_str(&format!("|{name}={}", String::from_utf8_lossy(value)));
        }
        Some(shown)
    }

    #[test]
    fn values_are_read_as_one_reader_reads_them() {
        for (value, expected) in [
            ("form-data", "form-data"),
            (" form-data ; ", "form-data"),
            ("form-data; name=model", "form-data|name=model"),
            ("form-data;NAME=model ;x=1", "form-data|name=model|x=1"),
            (
                r#"form-data; name="x"; filename="model""#,
                "form-data|name=x|filename=model",
            ),
            (
                r#"form-data; name="x; name=\"model\"""#,
                r#"form-data|name=x; name="model""#,
            ),
            (r#"form-data; name="mo\del"; a="\\b""#, r"form-data|name=model|a=\b"),
            (
                r#"form-data; filename="é ü.wav"; name*=utf-8''x"#,
                "form-data|filename=é ü.wav|name*=utf-8''x",
            ),
            (r#"form-data; name="" "#, "form-data|name="),
        ] {
            assert_eq!(shown(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_readers_differ_about_is_refused() {
        for value in [
            "form-data; name",
            "form-data; =x",
            "form-data; name =x",
            "form-data; name=",
            "form-data; name=a b",
            "form-data; name=a\"b\"",
            "form-data; name=a; name=b",
            "form-data; name=a; NAME=\"a\"",
            "form-data; name=\"a",
            "form-data; name=\"a\\\"",
            "form-data; name=\"a\" b",
            "form-data; name=\"x\\\"; filename=\"model\"",
            "form-data; name=\"x\"; a=\"\\\\\"; b=\"; name=model; c=\"",
            "form-data; name=\u{a0}model",
            "form-data; name=\u{3000}model",
            "form-data;; name=a",
        ] {
            assert_eq!(shown(value), None, "{value}");
        }
    }
}
