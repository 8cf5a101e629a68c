//! Workers: machines that are known by a key or a token, and serve over connections that they open.

use std::fmt;

use super::decode::{Decode, Section, scalar};
use super::describe::{self, Definitions, Describe};
use super::document::Node;
use super::key::Tier;
use super::problem::Problems;
use super::schema::section;
use super::show::{Show, Shown};

section! {
    /// A worker that may serve for a backend. Whoever is not named here is refused.
    pub(crate) struct Worker {
        /// a-z, 0-9, -, _ and .; stands in records, metrics and logs.
        name: String,
        /// The SHA-256 of its public key, which `mulberry worker key` prints. For a machine that proves nothing.
        key_sha256: Option<KeyDigest> = None,
        /// The SHA-256 of the token that it says once both ends have proved themselves. For a guest, whose keys are new at each start.
        join_token_sha256: Option<KeyDigest> = None,
        /// What it must prove at least; `null` is open for a key and tee for a token.
        min_tier: Option<Tier> = None,
        /// Where it listens, if it does; the gateway then dials it.
        address: Option<Address> = None,
        weight: u32 = 1,
    }
    check |worker: &Worker, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("weight", worker.weight == 0)], problems);
        match (section.has("key_sha256"), section.has("join_token_sha256")) {
            (true, true) => section.report(
                "join_token_sha256",
                "a worker is known by its key or by a token, not by both",
                "remove one of them",
                problems,
            ),
            (false, false) => section.report(
                "key_sha256",
                "missing",
                "write what `mulberry worker key` prints on the worker's machine, or `join_token_sha256` for a TDX guest",
                problems,
            ),
            (true, false) if worker.min_tier.is_some_and(|tier| tier != Tier::Open) => section.report(
                "min_tier",
                "no key proves a machine, so that this worker could never serve",
                "remove it, or name the worker by `join_token_sha256`",
                problems,
            ),
            (true, false) | (false, true) => {}
        }
        if !is_name(&worker.name) {
            let fix = "use a-z, 0-9, `-`, `_` and `.`";
            section.report("name", "has a character that a worker's name cannot have", fix, problems);
        }
    }
}

/// What a worker may be called, and a backend.
pub(super) fn is_name(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}

impl Worker {
    /// What it must prove at least.
    pub(crate) fn min_tier(&self) -> Tier {
        let unsaid = if self.join_token_sha256.is_some() {
            Tier::Tee
        } else {
            Tier::Open
        };
        self.min_tier.unwrap_or(unsaid)
    }
}

/// The SHA-256 of a public key (its SubjectPublicKeyInfo in DER), in hexadecimal. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct KeyDigest(pub(crate) [u8; 32]);

impl KeyDigest {
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        super::KeyHash::parse(hex).map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Decode for KeyDigest {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "64 hexadecimal digits", problems)?;
        let digest = Self::parse(text);
        if digest.is_none() {
            let fix = "write what `mulberry worker key` prints on the worker's machine, or the SHA-256 of its token";
            let message = format!("{} is not a SHA-256 digest: 64 hexadecimal digits", node.quoted());
            problems.report(&node.place, key, message, fix);
        }
        digest
    }
}

impl Describe for KeyDigest {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^[0-9A-Fa-f]{64}$")
    }
}

impl Show for KeyDigest {
    fn show(&self) -> Shown {
        Shown::text(self.to_string())
    }
}

/// A host and a port, which are looked up when they are dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address(String);

impl Address {
    /// `host:port`, `[::1]:port`; nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let authority: http::uri::Authority = text.parse().ok()?;
        let is_whole = authority.port_u16().is_some_and(|port| port != 0) && !authority.host().is_empty();
        (is_whole && !text.contains('@')).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Decode for Address {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a host and a port", problems)?;
        let address = Self::parse(text);
        if address.is_none() {
            let message = format!("{} is not a host and a port", node.quoted());
            problems.report(&node.place, key, message, "write it like `gpu-1.example:8444`");
        }
        address
    }
}

impl Describe for Address {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^[^@/]+:[0-9]+$")
    }
}

impl Show for Address {
    fn show(&self) -> Shown {
        Shown::text(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["gpu-1.example:8444", "10.0.0.7:1", "[::1]:8444"] {
            assert_eq!(Address::parse(good).as_ref().map(Address::as_str), Some(good));
        }
        for bad in ["gpu-1", ":8444", "a:0", "a:99999", "https://a:1", "me@a:1", "a:1/x", ""] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }
}
