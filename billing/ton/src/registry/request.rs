//! What is sent to a registry.

use std::collections::BTreeMap;

use billing::channel::PublicKey;
use tycho_types::cell::{Cell, CellFamily, HashBytes};
use tycho_types::dict::Dict;

use super::charter::{Charter, Digest, MOST_OWNERS, entries};
use crate::contract::Malformed;
use crate::contract::wire::{Signature, begin, cell, end, load_signature};

/// The body of a message to a registry, from anybody.
///
/// ```text
/// propose#72677072 query_id:uint64 seqno:uint64 signatures:(HashmapE 256 ^bits512) charter:^Charter
/// veto#72677665    query_id:uint64 seqno:uint64 signatures:(HashmapE 256 ^bits512)
/// apply#72676170   query_id:uint64
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// TON for rent.
    Rent,
    Propose {
        query_id: u64,
        /// The registry's number now.
        seqno: u64,
        signatures: BTreeMap<PublicKey, Signature>,
        charter: Charter,
    },
    Veto {
        query_id: u64,
        seqno: u64,
        signatures: BTreeMap<PublicKey, Signature>,
    },
    Apply {
        query_id: u64,
    },
}

const PROPOSE: u32 = 0x7267_7072;
const VETO: u32 = 0x7267_7665;
const APPLY: u32 = 0x7267_6170;
/// Of a message in words.
const COMMENT: u32 = 0;

impl Request {
    #[must_use]
    pub fn encode(&self) -> Cell {
        match self {
            Self::Rent => Cell::empty_cell(),
            Self::Propose {
                query_id,
                seqno,
                signatures,
                charter,
            } => cell(|to| {
                to.store_u32(PROPOSE)?;
                to.store_u64(*query_id)?;
                to.store_u64(*seqno)?;
                store_signatures(to, signatures)?;
                to.store_reference(charter.encode())
            }),
            Self::Veto {
                query_id,
                seqno,
                signatures,
            } => cell(|to| {
                to.store_u32(VETO)?;
                to.store_u64(*query_id)?;
                to.store_u64(*seqno)?;
                store_signatures(to, signatures)
            }),
            Self::Apply { query_id } => cell(|to| {
                to.store_u32(APPLY)?;
                to.store_u64(*query_id)
            }),
        }
    }

    pub fn decode(body: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(body)?;
        if from.is_empty() {
            return Ok(Self::Rent);
        }
        let operation = from.load_u32()?;
        if operation == COMMENT {
            return Ok(Self::Rent);
        }
        if ![PROPOSE, VETO, APPLY].contains(&operation) {
            return Err(Malformed::UnknownOperation(operation));
        }
        let query_id = from.load_u64()?;
        let request = match operation {
            APPLY => Self::Apply { query_id },
            _ => {
                let (seqno, signatures) = (from.load_u64()?, load_signatures(&mut from)?);
                match operation {
                    VETO => Self::Veto {
                        query_id,
                        seqno,
                        signatures,
                    },
                    _ => Self::Propose {
                        query_id,
                        seqno,
                        signatures,
                        charter: Charter::decode(&from.load_reference_cloned()?)?,
                    },
                }
            }
        };
        end(&from)?;
        Ok(request)
    }
}

fn store_signatures(
    to: &mut tycho_types::cell::CellBuilder,
    signatures: &BTreeMap<PublicKey, Signature>,
) -> Result<(), tycho_types::error::Error> {
    let mut dictionary = Dict::<HashBytes, Cell>::new();
    for (key, signature) in signatures {
        let signature = cell(|to| to.store_raw(signature, 512));
        dictionary.set(HashBytes(*key), signature)?;
    }
    let root = dictionary.into_root();
    to.store_bit(root.is_some())?;
    match root {
        Some(root) => to.store_reference(root),
        None => Ok(()),
    }
}

fn load_signatures(from: &mut tycho_types::cell::CellSlice<'_>) -> Result<BTreeMap<Digest, Signature>, Malformed> {
    let cells = entries::<Cell>(from, MOST_OWNERS)?;
    let one = |(key, cell): (Digest, Cell)| {
        let mut from = begin(&cell)?;
        let signature = load_signature(&mut from)?;
        end(&from)?;
        Ok((key, signature))
    };
    cells.into_iter().map(one).collect()
}
