//! The platform's own certificates: anchor, authority, platform, and nothing between them.

use rustls_pki_types::CertificateDer;

use crate::{Collateral, Part, Refusal, TrustAnchor, certificate};

/// Who issued them, when they hold, and whether the lists of this collateral revoke one.
pub(super) fn check(
    chain: &[CertificateDer<'_>],
    anchor: &TrustAnchor,
    collateral: &Collateral,
    now: u64,
) -> Result<(), Refusal> {
    let root = certificate::parse(anchor.root_der()).ok_or(Refusal::ChainUntrusted)?;
    let (leaf, others) = chain.split_first().ok_or(Refusal::ChainUntrusted)?;
    let pck = certificate::parse(leaf).ok_or(Refusal::ChainUntrusted)?;
    let authority = others
        .iter()
        .filter_map(|der| certificate::parse(der))
        .find(|authority| certificate::is_issued_by(&pck, authority) && certificate::is_issued_by(authority, &root))
        .ok_or(Refusal::ChainUntrusted)?;
    if !certificate::holds_at(&pck, now) || !certificate::holds_at(&authority, now) {
        return Err(Refusal::ChainExpired);
    }
    let parts = collateral.parts();
    let root_ca_crl =
        certificate::parse_crl(&parts.root_ca_crl).ok_or(Refusal::CollateralUntrusted { part: Part::RootCaCrl })?;
    let pck_crl = certificate::parse_crl(&parts.pck_crl).ok_or(Refusal::CollateralUntrusted { part: Part::PckCrl })?;
    if !certificate::is_crl_of(&pck_crl, &authority) {
        return Err(Refusal::CollateralMismatch { part: Part::PckCrl });
    }
    if certificate::is_revoked(&authority, &root_ca_crl) || certificate::is_revoked(&pck, &pck_crl) {
        return Err(Refusal::PckRevoked);
    }
    Ok(())
}
