//! Statements: what a worker signs about one answer, so that nobody has to believe its gateway about it.
//!
//! A statement is one JSON object in the canonical form of [RFC 8785], signed with Ed25519 by the key that the worker's
//! evidence names. The gateway embeds it whole in its receipt. `docs/receipts.md` has the format for strangers.
//!
//! - [`Statement::sign`] is the worker's side.
//! - [`Signed::verify`] says who signed and what; [`Statement::disagreement`] compares that with what crossed the wire.
//!
//! Refused: any other spelling of the same values, members that this version does not know, and what is longer than
//! [`MAX_LEN`]. There is no field for content.
//!
//! [RFC 8785]: https://www.rfc-editor.org/rfc/rfc8785

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    Hash, PublicKey, SigningKey, from_hex, sha256, signed, to_hex,
    writer::{self, Object},
};
use crate::Usage;

/// The version of the format.
const VERSION: u64 = 1;
/// What is signed begins with this, so that it can be nothing but a statement.
const TAG: &str = "mulberry-statement-v1\n";
/// The JSON of a statement; none of ours comes near.
pub const MAX_LEN: usize = 4096;

/// The salt of a request's statement, from that of its receipt.
///
/// The client can compute it and the worker cannot go back: it knows what the gateway sent on, but the request as the
/// client wrote it stays behind a salt of its own.
pub fn salt(of_receipt: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"mulberry-statement-salt-v1\n".as_slice(), of_receipt].concat())
}

/// A body, as whoever saw it pass knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of the salt and the bytes.
    pub sha256: Hash,
    pub bytes: u64,
}

/// How an answer ended, as who sent it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All of what the engine had to say.
    Whole,
    /// The engine broke off.
    Cut,
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut => "cut",
        }
    }
}

/// What a worker says of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub exchange: Exchange,
    /// By the worker's clock: when the request came and when the answer ended, in seconds since 1970.
    pub started_at: u64,
    pub ended_at: u64,
    /// As the engine said in the answer, where that was plain to see.
    pub usage: Option<Usage>,
}

/// What both sides of an exchange know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The body as the worker received it.
    pub request: Seen,
    /// The body as the worker sent it.
    pub response: Seen,
    pub status: u16,
    pub ended: Ended,
    /// SHA-256 of the claims that the worker showed, which its evidence vouches for.
    pub claims: Hash,
    /// The digests that these name: of the engine, and of the manifest of model weights.
    pub engine: Option<Hash>,
    pub models: Option<Hash>,
}

/// A statement and a signature, which nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    json: Box<str>,
    signature: [u8; 64],
}

/// Why a statement is not believed, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("the signature is not of this statement, by this key")]
    Signature,
    #[error("what was signed is no statement of version {VERSION} in canonical form")]
    Malformed,
}

impl Forged {
    /// The member of a receipt's `worker_statement` that does not fit.
    pub fn field(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Malformed => "statement",
        }
    }
}

impl Statement {
    pub fn sign(&self, key: &SigningKey) -> Signed {
        let json = self.to_json();
        let signature = key.sign(&signed(TAG, &sha256(json.as_bytes())));
        Signed {
            json: json.into(),
            signature,
        }
    }

    /// The first member that says otherwise than what was seen of the same exchange from its other side.
    /// Times are the worker's own, and usage is in the answer that was hashed.
    pub fn disagreement(&self, seen: &Exchange) -> Option<&'static str> {
        let said = &self.exchange;
        let agreements = [
            ("request_bytes", said.request.bytes == seen.request.bytes),
            ("request_sha256", said.request.sha256 == seen.request.sha256),
            ("response_bytes", said.response.bytes == seen.response.bytes),
            ("response_sha256", said.response.sha256 == seen.response.sha256),
            ("status", said.status == seen.status),
            ("ended", said.ended == seen.ended),
            ("claims", said.claims == seen.claims),
            ("engine", said.engine == seen.engine),
            ("models", said.models == seen.models),
        ];
        let wrong = agreements.into_iter().find(|(_, agrees)| !agrees);
        wrong.map(|(name, _)| name)
    }

    fn to_json(&self) -> String {
        let said = &self.exchange;
        let mut out = String::with_capacity(1024);
        writer::object(&mut out, |o| {
            o.text("claims", &to_hex(&said.claims));
            o.text("ended", said.ended.as_str());
            o.count("ended_at", self.ended_at);
            digest_or_null(o, "engine", said.engine.as_ref());
            digest_or_null(o, "models", said.models.as_ref());
            o.count("request_bytes", said.request.bytes);
            o.text("request_sha256", &to_hex(&said.request.sha256));
            o.count("response_bytes", said.response.bytes);
            o.text("response_sha256", &to_hex(&said.response.sha256));
            o.count("started_at", self.started_at);
            o.count("status", u64::from(said.status));
            match &self.usage {
                Some(usage) => o.object("usage", |o| {
                    o.count("cached", usage.cached);
                    o.count("completion", usage.completion);
                    o.count("prompt", usage.prompt);
                    o.count("reasoning", usage.reasoning);
                }),
                None => o.null("usage"),
            }
            o.count("v", VERSION);
        });
        out
    }

    /// There is one text for each statement: what would not be written so is not read.
    fn from_json(json: &str) -> Option<Self> {
        let read: Written = serde_json::from_str(json).ok()?;
        let statement = Self {
            exchange: Exchange {
                request: Seen {
                    sha256: read.request_sha256,
                    bytes: read.request_bytes,
                },
                response: Seen {
                    sha256: read.response_sha256,
                    bytes: read.response_bytes,
                },
                status: read.status,
                ended: read.ended,
                claims: read.claims,
                engine: read.engine,
                models: read.models,
            },
            started_at: read.started_at,
            ended_at: read.ended_at,
            usage: read.usage,
        };
        (read.v == VERSION && statement.to_json() == json).then_some(statement)
    }
}

impl Signed {
    /// As they came. `None` for what is no text, or longer than a statement can be.
    pub fn new(json: &[u8], signature: [u8; 64]) -> Option<Self> {
        if json.len() > MAX_LEN {
            return None;
        }
        let json = str::from_utf8(json).ok()?.into();
        Some(Self { json, signature })
    }

    /// What was signed, if this key signed it.
    pub fn verify(&self, key: &PublicKey) -> Result<Statement, Forged> {
        if !key.has_signed(&signed(TAG, &sha256(self.json.as_bytes())), &self.signature) {
            return Err(Forged::Signature);
        }
        Statement::from_json(&self.json).ok_or(Forged::Malformed)
    }

    pub fn json(&self) -> &str {
        &self.json
    }

    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

/// What a receipt has in the place of a worker's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Verified: signed by the key that the worker named to the gateway, and in agreement with what the gateway saw.
    Signed {
        key: PublicKey,
        statement: Signed,
    },
    Absent(Absence),
}

/// Why there is no statement of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Who answered has shown no key by which its word could be checked.
    Unattested,
    /// The answer was not read to its end: its client left, or the gateway ended it, or it broke off.
    Unfinished,
    /// The worker ended its answer and stated nothing of it.
    StatementMissing,
    /// What it stated is no statement, or not signed by its key.
    StatementForged,
    /// What it signed is not what crossed the wire.
    StatementDisagrees,
}

impl Absence {
    pub const ALL: [Self; 5] = [
        Self::Unattested,
        Self::Unfinished,
        Self::StatementMissing,
        Self::StatementForged,
        Self::StatementDisagrees,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unattested => "unattested",
            Self::Unfinished => "unfinished",
            Self::StatementMissing => "statement_missing",
            Self::StatementForged => "statement_forged",
            Self::StatementDisagrees => "statement_disagrees",
        }
    }

    /// Whether the worker is to blame.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Unattested | Self::Unfinished => false,
            Self::StatementMissing | Self::StatementForged | Self::StatementDisagrees => true,
        }
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::Absent(Absence::Unattested)
    }
}

/// As it is kept until it is in a receipt.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    json: T,
    signature: String,
}

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = Kept {
            json: &*self.json,
            signature: to_hex(&self.signature),
        };
        kept.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = Kept::<String>::deserialize(deserializer)?;
        let signature = from_hex(&kept.signature).ok_or_else(|| D::Error::custom("128 hexadecimal digits"))?;
        Self::new(kept.json.as_bytes(), signature).ok_or_else(|| D::Error::custom("a statement"))
    }
}

/// A statement as it stands in JSON. Nothing may be left out, which [`Statement::from_json`] sees to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "super::facts::hash")]
    claims: Hash,
    ended: Ended,
    ended_at: u64,
    #[serde(deserialize_with = "maybe_digest")]
    engine: Option<Hash>,
    #[serde(deserialize_with = "maybe_digest")]
    models: Option<Hash>,
    request_bytes: u64,
    #[serde(deserialize_with = "super::facts::hash")]
    request_sha256: Hash,
    response_bytes: u64,
    #[serde(deserialize_with = "super::facts::hash")]
    response_sha256: Hash,
    started_at: u64,
    status: u16,
    usage: Option<Usage>,
    v: u64,
}

fn digest_or_null(o: &mut Object<'_>, name: &str, value: Option<&Hash>) {
    match value {
        Some(value) => o.text(name, &to_hex(value)),
        None => o.null(name),
    }
}

fn maybe_digest<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hash>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let hash = |text: String| from_hex(&text).ok_or_else(|| D::Error::custom("64 lowercase hexadecimal digits"));
    text.map(hash).transpose()
}

#[cfg(test)]
mod tests;
