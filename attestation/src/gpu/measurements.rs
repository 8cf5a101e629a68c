//! What a driver and a VBIOS may measure to: NVIDIA's RIMs, reduced to data.
//!
//! NVIDIA publishes a RIM (an XML document under XMLDSig) for every driver and every VBIOS. It is checked where it is
//! imported, not here: a table names the document it came from by SHA-256, and the policy that holds the table is what we
//! trust. The rules of comparison are those of NVIDIA's verifiers (`verifier.py` of nvtrust, `gpu/verify.cpp` of the SDK):
//! every index of both tables must measure to one of its alternatives, no index stands in both, and index 35 is passed
//! over while NVDEC0 is off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arch, GpuRefusal, opaque::Opaque, spdm::Report};
use crate::{Hex, digest::sha256};

/// The measurement of NVDEC0.
const NVDEC0: u8 = 35;

/// One RIM: what NVIDIA calls it, where it came from, what each index may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rim {
    /// As NVIDIA's service knows it: `NV_GPU_DRIVER_GH100_570.124.03`.
    pub id: String,
    /// SHA-256 of the XML document that this was read from.
    pub source: Hex<32>,
    /// By NVIDIA's index, from 0: the SHA-384 digests that are allowed. Only what the RIM calls active.
    pub measurements: BTreeMap<u8, Vec<Hex<48>>>,
}

/// The tables of a policy.
#[derive(Clone, Copy)]
pub(super) struct Rims<'a>(pub(super) &'a [Rim]);

impl Rims<'_> {
    /// `names`: the tables that the device's report asks for.
    pub(super) fn compare(self, names: &[String], report: &Report<'_>) -> Result<(), GpuRefusal> {
        let mut claimed = BTreeMap::new();
        for name in names {
            let rim = self.find(name)?;
            for index in rim.measurements.keys() {
                if let Some(other) = claimed.insert(*index, name) {
                    return Err(GpuRefusal::RimConflict {
                        first: other.clone(),
                        second: name.clone(),
                        index: *index,
                    });
                }
            }
        }
        names.iter().try_for_each(|name| matches(self.find(name)?, report))
    }

    /// The only table of this name. Two would leave open which one counts.
    fn find(&self, id: &str) -> Result<&Rim, GpuRefusal> {
        let mut named = self.0.iter().filter(|rim| rim.id == id);
        match (named.next(), named.next()) {
            // A table that allows nothing would be met by anything.
            (Some(rim), None) if !rim.measurements.is_empty() => Ok(rim),
            _ => Err(GpuRefusal::Rim { rim: id.to_owned() }),
        }
    }

    /// Of all tables, in their order; the verdict names what it compared with.
    pub(super) fn digest(&self) -> Hex<32> {
        let mut bytes = Vec::new();
        for rim in self.0 {
            bytes.extend(rim.id.as_bytes());
            bytes.push(0);
            bytes.extend(rim.source.0);
            for (index, allowed) in &rim.measurements {
                for digest in allowed {
                    bytes.extend([1, *index]);
                    bytes.extend(digest.0);
                }
            }
            bytes.push(0);
        }
        sha256(&[&bytes])
    }
}

fn matches(rim: &Rim, report: &Report<'_>) -> Result<(), GpuRefusal> {
    for (index, allowed) in &rim.measurements {
        if *index == NVDEC0 && !report.opaque.nvdec0()? {
            continue;
        }
        let measured = report.measurements.get(index);
        if !allowed.iter().any(|digest| measured == Some(&&digest.0)) {
            return Err(GpuRefusal::Measurement {
                rim: rim.id.clone(),
                index: *index,
            });
        }
    }
    Ok(())
}

/// What NVIDIA calls the tables for this device: those of driver and VBIOS for a GPU, one for a switch.
pub(super) fn names(arch: Arch, chip: &str, opaque: &Opaque<'_>) -> Result<Vec<String>, GpuRefusal> {
    let driver = match arch {
        Arch::Hopper => format!("NV_GPU_DRIVER_{chip}_{}", opaque.driver()?),
        Arch::Blackwell => {
            let chip = opaque.chip()?.unwrap_or_else(|| chip.to_owned());
            format!("NV_GPU_CC_DRIVER_{chip}_{}", opaque.driver()?)
        }
        // The report of an LS10 does not say its board; there is one.
        Arch::Ls10 => {
            let bios = opaque.vbios()?.replace('.', "");
            return Ok(vec![format!("NV_SWITCH_BIOS_5612_0002_890_{bios}")]);
        }
    };
    Ok(vec![driver, opaque.vbios_rim()?])
}
