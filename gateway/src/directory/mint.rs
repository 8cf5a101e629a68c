//! Secrets of API keys that are made here.

use std::fmt;

use billing_store::Sha256;

use crate::{config::KeyHash, tls};

/// Says whose it is, to people and to tools that look for leaked secrets.
const PREFIX: &str = "sk-mb-";

/// A new API key: shown once, and kept nowhere but as its hash.
pub(crate) struct Minted(String);

impl Minted {
    /// 32 random bytes; `None` where the system has none.
    pub(crate) fn new() -> Option<Self> {
        Some(Self(format!("{PREFIX}{}", base64url(&tls::random::<32>()?))))
    }

    /// The key itself, for the one answer that shows it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn sha256(&self) -> Sha256 {
        Sha256(*KeyHash::of(&self.0).as_bytes())
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// <https://www.rfc-editor.org/rfc/rfc4648#section-5>, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            let six = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(char::from(ALPHABET[six as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_that_of_the_standard() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn secrets_differ_and_hide() {
        let (a, b) = (Minted::new().expect("random"), Minted::new().expect("random"));
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), PREFIX.len() + 43);
        assert_eq!(format!("{a:?}"), "***");
    }
}
