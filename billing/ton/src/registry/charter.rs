//! What a registry says, and what of it is signed.

use std::collections::{BTreeMap, BTreeSet};

use billing::channel::{Account, Network, PublicKey};
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes, Load, Store};
use tycho_types::dict::Dict;

use crate::contract::Malformed;
use crate::contract::wire::{begin, cell, end, load_account, store_account};

/// SHA-256, or a public key.
pub type Digest = [u8; 32];

/// No list is longer, nor are there more owners than [`MOST_OWNERS`].
pub const MOST_ENTRIES: usize = 4_096;
pub const MOST_OWNERS: usize = 16;

/// All that a registry says; a change replaces it whole.
///
/// ```text
/// charter#_  delay:uint32 threshold:uint8 veto_threshold:uint8 owners:(HashmapE 256 uint1)
///         most_fee_bps:uint16 fee_dest:MsgAddressInt lists:^Lists = Charter;
/// lists#_ images:(Maybe ^(HashmapE 256 uint8)) gateways:(Maybe ^(HashmapE 256 uint1))
///         models:(Maybe ^(HashmapE 256 uint1)) = Lists;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// Seconds from a proposal until it can be applied.
    pub delay_s: u32,
    /// So many owners sign a proposal.
    pub threshold: u8,
    /// So many take it back.
    pub veto_threshold: u8,
    pub owners: BTreeSet<PublicKey>,
    /// Parts of 10,000: the most that a network fee may be.
    pub most_fee_bps: u16,
    /// Where a network fee may go.
    pub fee_dest: Account,
    pub lists: Lists,
}

/// A list that is not there says nothing; an empty one allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// From an image's digest to the roles that it may have, a bit each: 1 gateway, 2 worker, 4 connect.
    pub images: Option<BTreeMap<Digest, u8>>,
    /// Keys by which gateways take payments.
    pub gateways: Option<BTreeSet<PublicKey>>,
    pub models: Option<BTreeSet<Digest>>,
}

impl Charter {
    #[must_use]
    pub fn encode(&self) -> Cell {
        let lists = &self.lists;
        let images = lists.images.as_ref().map(|images| {
            let entries = images.iter().map(|(digest, roles)| (*digest, *roles));
            listed(entries)
        });
        let marked = |keys: &BTreeSet<Digest>| listed(keys.iter().map(|key| (*key, true)));
        let (gateways, models) = (lists.gateways.as_ref().map(marked), lists.models.as_ref().map(marked));
        let lists = cell(|to| {
            for list in [images, gateways, models] {
                let list = list.map(|list| cell(|to| list.store(to)));
                to.store_bit(list.is_some())?;
                if let Some(list) = list {
                    to.store_reference(list)?;
                }
            }
            Ok(())
        });
        cell(|to| {
            to.store_u32(self.delay_s)?;
            to.store_u8(self.threshold)?;
            to.store_u8(self.veto_threshold)?;
            marked(&self.owners).store(to)?;
            to.store_u16(self.most_fee_bps)?;
            store_account(to, &self.fee_dest)?;
            to.store_reference(lists)
        })
    }

    pub fn decode(charter: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(charter)?;
        let (delay_s, threshold, veto_threshold) = (from.load_u32()?, from.load_u8()?, from.load_u8()?);
        let owners = keys(&mut from, MOST_OWNERS)?;
        let (most_fee_bps, fee_dest) = (from.load_u16()?, load_account(&mut from, "the fee's destination")?);
        let lists = from.load_reference_cloned()?;
        end(&from)?;
        Ok(Self {
            delay_s,
            threshold,
            veto_threshold,
            owners,
            most_fee_bps,
            fee_dest,
            lists: Lists::decode(&lists)?,
        })
    }

    /// What a proposal to put it in force is signed over.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.encode().repr_hash().0
    }
}

impl Lists {
    fn decode(lists: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(lists)?;
        let images = list(&mut from)?;
        let (gateways, models) = (list(&mut from)?, list(&mut from)?);
        end(&from)?;
        let whole = |cell: Cell| {
            let mut from = begin(&cell)?;
            let found = keys(&mut from, MOST_ENTRIES)?;
            end(&from)?;
            Ok::<_, Malformed>(found)
        };
        Ok(Self {
            images: images
                .map(|cell| {
                    let mut from = begin(&cell)?;
                    let found = entries::<u8>(&mut from, MOST_ENTRIES)?;
                    end(&from)?;
                    Ok::<_, Malformed>(found)
                })
                .transpose()?,
            gateways: gateways.map(whole).transpose()?,
            models: models.map(whole).transpose()?,
        })
    }
}

fn list(from: &mut CellSlice<'_>) -> Result<Option<Cell>, Malformed> {
    Ok(match from.load_bit()? {
        true => Some(from.load_reference_cloned()?),
        false => None,
    })
}

/// A dictionary, ready to be stored.
struct Listed(Option<Cell>);

impl Listed {
    fn store(&self, to: &mut CellBuilder) -> Result<(), tycho_types::error::Error> {
        to.store_bit(self.0.is_some())?;
        match &self.0 {
            Some(root) => to.store_reference(root.clone()),
            None => Ok(()),
        }
    }
}

fn listed<V: Store>(entries: impl Iterator<Item = (Digest, V)>) -> Listed {
    let mut dictionary = Dict::<HashBytes, V>::new();
    for (key, value) in entries {
        dictionary
            .set(HashBytes(key), value)
            .expect("a small value under a key of 256 bits");
    }
    Listed(dictionary.into_root())
}

pub(super) fn entries<V>(from: &mut CellSlice<'_>, most: usize) -> Result<BTreeMap<Digest, V>, Malformed>
where
    V: for<'a> Load<'a>,
{
    let dictionary = Dict::<HashBytes, V>::load_from(from)?;
    let mut found = BTreeMap::new();
    for entry in dictionary.iter() {
        if found.len() == most {
            return Err(Malformed::Long);
        }
        let (key, value) = entry?;
        found.insert(key.0, value);
    }
    Ok(found)
}

fn keys(from: &mut CellSlice<'_>, most: usize) -> Result<BTreeSet<Digest>, Malformed> {
    Ok(entries::<bool>(from, most)?.into_keys().collect())
}

/// What owners sign: a proposal, or that one is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    Propose,
    Veto,
}

/// What is signed, big-endian: tag `u32`, network `i32`, the registry's account id of 32 bytes, number of the change `u64`,
/// hash of the charter of 32 bytes.
#[must_use]
pub fn signed_bytes(vote: Vote, network: Network, registry: &Account, seqno: u64, charter: &Digest) -> [u8; 80] {
    let tag = match vote {
        Vote::Propose => *b"RGP1",
        Vote::Veto => *b"RGV1",
    };
    let mut bytes = [0; 80];
    let parts: [&[u8]; 5] = [
        &tag,
        &network.0.to_be_bytes(),
        &registry.hash,
        &seqno.to_be_bytes(),
        charter,
    ];
    let mut rest = &mut bytes[..];
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(part);
        rest = tail;
    }
    bytes
}
