//! When to settle: often enough that little is at risk, seldom enough that fees are little.
//!
//! A settlement is free to wait as long as the channel is open: what was signed stays good. It must not wait once the
//! payer asked to close, or where the deposit is used up and the payer waits for it to be known.

use billing::{Nano, channel::OnChain};

/// Amounts and times that it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Settle once so much was taken and is not claimed.
    pub least: Nano,
    /// But not before it is so many times the fee.
    pub times_fee: u64,
    /// Settle so often whatever the amount, if it is more than the fee: what is unclaimed is lost with a key.
    pub every_s: u64,
}

impl Strategy {
    /// Half a GRAM (TON), 200 times the fee, daily.
    pub const USUAL: Self = Self {
        least: Nano::saturating(500_000_000),
        times_fee: 200,
        every_s: 86_400,
    };
}

/// What it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub on_chain: OnChain,
    /// What we signed to take, in all.
    pub taken: Nano,
    /// What one settlement costs us, at the chain's prices of today.
    pub fee: Nano,
    /// Unix seconds of the last settlement, or of the opening.
    pub settled_s: u64,
}

/// Why to settle now, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The payer asked to close; the rest is theirs from this time on (Unix seconds).
    Closing { close_at: u32 },
    /// All of the deposit was taken.
    Exhausted,
    /// Enough was taken.
    Amount,
    /// It has been long.
    Time,
}

impl Strategy {
    /// `None`: not now. `now_s` are Unix seconds.
    pub fn settle(&self, question: &Question, now_s: u64) -> Option<Reason> {
        let Question {
            on_chain,
            taken,
            fee,
            settled_s,
        } = question;
        // More than the deposit is never paid.
        let due = (*taken).min(on_chain.deposited).saturating_sub(on_chain.claimed);
        if due.is_zero() {
            return None;
        }
        // Whatever it costs: later there is nothing to have.
        if let Some(close_at) = on_chain.close_at {
            return (due > *fee).then_some(Reason::Closing { close_at });
        }
        if due <= *fee {
            return None;
        }
        if *taken >= on_chain.deposited {
            return Some(Reason::Exhausted);
        }
        let worth = Nano::saturating(fee.get().saturating_mul(self.times_fee));
        if due >= self.least.max(worth) {
            return Some(Reason::Amount);
        }
        (now_s.saturating_sub(*settled_s) >= self.every_s).then_some(Reason::Time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_settles_when_it_pays() {
        let check = |taken: u64, claimed: u64, close_at: Option<u32>, age_s: u64, expect: Option<Reason>| {
            let question = Question {
                on_chain: OnChain {
                    close_at,
                    deposited: Nano::saturating(10_000_000_000),
                    claimed: Nano::saturating(claimed),
                },
                taken: Nano::saturating(taken),
                fee: Nano::saturating(5_000_000),
                settled_s: 1_000_000,
            };
            let decided = Strategy::USUAL.settle(&question, 1_000_000 + age_s);
            assert_eq!(decided, expect, "taken {taken}, claimed {claimed}, {age_s} s");
        };
        let day = 86_400;
        check(0, 0, None, day, None);
        check(999_999_999, 0, None, 0, None);
        // 200 fees are more than half a unit.
        check(1_000_000_000, 0, None, 0, Some(Reason::Amount));
        check(1_000_000_000, 1, None, 0, None);
        check(1_000_000_000, 1, None, day, Some(Reason::Time));
        check(5_000_000, 0, None, day, None);
        check(5_000_001, 0, None, day, Some(Reason::Time));
        check(5_000_001, 0, None, day - 1, None);
        check(10_000_000_000, 9_900_000_000, None, 0, Some(Reason::Exhausted));
        check(20_000_000_000, 10_000_000_000, None, day, None);
        check(5_000_001, 0, Some(7), 0, Some(Reason::Closing { close_at: 7 }));
        // It would cost more than it brings.
        check(5_000_000, 0, Some(7), 0, None);
        // The clock was set back.
        let question = Question {
            on_chain: OnChain {
                close_at: None,
                deposited: Nano::MOST,
                claimed: Nano::ZERO,
            },
            taken: Nano::saturating(9_000_000),
            fee: Nano::saturating(5_000_000),
            settled_s: 1_000_000,
        };
        assert_eq!(Strategy::USUAL.settle(&question, 0), None);
        // A price that is beyond all counting is never worth it.
        let dear = Question {
            fee: Nano::MOST,
            ..question
        };
        assert_eq!(Strategy::USUAL.settle(&dear, u64::MAX), None);
    }
}
