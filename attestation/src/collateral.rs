//! What Intel publishes about platforms, and every quote is judged beside: TCB info, the quoting enclave's identity, and
//! revocation lists.
//!
//! Signatures are over exact bytes, so the exact bytes are kept. Formats are those of Intel's *PCS API*, version 4, and
//! what an honest or lying cache of it (PCCS) serves alike.

mod date;
mod endorse;
mod set;

pub use set::CollateralSet;

use std::fmt;

pub(crate) use date::seconds;

use dcap_qvl::QuoteCollateralV3;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::{Hex, Part, Refusal, certificate, digest::sha256};

/// Of one piece. Real ones have less than 30 KiB.
pub const MAX_BYTES: usize = 256 * 1024;

/// The pieces for one kind of platform, byte for byte as they were served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollateralParts {
    /// The body of `/tdx/certification/v4/tcb`: `{"tcbInfo":…,"signature":"…"}`.
    pub tcb_info: Vec<u8>,
    /// PEM, from the header `TCB-Info-Issuer-Chain`, URL-decoded.
    pub tcb_info_chain: String,
    /// The body of `/tdx/certification/v4/qe/identity`: `{"enclaveIdentity":…,"signature":"…"}`.
    pub qe_identity: Vec<u8>,
    /// PEM, from the header `SGX-Enclave-Identity-Issuer-Chain`.
    pub qe_identity_chain: String,
    /// DER, the body of `/sgx/certification/v4/pckcrl?encoding=der`.
    pub pck_crl: Vec<u8>,
    /// PEM, from the header `SGX-PCK-CRL-Issuer-Chain`.
    pub pck_crl_chain: String,
    /// DER.
    pub root_ca_crl: Vec<u8>,
}

/// A family of platforms, as Intel numbers them.
pub type Fmspc = Hex<6>;

/// Which of Intel's authorities issued a platform's PCK certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ca {
    Processor,
    Platform,
}

/// Collateral that was read. Whether Intel signed it is asked when a [`CollateralSet`] takes it.
#[derive(Clone)]
pub struct Collateral {
    parts: CollateralParts,
    /// As `dcap-qvl` takes it.
    verifiable: QuoteCollateralV3,
    fmspc: Fmspc,
    pce_id: Hex<2>,
    ca: Ca,
    tcb_info: Dated,
    qe_identity: Dated,
    pck_crl: Listed,
    root_ca_crl: Listed,
    expires: u64,
    digest: Hex<32>,
}

/// Of a signed JSON document.
#[derive(Clone, Copy, Debug)]
struct Dated {
    evaluation: u32,
    from: u64,
    until: u64,
}

/// Of a revocation list.
#[derive(Clone, Copy, Debug)]
struct Listed {
    number: u64,
    from: u64,
    until: u64,
}

impl Collateral {
    pub fn parse(parts: CollateralParts) -> Result<Self, Refusal> {
        for (part, bytes) in parts.lengths() {
            if bytes > MAX_BYTES {
                return Err(Refusal::TooLarge {
                    part,
                    bytes,
                    max: MAX_BYTES,
                });
            }
        }
        let (tcb_json, tcb_signature) = SignedTcbInfo::read(&parts.tcb_info)?;
        let tcb: TcbInfo =
            serde_json::from_str(tcb_json).map_err(|_| malformed(Part::TcbInfo, "not TCB info of version 3"))?;
        let (qe_json, qe_signature) = SignedQeIdentity::read(&parts.qe_identity)?;
        let qe: QeIdentity = serde_json::from_str(qe_json)
            .map_err(|_| malformed(Part::QeIdentity, "not the identity of a quoting enclave"))?;
        if tcb.id != "TDX" || tcb.version != 3 {
            return Err(Refusal::CollateralMismatch { part: Part::TcbInfo });
        }
        if qe.id != "TD_QE" {
            return Err(Refusal::CollateralMismatch { part: Part::QeIdentity });
        }
        let fmspc = tcb
            .fmspc
            .parse()
            .map_err(|_| malformed(Part::TcbInfo, "its FMSPC is not 12 hex digits"))?;

        let pce_id = tcb
            .pce_id
            .parse()
            .map_err(|_| malformed(Part::TcbInfo, "its PCE id is not 4 hex digits"))?;

        let pck_crl = certificate::parse_crl(&parts.pck_crl).ok_or(malformed(Part::PckCrl, "not a CRL in DER"))?;
        let root_ca_crl =
            certificate::parse_crl(&parts.root_ca_crl).ok_or(malformed(Part::RootCaCrl, "not a CRL in DER"))?;
        let ca = Ca::of(&pck_crl).ok_or(Refusal::CollateralMismatch { part: Part::PckCrl })?;

        let dated = |part, document: &Document| Dated::read(part, document);
        let tcb_info = dated(Part::TcbInfo, &tcb.document)?;
        let qe_identity = dated(Part::QeIdentity, &qe.document)?;
        let pck_crl = Listed::read(Part::PckCrl, &pck_crl)?;
        let root_ca_crl = Listed::read(Part::RootCaCrl, &root_ca_crl)?;
        let mut expires = [tcb_info.until, qe_identity.until, pck_crl.until, root_ca_crl.until]
            .into_iter()
            .min()
            .unwrap_or(0);
        for (part, pem) in parts.chains() {
            let chain = certificate::chain(pem.as_bytes()).ok_or(malformed(part, "not a chain in PEM"))?;
            for der in &chain {
                let certificate = certificate::parse(der).ok_or(malformed(part, "it holds no certificate in DER"))?;
                expires = expires.min(certificate::dates(&certificate).1);
            }
        }
        let verifiable = QuoteCollateralV3 {
            pck_crl_issuer_chain: parts.pck_crl_chain.clone(),
            root_ca_crl: parts.root_ca_crl.clone(),
            pck_crl: parts.pck_crl.clone(),
            tcb_info_issuer_chain: parts.tcb_info_chain.clone(),
            tcb_info: tcb_json.to_owned(),
            tcb_info_signature: tcb_signature.0.to_vec(),
            qe_identity_issuer_chain: parts.qe_identity_chain.clone(),
            qe_identity: qe_json.to_owned(),
            qe_identity_signature: qe_signature.0.to_vec(),
            // The chain is the quote's own.
            pck_certificate_chain: None,
        };
        Ok(Self {
            digest: parts.digest(),
            parts,
            verifiable,
            fmspc,
            pce_id,
            ca,
            tcb_info,
            qe_identity,
            pck_crl,
            root_ca_crl,
            expires,
        })
    }

    /// As they came.
    pub fn parts(&self) -> &CollateralParts {
        &self.parts
    }

    pub fn fmspc(&self) -> Fmspc {
        self.fmspc
    }

    /// Which provisioning enclave the levels are for.
    pub(crate) fn pce_id(&self) -> Hex<2> {
        self.pce_id
    }

    pub fn ca(&self) -> Ca {
        self.ca
    }

    /// The lower of the two `tcbEvaluationDataNumber`.
    pub fn tcb_evaluation(&self) -> u32 {
        self.tcb_info.evaluation.min(self.qe_identity.evaluation)
    }

    /// Of the PCK CRL and the root CA's.
    pub fn crl_numbers(&self) -> (u64, u64) {
        (self.pck_crl.number, self.root_ca_crl.number)
    }

    /// The last second in which all of it holds.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// SHA-256 of all pieces.
    pub fn digest(&self) -> Hex<32> {
        self.digest
    }

    pub(crate) fn verifiable(&self) -> &QuoteCollateralV3 {
        &self.verifiable
    }

    /// The first piece that does not hold at this time.
    pub(crate) fn check_dates(&self, now: u64) -> Result<(), Refusal> {
        for (part, from, until) in [
            (Part::TcbInfo, self.tcb_info.from, self.tcb_info.until),
            (Part::QeIdentity, self.qe_identity.from, self.qe_identity.until),
            (Part::PckCrl, self.pck_crl.from, self.pck_crl.until),
            (Part::RootCaCrl, self.root_ca_crl.from, self.root_ca_crl.until),
        ] {
            if now < from {
                return Err(Refusal::CollateralNotYetValid { part, from, now });
            }
            if now > until {
                return Err(Refusal::CollateralExpired { part, until, now });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Collateral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collateral")
            .field("fmspc", &self.fmspc)
            .field("ca", &self.ca)
            .field("tcb_evaluation", &self.tcb_evaluation())
            .field("expires", &self.expires)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl CollateralParts {
    fn lengths(&self) -> [(Part, usize); 7] {
        [
            (Part::TcbInfo, self.tcb_info.len()),
            (Part::TcbInfoChain, self.tcb_info_chain.len()),
            (Part::QeIdentity, self.qe_identity.len()),
            (Part::QeIdentityChain, self.qe_identity_chain.len()),
            (Part::PckCrl, self.pck_crl.len()),
            (Part::PckCrlChain, self.pck_crl_chain.len()),
            (Part::RootCaCrl, self.root_ca_crl.len()),
        ]
    }

    fn chains(&self) -> [(Part, &str); 3] {
        [
            (Part::TcbInfoChain, &self.tcb_info_chain),
            (Part::QeIdentityChain, &self.qe_identity_chain),
            (Part::PckCrlChain, &self.pck_crl_chain),
        ]
    }

    /// Of digests, so that no byte can move from one piece to the next.
    fn digest(&self) -> Hex<32> {
        let pieces: [&[u8]; 7] = [
            &self.tcb_info,
            self.tcb_info_chain.as_bytes(),
            &self.qe_identity,
            self.qe_identity_chain.as_bytes(),
            &self.pck_crl,
            self.pck_crl_chain.as_bytes(),
            &self.root_ca_crl,
        ];
        let digests = pieces.map(|piece| sha256(&[piece]).0);
        sha256(&[digests.as_flattened()])
    }
}

impl Ca {
    /// As in the addresses of Intel's service.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }

    /// By the word in the issuer's common name, *Intel SGX PCK Platform CA* or *… Processor CA*.
    fn of(crl: &CertificateRevocationList<'_>) -> Option<Self> {
        let name = crl.issuer().iter_common_name().next()?.as_str().ok()?;
        [Self::Platform, Self::Processor]
            .into_iter()
            .find(|ca| name.to_ascii_lowercase().contains(ca.name()))
    }
}

impl fmt::Display for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Dated {
    fn read(part: Part, document: &Document) -> Result<Self, Refusal> {
        let date = |text: &str| date::seconds(text).ok_or(malformed(part, "its dates are not RFC 3339 in UTC"));
        Ok(Self {
            evaluation: document.tcb_evaluation_data_number,
            from: date(&document.issue_date)?,
            until: date(&document.next_update)?,
        })
    }
}

impl Listed {
    fn read(part: Part, crl: &CertificateRevocationList<'_>) -> Result<Self, Refusal> {
        let number = crl.crl_number().ok_or(malformed(part, "it has no CRL number"))?;
        let until = crl.next_update().ok_or(malformed(part, "it says no next update"))?;
        Ok(Self {
            number: u64::try_from(number).map_err(|_| malformed(part, "its CRL number is beyond 64 bits"))?,
            from: certificate::seconds(crl.last_update().timestamp()),
            until: certificate::seconds(until.timestamp()),
        })
    }
}

/// Both bodies have one document and its signature, in hex, r ‖ s. The document's text is what is signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedTcbInfo<'a> {
    #[serde(rename = "tcbInfo", borrow)]
    document: &'a RawValue,
    signature: Hex<64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedQeIdentity<'a> {
    #[serde(rename = "enclaveIdentity", borrow)]
    document: &'a RawValue,
    signature: Hex<64>,
}

impl<'a> SignedTcbInfo<'a> {
    fn read(body: &'a [u8]) -> Result<(&'a str, Hex<64>), Refusal> {
        let Self { document, signature } =
            serde_json::from_slice(body).map_err(|_| malformed(Part::TcbInfo, "not JSON of tcbInfo and signature"))?;
        Ok((document.get(), signature))
    }
}

impl<'a> SignedQeIdentity<'a> {
    fn read(body: &'a [u8]) -> Result<(&'a str, Hex<64>), Refusal> {
        let Self { document, signature } = serde_json::from_slice(body)
            .map_err(|_| malformed(Part::QeIdentity, "not JSON of enclaveIdentity and signature"))?;
        Ok((document.get(), signature))
    }
}

/// Only what is looked at before the signature is: which platforms, and when.
#[derive(Deserialize)]
struct TcbInfo {
    id: String,
    version: u32,
    fmspc: String,
    #[serde(rename = "pceId")]
    pce_id: String,
    #[serde(flatten)]
    document: Document,
}

#[derive(Deserialize)]
struct QeIdentity {
    id: String,
    #[serde(flatten)]
    document: Document,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
}

const fn malformed(part: Part, why: &'static str) -> Refusal {
    Refusal::Malformed { part, why }
}
