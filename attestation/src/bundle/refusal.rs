//! Why a bundle is not what it says. Codes never change, as those of evidence.

use super::MAX_BYTES;
use crate::Refusal;

/// In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleRefusal {
    #[error("the bundle has {bytes} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge { bytes: usize },
    #[error("it is not a bundle of evidence: {why}")]
    Malformed { why: String },
    #[error("the bundle is of version {found}, which is not known here; use a newer program")]
    Version { found: u64 },
    #[error("the bundle is not written in its one canonical form; keep bundles as they came, byte for byte")]
    NotCanonical,
    #[error(
        "the bundle rests on a development root, which proves nothing about any machine; name that root yourself if you mean to believe it"
    )]
    DevelopmentAnchor,
    #[error("the collateral in the bundle is not what its verdict names")]
    Collateral,
    #[error(transparent)]
    Evidence(#[from] Refusal),
    #[error("the bundle holds evidence or collateral that its verdict does not rest on")]
    Superfluous,
    #[error("the evidence holds, and its verdict is another than the bundle says: {member} differs")]
    Verdict { member: String },
}

/// The verdict was come to by another policy or other collateral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the verdict rests on another policy or other collateral than these")]
pub struct NotThisVerdict;

impl BundleRefusal {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "bundle_too_large",
            Self::Malformed { .. } => "bundle_malformed",
            Self::Version { .. } => "bundle_version",
            Self::NotCanonical => "bundle_not_canonical",
            Self::DevelopmentAnchor => "bundle_development_anchor",
            Self::Collateral => "bundle_collateral",
            Self::Evidence(refusal) => refusal.code(),
            Self::Superfluous => "bundle_superfluous",
            Self::Verdict { .. } => "bundle_verdict",
        }
    }
}
