//! Making blocks: on the disk first, then in the state.

use super::{BlockMade, Blocks, State, TickError};
use crate::bytes::Writer;
use crate::disk::{Entry, Frame, Hash};

/// How many external messages may wait, and how many gifts of coins.
pub(super) const WAITING: usize = 1_024;

/// With blocks on demand, the newest block is no older than this when somebody asks.
const IDLE_S: u32 = 5;

/// Nothing that one message sets off takes more blocks than this at one asking; the rest comes at the next.
const BLOCKS_AT_ONCE: usize = 64;

impl State {
    /// Makes the blocks that are due.
    pub(super) fn catch_up(&mut self) -> Result<(), TickError> {
        if self.settings.blocks == Blocks::Manual {
            return Ok(());
        }
        for _ in 0..BLOCKS_AT_ONCE {
            if !self.has_work() {
                break;
            }
            self.block()?;
        }
        let age_s = self.now().saturating_sub(self.world.tip().head.time);
        if self.world.unfinal() > 0 {
            // What is not final becomes so at a block a second.
            let due = usize::try_from(age_s).unwrap_or(usize::MAX);
            for _ in 0..due.min(self.world.unfinal()) {
                self.block()?;
            }
        } else if age_s >= IDLE_S {
            self.block()?;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.mints.is_empty() || self.world.has_messages()
    }

    pub(super) fn block(&mut self) -> Result<BlockMade, TickError> {
        if self.halted {
            return Err(TickError::Halted);
        }
        let made = self.world.make(self.making(), &self.mints, &self.waiting);
        let report = BlockMade {
            head: made.block.head,
            transactions: made
                .block
                .transactions
                .iter()
                .map(|written| (written.account, written.at))
                .collect(),
            refused: made.refused,
        };
        let hash = self.write(&Entry::Block(made.block.clone()))?;
        self.world.apply(made.block, hash);
        self.mints.drain(..made.mints);
        self.waiting.drain(..made.externals);
        self.compact();
        Ok(report)
    }

    pub(super) fn take_back(&mut self, depth: u32) -> Result<u32, TickError> {
        let possible = u32::try_from(self.world.unfinal()).unwrap_or(u32::MAX);
        let depth = depth.min(possible);
        if depth > 0 {
            self.write(&Entry::TakenBack(depth))?;
            self.world.take_back(usize::try_from(depth).unwrap_or(usize::MAX));
        }
        Ok(depth)
    }

    fn write(&mut self, entry: &Entry) -> Result<Hash, TickError> {
        let frame = Frame::new(entry);
        if let Some(disk) = &mut self.disk {
            disk.append(&frame).map_err(TickError::Disk)?;
        }
        Ok(frame.hash)
    }

    /// Replaces a file that has become long.
    fn compact(&mut self) {
        let Some(disk) = &self.disk else {
            return;
        };
        if disk.len() <= self.compact_above_bytes {
            return;
        }
        self.world.forget_transactions(self.settings.keep_transactions);
        let mut snapshot = Writer::default();
        self.world.write(&mut snapshot);
        let mut entries = vec![self.beginning(), Entry::Snapshot(snapshot.finish().into())];
        entries.extend(self.world.unfinal_blocks().map(Entry::Block));
        let disk = self.disk.as_mut().expect("looked at above");
        disk.replace(&entries);
        // Where most of it cannot be left out, or could not be replaced: not at each block.
        self.compact_above_bytes = self.settings.compact_above_bytes.max(disk.len().saturating_mul(2));
    }
}
