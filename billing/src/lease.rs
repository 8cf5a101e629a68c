//! What nodes and the ledger say to each other: a node leases slices of pots and works from memory.
//!
//! The sum of what nodes hold and what was captured never exceeds what a pot holds. A node stops granting when its
//! lease ends by its own monotonic clock; its slices are free again only after its journal was replayed, or when an
//! administrator forgets it.

use crate::{Nano, Pot};

/// A node asks for more of a pot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub pot: Pot,
    /// All of it or nothing.
    pub need: Nano,
}

/// What a node gets of a pot, and what is left for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub pot: Pot,
    /// On top of what it has; zero where there is not enough.
    pub more: Nano,
    /// Not leased to anybody after this.
    pub rest: Nano,
}

/// Unused room that a node gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub pot: Pot,
    pub amount: Nano,
}
