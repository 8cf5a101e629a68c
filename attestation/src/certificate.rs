//! The few questions that we ask of X.509 ourselves: who signed this, from when until when, was it revoked.
//!
//! Paths are not built here. Intel's chains have a fixed shape (a root, at most one authority, a leaf), so each link is
//! checked where it is known, and `dcap-qvl` builds its own path over the same bytes again.
//! ECDSA P-256 with SHA-256 is the only algorithm: Intel's PKI has no other.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate, oid_registry::OID_SIG_ECDSA_WITH_SHA256, prelude::FromDer as _,
    revocation_list::CertificateRevocationList, x509::AlgorithmIdentifier,
};

/// More than any chain of Intel's has.
const MAX_CHAIN: usize = 4;

/// Reads certificates from PEM, the leaf first; `None` where there is anything else or too many.
pub(crate) fn chain(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem)
        .take(MAX_CHAIN.saturating_add(1))
        .collect();
    chain.ok().filter(|chain| (1..=MAX_CHAIN).contains(&chain.len()))
}

/// Reads one certificate, with nothing after it.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// Reads one list, with nothing after it.
pub(crate) fn parse_crl(der: &[u8]) -> Option<CertificateRevocationList<'_>> {
    let (rest, crl) = CertificateRevocationList::from_der(der).ok()?;
    rest.is_empty().then_some(crl)
}

/// Whether it bears this authority's name and signature, and the authority may issue certificates.
pub(crate) fn is_issued_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && matches!(issuer.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca)
        && matches!(issuer.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign())
        && is_signed(
            issuer,
            &certificate.signature_algorithm,
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        )
}

/// The same of a revocation list.
pub(crate) fn is_crl_of(crl: &CertificateRevocationList<'_>, issuer: &X509Certificate<'_>) -> bool {
    crl.issuer().as_raw() == issuer.subject().as_raw()
        && matches!(issuer.key_usage(), Ok(Some(usage)) if usage.value.crl_sign())
        && is_signed(
            issuer,
            &crl.signature_algorithm,
            crl.tbs_cert_list.as_ref(),
            &crl.signature_value.data,
        )
}

/// Whether the list names it. Ask only of its own issuer's list.
pub(crate) fn is_revoked(certificate: &X509Certificate<'_>, crl: &CertificateRevocationList<'_>) -> bool {
    crl.iter_revoked_certificates()
        .any(|entry| entry.user_certificate == certificate.tbs_certificate.serial)
}

/// Whether it holds at this time.
pub(crate) fn holds_at(certificate: &X509Certificate<'_>, now: u64) -> bool {
    let (from, until) = dates(certificate);
    (from..=until).contains(&now)
}

/// First and last second, as Unix time.
pub(crate) fn dates(certificate: &X509Certificate<'_>) -> (u64, u64) {
    let validity = certificate.validity();
    (
        seconds(validity.not_before.timestamp()),
        seconds(validity.not_after.timestamp()),
    )
}

/// Times before 1970 count as 1970.
pub(crate) fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}

/// A raw signature, r ‖ s, as quotes and collateral have them.
pub(crate) fn is_signed_raw(signer: &X509Certificate<'_>, message: &[u8], signature: &[u8]) -> bool {
    is_signed_by_point(&signer.public_key().subject_public_key.data, message, signature)
}

/// The same by a public key as an uncompressed point.
pub(crate) fn is_signed_by_point(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message, signature)
        .is_ok()
}

fn is_signed(
    signer: &X509Certificate<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256
        && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &signer.public_key().subject_public_key.data)
            .verify(message, signature)
            .is_ok()
}
