//! The root hash of a file under dm-verity: one digest for the weights of a model, checked block by block as the kernel
//! reads them.
//!
//! Format: Linux `Documentation/admin-guide/device-mapper/verity.rst`, hash type 1, SHA-256, blocks of 4096 bytes; the
//! same as `veritysetup format` with those. The root does not depend on the superblock's UUID.

use sha2::{Digest, Sha256};

/// Bytes of a block of data, and of hashes.
pub const VERITY_BLOCK: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerityError {
    #[error("there is no data to protect")]
    Empty,
    #[error("the last block is not whole: the data must be a multiple of 4096 bytes")]
    Partial,
}

/// Takes data as it is read and keeps no more than one block for each level of the tree.
#[derive(Clone, Debug)]
pub struct Verity {
    salt: Vec<u8>,
    /// [`VERITY_BLOCK`], but in tests.
    block: usize,
    /// Data that do not make a block yet.
    pending: Vec<u8>,
    /// Of each level the block of hashes being filled.
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    block: Vec<u8>,
    /// A block of this level was full before.
    carried: bool,
}

impl Verity {
    pub fn new(salt: &[u8]) -> Self {
        Self::of_blocks(salt, VERITY_BLOCK)
    }

    fn of_blocks(salt: &[u8], block: usize) -> Self {
        Self {
            salt: salt.to_vec(),
            block,
            pending: Vec::new(),
            levels: Vec::new(),
        }
    }

    pub fn update(&mut self, mut data: &[u8]) {
        if !self.pending.is_empty() {
            let missing = self.block.saturating_sub(self.pending.len());
            let (now, later) = data.split_at(missing.min(data.len()));
            self.pending.extend(now);
            data = later;
            if self.pending.len() == self.block {
                let block = std::mem::take(&mut self.pending);
                self.carry(0, self.hash(&block));
            }
        }
        let blocks = data.chunks_exact(self.block);
        self.pending.extend(blocks.remainder());
        for block in blocks {
            self.carry(0, self.hash(block));
        }
    }

    pub fn root(mut self) -> Result<[u8; 32], VerityError> {
        if !self.pending.is_empty() {
            return Err(VerityError::Partial);
        }
        let mut at = 0;
        loop {
            let Some(level) = self.levels.get_mut(at) else {
                return Err(VerityError::Empty);
            };
            let only = !level.carried;
            let mut block = std::mem::take(&mut level.block);
            match <[u8; 32]>::try_from(block.as_slice()) {
                // A single hash is the root: of one block of data, or of the one block of hashes below.
                Ok(root) if only => return Ok(root),
                _ if block.is_empty() => {}
                _ => {
                    block.resize(self.block, 0);
                    let hash = self.hash(&block);
                    self.carry(at.saturating_add(1), hash);
                }
            }
            at = at.saturating_add(1);
        }
    }

    /// Adds a hash to a level; a block that is full gives one to the level above.
    fn carry(&mut self, at: usize, hash: [u8; 32]) {
        if self.levels.len() <= at {
            self.levels.resize_with(at.saturating_add(1), Level::default);
        }
        let Some(level) = self.levels.get_mut(at) else {
            return;
        };
        level.block.extend(hash);
        if level.block.len() == self.block {
            level.carried = true;
            let block = std::mem::take(&mut level.block);
            let hash = self.hash(&block);
            self.carry(at.saturating_add(1), hash);
        }
    }

    fn hash(&self, block: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&self.salt);
        hash.update(block);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 32] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\
        \x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

    fn data(blocks: usize, size: usize) -> Vec<u8> {
        (0..blocks)
            .flat_map(|number| {
                let mut block = vec![0x5a; size];
                block[0] = number.to_le_bytes()[0].wrapping_mul(7).wrapping_add(3);
                block[1..9].copy_from_slice(&number.to_le_bytes());
                block
            })
            .collect()
    }

    fn hex(root: Result<[u8; 32], VerityError>) -> String {
        let root = root.expect("whole blocks");
        root.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Printed by `veritysetup` 2.6.1 for the same bytes.
    #[test]
    fn roots_are_those_of_veritysetup() {
        let check = |salt: &[u8], blocks, expect: &str| {
            let mut verity = Verity::new(salt);
            verity.update(&data(blocks, VERITY_BLOCK));
            assert_eq!(hex(verity.root()), expect, "{blocks} blocks");
        };
        check(
            &SALT,
            1,
            "cbd6ba0cd938c9434e990de83cc9a55f2d89c27e93ba30ee42cf2d5ae528f90c",
        );
        check(
            &SALT,
            2,
            "5aa086f51f229fcb90d7b335b148e44c8f75d9191f5d01f6dc400063680b3aa1",
        );
        check(
            &SALT,
            128,
            "afebb7774e339de1ebe5dabe5119049e158b2fa7c022beb962b18cafaf7fcb7c",
        );
        check(
            &SALT,
            129,
            "a3c1e6cd3cb4c083e0a6497aff90cc186e6c8f0d886bbb090933bf47ab67ab2b",
        );
        check(
            &SALT,
            300,
            "02f8a022faceaa8e4ec7369b29f3319a251c0aa7c3627653c6d7975dd67e70cb",
        );
        check(
            &[],
            300,
            "48d0645c09667f71fc57a4ed652292948c9a38cf72410c852d75b16f05e3c9bd",
        );
    }

    /// The same with `--data-block-size=512 --hash-block-size=512`: three levels and four, full and not.
    #[test]
    fn roots_of_higher_trees_are_those_of_veritysetup() {
        let check = |blocks, expect: &str| {
            let mut verity = Verity::of_blocks(&SALT, 512);
            verity.update(&data(blocks, 512));
            assert_eq!(hex(verity.root()), expect, "{blocks} blocks");
        };
        check(1, "3d3412c08892714ead4265e58a938e9575fe06eb39caaff7d1e3e32f5ff2c3f2");
        check(16, "38d98361485725fefaf1a8175057b15300bb505d6676f1c2e52313013d3246c8");
        check(17, "3c487613ee27918009e91e84b040694445f974aac1074348768f8d0551533f00");
        check(256, "0f6aa52d03d60a189ce6951e7fcc8c291cf576a195c1dbeaf5e899754118a620");
        check(257, "07de0b091746ec316a1984f01126c6c62363fdd72f364fcf0c0f20e672fac7fe");
        check(4097, "ce82c675f2d15444e2d5c09e246847d8af8decfc219ab61465faa74eddc9a562");
    }

    #[test]
    fn how_data_arrive_does_not_matter() {
        let data = data(40, 512);
        let root = |step: usize| {
            let mut verity = Verity::of_blocks(&SALT, 512);
            data.chunks(step).for_each(|chunk| verity.update(chunk));
            verity.root()
        };
        for step in [1, 100, 511, 513, 4096] {
            assert_eq!(root(step), root(data.len()), "in steps of {step}");
        }
    }

    #[test]
    fn half_a_block_has_no_root() {
        let mut verity = Verity::new(&SALT);
        assert_eq!(verity.clone().root(), Err(VerityError::Empty));
        verity.update(&[0; VERITY_BLOCK - 1]);
        assert_eq!(verity.clone().root(), Err(VerityError::Partial));
        verity.update(&[0; 2]);
        assert_eq!(verity.root(), Err(VerityError::Partial));
    }
}
