//! Collateral from outside: fetched from Intel or any cache of it (PCCS), kept on disk, renewed before it expires.
//!
//! Whoever serves collateral is not trusted: what Intel did not sign, what does not hold now and what is older than what
//! we have is refused by [`CollateralSet`], and the old stays in force.
//! So a service can withhold and nothing else, and then quotes are refused once the old has expired.
//!
//! Nothing here runs within a handshake. A platform that a verifier does not know is refused there, and named on a
//! queue; [`Keeper`] fetches its collateral in the background, and the peer comes again.

mod client;
mod disk;
mod refresh;
mod schedule;
mod source;

pub mod bundle;

use std::{fmt, sync::Arc};

use attestation::{Ca, Collateral, CollateralSet, Fmspc, Refusal};

use crate::{Trust, Wanted};

pub use client::{Client, FetchError};
pub use disk::{Shelf, ShelfError};
pub use refresh::{Failure, Keeper, State};
pub use schedule::{MAX_UNKNOWN, Pace};
pub use source::{BadSource, Source, SourceError};

/// A kind of platform, and who certified it: what collateral is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub fmspc: Fmspc,
    pub ca: Ca,
}

impl Platform {
    pub fn of(collateral: &Collateral) -> Self {
        Self {
            fmspc: collateral.fmspc(),
            ca: collateral.ca(),
        }
    }
}

impl fmt::Display for Platform {
    /// As its folder is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.fmspc, self.ca)
    }
}

impl Platform {
    /// What a handshake missed.
    fn wanted(wanted: Wanted) -> Option<Self> {
        let ca = [Ca::Platform, Ca::Processor]
            .into_iter()
            .find(|ca| ca.name() == wanted.ca)?;
        Some(Self {
            fmspc: wanted.fmspc,
            ca,
        })
    }
}

/// Where the collateral is that verifiers look at.
pub trait InForce: Send + Sync {
    fn collateral(&self) -> Arc<CollateralSet>;
    /// Takes it through [`CollateralSet::insert`], and wakes whoever must appraise again.
    fn take(&self, collateral: Collateral, now: u64) -> Result<(), Refusal>;
    /// Takes all that was kept through [`CollateralSet::restore`], and says what was refused.
    fn restore(&self, kept: Vec<Collateral>, now: u64) -> Vec<(Platform, Refusal)>;
}

impl InForce for Trust {
    fn collateral(&self) -> Arc<CollateralSet> {
        Trust::collateral(self)
    }

    fn take(&self, collateral: Collateral, now: u64) -> Result<(), Refusal> {
        self.change_collateral(|set| set.insert(collateral, now))
    }

    fn restore(&self, kept: Vec<Collateral>, now: u64) -> Vec<(Platform, Refusal)> {
        refused(self.restore_collateral(kept, now))
    }
}

fn refused(by_set: Vec<(Fmspc, Ca, Refusal)>) -> Vec<(Platform, Refusal)> {
    let refused = by_set.into_iter();
    refused
        .map(|(fmspc, ca, refusal)| (Platform { fmspc, ca }, refusal))
        .collect()
}

#[cfg(test)]
mod tests;
