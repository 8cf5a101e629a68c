//! What the chain's file is made of.

use std::sync::Arc;

use billing::channel::Network;

use crate::bytes::{Malformed, Reader, Writer};
use crate::world::Block;

/// First bytes of the first entry; the number is the version of the form.
const MAGIC: &[u8; 16] = b"simulated TON  1";

#[derive(Clone)]
pub(crate) enum Entry {
    /// The first one.
    Genesis(Genesis),
    Block(Block),
    /// So many of the newest blocks are taken back.
    TakenBack(u32),
    /// The whole state. Read by whoever replays, who knows how many blocks stay open to be taken back.
    Snapshot(Arc<[u8]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Genesis {
    pub(crate) network: Network,
    /// Unix seconds of the first block.
    pub(crate) time: u32,
    pub(crate) seed: [u8; 32],
    /// Of the whole chain: what was final stays so, and what was taken back could be.
    pub(crate) finality_lag: u32,
}

impl Entry {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Genesis(genesis) => {
                to.u8(0);
                to.array(MAGIC);
                to.array(&genesis.network.0.to_be_bytes());
                to.u32(genesis.time);
                to.array(&genesis.seed);
                to.u32(genesis.finality_lag);
            }
            Self::Block(block) => {
                to.u8(1);
                block.write(&mut to);
            }
            Self::TakenBack(depth) => {
                to.u8(2);
                to.u32(*depth);
            }
            Self::Snapshot(state) => {
                to.u8(3);
                to.bytes(state);
            }
        }
        to.finish()
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let entry = match from.u8()? {
            0 => {
                if from.array()? != *MAGIC {
                    return Err(Malformed);
                }
                Self::Genesis(Genesis {
                    network: Network(i32::from_be_bytes(from.array()?)),
                    time: from.u32()?,
                    seed: from.array()?,
                    finality_lag: from.u32()?,
                })
            }
            1 => Self::Block(Block::read(&mut from)?),
            2 => Self::TakenBack(from.u32()?),
            3 => Self::Snapshot(from.bytes()?.into()),
            _ => return Err(Malformed),
        };
        from.end()?;
        Ok(entry)
    }
}
