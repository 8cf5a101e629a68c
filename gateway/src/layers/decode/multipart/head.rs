//! The head of a part (RFC 7578 section 4.2): whether the part is the model, or tells who asks.
//!
//! Strict, since what one server reads as another name than we do is a way around the limits of a key.

use openapi::request::RequestError;

use super::parameters::{self, Parsed};

/// What a part is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Model,
    /// It tells who asks.
    Identity,
    Other,
}

/// The part with this head, which begins behind the delimiter and ends in an empty line.
pub(super) fn part(head: &[u8]) -> Result<Part, RequestError> {
    const EXPECTED: &str = "one header line form-data; name=\"…\" in each part, with values in quotes";
    let refused = RequestError::OutOfRange {
        param: "content-disposition",
        expected: EXPECTED,
    };
    let head = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next().is_some_and(|padding| !padding.is_empty()) {
        return Err(form("a line end behind each boundary"));
    }
    let mut disposition: Option<Parsed<'_>> = None;
    let mut is_encoded = false;
    for line in lines {
        let colon = memchr::memchr(b':', line).filter(|colon| parameters::is_token(&line[..*colon]));
        let Some(colon) = colon else { return Err(refused) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-disposition") {
            let parsed = parameters::parse(value).filter(|_| disposition.is_none());
            disposition = Some(parsed.ok_or(refused.clone())?);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
            is_encoded |= !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain));
        }
    }
    let is_form_data = |parsed: &Parsed<'_>| parsed.kind.eq_ignore_ascii_case(b"form-data");
    let disposition = disposition.filter(is_form_data).ok_or(refused.clone())?;
    // RFC 7578 knows no `name*` (RFC 5987), yet some servers read it, and its continuations, as the name.
    if disposition
        .names_and_values()
        .any(|(name, _)| name.starts_with("name*"))
    {
        return Err(refused);
    }
    // Some servers look for parameters within quotes, too.
    if disposition.names_and_values().any(|(_, value)| has_a_name(value)) {
        return Err(refused);
    }
    let name = disposition.get("name").ok_or(refused.clone())?;
    let is_model = name == b"model";
    // A name that some servers take for ours.
    let is_alike = name.trim_ascii().eq_ignore_ascii_case(b"model");
    if is_alike && (!is_model || is_encoded) {
        return Err(refused);
    }
    Ok(match is_model {
        true => Part::Model,
        false if is_identity(name) => Part::Identity,
        false => Part::Other,
    })
}

/// Whether a value has in it what looks like the parameter `name`.
fn has_a_name(value: &[u8]) -> bool {
    value.split(|byte| *byte == b';').skip(1).any(|rest| {
        let rest = rest.trim_ascii_start();
        let is_name = rest.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"name"));
        is_name && matches!(rest[4..].trim_ascii_start(), [b'=' | b'*', ..])
    })
}

/// Whether a name is one of those that tell who asks, or of a member of one: `metadata[key]`, as SDKs write objects.
///
/// What some server could take for such a name is one: nobody is wronged by a part too few at a stranger's machine.
fn is_identity(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"user", b"metadata", b"safety_identifier"];
    let name = name.trim_ascii();
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let end = name.iter().position(|byte| !is_of_name(byte)).unwrap_or(name.len());
    NAMES.iter().any(|known| name[..end].eq_ignore_ascii_case(known))
}

/// A refusal of what the form looks like.
pub(super) fn form(expected: &'static str) -> RequestError {
    RequestError::OutOfRange {
        param: "body",
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_that_tell_who_asks() {
        for (name, expected) in [
            ("user", Part::Identity),
            ("metadata", Part::Identity),
            ("safety_identifier", Part::Identity),
            ("metadata[team]", Part::Identity),
            ("metadata.team", Part::Identity),
            ("user[]", Part::Identity),
            ("User", Part::Identity),
            (" user ", Part::Identity),
            ("us\\er", Part::Identity),
            ("user\0", Part::Identity),
            ("users", Part::Other),
            ("user_id", Part::Other),
            ("user-agent", Part::Other),
            ("prompt", Part::Other),
            ("x[user]", Part::Other),
            ("", Part::Other),
            ("model", Part::Model),
        ] {
            let head = format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            assert_eq!(part(head.as_bytes()), Ok(expected), "{name:?}");
        }
        let file = b"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"user\"\r\n\r\n";
        assert_eq!(part(file), Ok(Part::Other));
    }
}
