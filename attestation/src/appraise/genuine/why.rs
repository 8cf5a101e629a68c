//! Why `dcap-qvl` refused: its checks once more, in its order, until one fails.
//!
//! This gives a name to what was refused and accepts nothing: whatever is found here, the refusal stands.

mod enclave;
mod level;

use dcap_qvl::intel;
use rustls_pki_types::CertificateDer;

use super::{AwsLc, chain};
use crate::{Collateral, Quote, Refusal, TrustAnchor, certificate};

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
    chain::check(chain, anchor, collateral, now)?;
    let leaf = chain.first().ok_or(Refusal::ChainUntrusted)?;
    let pck = certificate::parse(leaf).ok_or(Refusal::ChainUntrusted)?;
    enclave::check(quote, &pck, collateral)?;
    quote_signature(quote)?;
    let pck = intel::parse_pck_extension_with::<AwsLc>(leaf).map_err(|_| Refusal::ChainUntrusted)?;
    level::check(quote.report(), &pck, collateral)
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
