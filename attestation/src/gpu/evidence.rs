//! Evidence of several devices, as it travels.
//!
//! ```text
//! [1, [[report, [certificate, …]], …], [OCSP answer, …], eat or null]          all in bytes, as `cbor` writes them
//! ```
//! What the claims of a certificate bind is the digest of the first two elements. Answers and EATs are signed by others,
//! speak of the devices by name, and are renewed while the certificate lives.

use super::GpuRefusal;
use crate::{
    Hex,
    cbor::{Reader, Writer},
    digest::sha256,
};

/// Of everything together.
pub const EVIDENCE_BYTES_MAX: usize = 512 << 10;

/// Eight GPUs and their switches.
const DEVICES_MAX: usize = 16;
/// Three for each device.
const STAPLES_MAX: usize = 48;

const VERSION: u64 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuEvidence {
    pub devices: Vec<DeviceEvidence>,
    /// OCSP responses as DER, for whichever certificates they speak of.
    pub staples: Vec<Vec<u8>>,
    /// A detached EAT of NVIDIA's attestation service.
    pub eat: Option<String>,
}

/// What one device gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// SPDM: the request and its answer.
    pub report: Vec<u8>,
    /// As DER, from the leaf to the root.
    pub chain: Vec<Vec<u8>>,
}

impl GpuEvidence {
    pub fn encode(&self) -> Vec<u8> {
        let mut cbor = Writer::new();
        cbor.array(4);
        self.devices_to(&mut cbor);
        byte_strings_to(&self.staples, &mut cbor);
        match &self.eat {
            Some(eat) => cbor.bytes(eat.as_bytes()),
            None => cbor.null(),
        };
        cbor.finish()
    }

    /// Only what [`Self::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, GpuRefusal> {
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(GpuRefusal::TooLarge { what: "the evidence" });
        }
        read(bytes).ok_or(GpuRefusal::Malformed { what: "the evidence" })
    }

    /// What the claims hold: SHA-256 over version and devices, as they are encoded.
    pub fn digest(&self) -> Hex<32> {
        let mut cbor = Writer::new();
        self.devices_to(&mut cbor);
        sha256(&[&cbor.finish()])
    }

    fn devices_to(&self, cbor: &mut Writer) {
        cbor.uint(VERSION).array(self.devices.len());
        for device in &self.devices {
            cbor.array(2).bytes(&device.report);
            byte_strings_to(&device.chain, cbor);
        }
    }

    /// Nothing here is larger than what is verified.
    pub(super) fn bounded(&self) -> Result<(), GpuRefusal> {
        let too_large = |what| Err(GpuRefusal::TooLarge { what });
        if self.devices.len() > DEVICES_MAX {
            return too_large("the number of devices");
        }
        if self.staples.len() > STAPLES_MAX {
            return too_large("the number of OCSP answers");
        }
        Ok(())
    }
}

fn byte_strings_to(strings: &[Vec<u8>], cbor: &mut Writer) {
    cbor.array(strings.len());
    for string in strings {
        cbor.bytes(string);
    }
}

fn read(bytes: &[u8]) -> Option<GpuEvidence> {
    let mut cbor = Reader::new(bytes);
    if cbor.array()? != 4 || cbor.uint()? != VERSION {
        return None;
    }
    let mut devices = Vec::new();
    for _ in 0..cbor.array()? {
        if cbor.array()? != 2 {
            return None;
        }
        devices.push(DeviceEvidence {
            report: cbor.bytes()?.to_vec(),
            chain: byte_strings(&mut cbor)?,
        });
    }
    let staples = byte_strings(&mut cbor)?;
    let eat = match cbor.take_null() {
        true => None,
        false => Some(String::from_utf8(cbor.bytes()?.to_vec()).ok()?),
    };
    cbor.finish()?;
    Some(GpuEvidence { devices, staples, eat })
}

/// Each takes a byte at least, so that a number of them that is too great soon meets the end.
fn byte_strings(cbor: &mut Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    for _ in 0..cbor.array()? {
        strings.push(cbor.bytes()?.to_vec());
    }
    Some(strings)
}
