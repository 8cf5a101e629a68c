//! API keys in the database: what each may use, and the hashes under which clients present it.
//!
//! [`KeyStore`] changes them; [`Reader`](crate::Reader) reads them.
//! A change, its audit row and its new generation are one transaction, and it is on the disk when it is answered: a revocation survives a power cut.
//! Any process may change them; [`Reader::key_generation`](crate::Reader::key_generation) tells another that something did.
//!
//! Refused: a name that is taken, also by a revoked key; a hash that is known, also of a revoked key; changes to a revoked key.
//! Nothing is ever deleted.
//! Left to others: what a name, a tier or a pattern may look like.
//! Secrets never come here, only their SHA-256.

mod change;
mod rows;

use std::fmt;

use crate::fault::Fault;
use crate::pool::Pool;
use billing::{AccountId, Budget, Currency};

use crate::reader::ReadError;

pub use change::Rotated;
pub(crate) use rows::{all, find, generation};

/// What a key may use, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who answers for it; never interpreted.
    pub owner: Option<String>,
    /// Names, or patterns that end in `*`.
    pub models: Vec<String>,
    pub min_tier: String,
    /// `None` is without limit, here and in the next two; 0 is refused by the database.
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u32>,
    pub concurrency: Option<u32>,
    /// The first moment at which it is refused.
    pub expires_at_ms: Option<i64>,
    pub disabled: bool,
    /// Who pays for it: an organisation or a team. With a budget and without one, `org:default` does.
    pub account: Option<AccountId>,
    /// What it may spend.
    pub budget: Budget,
    pub tags: Vec<(String, String)>,
}

/// A key of the database, revoked ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub name: String,
    pub grant: Grant,
    /// The oldest first; the last is the one in use.
    pub hashes: Vec<StoredHash>,
    pub created_at_ms: i64,
    pub created_by: String,
    pub revoked_at_ms: Option<i64>,
}

/// One form under which a client may present a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHash {
    pub sha256: Sha256,
    /// The first moment at which it is refused.
    pub valid_until_ms: Option<i64>,
}

/// The SHA-256 of an API key. Hidden like the key: a weak one can be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key that is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub grant: Grant,
    pub sha256: Sha256,
}

/// Who changes something, and when: what the audit log keeps.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub actor: &'a str,
    pub at_ms: i64,
}

/// All keys at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySnapshot {
    /// Differs after any change.
    pub generation: i64,
    /// By name.
    pub keys: Vec<StoredKey>,
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("there is a key named '{name}' already; choose another name, or change that key")]
    NameTaken { name: String },
    #[error("'{name}' is the name of a key that was revoked, and no name is given twice; choose another")]
    NameRevoked { name: String },
    /// The holder's name, and whether it was revoked.
    #[error(
        "this API key is known already, as '{name}'{}",
        if *revoked { ", which was revoked" } else { "" }
    )]
    HashTaken { name: String, revoked: bool },
    #[error("there is no key named '{name}' in the database")]
    NotFound { name: String },
    #[error("the key '{name}' was revoked, which is final; create another")]
    Revoked { name: String },
    #[error("there is no account {account} to pay for the key; make it with `mulberry account create {account}`")]
    NoAccount { account: AccountId },
    /// The currency of what it spent, and that of the account.
    #[error(
        "what the key '{name}' spent is in {spent}, and {account} is in {found}, so it cannot pay; create another key"
    )]
    Currency {
        name: String,
        spent: Currency,
        account: AccountId,
        found: Currency,
    },
    #[error("cannot change keys in the database: {advice}")]
    Database { advice: &'static str, source: sqlx::Error },
    #[error("cannot change keys in the database")]
    Read(#[source] ReadError),
}

impl From<sqlx::Error> for KeyError {
    fn from(source: sqlx::Error) -> Self {
        Self::Database {
            advice: Fault::of(&source).advice(),
            source,
        }
    }
}

impl From<ReadError> for KeyError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Changes keys, and keeps the audit log. Clones share the gateway's connections.
#[derive(Clone, Debug)]
pub struct KeyStore {
    writer: Pool,
}

impl KeyStore {
    pub(crate) fn new(writer: Pool) -> Self {
        Self { writer }
    }
}
