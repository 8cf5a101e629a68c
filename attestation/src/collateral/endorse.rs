//! Whether collateral leads to the trust anchor.
//!
//! Asked when it arrives, so that nobody's made-up numbers stand in the way of genuine ones, and asked again when
//! a quote is refused, to say why. `dcap-qvl` asks the same for each quote, by its own code.

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, revocation_list::CertificateRevocationList};

use super::Collateral;
use crate::{Part, Refusal, TrustAnchor, certificate};

impl Collateral {
    /// Dates, then signatures, from the root down.
    pub(crate) fn check(&self, anchor: &TrustAnchor, now: u64) -> Result<(), Refusal> {
        self.check_dates(now)?;
        let root = certificate::parse(anchor.root_der()).ok_or(untrusted(Part::RootCa))?;
        let root_ca_crl = certificate::parse_crl(&self.parts.root_ca_crl).ok_or(untrusted(Part::RootCaCrl))?;
        if !certificate::is_crl_of(&root_ca_crl, &root) {
            return Err(untrusted(Part::RootCaCrl));
        }
        if certificate::is_revoked(&root, &root_ca_crl) || !certificate::holds_at(&root, now) {
            return Err(untrusted(Part::RootCa));
        }
        let links = Links {
            root: &root,
            root_ca_crl: &root_ca_crl,
            now,
        };
        for (part, pem, document_part, document, signature) in [
            (
                Part::TcbInfoChain,
                &self.parts.tcb_info_chain,
                Part::TcbInfo,
                &self.verifiable.tcb_info,
                &self.verifiable.tcb_info_signature,
            ),
            (
                Part::QeIdentityChain,
                &self.parts.qe_identity_chain,
                Part::QeIdentity,
                &self.verifiable.qe_identity,
                &self.verifiable.qe_identity_signature,
            ),
        ] {
            let chain = certificate::chain(pem.as_bytes()).ok_or(untrusted(part))?;
            let signer = links.first(part, &chain)?;
            if !certificate::is_signed_raw(&signer, document.as_bytes(), signature) {
                return Err(untrusted(document_part));
            }
        }
        let chain = certificate::chain(self.parts.pck_crl_chain.as_bytes()).ok_or(untrusted(Part::PckCrlChain))?;
        let authority = links.first(Part::PckCrlChain, &chain)?;
        let pck_crl = certificate::parse_crl(&self.parts.pck_crl).ok_or(untrusted(Part::PckCrl))?;
        if !certificate::is_crl_of(&pck_crl, &authority) {
            return Err(untrusted(Part::PckCrl));
        }
        Ok(())
    }
}

struct Links<'a> {
    root: &'a X509Certificate<'a>,
    root_ca_crl: &'a CertificateRevocationList<'a>,
    now: u64,
}

impl Links<'_> {
    /// The first certificate of a chain, where the root issued it and did not revoke it.
    fn first<'b>(&self, part: Part, chain: &'b [CertificateDer<'static>]) -> Result<X509Certificate<'b>, Refusal> {
        let first = chain
            .first()
            .and_then(|der| certificate::parse(der))
            .ok_or(untrusted(part))?;
        let good = certificate::is_issued_by(&first, self.root)
            && !certificate::is_revoked(&first, self.root_ca_crl)
            && certificate::holds_at(&first, self.now);
        good.then_some(first).ok_or(untrusted(part))
    }
}

const fn untrusted(part: Part) -> Refusal {
    Refusal::CollateralUntrusted { part }
}
