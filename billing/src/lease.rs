//! What nodes and the ledger say to each other: a node leases slices of pots and works from memory.
//!
//! The sum of what nodes hold and what was captured never exceeds what a pot holds. A node stops granting when its
//! lease ends by its own monotonic clock; its slices are free again only after its journal was replayed, or when an
//! administrator forgets it.
//!
//! Renewals and their answers get lost, come late and come twice. Three things make that harmless:
//! - A renewal has a *round*, which grows. The ledger refuses one that is not newer than the last that it took, so that
//!   none is taken twice and none that its node has given up is taken late.
//! - A node takes what it returns out of its book before it says so.
//! - An answer says what the node was granted *in all*. A node that never heard an answer asks for nothing of those
//!   pots in its next renewal, and knows from the answer whether the earlier one was taken.

use serde::{Deserialize, Serialize};

use crate::{Nano, Pot};

/// Where the captures of a node are durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// In a journal of its own, shipped behind: an ended lease may have captures that nobody else has seen.
    Local,
    /// In the ledger itself.
    Direct,
}

/// What a node says when it renews its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Greater than that of every earlier one of this epoch.
    pub round: u64,
    pub asks: Vec<Ask>,
    pub returns: Vec<Return>,
}

/// A node asks for more of a pot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub pot: Pot,
    /// All of it or nothing. Zero asks what was granted so far.
    pub need: Nano,
}

/// What a node gets of a pot, and what is left for others. There is one for each pot of the renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub pot: Pot,
    /// On top of what it has; zero where there is not enough.
    pub more: Nano,
    /// What it was granted of this pot in this epoch in all, with `more` and without what it returned.
    pub granted: Nano,
    /// Not leased to anybody after this.
    pub rest: Nano,
}

/// Unused room that a node gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub pot: Pot,
    pub amount: Nano,
}

/// Among whom a pot is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One node alone, whose database nobody else opens.
    Sole,
    /// So many nodes live, the one that asks among them.
    Among(u32),
}

impl Sharing {
    /// What who needs `need` is granted where `unleased` is to be had: nothing unless all of it is there.
    ///
    /// A sole owner gets all there is. Among several each takes half of an equal share, so that asking is rare and
    /// the others find something too.
    pub fn portion(self, need: Nano, unleased: Nano) -> Nano {
        if need.is_zero() || need > unleased {
            return Nano::ZERO;
        }
        match self {
            Self::Sole => unleased,
            Self::Among(nodes) => {
                let shares = u64::from(nodes.max(1)).saturating_mul(2);
                need.max(Nano::saturating(unleased.get().checked_div(shares).unwrap_or(0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions() {
        let check = |sharing: Sharing, need, unleased, expect| {
            let portion = sharing.portion(Nano::saturating(need), Nano::saturating(unleased));
            assert_eq!(portion.get(), expect, "for {need} of {unleased}, {sharing:?}");
        };
        check(Sharing::Sole, 1, 100, 100);
        check(Sharing::Sole, 101, 100, 0);
        check(Sharing::Sole, 0, 100, 0);
        check(Sharing::Among(1), 1, 100, 50);
        check(Sharing::Among(2), 1, 100, 25);
        check(Sharing::Among(2), 60, 100, 60);
        check(Sharing::Among(2), 100, 100, 100);
        check(Sharing::Among(2), 101, 100, 0);
        check(Sharing::Among(0), 1, 100, 50);
        check(Sharing::Among(2), 0, 100, 0);
    }
}
