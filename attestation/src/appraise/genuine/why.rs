//! Why `dcap-qvl` refused: its checks once more, in its order, until one fails.
//!
//! This gives a name to what was refused and accepts nothing: whatever is found here, the refusal stands.

mod enclave;
mod level;

use dcap_qvl::intel;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::AwsLc;
use crate::{Collateral, Part, Quote, Refusal, TrustAnchor, certificate};

pub(super) fn refused(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    chain: &[CertificateDer<'_>],
    collateral: &Collateral,
    now: u64,
) -> Refusal {
    match find(quote, anchor, chain, collateral, now) {
        Err(refusal) => refusal,
        Ok(()) => Refusal::QuoteUnverified,
    }
}

fn find(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    chain: &[CertificateDer<'_>],
    collateral: &Collateral,
    now: u64,
) -> Result<(), Refusal> {
    collateral.check(anchor, now)?;
    let leaf = chain.first().ok_or(Refusal::ChainUntrusted)?;
    let pck = certificate::parse(leaf).ok_or(Refusal::ChainUntrusted)?;
    let authorities = chain.iter().skip(1).filter_map(|der| certificate::parse(der));
    pck_chain(&pck, authorities, anchor, collateral, now)?;
    enclave::check(quote, &pck, collateral)?;
    quote_signature(quote)?;
    let pck = intel::parse_pck_extension_with::<AwsLc>(leaf).map_err(|_| Refusal::ChainUntrusted)?;
    level::check(quote.report(), &pck, collateral)
}

/// Anchor, authority, platform; nothing between them and nothing beside.
fn pck_chain<'a>(
    pck: &X509Certificate<'_>,
    mut authorities: impl Iterator<Item = X509Certificate<'a>>,
    anchor: &TrustAnchor,
    collateral: &Collateral,
    now: u64,
) -> Result<(), Refusal> {
    let root = certificate::parse(anchor.root_der()).ok_or(Refusal::ChainUntrusted)?;
    let authority = authorities
        .find(|authority| certificate::is_issued_by(pck, authority) && certificate::is_issued_by(authority, &root))
        .ok_or(Refusal::ChainUntrusted)?;
    if !certificate::holds_at(pck, now) || !certificate::holds_at(&authority, now) {
        return Err(Refusal::ChainExpired);
    }
    let parts = collateral.parts();
    let root_ca_crl =
        certificate::parse_crl(&parts.root_ca_crl).ok_or(Refusal::CollateralUntrusted { part: Part::RootCaCrl })?;
    let pck_crl = certificate::parse_crl(&parts.pck_crl).ok_or(Refusal::CollateralUntrusted { part: Part::PckCrl })?;
    if !certificate::is_crl_of(&pck_crl, &authority) {
        return Err(Refusal::CollateralMismatch { part: Part::PckCrl });
    }
    if certificate::is_revoked(&authority, &root_ca_crl) || certificate::is_revoked(pck, &pck_crl) {
        return Err(Refusal::PckRevoked);
    }
    Ok(())
}

fn quote_signature(quote: &Quote<'_>) -> Result<(), Refusal> {
    let signature = quote.signature();
    // SEC 1: an uncompressed point begins with 4.
    let mut point = vec![4];
    point.extend_from_slice(signature.attestation_key);
    if certificate::is_signed_by_point(&point, quote.signed(), signature.quote) {
        Ok(())
    } else {
        Err(Refusal::QuoteSignature)
    }
}
