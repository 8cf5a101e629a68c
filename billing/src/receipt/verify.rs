//! Checking a signed document, in this order:
//!
//! 1. its form, by [`Document`];
//! 2. `signatures`: each by a key that is trusted for its role, over all other members;
//! 3. `digests`, which name what does not fit where a signature does not;
//! 4. what it says: the version, and that its members agree with one another.
//!
//! *Who signed this* and *is it consistent* are two functions; keys are an argument.

use std::collections::HashMap;

use super::{
    Hash,
    document::{Change, Document},
    facts::{Facts, Kind, Role, Signature},
    hex::from_hex,
    key::{KeyId, PublicKey},
    seal::{self, DIGEST_LEN},
    sha256, signed,
};

/// A document that is not what was signed, or not by whom we trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Refused {
    /// The member that does not fit: `amounts`, `signatures[0].key_id`, `digests.model`.
    pub field: String,
    pub why: String,
}

impl Refused {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// Public keys that are trusted to sign as a gateway.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<KeyId, PublicKey>);

impl Keys {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<PublicKey> for Keys {
    fn from_iter<T: IntoIterator<Item = PublicKey>>(keys: T) -> Self {
        Self(keys.into_iter().map(|key| (key.id(), key)).collect())
    }
}

/// A receipt that was checked.
///
/// Proves: the holder of a trusted key signed exactly this, and its members agree with one another.
/// Does not prove: that it is the only receipt, or that no other was left out, which [`super::Chains`] looks into; nor
/// that a body is the one that was hashed, which takes the body and its salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    facts: Facts,
    hash: Hash,
    signer: KeyId,
}

impl Verified {
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the next receipt of the chain names as `previous`.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    pub fn signer(&self) -> KeyId {
        self.signer
    }
}

/// Checks one receipt, by itself.
pub fn verify(document: &Document, keys: &Keys) -> Result<Verified, Refused> {
    let (hash, signer) = authentic(document, seal::TAG, keys)?;
    let facts = consistent(document)?;
    Ok(Verified { facts, hash, signer })
}

/// The SHA-256 of all members but the signatures.
pub(super) fn signing_hash(document: &Document) -> Hash {
    let unsigned = document.with(|name| match name {
        "signatures" => Change::Drop,
        _ => Change::Keep,
    });
    sha256(unsigned.as_bytes())
}

/// Whether trusted keys signed all of it.
pub(super) fn authentic(document: &Document, tag: &str, keys: &Keys) -> Result<(Hash, KeyId), Refused> {
    let signatures = signatures(document)?;
    let hash = signing_hash(document);
    let message = signed(tag, &hash);
    for (at, signature) in signatures.iter().enumerate() {
        let Some(key) = keys.0.get(&signature.key_id) else {
            let why = format!("nobody said that the key {} is the gateway's", signature.key_id);
            return Err(Refused::new(format!("signatures[{at}].key_id"), why));
        };
        if !key.has_signed(&message, &signature.signature) {
            return Err(altered(document, tag, key, at, signature));
        }
    }
    match signatures.first() {
        Some(first) => Ok((hash, first.key_id)),
        None => Err(Refused::new("signatures", "nobody signed")),
    }
}

fn signatures(document: &Document) -> Result<Vec<Signature>, Refused> {
    let Some(text) = document.value("signatures") else {
        return Err(Refused::new("signatures", "is absent"));
    };
    let signatures: Vec<Signature> = serde_json::from_str(text)
        .map_err(|error| Refused::new("signatures", format!("is not a list of signatures: {}", plain(&error))))?;
    match signatures.as_slice() {
        [first] if first.role == Role::Gateway => Ok(signatures),
        // Its place is there; until workers sign nobody could say by which keys.
        _ => Err(Refused::new(
            "signatures",
            "there should be one, in the role of gateway; this version knows no other",
        )),
    }
}

/// Which member does not fit. The signature has already refused the whole; this only finds the name.
fn altered(document: &Document, tag: &str, key: &PublicKey, at: usize, signature: &Signature) -> Refused {
    let not_signed = |field: String| Refused::new(field, "is not what was signed");
    let members = || {
        let all = document.values();
        all.filter(|(name, _)| !matches!(*name, "digests" | "signatures"))
    };
    let Some(written) = document.value("digests") else {
        return not_signed("digests".to_owned());
    };
    let Ok(written): Result<HashMap<&str, &str>, _> = serde_json::from_str(written) else {
        return not_signed("digests".to_owned());
    };
    // With the digests that the members really have it may be what was signed.
    let real = seal::digests(members());
    let mended = document.with(|name| match name {
        "signatures" => Change::Drop,
        "digests" => Change::Replace(real.clone()),
        _ => Change::Keep,
    });
    let is_digests = key.has_signed(&signed(tag, &sha256(mended.as_bytes())), &signature.signature);
    for (name, value) in members() {
        let fits = written.get(name).is_some_and(|digest| {
            from_hex::<DIGEST_LEN>(digest).is_some_and(|digest| sha256(value.as_bytes()).starts_with(&digest))
        });
        if !fits && is_digests {
            return not_signed(format!("digests.{name}"));
        }
        if !fits && written.contains_key(name) {
            return not_signed(name.to_owned());
        }
    }
    if is_digests {
        return not_signed("digests".to_owned());
    }
    if let Some(gone) = written.keys().find(|name| document.value(name).is_none()) {
        return Refused::new(*gone, "is absent, and was signed");
    }
    if let Some((added, _)) = members().find(|(name, _)| !written.contains_key(name)) {
        return Refused::new(added, "was not signed");
    }
    Refused::new(
        format!("signatures[{at}].signature"),
        "does not fit, though every member fits its digest: the signature was altered, or several members were",
    )
}

/// What a signed receipt says, if it is of our version and its members agree.
fn consistent(document: &Document) -> Result<Facts, Refused> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u64,
    }
    let version: Version =
        serde_json::from_str(document.text()).map_err(|error| Refused::new("v", plain(&error).to_owned()))?;
    if version.v != seal::VERSION {
        let why = format!("is {}; this program reads version {}", version.v, seal::VERSION);
        return Err(Refused::new("v", why));
    }
    let members = document
        .values()
        .filter(|(name, _)| !matches!(*name, "digests" | "signatures"));
    if document.value("digests") != Some(&seal::digests(members)) {
        return Err(Refused::new(
            "digests",
            "are not those of the members, though they were signed",
        ));
    }
    let facts = Facts::read(document).map_err(|error| Refused::new("document", plain(&error).to_owned()))?;
    let amounts = &facts.amounts;
    if facts.receipt_id != format!("{}/{}", facts.node, facts.seq) {
        return Err(Refused::new("receipt_id", "is not the node and its number"));
    }
    if facts.previous.is_some_and(|previous| previous.seq >= facts.seq) {
        return Err(Refused::new("previous", "is not before it"));
    }
    if amounts.cost.checked_add(amounts.fee) != Some(amounts.total) {
        return Err(Refused::new("amounts", "cost and fee do not add up to the total"));
    }
    if amounts.total > amounts.held {
        return Err(Refused::new("amounts", "the total is more than was held"));
    }
    if facts.kind == Kind::Capture && amounts.total > facts.terms.terms().charge(&facts.usage.billed).total {
        return Err(Refused::new(
            "amounts",
            "the total is more than the usage costs at the terms",
        ));
    }
    if (facts.kind == Kind::Refund) != facts.supersedes.is_some() {
        return Err(Refused::new(
            "supersedes",
            "is there for a refund, and for nothing else",
        ));
    }
    worker_statement(&facts)?;
    if let Some(paid_by) = &facts.voucher {
        paid_by.check(&facts)?;
    }
    Ok(facts)
}

/// Whether the embedded statement is signed by the key beside it, and of the request that the gateway sent on.
fn worker_statement(facts: &Facts) -> Result<(), Refused> {
    let worker = &facts.worker_statement;
    let Some((key, signed)) = worker.signed() else {
        let is_absent = worker.key.is_none() && worker.signature.is_none() && worker.statement.is_none();
        if is_absent && worker.absent.is_some() {
            return Ok(());
        }
        let why = "should be a key, a signature and a statement, or the reason why there is none";
        return Err(Refused::new("worker_statement", why));
    };
    if worker.absent.is_some() {
        return Err(Refused::new("worker_statement.absent", "is there beside a statement"));
    }
    let statement = signed
        .verify(&key)
        .map_err(|forged| Refused::new(format!("worker_statement.{}", forged.field()), forged.to_string()))?;
    if facts.request.forwarded != Some(statement.exchange.request.sha256) {
        return Err(Refused::new(
            "request.forwarded",
            "is not what the worker states that it received",
        ));
    }
    Ok(())
}

/// The message of a fault without its place in the text, which is not the place in the file.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
