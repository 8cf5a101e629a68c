//! Evidence as NVIDIA's tools write it: JSON around base64.
//!
//! `nvattest collect-evidence` writes `[{"arch", "nonce", "certificate", "evidence"}, …]`; what is sent to NVIDIA's service
//! is `{"nonce", "arch", "evidence_list": [{"certificate", "evidence"}, …]}`. The certificates are PEM. The report is bytes,
//! or hex digits where the older Python tools made it. `arch` and `nonce` are not read: the chain and the report say both.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;

use super::{DeviceEvidence, EVIDENCE_BYTES_MAX, GpuEvidence, GpuRefusal};

const MALFORMED: GpuRefusal = GpuRefusal::Malformed {
    what: "evidence as NVIDIA's tools write it",
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Capture {
    Collected(Vec<One>),
    Request { evidence_list: Vec<One> },
}

#[derive(Deserialize)]
struct One {
    certificate: String,
    evidence: String,
}

impl GpuEvidence {
    /// Reports and chains; no OCSP answers and no EAT, which NVIDIA's tools do not write.
    pub fn from_nvidia_json(json: &[u8]) -> Result<Self, GpuRefusal> {
        if json.len() > EVIDENCE_BYTES_MAX.saturating_mul(2) {
            return Err(GpuRefusal::TooLarge { what: "the evidence" });
        }
        let devices = match serde_json::from_slice(json).map_err(|_| MALFORMED)? {
            Capture::Collected(devices) => devices,
            Capture::Request { evidence_list } => evidence_list,
        };
        let device = |one: &One| {
            let pem = STANDARD.decode(&one.certificate).map_err(|_| MALFORMED)?;
            DeviceEvidence::from_pem(&STANDARD.decode(&one.evidence).map_err(|_| MALFORMED)?, &pem)
        };
        Ok(Self {
            devices: devices.iter().map(device).collect::<Result<_, _>>()?,
            staples: Vec::new(),
            eat: None,
        })
    }
}

impl DeviceEvidence {
    /// `report`: its bytes, or hex digits.
    pub fn from_pem(report: &[u8], chain: &[u8]) -> Result<Self, GpuRefusal> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|_| MALFORMED)?;
        // A report begins with 0x11, which is no digit.
        let report = match report.first() {
            Some(first) if first.is_ascii_hexdigit() => hex(report).ok_or(MALFORMED)?,
            _ => report.to_vec(),
        };
        Ok(Self { report, chain })
    }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.trim_ascii_end().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        u8::try_from(high? << 4 | low?).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
