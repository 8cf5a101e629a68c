//! Chance that can be had again: every throw follows from the seed.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Dice of one seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in this variable of the environment, else one of the moment.
    #[must_use]
    pub fn seed(variable: &str) -> u64 {
        #[expect(
            clippy::disallowed_methods,
            reason = "the tests are started by a shell, and know no configuration"
        )]
        let named = std::env::var(variable).ok();
        named.map_or_else(
            || RandomState::new().build_hasher().finish(),
            |seed| seed.parse().unwrap_or_else(|_| panic!("{variable} is not a number")),
        )
    }

    /// Dice of their own for a part of the whole.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.throw())
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both among them.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.throw() % (most - least + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, of_a_hundred: u64) -> bool {
        self.throw() % 100 < of_a_hundred
    }
}
