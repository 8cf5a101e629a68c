//! Checkpoints: a signed word of where the chains of an organisation stand, so that a chain which lacks its end can be
//! told from one that has none yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Hash,
    document::Document,
    facts,
    hex::to_hex,
    key::SigningKey,
    seal::{Body, Head, VERSION},
    verify::{self, Keys, Refused},
    writer,
};
use crate::AccountId;

/// What is signed begins with this, so that it can be nothing but a checkpoint.
const TAG: &str = "mulberry-checkpoint-v1\n";

/// Writes a checkpoint. `heads`: of this organisation, by node.
pub fn checkpoint(
    key: &SigningKey,
    organisation: &AccountId,
    heads: &BTreeMap<String, Head>,
    issued_at: u64,
) -> Box<str> {
    let mut body = Body::default();
    body.member("heads", |out| {
        out.push('[');
        for (at, (node, head)) in heads.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            writer::object(out, |o| {
                o.text("hash", &to_hex(&head.hash));
                o.text("node", node);
                o.count("seq", head.seq);
            });
        }
        out.push(']');
    });
    body.count("issued_at", issued_at);
    body.text("organisation", organisation.as_str());
    body.count("v", VERSION);
    body.seal(TAG, key).json
}

/// A checkpoint that was checked.
///
/// Proves: the holder of a trusted key said that these chains had at least these receipts at that time.
/// Does not prove: that it told others the same. Two checkpoints of one time that differ are proof of a lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    organisation: AccountId,
    issued_at: u64,
    heads: Vec<End>,
}

/// Where one chain stood.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct End {
    pub(super) node: String,
    pub(super) seq: u64,
    #[serde(deserialize_with = "facts::hash")]
    pub(super) hash: Hash,
}

impl Checkpoint {
    pub fn verify(document: &Document, keys: &Keys) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Members {
            heads: Vec<End>,
            issued_at: u64,
            organisation: AccountId,
            v: u64,
        }
        verify::authentic(document, TAG, keys)?;
        let members: Members = serde_json::from_str(document.text())
            .map_err(|_| Refused::new("document", "has not the members of a checkpoint"))?;
        if members.v != VERSION {
            return Err(Refused::new(
                "v",
                format!("is {}; this program reads version {VERSION}", members.v),
            ));
        }
        Ok(Self {
            organisation: members.organisation,
            issued_at: members.issued_at,
            heads: members.heads,
        })
    }

    pub fn organisation(&self) -> &AccountId {
        &self.organisation
    }

    /// Unix time, in seconds.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    pub(super) fn heads(&self) -> &[End] {
        &self.heads
    }
}
