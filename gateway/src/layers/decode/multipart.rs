//! The `model` field of a form, found without holding the form.
//!
//! Clients put the small fields before the file, and so the first 64 KiB are looked at. A form whose model comes
//! later is routed as one without a model.

use std::sync::Arc;

use bytes::BytesMut;
use http::{HeaderMap, header};
use memchr::memmem;

use super::{DecodeError, Upload};

/// How much of a form is read ahead.
const AHEAD: usize = 64 * 1024;
/// The longest name that a model may have in a form.
const MAX_NAME: usize = 256;

/// Reads ahead until the field is found, or the beginning of the form is over. What was read stays in the upload.
pub(super) async fn model(headers: &HeaderMap, upload: &mut Upload) -> Result<Option<Arc<str>>, DecodeError> {
    let Some(boundary) = boundary(headers) else {
        return Ok(None);
    };
    let mut seen = BytesMut::new();
    let model = loop {
        if let Some(model) = find(&seen, &boundary) {
            break Some(model);
        }
        if seen.len() >= AHEAD {
            break None;
        }
        match upload.next().await? {
            Some(data) => seen.extend_from_slice(&data),
            None => break None,
        }
    };
    upload.ahead = seen.freeze();
    Ok(model)
}

/// `--` and the boundary of a multipart content type (RFC 2046 section 5.1.1).
fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    })?;
    (!boundary.is_empty()).then(|| format!("--{boundary}"))
}

/// The value of the part named `model`, if the whole part is here.
fn find(seen: &[u8], boundary: &str) -> Option<Arc<str>> {
    let finder = memmem::Finder::new(boundary.as_bytes());
    let starts: Vec<usize> = finder.find_iter(seen).collect();
    starts.windows(2).find_map(|pair| {
        let part = &seen[pair[0] + boundary.len()..pair[1]];
        let head_end = memmem::find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..head_end]).ok()?;
        if !head.contains("name=\"model\"") && !head.contains("name=model") {
            return None;
        }
        let value = part[head_end + 4..].strip_suffix(b"\r\n")?;
        let name = std::str::from_utf8(value).ok()?.trim();
        (1..=MAX_NAME).contains(&name.len()).then(|| name.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_among_others() {
        let form = "--X\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nen\r\n\
                    --X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
                    --X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        assert_eq!(find(form.as_bytes(), "--X").as_deref(), Some("whisper-1"));
        assert_eq!(find(&form.as_bytes()[..120], "--X"), None, "not before it is whole");
        assert_eq!(
            find(
                b"--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nname=\"model\"\r\n--X--",
                "--X"
            ),
            None
        );
    }

    #[test]
    fn boundaries() {
        let of = |value: &'static str| {
            boundary(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                http::HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(of("multipart/form-data; boundary=abc").as_deref(), Some("--abc"));
        assert_eq!(
            of("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"").as_deref(),
            Some("--a b")
        );
        assert_eq!(of("application/octet-stream"), None);
    }
}
