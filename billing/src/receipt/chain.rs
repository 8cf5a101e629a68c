//! Chains: whether receipts that belong together are all there, in their order, none exchanged.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{Checkpoint, Hash, Verified, facts::Kind, hex::to_hex};
use crate::{AccountId, Nano};

/// Receipts by organisation, node and place.
#[derive(Debug, Default)]
pub struct Chains(BTreeMap<(AccountId, String), BTreeMap<u64, Link>>);

#[derive(Debug)]
struct Link {
    receipt_id: String,
    seq: u64,
    request_id: String,
    hash: Hash,
    previous: Option<Hash>,
    total: Nano,
    kind: Kind,
    supersedes: Option<u64>,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    #[error(
        "{receipt_id}: place: the receipt {other} has the same place, {place}, in the chain of {organisation} on {node}"
    )]
    Twice {
        organisation: AccountId,
        node: String,
        place: u64,
        receipt_id: String,
        other: String,
    },
    #[error("{receipt_id}: place: {missing} of the chain of {organisation} on {node} before it are missing")]
    Missing {
        organisation: AccountId,
        node: String,
        receipt_id: String,
        missing: u64,
    },
    #[error("{receipt_id}: previous: names another receipt than {before}, which stands before it")]
    Exchanged { receipt_id: String, before: String },
    #[error("{receipt_id}: seq: is not above that of {before}, which stands before it")]
    Backwards { receipt_id: String, before: String },
    #[error("{receipt_id}: supersedes: {of} is of another request, or gave less than is given back")]
    Refund { receipt_id: String, of: String },
    #[error("the chain of {organisation} on {node} is cut off: {missing} receipts are missing at its end")]
    Truncated {
        organisation: AccountId,
        node: String,
        missing: u64,
    },
    #[error("the chain of {organisation} on {node} ends otherwise than the checkpoint says, at place {place}")]
    Forked {
        organisation: AccountId,
        node: String,
        place: u64,
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
            seq: facts.seq,
            request_id: facts.request_id.clone(),
            hash: *receipt.hash(),
            previous: facts.previous,
            total: facts.amounts.total,
            kind: facts.kind,
            supersedes: facts.supersedes.map(|supersedes| supersedes.seq),
        };
        match self.0.entry(chain).or_default().entry(facts.place) {
            Entry::Vacant(place) => {
                place.insert(link);
                Ok(())
            }
            Entry::Occupied(there) if there.get().hash == link.hash => Ok(()),
            Entry::Occupied(there) => Err(Gap::Twice {
                organisation: facts.account.organisation.clone(),
                node: facts.node.clone(),
                place: facts.place,
                receipt_id: link.receipt_id,
                other: there.get().receipt_id.clone(),
            }),
        }
    }

    /// How many chains there are, and how many receipts.
    pub fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().map(BTreeMap::len).sum())
    }

    /// Whether what stands next to each other fits, and every refund its capture. Gaps are allowed: who holds the
    /// receipts of one key holds no whole chain.
    pub fn check_links(&self) -> Result<(), Gap> {
        for chain in self.0.values() {
            let mut last: Option<(u64, &Link)> = None;
            for (place, link) in chain {
                if let Some((before, previous)) = last {
                    let is_next = before.checked_add(1) == Some(*place);
                    if is_next && link.previous != Some(previous.hash) {
                        return Err(Gap::Exchanged {
                            receipt_id: link.receipt_id.clone(),
                            before: previous.receipt_id.clone(),
                        });
                    }
                    if previous.seq >= link.seq {
                        return Err(Gap::Backwards {
                            receipt_id: link.receipt_id.clone(),
                            before: previous.receipt_id.clone(),
                        });
                    }
                }
                last = Some((*place, link));
            }
            refunds(chain)?;
        }
        Ok(())
    }

    /// Whether no chain lacks a receipt between two that are there, nor, with `from_first`, before its first.
    pub fn check_gaps(&self, from_first: bool) -> Result<(), Gap> {
        for ((organisation, node), chain) in &self.0 {
            let mut next = if from_first { Some(1) } else { None };
            for (place, link) in chain {
                if let Some(next) = next
                    && next != *place
                {
                    return Err(Gap::Missing {
                        organisation: organisation.clone(),
                        node: node.clone(),
                        receipt_id: link.receipt_id.clone(),
                        missing: place.saturating_sub(next),
                    });
                }
                next = place.checked_add(1);
            }
        }
        Ok(())
    }

    /// Whether every chain of the checkpoint goes as far as it says, and through the receipt that it names. What came
    /// after the checkpoint may be there or not.
    pub fn check_ends(&self, checkpoint: &Checkpoint) -> Result<(), Gap> {
        let organisation = checkpoint.organisation();
        for head in checkpoint.heads() {
            let chain = self.0.get(&(organisation.clone(), head.node.clone()));
            let last = chain
                .and_then(|chain| chain.last_key_value())
                .map_or(0, |(place, _)| *place);
            if last < head.place {
                return Err(Gap::Truncated {
                    organisation: organisation.clone(),
                    node: head.node.clone(),
                    missing: head.place.saturating_sub(last),
                });
            }
            let there = chain.and_then(|chain| chain.get(&head.place));
            if there.is_none_or(|there| there.hash != head.hash) {
                return Err(Gap::Forked {
                    organisation: organisation.clone(),
                    node: head.node.clone(),
                    place: head.place,
                });
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

/// What is given back was paid, for the same request, where the capture is there to see.
fn refunds(chain: &BTreeMap<u64, Link>) -> Result<(), Gap> {
    let by_seq: BTreeMap<u64, &Link> = chain.values().map(|link| (link.seq, link)).collect();
    let mut left: BTreeMap<u64, Nano> = BTreeMap::new();
    for link in chain.values() {
        let Some((of, capture)) = link.supersedes.and_then(|of| Some((of, *by_seq.get(&of)?))) else {
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
