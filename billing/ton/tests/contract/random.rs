//! Numbers that a seed decides.

/// So many messages, unless `MULBERRY_STORM_MESSAGES` says how many.
#[expect(clippy::disallowed_methods, reason = "a longer storm is asked for from outside")]
pub(crate) fn messages(usual: usize) -> usize {
    match std::env::var("MULBERRY_STORM_MESSAGES") {
        Ok(text) => text.parse().expect("MULBERRY_STORM_MESSAGES is a number"),
        Err(_) => usual,
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One time in `of`.
    pub(crate) fn once_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
