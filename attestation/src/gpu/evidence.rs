//! Evidence of several devices, as it travels.
//!
//! ```text
//! [1, [[report, [certificate, …]], …], [OCSP answer, …], token or null]          CBOR (RFC 8949 §4.2), all bytes but the token
//! ```
//! What the claims of a certificate bind is the digest of the first two elements. Answers and tokens are signed by others,
//! speak of the devices by name, and are renewed while the certificate lives.

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decoder, data::Type, decode};

use super::{GpuRefusal, fixed};
use crate::Hex;

/// Of everything together.
pub const EVIDENCE_BYTES_MAX: usize = 512 << 10;

/// Eight GPUs and their switches.
const DEVICES_MAX: usize = 16;
/// Three for each device.
const STAPLES_MAX: usize = 48;

const VERSION: u8 = 1;

const MALFORMED: GpuRefusal = GpuRefusal::Malformed { what: "the evidence" };

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuEvidence {
    pub devices: Vec<DeviceEvidence>,
    /// OCSP responses as DER, for whichever certificates they speak of.
    pub staples: Vec<Vec<u8>>,
    /// A detached EAT of NVIDIA's attestation service.
    pub token: Option<String>,
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
        let mut cbor = Cbor::new();
        cbor.array(4);
        self.devices_to(&mut cbor);
        cbor.array(self.staples.len());
        self.staples.iter().for_each(|staple| cbor.bytes(staple));
        cbor.text(self.token.as_deref());
        cbor.finish()
    }

    /// Only what [`Self::encode`] writes, byte for byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, GpuRefusal> {
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(GpuRefusal::TooLarge { what: "the evidence" });
        }
        let evidence = read(bytes).map_err(|_| MALFORMED)?;
        match evidence.encode() == bytes {
            true => Ok(evidence),
            false => Err(MALFORMED),
        }
    }

    /// What the claims hold: SHA-256 over version and devices, as they are encoded.
    pub fn digest(&self) -> Hex<32> {
        let mut cbor = Cbor::new();
        self.devices_to(&mut cbor);
        Hex(fixed(digest(&SHA256, &cbor.finish()).as_ref()))
    }

    fn devices_to(&self, cbor: &mut Cbor) {
        cbor.number(VERSION);
        cbor.array(self.devices.len());
        for device in &self.devices {
            cbor.array(2);
            cbor.bytes(&device.report);
            cbor.array(device.chain.len());
            device.chain.iter().for_each(|der| cbor.bytes(der));
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

fn read(bytes: &[u8]) -> Result<GpuEvidence, decode::Error> {
    let mut cbor = Decoder::new(bytes);
    array(&mut cbor, Some(4))?;
    if cbor.u8()? != VERSION {
        return Err(decode::Error::message("another version"));
    }
    let mut devices = Vec::new();
    for _ in 0..array(&mut cbor, None)? {
        array(&mut cbor, Some(2))?;
        devices.push(DeviceEvidence {
            report: cbor.bytes()?.to_vec(),
            chain: byte_strings(&mut cbor)?,
        });
    }
    let staples = byte_strings(&mut cbor)?;
    let token = match cbor.datatype()? {
        Type::Null => cbor.null().map(|()| None)?,
        _ => Some(cbor.str()?.to_owned()),
    };
    Ok(GpuEvidence {
        devices,
        staples,
        token,
    })
}

fn byte_strings(cbor: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, decode::Error> {
    let mut strings = Vec::new();
    for _ in 0..array(cbor, None)? {
        strings.push(cbor.bytes()?.to_vec());
    }
    Ok(strings)
}

/// How many elements follow. Each takes a byte at least, so that a wrong number soon meets the end.
fn array(cbor: &mut Decoder<'_>, len: Option<u64>) -> Result<u64, decode::Error> {
    match (cbor.array()?, len) {
        (Some(found), None) => Ok(found),
        (Some(found), Some(required)) if found == required => Ok(found),
        _ => Err(decode::Error::message("an array of another length")),
    }
}

/// The few types that are written, each in its shortest form.
struct Cbor(Vec<u8>);

impl Cbor {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn number(&mut self, number: u8) {
        self.head(0x00, number.into());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.counted(0x40, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            return self.0.push(0xf6);
        };
        self.counted(0x60, text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn array(&mut self, len: usize) {
        self.counted(0x80, len);
    }

    fn counted(&mut self, major: u8, len: usize) {
        // A length in memory fits everywhere that we compile for; one that did not would be refused on reading.
        self.head(major, u64::try_from(len).unwrap_or(u64::MAX));
    }

    fn head(&mut self, major: u8, number: u64) {
        let bytes = number.to_be_bytes();
        let [.., one] = bytes;
        match number {
            0..24 => self.0.push(major | one),
            24..0x100 => self.0.extend([major | 24, one]),
            0x100..0x1_0000 => {
                self.0.push(major | 25);
                self.0.extend(bytes.iter().skip(6));
            }
            0x1_0000..0x1_0000_0000 => {
                self.0.push(major | 26);
                self.0.extend(bytes.iter().skip(4));
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend(bytes);
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        self.0
    }
}
