//! Pieces of toncenter's JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use billing::channel::Account;
use billing_ton::chain::Cursor;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::machine::standard;
use crate::world::BlockInfo;

/// The one shard of a workchain.
pub(super) const SHARD: i64 = i64::MIN;

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// User-friendly and bounceable, as toncenter writes addresses.
pub(super) fn friendly(account: &Account) -> String {
    standard(account).display_base64_url(true).to_string()
}

pub(super) fn raw(account: &Account) -> String {
    standard(account).to_string()
}

pub(super) fn cursor(at: Option<Cursor>) -> Json {
    let (lt, hash) = at.map_or((0, [0; 32]), |at| (at.lt, at.hash));
    json!({
        "@type": "internal.transactionId",
        "lt": lt.to_string(),
        "hash": base64(hash),
    })
}

/// Masterchain and basechain have one block each at a time, of the same number.
pub(super) fn block(block: &BlockInfo, workchain: i32) -> Json {
    json!({
        "@type": "ton.blockIdExt",
        "workchain": workchain,
        "shard": SHARD.to_string(),
        "seqno": block.head.seqno,
        "root_hash": base64(salted(b"root", workchain, &block.hash)),
        "file_hash": base64(salted(b"file", workchain, &block.hash)),
    })
}

/// There are no blocks of TON here that would have such hashes; ours stand for them.
fn salted(kind: &[u8; 4], workchain: i32, hash: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(kind)
        .chain_update(workchain.to_be_bytes())
        .chain_update(hash)
        .finalize()
        .into()
}
