//! API keys that the file gives to clients.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::decode::{Decode, Section, scalar};
use super::document::Node;
use super::model;
use super::problem::Problems;
use super::secret::Secret;
use super::show::{Show, Shown};

/// An API key of a client, kept as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) sha256: KeyHash,
    /// Names of models, or patterns that end in `*`.
    pub(crate) models: Vec<String>,
    pub(crate) disabled: bool,
}

impl Decode for Key {
    const IS_MAPPING: bool = true;

    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let mut section = Section::open(node, key, problems);
        let name: String = section.required("name", problems);
        let sha256: Option<KeyHash> = section.or("sha256", None, problems);
        let secret: Option<Secret> = section.or("secret", None, problems);
        match (section.has("sha256"), section.has("secret")) {
            (true, true) => section.report(
                "secret",
                "a key has either `sha256` or `secret`, not both",
                "keep one of the two",
                problems,
            ),
            (false, false) => section.report(
                "sha256",
                "a key needs `sha256` or `secret`, and neither is set",
                "add `secret: ${NAME}`, or `sha256:` with the hash of the key in hexadecimal",
                problems,
            ),
            _ => {}
        }
        let models: Vec<String> = section.or("models", vec!["*".to_owned()], problems);
        let bad = |(_, pattern): &(usize, &String)| !model::is_pattern(pattern);
        for (i, _) in models.iter().enumerate().filter(bad) {
            let item = format!("models[{i}]");
            let message = model::bad_pattern(&section.quoted(&item));
            section.report(&item, message, model::PATTERN_FIX, problems);
        }
        let disabled = section.or("disabled", false, problems);
        section.close(problems);
        let hashed = secret.map(|secret| KeyHash::of(secret.expose()));
        Some(Self {
            name,
            sha256: sha256.or(hashed).unwrap_or(KeyHash::STAND_IN),
            models,
            disabled,
        })
    }
}

impl Show for Key {
    fn show(&self) -> Shown {
        Shown::Map(vec![
            ("name".to_owned(), self.name.show()),
            ("sha256".to_owned(), Shown::hidden()),
            ("models".to_owned(), self.models.show()),
            ("disabled".to_owned(), self.disabled.show()),
        ])
    }
}

/// The SHA-256 of an API key.
///
/// Hidden like the key itself: a weak key can be guessed from its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes the place of a hash that could not be read; the report about it keeps it from use.
    pub(super) const STAND_IN: Self = Self([0; 32]);

    /// The hash of a key as a client presents it.
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Decode for KeyHash {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "64 hexadecimal digits", problems)?;
        let mut hash = [0; 32];
        let well_formed = text.len() == 64
            && text.bytes().all(|b| b.is_ascii_hexdigit())
            && hash.iter_mut().enumerate().all(|(i, byte)| {
                u8::from_str_radix(&text[2 * i..2 * i + 2], 16)
                    .map(|read| *byte = read)
                    .is_ok()
            });
        if well_formed {
            return Some(Self(hash));
        }
        // Never quoted: the likeliest mistake is the key itself.
        problems.report(
            &node.place,
            key,
            "is not a SHA-256 hash: 64 hexadecimal digits",
            "write the output of `printf %s \"$KEY\" | sha256sum`, or use `secret:` for the key itself",
        );
        None
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Shown::HIDDEN)
    }
}
