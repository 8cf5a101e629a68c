//! What the TDX module measured of a guest: the body of its quote.
//!
//! Offsets are those of Intel's *TDX Module ABI Specification*, TDREPORT_STRUCT and TDINFO_STRUCT, as the quote repeats
//! them.

use serde::Serialize;

use super::{REPORT_10_BYTES, REPORT_15_BYTES, REPORT_15_EX_BYTES, Reader};
use crate::Hex;

/// Of the quote, with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Version {
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "5 (TD report 1.0)")]
    V5Report10,
    #[serde(rename = "5 (TD report 1.5)")]
    V5Report15,
    #[serde(rename = "5 (TD report 1.5ex)")]
    V5Report15Ex,
}

impl Version {
    pub(super) const fn report_bytes(self) -> usize {
        match self {
            Self::V4 | Self::V5Report10 => REPORT_10_BYTES,
            Self::V5Report15 => REPORT_15_BYTES,
            Self::V5Report15Ex => REPORT_15_EX_BYTES,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub version: Version,
    /// Versions of the TDX module's parts.
    pub tee_tcb_svn: Hex<16>,
    /// The TDX module itself.
    pub mr_seam: Hex<48>,
    pub mr_signer_seam: Hex<48>,
    pub seam_attributes: Hex<8>,
    /// Bit 0 of the first byte is debug. All 64 bits are compared with the image's.
    pub td_attributes: Hex<8>,
    /// Which extended state of the CPU the guest may use.
    pub xfam: Hex<8>,
    /// The guest's memory as it was when built.
    pub mrtd: Hex<48>,
    pub mr_config_id: Hex<48>,
    pub mr_owner: Hex<48>,
    pub mr_owner_config: Hex<48>,
    /// What the guest measured of itself since: firmware and its tables, kernel, command line, and what runs.
    pub rtmr: [Hex<48>; 4],
    pub report_data: Hex<64>,
    /// Of a report 1.5 and later.
    pub current_tee_tcb_svn: Option<Hex<16>>,
    /// Of any service TD that is or was bound to the guest; `None` where all of it is zero or was not there yet.
    pub service_td: Option<Hex<48>>,
}

impl Report {
    pub(super) fn read(version: Version, body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let mut report = Self {
            version,
            tee_tcb_svn: reader.hex()?,
            mr_seam: reader.hex()?,
            mr_signer_seam: reader.hex()?,
            seam_attributes: reader.hex()?,
            td_attributes: reader.hex()?,
            xfam: reader.hex()?,
            mrtd: reader.hex()?,
            mr_config_id: reader.hex()?,
            mr_owner: reader.hex()?,
            mr_owner_config: reader.hex()?,
            rtmr: [reader.hex()?, reader.hex()?, reader.hex()?, reader.hex()?],
            report_data: reader.hex()?,
            current_tee_tcb_svn: None,
            service_td: None,
        };
        if matches!(version, Version::V5Report15 | Version::V5Report15Ex) {
            report.current_tee_tcb_svn = Some(reader.hex()?);
            report.service_td = set(reader.hex()?);
        }
        if version == Version::V5Report15Ex {
            // VMID, TD_ID, DEV_INFO.
            reader.array::<81>()?;
            let initial: Hex<48> = reader.hex()?;
            let initial_attributes: Hex<8> = reader.hex()?;
            // INIT_CPUSVN, INIT_TEE_TCB_SVN, INIT_TEE_FMSPC.
            reader.array::<44>()?;
            let current: Hex<48> = reader.hex()?;
            let current_attributes: Hex<8> = reader.hex()?;
            for hash in [initial, current] {
                report.service_td = report.service_td.or(set(hash));
            }
            for Hex(attributes) in [initial_attributes, current_attributes] {
                let mut hash = [0; 48];
                hash.iter_mut().zip(attributes).for_each(|(to, from)| *to = from);
                report.service_td = report.service_td.or(set(Hex(hash)));
            }
        }
        reader.0.is_empty().then_some(report)
    }

    /// Whether the host may look into the guest and change it.
    pub fn is_debug(&self) -> bool {
        let Hex([tud, ..]) = self.td_attributes;
        tud & 1 != 0
    }
}

/// What tells one guest from another. Not its report data, which are of one quote; and not the versions of firmware that
/// may be updated under it.
impl Report {
    pub(crate) fn is_same_guest(&self, other: &Self) -> bool {
        let identity = |report: &Self| {
            (
                (report.mr_seam, report.td_attributes, report.xfam),
                (report.mrtd, report.rtmr),
                (report.mr_config_id, report.mr_owner, report.mr_owner_config),
            )
        };
        identity(self) == identity(other)
    }
}

fn set(hash: Hex<48>) -> Option<Hex<48>> {
    (!hash.is_zero()).then_some(hash)
}

impl Reader<'_> {
    fn hex<const N: usize>(&mut self) -> Option<Hex<N>> {
        self.array().map(|bytes| Hex(*bytes))
    }
}
