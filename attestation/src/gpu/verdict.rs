//! What verified GPU evidence says.

use serde::Serialize;

use super::{Arch, Mode};
use crate::Hex;

/// GPUs whose evidence was accepted.
///
/// Proves: the devices hold keys that the anchor certified, none of them revoked; at the time of the nonce they ran a
/// driver and a VBIOS that the policy's tables know, in a mode that it lists.
/// Does not prove: that they are the GPUs of the guest beside whose quote this stands, nor that its engine uses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpuVerdict {
    devices: Vec<Device>,
    measurements: Hex<32>,
    revocation: Revocation,
    bound_to_td: bool,
}

impl GpuVerdict {
    pub(super) fn new(devices: Vec<Device>, measurements: Hex<32>, revocation: Revocation) -> Self {
        Self {
            devices,
            measurements,
            revocation,
            bound_to_td: false,
        }
    }

    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// SHA-256 of the tables that were compared with.
    pub fn measurements(&self) -> Hex<32> {
        self.measurements
    }

    pub fn revocation(&self) -> Revocation {
        self.revocation
    }

    /// When what was said about revocation ends, in Unix time.
    pub fn until(&self) -> u64 {
        match self.revocation {
            Revocation::Ocsp { until } | Revocation::Eat { until } => until,
        }
    }

    /// Always false: no vendor binds a GPU to a guest yet.
    pub fn bound_to_td(&self) -> bool {
        self.bound_to_td
    }
}

/// One GPU or switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    pub arch: Arch,
    /// As its certificate calls it: `GH100 A01 GSP BROM`.
    pub model: String,
    /// Of the certificate that NVIDIA gave the chip, in hex: the same for as long as the chip lives.
    pub serial: String,
    /// Of the certificate of the firmware's key, in hex: another after another firmware.
    pub ueid: String,
    /// Of GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    pub vbios: String,
    /// Of GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// How it is known that no certificate is revoked, and until when that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Revocation {
    Ocsp {
        until: u64,
    },
    /// NVIDIA's attestation service asked, and said so in a signed EAT.
    Eat {
        until: u64,
    },
}
