//! What a registry keeps.

use billing::channel::Network;
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;

use super::charter::Charter;
use crate::contract::Malformed;
use crate::contract::wire::{begin, cell, end};

/// A registry's data, whole:
///
/// ```text
/// storage#_ network_id:int32 seqno:uint64 charter:^Charter pending:(Maybe ^Pending) = Storage;
/// pending#_ apply_at:uint32 charter:^Charter = Pending;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub network: Network,
    /// Of the change that comes next: each proposal, veto and application has one.
    pub seqno: u64,
    pub charter: Charter,
    pub pending: Option<Pending>,
}

/// A proposal that enough owners signed, and that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Unix seconds from which anybody can apply it.
    pub apply_at: u32,
    pub charter: Charter,
}

impl State {
    #[must_use]
    pub const fn newborn(network: Network, charter: Charter) -> Self {
        Self {
            network,
            seqno: 0,
            charter,
            pending: None,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Cell {
        let pending = self.pending.as_ref().map(|pending| {
            cell(|to| {
                to.store_u32(pending.apply_at)?;
                to.store_reference(pending.charter.encode())
            })
        });
        cell(|to| {
            to.store_u32(self.network.0.cast_unsigned())?;
            to.store_u64(self.seqno)?;
            to.store_reference(self.charter.encode())?;
            to.store_bit(pending.is_some())?;
            match pending {
                Some(pending) => to.store_reference(pending),
                None => Ok(()),
            }
        })
    }

    pub fn decode(data: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(data)?;
        let (network, seqno) = (Network(from.load_u32()?.cast_signed()), from.load_u64()?);
        let charter = from.load_reference_cloned()?;
        let pending = match from.load_bit()? {
            true => Some(from.load_reference_cloned()?),
            false => None,
        };
        end(&from)?;
        Ok(Self {
            network,
            seqno,
            charter: Charter::decode(&charter)?,
            pending: pending.as_ref().map(Pending::decode).transpose()?,
        })
    }

    /// The same of a bag of cells, as a chain gives it.
    pub fn decode_boc(data: &[u8]) -> Result<Self, Malformed> {
        Self::decode(&Boc::decode(data).map_err(|_| Malformed::NoCells)?)
    }
}

impl Pending {
    fn decode(pending: &Cell) -> Result<Self, Malformed> {
        let mut from = begin(pending)?;
        let (apply_at, charter) = (from.load_u32()?, from.load_reference_cloned()?);
        end(&from)?;
        Ok(Self {
            apply_at,
            charter: Charter::decode(&charter)?,
        })
    }
}
