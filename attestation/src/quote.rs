//! A TDX quote, read whole and strictly, and not yet believed.
//!
//! The layout is that of Intel's *DCAP Quoting Library API*, appendix A.3 and A.4: version 4 with a TD report 1.0, version
//! 5 with a report 1.0, 1.5 or 1.5ex. Every length must come out even: what follows the end, of the quote or of any part
//! in it, is refused, because nobody signs it.
//! Whether the signatures hold is asked elsewhere, by `dcap-qvl`, from the same bytes.

mod report;

pub use report::{Report, Version};

use crate::{Hex, Part, Refusal, digest::sha256};

/// Real quotes have about 5 KiB.
pub const MAX_BYTES: usize = 16 * 1024;

const HEADER_BYTES: usize = 48;
const REPORT_10_BYTES: usize = 584;
const REPORT_15_BYTES: usize = 648;
const REPORT_15_EX_BYTES: usize = 885;
const TEE_TDX: u32 = 0x81;
const ECDSA_P256: u16 = 2;
const QE_REPORT_CERTIFICATION: u16 = 6;
const PCK_CHAIN: u16 = 5;
/// The quoting enclave's vendor, Intel: 939a7233-f79c-4ca9-940a-0db3957f0607.
const INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// What was read. All of it lies, until the signatures were checked.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    bytes: &'a [u8],
    report: Report,
    signed: &'a [u8],
    signature: Signature<'a>,
}

/// What follows the signed part.
#[derive(Clone, Debug)]
pub struct Signature<'a> {
    /// ECDSA P-256, r ‖ s, over the signed part, by the attestation key.
    pub quote: &'a [u8; 64],
    /// x ‖ y.
    pub attestation_key: &'a [u8; 64],
    pub qe_report: &'a [u8; 384],
    /// By the PCK.
    pub qe_report_signature: &'a [u8; 64],
    pub qe_authentication_data: &'a [u8],
    /// As PEM, the leaf first; `None` where the quote holds something else in its place.
    pub pck_chain: Option<&'a [u8]>,
}

impl<'a> Quote<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (quote, rest) = Self::read(bytes)?;
        if rest.is_empty() { Ok(quote) } else { Err(TRAILING) }
    }

    /// What is whole, and what follows it.
    fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Refusal> {
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::TooLarge {
                part: Part::Quote,
                bytes: bytes.len(),
                max: MAX_BYTES,
            });
        }
        let cut = || malformed("it is cut short");
        let mut reader = Reader(bytes);
        let version = reader.u16().ok_or_else(cut)?;
        let key_type = reader.u16().ok_or_else(cut)?;
        let tee = reader.u32().ok_or_else(cut)?;
        // Versions of quoting and provisioning enclaves, which are zero in version 4 and later.
        reader.array::<4>().ok_or_else(cut)?;
        let vendor = reader.array::<16>().ok_or_else(cut)?;
        reader.array::<20>().ok_or_else(cut)?;
        if tee != TEE_TDX {
            return Err(Refusal::QuoteUnsupported { what: "not TDX" });
        }
        if key_type != ECDSA_P256 {
            return Err(Refusal::QuoteUnsupported {
                what: "another attestation key",
            });
        }
        if *vendor != INTEL {
            return Err(Refusal::QuoteUnsupported {
                what: "another vendor's quoting enclave",
            });
        }
        let (version, prefix) = match version {
            4 => (Version::V4, 0),
            5 => {
                let kind = reader.u16().ok_or_else(cut)?;
                let size = reader.u32().ok_or_else(cut)?;
                let version = match kind {
                    2 => Version::V5Report10,
                    3 => Version::V5Report15,
                    4 => Version::V5Report15Ex,
                    _ => return Err(Refusal::QuoteUnsupported { what: "another body" }),
                };
                if usize::try_from(size) != Ok(version.report_bytes()) {
                    return Err(malformed("the size of its body is not that of its kind"));
                }
                (version, 6)
            }
            _ => {
                return Err(Refusal::QuoteUnsupported {
                    what: "another version",
                });
            }
        };
        let body = reader.slice(version.report_bytes()).ok_or_else(cut)?;
        let report = Report::read(version, body).ok_or_else(cut)?;
        let signed = HEADER_BYTES
            .checked_add(prefix)
            .and_then(|len| len.checked_add(version.report_bytes()))
            .and_then(|len| bytes.get(..len))
            .ok_or_else(cut)?;
        let signature = reader.prefixed_u32().ok_or_else(cut)?;
        let quote = Self {
            bytes: bytes.strip_suffix(reader.0).unwrap_or(bytes),
            report,
            signed,
            signature: Signature::read(signature)?,
        };
        Ok((quote, reader.0))
    }

    /// The quote without the zeros that Intel's quoting service leaves behind one of version 4, 70 of them as measured on
    /// real machines. Who sends a quote cuts them off; who reads one does not accept them.
    pub fn unpadded(bytes: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let (_, rest) = Self::read(bytes)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(TRAILING);
        }
        Ok(bytes.strip_suffix(rest).unwrap_or(bytes))
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Header and body, which the attestation key signs.
    pub fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// SHA-256 of the signed part. What follows it can be changed by anybody without breaking a signature (the PEM text
    /// of the chain, an ECDSA signature's other form), so a digest of the whole quote names nothing.
    pub fn signed_digest(&self) -> Hex<32> {
        sha256(&[self.signed])
    }

    pub fn signature(&self) -> &Signature<'a> {
        &self.signature
    }
}

impl<'a> Signature<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let cut = || malformed("its signature is cut short");
        let mut reader = Reader(bytes);
        let quote = reader.array().ok_or_else(cut)?;
        let attestation_key = reader.array().ok_or_else(cut)?;
        let kind = reader.u16().ok_or_else(cut)?;
        if kind != QE_REPORT_CERTIFICATION {
            return Err(Refusal::QuoteUnsupported {
                what: "no report of the quoting enclave",
            });
        }
        let certification = reader.prefixed_u32().ok_or_else(cut)?;
        reader.finish("bytes follow its signature")?;

        let mut reader = Reader(certification);
        let qe_report = reader.array().ok_or_else(cut)?;
        let qe_report_signature = reader.array().ok_or_else(cut)?;
        let qe_authentication_data = reader.prefixed_u16().ok_or_else(cut)?;
        let kind = reader.u16().ok_or_else(cut)?;
        let data = reader.prefixed_u32().ok_or_else(cut)?;
        reader.finish("bytes follow its certificates")?;
        Ok(Self {
            quote,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_authentication_data,
            pck_chain: (kind == PCK_CHAIN).then_some(data),
        })
    }
}

/// Whole numbers are little-endian.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(array)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(slice)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn prefixed_u16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.slice(usize::from(len))
    }

    fn prefixed_u32(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.slice(usize::try_from(len).ok()?)
    }

    fn finish(self, why: &'static str) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed(why)) }
    }
}

const TRAILING: Refusal = malformed("bytes follow its end");

const fn malformed(why: &'static str) -> Refusal {
    Refusal::Malformed { part: Part::Quote, why }
}
