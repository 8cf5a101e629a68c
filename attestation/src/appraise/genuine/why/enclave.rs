//! The quoting enclave: signed by the platform's PCK, about this attestation key, and the one that Intel describes.

use dcap_qvl::{QeIdentity, TcbStatus};
use x509_parser::certificate::X509Certificate;

use crate::{Collateral, Part, Quote, Refusal, Standing, certificate, digest::sha256};

/// Offsets in an enclave's report, SGX's `sgx_report_body_t`.
const MISCSELECT: usize = 16;
const ATTRIBUTES: usize = 48;
const MRSIGNER: usize = 128;
const ISV_PROD_ID: usize = 256;
const ISV_SVN: usize = 258;
const REPORT_DATA: usize = 320;

pub(super) fn check(quote: &Quote<'_>, pck: &X509Certificate<'_>, collateral: &Collateral) -> Result<(), Refusal> {
    let signature = quote.signature();
    let report = signature.qe_report;
    if !certificate::is_signed_raw(pck, report, signature.qe_report_signature) {
        return Err(Refusal::QeUntrusted);
    }
    let key = sha256(&[signature.attestation_key, signature.qe_authentication_data]);
    if at::<32>(report, REPORT_DATA)? != key.0 {
        return Err(Refusal::QeUntrusted);
    }
    let identity: QeIdentity =
        serde_json::from_str(&collateral.verifiable().qe_identity).map_err(|_| Refusal::Malformed {
            part: Part::QeIdentity,
            why: "not the identity of a quoting enclave",
        })?;
    let masked = is_masked(
        &at::<16>(report, ATTRIBUTES)?,
        &identity.attributes,
        &identity.attributes_mask,
    ) && is_masked(
        &at::<4>(report, MISCSELECT)?,
        &identity.miscselect,
        &identity.miscselect_mask,
    );
    if at::<32>(report, MRSIGNER)? != identity.mrsigner
        || u16::from_le_bytes(at(report, ISV_PROD_ID)?) != identity.isvprodid
        || !masked
    {
        return Err(Refusal::QeIdentity);
    }
    let svn = u16::from_le_bytes(at(report, ISV_SVN)?);
    let level = identity.tcb_levels.iter().find(|level| level.tcb.isvsvn <= svn);
    match level {
        None => Err(Refusal::QeIdentity),
        Some(level) if level.tcb_status == TcbStatus::Revoked => Err(Refusal::TcbRefused {
            standing: Standing::Revoked,
            advisories: level.advisory_ids.clone(),
        }),
        Some(_) => Ok(()),
    }
}

fn at<const N: usize>(report: &[u8; 384], offset: usize) -> Result<[u8; N], Refusal> {
    report
        .get(offset..)
        .and_then(|rest| rest.first_chunk().copied())
        .ok_or(Refusal::QeIdentity)
}

fn is_masked(found: &[u8], expected: &[u8], mask: &[u8]) -> bool {
    found
        .iter()
        .zip(expected)
        .zip(mask)
        .all(|((found, expected), mask)| found & mask == expected & mask)
}
