//! The named edits of a request body.
//!
//! A body goes upstream as it came, but for these. Each edit is a byte range and what stands there instead, so that
//! everything else (order, white space, numbers such as `1e400`) survives to the byte. `docs/request.md` lists them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// One edit: `range` of the original is replaced by `with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    pub range: Range<usize>,
    pub with: String,
}

impl Splice {
    pub fn replace(range: Range<usize>, with: impl Into<String>) -> Self {
        Self {
            range,
            with: with.into(),
        }
    }

    pub fn insert(at: usize, with: impl Into<String>) -> Self {
        Self::replace(at..at, with)
    }
}

/// Applies edits that do not overlap. Without any, the original is returned and nothing is copied.
pub fn apply(body: &Bytes, mut splices: Vec<Splice>) -> Bytes {
    if splices.is_empty() {
        return body.clone();
    }
    splices.sort_by_key(|splice| splice.range.start);
    let grown: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + grown);
    let mut at = 0;
    for splice in &splices {
        debug_assert!(splice.range.start >= at, "edits overlap");
        out.extend_from_slice(body.get(at..splice.range.start).unwrap_or_default());
        out.extend_from_slice(splice.with.as_bytes());
        at = splice.range.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_touch_nothing_else() {
        let body = Bytes::from_static(br#"{ "model" : "a", "n":1e400 }"#);
        let edited = apply(
            &body,
            vec![
                Splice::insert(26, r#","stream":true"#),
                Splice::replace(12..15, r#""b/c""#),
            ],
        );
        assert_eq!(
            edited,
            Bytes::from_static(br#"{ "model" : "b/c", "n":1e400,"stream":true }"#)
        );
    }

    #[test]
    fn no_edit_is_no_copy() {
        let body = Bytes::from(vec![b'x'; 64]);
        assert_eq!(apply(&body, Vec::new()).as_ptr(), body.as_ptr());
    }
}
