//! Chains: whether receipts that belong together are all there, none exchanged.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    Checkpoint, Hash, Verified,
    facts::{Kind, Previous},
    hex::to_hex,
};
use crate::{AccountId, Nano};

/// Receipts by organisation and node, and there by their numbers.
#[derive(Debug, Default)]
pub struct Chains(BTreeMap<(AccountId, String), BTreeMap<u64, Link>>);

#[derive(Debug)]
struct Link {
    receipt_id: String,
    request_id: String,
    hash: Hash,
    previous: Option<Previous>,
    total: Nano,
    kind: Kind,
    supersedes: Option<u64>,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    #[error("{receipt_id}: seq: there is another receipt with this number")]
    Twice { receipt_id: String },
    #[error("{receipt_id}: previous: is another receipt than the {before} that is here")]
    Exchanged { receipt_id: String, before: String },
    #[error("{receipt_id}: previous: {node}/{missing}, which it names, is missing")]
    Missing {
        receipt_id: String,
        node: String,
        missing: u64,
    },
    #[error("{receipt_id}: supersedes: {of} is of another request, or took less than is given back")]
    Refund { receipt_id: String, of: String },
    #[error("the chain of {organisation} on {node} is cut off before {node}/{missing}, which the checkpoint names")]
    Truncated {
        organisation: AccountId,
        node: String,
        missing: u64,
    },
    #[error("{node}/{seq}: is another receipt of {organisation} than the one that the checkpoint names")]
    Forked {
        organisation: AccountId,
        node: String,
        seq: u64,
    },
    #[error("no chain ends with the hash {}", to_hex(.0))]
    NoSuchHead(Hash),
}

impl Chains {
    /// Takes a receipt. The same one may come twice.
    pub fn add(&mut self, receipt: &Verified) -> Result<(), Gap> {
        let facts = receipt.facts();
        let chain = (facts.account.organisation.clone(), facts.node.clone());
        let link = Link {
            receipt_id: facts.receipt_id.clone(),
            request_id: facts.request_id.clone(),
            hash: *receipt.hash(),
            previous: facts.previous,
            total: facts.amounts.total,
            kind: facts.kind,
            supersedes: facts.supersedes.map(|supersedes| supersedes.seq),
        };
        match self.0.entry(chain).or_default().entry(facts.seq) {
            Entry::Vacant(place) => {
                place.insert(link);
                Ok(())
            }
            Entry::Occupied(there) if there.get().hash == link.hash => Ok(()),
            Entry::Occupied(_) => Err(Gap::Twice {
                receipt_id: link.receipt_id,
            }),
        }
    }

    /// How many chains there are, and how many receipts.
    pub fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().map(BTreeMap::len).sum())
    }

    /// Whether what is here fits together: no receipt names another one before it than the one that is here, and
    /// nothing is given back that was not paid. Gaps are allowed: who holds the receipts of one key holds no whole
    /// chain.
    pub fn check_links(&self) -> Result<(), Gap> {
        for chain in self.0.values() {
            let mut before: Option<(u64, &Link)> = None;
            for (seq, link) in chain {
                if let Some((at, previous)) = before
                    && is_exchanged(link.previous, at, &previous.hash)
                {
                    return Err(Gap::Exchanged {
                        receipt_id: link.receipt_id.clone(),
                        before: previous.receipt_id.clone(),
                    });
                }
                before = Some((*seq, link));
            }
            refunds(chain)?;
        }
        Ok(())
    }

    /// Whether every receipt is here that another one names, but for those that the first of a chain names;
    /// with `from_first` those too.
    pub fn check_gaps(&self, from_first: bool) -> Result<(), Gap> {
        for ((_, node), chain) in &self.0 {
            let mut is_first = !from_first;
            for link in chain.values() {
                let is_free = std::mem::replace(&mut is_first, false);
                if let Some(previous) = link.previous
                    && !is_free
                    && !chain.contains_key(&previous.seq)
                {
                    return Err(Gap::Missing {
                        receipt_id: link.receipt_id.clone(),
                        node: node.clone(),
                        missing: previous.seq,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether every chain of the checkpoint has the receipt that it names. What came after the checkpoint may be
    /// there or not.
    pub fn check_ends(&self, checkpoint: &Checkpoint) -> Result<(), Gap> {
        let organisation = checkpoint.organisation();
        for head in checkpoint.heads() {
            let chain = self.0.get(&(organisation.clone(), head.node.clone()));
            match chain.and_then(|chain| chain.get(&head.seq)) {
                Some(there) if there.hash == head.hash => {}
                Some(_) => {
                    return Err(Gap::Forked {
                        organisation: organisation.clone(),
                        node: head.node.clone(),
                        seq: head.seq,
                    });
                }
                None => {
                    return Err(Gap::Truncated {
                        organisation: organisation.clone(),
                        node: head.node.clone(),
                        missing: head.seq,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a chain ends with the receipt of this hash.
    pub fn check_head(&self, head: &Hash) -> Result<(), Gap> {
        let ends = |chain: &BTreeMap<u64, Link>| chain.last_key_value().is_some_and(|(_, link)| link.hash == *head);
        if self.0.values().any(ends) {
            Ok(())
        } else {
            Err(Gap::NoSuchHead(*head))
        }
    }
}

/// Whether a receipt denies the one that stands before it here, which has this number and hash.
fn is_exchanged(previous: Option<Previous>, at: u64, hash: &Hash) -> bool {
    match previous {
        // It says that it is the first.
        None => true,
        Some(previous) if previous.seq == at => previous.hash != *hash,
        // It jumps over one; where it names one that is not here, there is a gap and nothing to compare.
        Some(previous) => previous.seq < at,
    }
}

/// What is given back was paid, for the same request, where the capture is there to see.
fn refunds(chain: &BTreeMap<u64, Link>) -> Result<(), Gap> {
    let mut left: BTreeMap<u64, Nano> = BTreeMap::new();
    for link in chain.values() {
        let Some((of, capture)) = link.supersedes.and_then(|of| Some((of, chain.get(&of)?))) else {
            continue;
        };
        let left = left.entry(of).or_insert(capture.total);
        match left.checked_sub(link.total) {
            Some(rest) if capture.kind == Kind::Capture && capture.request_id == link.request_id => *left = rest,
            _ => {
                return Err(Gap::Refund {
                    receipt_id: link.receipt_id.clone(),
                    of: capture.receipt_id.clone(),
                });
            }
        }
    }
    Ok(())
}
