//! PEM (RFC 7468).

use base64::{Engine, prelude::BASE64_STANDARD};

/// With a line end after the last line, so that chains are texts put together.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let digits = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in digits.as_bytes().chunks(64) {
        out.extend(line.iter().map(|digit| char::from(*digit)));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
