//! Targets over their seeds, and over near misses of each: what can be held without a nightly compiler. Part of the tests
//! of each package whose readers are fuzzed.

use std::{fs, path::Path};

/// Of each seed.
const NEAR_MISSES: usize = 150;

/// Reads bytes from outside.
type Reader = fn(&[u8]);

pub(crate) fn run(seeds: &Path, targets: &[(&str, Reader)]) {
    for (name, target) in targets {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut count = 0;
        for entry in fs::read_dir(seeds.join(name)).expect("each target has a folder of seeds") {
            let path = entry.expect("the folder can be read").path();
            let seed = fs::read(path).expect("a seed can be read");
            target(&seed);
            for _ in 0..NEAR_MISSES {
                target(&random.near(&seed));
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
        target(b"");
    }
}

/// xorshift64: the same misses in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn near(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.below(256) as u8),
                3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                4 => {
                    let end = at + self.below(bytes.len() - at.min(bytes.len()));
                    let slice = bytes[at.min(bytes.len())..end].to_vec();
                    bytes.splice(at..at, slice);
                }
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}
