//! How far two books may differ before that is more than noise.

use crate::Nano;

/// An amount over the life of a channel, and a share of what was earned on it.
///
/// Two sides that count honestly still differ: an answer is lost on its way, a client leaves while the last bytes are
/// under way. That grows with the work, and so must what is let go of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slack {
    /// In nanoton.
    pub amount: Nano,
    pub permille: u16,
}

impl Slack {
    pub const NONE: Self = Self {
        amount: Nano::ZERO,
        permille: 0,
    };

    /// Between a gateway and its worker, which count the same tokens on two machines: 0.1 GRAM (TON) and a hundredth.
    pub const OF_WORK: Self = Self {
        amount: Nano::saturating(Nano::UNIT / 10),
        permille: 10,
    };

    /// What is let go in all, where so much was earned in all.
    pub fn of(self, earned: Nano) -> Nano {
        let share = u128::from(earned.get()).saturating_mul(self.permille.into()) / 1000;
        self.amount
            .saturating_add(Nano::saturating(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}
