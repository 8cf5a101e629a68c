//! The hash of a PE image as firmware measures it: all of the file but its checksum, its entry for signatures, and the
//! signatures.
//!
//! Rules: "Windows Authenticode Portable Executable Signature Format", Calculating the PE Image Hash, in the reading of
//! edk2 (`OvmfPkg/Tcg/TdTcg2Dxe/MeasureBootPeCoff.c`), which pads nothing. Formats: Microsoft's PE/COFF specification.

use sha2::{Digest, Sha256, Sha384};

use crate::Measurement;
use crate::field::{size_at, slice, u16_at, u32_at};

const SIGNATURES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    #[error("this is no PE image: a kernel must have been built with CONFIG_EFI_STUB")]
    NotPe,
    #[error("the PE image ends before what its headers describe")]
    Truncated,
}

/// What the firmware extends RTMR1 with when it starts this image.
pub fn authenticode_sha384(image: &[u8]) -> Result<Measurement, PeError> {
    hash::<Sha384>(image).map(|digest| Measurement(digest.into()))
}

/// What a signature for Secure Boot signs; signed kernels have it inside, so that this reading of the rules can be
/// compared with other people's.
pub fn authenticode_sha256(image: &[u8]) -> Result<[u8; 32], PeError> {
    hash::<Sha256>(image).map(Into::into)
}

fn hash<D: Digest>(image: &[u8]) -> Result<sha2::digest::Output<D>, PeError> {
    let pe = Pe::parse(image)?;
    let mut hash = D::new();
    let mut update = |start: usize, end: usize| {
        hash.update(image.get(start..end).ok_or(PeError::Truncated)?);
        Ok(())
    };
    update(0, pe.checksum)?;
    let after_checksum = pe.checksum.saturating_add(4);
    match pe.signatures {
        None => update(after_checksum, pe.headers)?,
        Some(entry) => {
            update(after_checksum, entry)?;
            update(entry.saturating_add(8), pe.headers)?;
        }
    }
    let mut hashed = pe.headers;
    for &(start, len) in &pe.sections {
        update(start, start.saturating_add(len))?;
        hashed = hashed.saturating_add(len);
    }
    // What is behind the sections is hashed too, but for the signatures, which come last.
    let end = image.len().checked_sub(pe.signatures_len).ok_or(PeError::Truncated)?;
    if image.len() > hashed {
        update(hashed, end)?;
    }
    Ok(hash.finalize())
}

/// Where in the file everything is.
struct Pe {
    checksum: usize,
    headers: usize,
    /// The directory's entry for signatures, where the directory goes so far.
    signatures: Option<usize>,
    signatures_len: usize,
    /// Start and length, in the order of the file.
    sections: Vec<(usize, usize)>,
}

impl Pe {
    fn parse(image: &[u8]) -> Result<Self, PeError> {
        if slice(image, 0, 2) != Some(b"MZ") {
            return Err(PeError::NotPe);
        }
        let start = size_at(image, 0x3c).ok_or(PeError::NotPe)?;
        if slice(image, start, 4) != Some(b"PE\0\0") {
            return Err(PeError::NotPe);
        }
        // Not past 2^33, so none of the sums below wraps where usize has 64 bits; on others they end as truncated.
        let at = |offset: usize| start.saturating_add(offset);
        let count = u16_at(image, at(6)).ok_or(PeError::Truncated)?;
        let optional_len = usize::from(u16_at(image, at(20)).ok_or(PeError::Truncated)?);
        let directory = match u16_at(image, at(24)).ok_or(PeError::Truncated)? {
            0x10b => 96,
            0x20b => 112,
            _ => return Err(PeError::NotPe),
        };
        let headers = size_at(image, at(84)).ok_or(PeError::Truncated)?;
        let directory = at(24).saturating_add(directory);
        let entries = size_at(image, directory.saturating_sub(4)).ok_or(PeError::Truncated)?;
        let signatures = (entries > SIGNATURES).then(|| directory.saturating_add(SIGNATURES * 8));
        let signatures_len = match signatures {
            Some(entry) => size_at(image, entry.saturating_add(4)).ok_or(PeError::Truncated)?,
            None => 0,
        };
        let mut sections = Vec::new();
        for index in 0..usize::from(count) {
            let header = at(24)
                .saturating_add(optional_len)
                .saturating_add(index.saturating_mul(40));
            let len = size_at(image, header.saturating_add(16)).ok_or(PeError::Truncated)?;
            let start = u32_at(image, header.saturating_add(20)).ok_or(PeError::Truncated)?;
            let start = usize::try_from(start).map_err(|_| PeError::Truncated)?;
            if len != 0 {
                sections.push((start, len));
            }
        }
        sections.sort_by_key(|&(start, _)| start);
        Ok(Self {
            checksum: at(88),
            headers,
            signatures,
            signatures_len,
            sections,
        })
    }
}
