//! A folder of collateral that somebody carries: for machines without a network, and for evidence that is kept.
//!
//! It has the form of the cache on disk; a folder with the files of a single platform is one too.

use std::path::Path;

use attestation::{CollateralSet, Refusal};

use super::{Platform, Shelf, ShelfError, disk};

/// Why a member of a bundle is not in the set.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("the collateral of {platform} is refused")]
    Refused {
        platform: Platform,
        #[source]
        source: Refusal,
    },
}

/// Puts what the bundle holds into the set, each member on its own, and says for each what came of it.
pub fn import(
    folder: &Path,
    set: &mut CollateralSet,
    now: u64,
) -> Result<Vec<Result<Platform, BundleError>>, ShelfError> {
    let mut read = Shelf::new(folder).read_all()?;
    if read.is_empty() {
        read.push(disk::read_folder(folder));
    }
    let take = |collateral: Result<_, ShelfError>| {
        let collateral = collateral?;
        let platform = Platform::of(&collateral);
        let taken = set.insert(collateral, now);
        taken.map_err(|source| BundleError::Refused { platform, source })?;
        Ok(platform)
    };
    Ok(read.into_iter().map(take).collect())
}

/// Writes all of the set.
pub fn export(set: &CollateralSet, folder: &Path) -> Result<(), ShelfError> {
    let shelf = Shelf::new(folder);
    set.iter().try_for_each(|collateral| shelf.write(collateral))
}
