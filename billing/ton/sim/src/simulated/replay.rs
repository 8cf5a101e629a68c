//! From the entries of a file to the state that they led to.

use super::Settings;
use crate::bytes::Reader;
use crate::disk::{Entry, Genesis, Hash};
use crate::world::World;

/// `None` when they are in no order that we write.
pub(super) fn replay(entries: Vec<(Entry, Hash)>, settings: &Settings) -> Option<(Genesis, World)> {
    let mut entries = entries.into_iter();
    let (Entry::Genesis(genesis), _) = entries.next()? else {
        return None;
    };
    let mut world = World::new(genesis.time, settings.prices, genesis.finality_lag);
    for (entry, hash) in entries {
        match entry {
            Entry::Genesis(_) => return None,
            Entry::Snapshot(bytes) => {
                let mut from = Reader::new(&bytes);
                world = World::read(&mut from, genesis.finality_lag).ok()?;
                from.end().ok()?;
            }
            Entry::TakenBack(depth) => {
                world.take_back(usize::try_from(depth).ok()?);
            }
            Entry::Block(block) => {
                if block.head.seqno != world.tip().head.seqno.checked_add(1)? {
                    return None;
                }
                world.apply(block, hash);
            }
        }
    }
    Some((genesis, world))
}
