//! Receipts: what the gateway signs about one charge, so that nobody has to believe its ledger.
//!
//! A receipt is one JSON document in the canonical form of [RFC 8785], signed with Ed25519 ([RFC 8032]) and linked to
//! the receipt before it of the same organisation and node. `docs/receipts.md` has the format for strangers.
//!
//! - [`Sealer`] makes receipts; [`verify`] checks one, [`Chains`] many, [`Checkpoint`] where chains end.
//! - [`statement`] is what a worker signs about an answer; a receipt embeds it.
//! - [`Document`] is the reader: it accepts canonical JSON with white space between its tokens, and nothing else, so
//!   that no two texts which are not the same pass for one receipt.
//!
//! Refused by construction: a receipt has no field for content. Request and response are in it as salted hashes, and
//! the salt is with the client only.
//!
//! [RFC 8785]: https://www.rfc-editor.org/rfc/rfc8785
//! [RFC 8032]: https://www.rfc-editor.org/rfc/rfc8032

mod chain;
mod checkpoint;
mod document;
mod facts;
mod hex;
mod key;
mod paid_by;
mod seal;
pub mod statement;
mod verify;
mod writer;

pub use chain::{Chains, Gap};
pub use checkpoint::{Checkpoint, checkpoint};
pub use document::{Document, Malformed};
pub use facts::{
    Account, Agreed, Amounts, Facts, Fees, Kind, Previous, Prices, Request, Response, Supersedes, Upstream, Used,
    Worker,
};
pub use hex::{from_hex, to_hex};
pub use key::{BadKey, KeyId, PublicKey, SigningKey};
pub use paid_by::PaidBy;
pub use seal::{Head, Sealed, Sealer};
pub use verify::{Keys, Refused, Verified, verify};

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// `SHA-256(salt ‖ body)`, as far as the body is known: the hash by which a receipt speaks of a body.
///
/// The salt is 32 random bytes that the client alone is given, so that a hash is no oracle for short bodies.
#[derive(Clone)]
pub struct BodyHash(Sha256);

impl BodyHash {
    pub fn new(salt: &[u8; 32]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Without what went into it.
impl std::fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyHash(…)")
    }
}

/// The signed bytes are a tag, which says what is signed, and a hash: nothing that one key signs can be taken for
/// anything else.
fn signed(tag: &str, hash: &Hash) -> Vec<u8> {
    [tag.as_bytes(), hash].concat()
}

fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests;
