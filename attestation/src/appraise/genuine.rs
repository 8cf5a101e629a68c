//! Steps 7 to 9: the quote is genuine, and the platform stands as the policy wants.
//!
//! `dcap-qvl` judges. Its errors are texts for people, so when it refuses we look for the reason ourselves ([`why`]), in
//! the order in which it works; what we cannot find is `quote_unverified`.

mod chain;
mod crypto;
mod why;

use dcap_qvl::{
    QuoteClaims, QuotePolicy,
    config::{ParsedCert as _, PckCa, X509Codec as _},
    intel,
    verify::QuoteVerifier,
    x509::X509CertBackend,
};
use rustls_pki_types::CertificateDer;

use super::{Basis, standing};
use crate::{
    Ca, Collateral, Fmspc, Hex, Part, Platform, Quote, Refusal, Tcb, TrustAnchor,
    cache::{Cache, Under},
    certificate,
    digest::sha384,
};
use crypto::AwsLc;

/// What a genuine quote says of its platform.
#[derive(Clone, Debug)]
pub(super) struct Genuine {
    pub(super) platform: Platform,
    pub(super) tcb: Tcb,
    pub(super) checked_at: u64,
    /// The first second in which part of the collateral or of the platform's chain holds no more.
    pub(super) expires: u64,
}

pub(super) fn check(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    cache: &Cache<Genuine>,
    basis: &Basis<'_>,
) -> Result<Genuine, Refusal> {
    let now = basis.now;
    // First, because to read the certificates costs as much as all the rest of a verdict that is found again. What is
    // found was kept only when the collateral of this generation, under this anchor, was there and held, and only until
    // it ends.
    let under = Under {
        policy: basis.policy_digest,
        collateral: basis.collateral.generation(),
    };
    if let Some(found) = cache.find(quote, under, now) {
        return found;
    }
    let pem = quote.signature().pck_chain.ok_or(Refusal::CertificationUnsupported)?;
    let chain = certificate::chain(pem).ok_or(Refusal::CertificationUnsupported)?;
    let (fmspc, ca) = names(&chain)?;
    if !basis.collateral.anchor().has_key_of(anchor) {
        return Err(Refusal::AnchorMismatch);
    }
    let collateral = basis.collateral.get(fmspc, ca)?;
    collateral.check_dates(now)?;
    let found = judge(quote, anchor, &chain, collateral, basis);
    let until = found
        .as_ref()
        .map_or(now, |genuine| genuine.expires.min(super::expiry(now, basis.policy)));
    cache.keep(quote, under, &found, now, until);
    found
}

fn judge(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    chain: &[CertificateDer<'_>],
    collateral: &Collateral,
    basis: &Basis<'_>,
) -> Result<Genuine, Refusal> {
    let &Basis { policy, now, .. } = basis;
    let claims = verify(quote, anchor, chain, collateral, now)?;
    for newer in basis.collateral.newer_lists(collateral) {
        chain::check(chain, anchor, newer, now)?;
    }
    // Intel's own verifier compares it; the crate does not.
    if claims.platform.pck.pce_id != collateral.pce_id().0 {
        return Err(Refusal::CollateralMismatch { part: Part::TcbInfo });
    }
    check_root(&claims, anchor)?;
    let tcb = standing::check(&claims, policy, quote.report(), now)?;
    let pck = &claims.platform.pck;
    let ppid = pck.ppid.as_slice().try_into().map_err(|_| Refusal::QuoteUnverified)?;
    Ok(Genuine {
        platform: Platform {
            ppid: Hex(ppid),
            instance: pck.platform_instance_id.map(Hex),
            fmspc: collateral.fmspc(),
            ca: collateral.ca(),
            listed: false,
        },
        tcb,
        checked_at: now,
        expires: claims.earliest_expiration_date.saturating_add(1),
    })
}

/// Which collateral the quote asks for. Nobody vouches for it yet; with the wrong one the next step fails.
fn names(chain: &[CertificateDer<'_>]) -> Result<(Fmspc, Ca), Refusal> {
    let leaf = chain.first().ok_or(Refusal::CertificationUnsupported)?;
    let extension = intel::parse_pck_extension_with::<AwsLc>(leaf).map_err(|_| Refusal::CertificationUnsupported)?;
    let ca = X509CertBackend::from_der(leaf)
        .ok()
        .and_then(|leaf| leaf.pck_ca())
        .ok_or(Refusal::ChainUntrusted)?;
    let ca = match ca {
        PckCa::Processor => Ca::Processor,
        PckCa::Platform => Ca::Platform,
    };
    Ok((Hex(extension.fmspc), ca))
}

/// Step 8.
fn verify(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    chain: &[CertificateDer<'_>],
    collateral: &Collateral,
    now: u64,
) -> Result<QuoteClaims, Refusal> {
    let verifier = QuoteVerifier::<AwsLc>::new_with_config(anchor.root_der().to_vec());
    // Only the judgement of what is genuine: what of it is acceptable is asked in step 9, where the reason is known.
    let policy = QuotePolicy::claims_only(now);
    verifier
        .verify_with_policy(quote.bytes(), collateral.verifiable(), now, &policy)
        .map_err(|_| why::refused(quote, anchor, chain, collateral, now))
}

/// That the root key is the anchor's, by the number that Intel gives it: SHA-384 of the point.
fn check_root(claims: &QuoteClaims, anchor: &TrustAnchor) -> Result<(), Refusal> {
    let root = certificate::parse(anchor.root_der()).ok_or(Refusal::AnchorMismatch)?;
    let key = sha384(&[&root.public_key().subject_public_key.data]);
    if claims.platform.root_key_id == key.0 {
        Ok(())
    } else {
        Err(Refusal::AnchorMismatch)
    }
}
