//! A device's report: SPDM 1.1 (DMTF DSP0274 §10.11), the request GET_MEASUREMENTS and its answer, both as they went over
//! the wire, and the signature under the two.
//!
//! ```text
//! request    11 e0 01 ff ‖ nonce 32 ‖ slot 00          signed, all measurements
//! response   11 60 00 00 ‖ blocks u8 ‖ length u24 ‖ blocks ‖ nonce 32 ‖ length u16 ‖ opaque ‖ signature 96 (r ‖ s)
//! block      index u8 ‖ 01 (DMTF) ‖ size u16 ‖ 00 (digest) ‖ size u16 ‖ SHA-384
//! ```
//! Numbers are little-endian. Every byte is accounted for; a report with any other shape is malformed.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use super::{GpuRefusal, bytes::Bytes, opaque::Opaque};

/// The largest report seen has 4 274 bytes.
pub(super) const REPORT_BYTES_MAX: usize = 16 << 10;

const REQUEST: [u8; 4] = [0x11, 0xe0, 0x01, 0xff];
const RESPONSE: [u8; 4] = [0x11, 0x60, 0x00, 0x00];
const SLOT: u8 = 0;
const DMTF: u8 = 1;
const DIGEST: u8 = 0;
const SIGNATURE: usize = 96;

const MALFORMED: GpuRefusal = GpuRefusal::Malformed { what: "a report" };

#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Of the one who asked.
    pub(super) nonce: &'a [u8; 32],
    /// By NVIDIA's index, one less than SPDM's.
    pub(super) measurements: BTreeMap<u8, &'a [u8; 48]>,
    pub(super) opaque: Opaque<'a>,
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE],
}

impl<'a> Report<'a> {
    pub(super) fn parse(report: &'a [u8]) -> Result<Self, GpuRefusal> {
        if report.len() > REPORT_BYTES_MAX {
            return Err(GpuRefusal::TooLarge { what: "a report" });
        }
        let (signed, signature) = report.split_last_chunk().ok_or(MALFORMED)?;
        let frame = frame(signed).ok_or(MALFORMED)?;
        Ok(Self {
            nonce: frame.nonce,
            measurements: blocks(frame.record, frame.blocks).ok_or(MALFORMED)?,
            opaque: Opaque::parse(frame.opaque)?,
            signed,
            signature,
        })
    }

    /// `point`: the uncompressed P-384 point of the device's key.
    pub(super) fn verify(&self, point: &[u8]) -> Result<(), GpuRefusal> {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .verify(self.signed, self.signature)
            .map_err(|_| GpuRefusal::Signature)
    }
}

struct Frame<'a> {
    nonce: &'a [u8; 32],
    blocks: u8,
    record: &'a [u8],
    opaque: &'a [u8],
}

fn frame(signed: &[u8]) -> Option<Frame<'_>> {
    let mut bytes = Bytes::new(signed);
    let request = bytes.array()?;
    let nonce = bytes.array()?;
    let slot = bytes.u8()?;
    let response = bytes.array()?;
    if *request != REQUEST || slot != SLOT || *response != RESPONSE {
        return None;
    }
    let blocks = bytes.u8()?;
    let len = bytes.u24_le()?;
    let record = bytes.slice(len)?;
    // The device's own nonce, there so that its signature is never over bytes that another chose alone.
    bytes.array::<32>()?;
    let len = bytes.u16_le()?;
    let opaque = bytes.slice(len)?;
    bytes.is_empty().then_some(Frame {
        nonce,
        blocks,
        record,
        opaque,
    })
}

fn blocks(record: &[u8], count: u8) -> Option<BTreeMap<u8, &[u8; 48]>> {
    let mut bytes = Bytes::new(record);
    let mut measurements = BTreeMap::new();
    for _ in 0..count {
        let index = bytes.u8()?.checked_sub(1)?;
        let specification = bytes.u8()?;
        let mut block = Bytes::new(bytes.u16_le().and_then(|len| bytes.slice(len))?);
        let kind = block.u8()?;
        let mut value = Bytes::new(block.u16_le().and_then(|len| block.slice(len))?);
        let digest = value.array()?;
        if specification != DMTF || kind & 0x80 != DIGEST || !block.is_empty() || !value.is_empty() {
            return None;
        }
        // In rising order: none twice.
        if measurements.last_key_value().is_some_and(|(last, _)| *last >= index) {
            return None;
        }
        measurements.insert(index, digest);
    }
    bytes.is_empty().then_some(measurements)
}
