//! What to ask a responder for the answers that evidence needs (RFC 6960 §4.1).
//!
//! One request a certificate, named by SHA-384 as NVIDIA's own verifier does, without a nonce: an answer is made to be
//! passed on, and one that is a few hours old is as good.

use aws_lc_rs::digest::{SHA384, digest};
use x509_parser::certificate::X509Certificate;

use super::ID_SHA384;
use crate::gpu::{
    GpuEvidence, GpuRefusal,
    chain::Chain,
    der::{self, tag},
};

impl GpuEvidence {
    /// For a responder such as [`NVIDIA_OCSP`](crate::gpu::NVIDIA_OCSP), to be sent by POST as
    /// `application/ocsp-request`; what it answers belongs into `staples`. Each certificate is asked for once, whether or
    /// not there is an answer already. Nothing is verified here.
    pub fn ocsp_requests(&self) -> Result<Vec<Vec<u8>>, GpuRefusal> {
        self.bounded()?;
        let mut requests = Vec::new();
        for device in &self.devices {
            for (certificate, issuer) in Chain::parse(&device.chain)?.revocable() {
                let request = request(certificate, issuer).ok_or(GpuRefusal::TooLarge { what: "a certificate" })?;
                if !requests.contains(&request) {
                    requests.push(request);
                }
            }
        }
        Ok(requests)
    }
}

/// OCSPRequest { tbsRequest { requestList { Request { CertID } } } }
fn request(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let hash = |of: &[u8]| der::write(tag::OCTET_STRING, &[digest(&SHA384, of).as_ref()]);
    let algorithm = [der::write(tag::OID, &[ID_SHA384])?, der::write(tag::NULL, &[])?].concat();
    let id = [
        der::write(tag::SEQUENCE, &[&algorithm])?,
        hash(issuer.subject().as_raw())?,
        hash(&issuer.public_key().subject_public_key.data)?,
        der::write(tag::INTEGER, &[certificate.raw_serial()])?,
    ]
    .concat();
    // CertID, Request, requestList, TBSRequest, OCSPRequest.
    (0..5).try_fold(id, |inner, _| der::write(tag::SEQUENCE, &[&inner]))
}
