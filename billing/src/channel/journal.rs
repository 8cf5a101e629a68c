//! Records on disk: frames that are whole or are not there.
//!
//! A frame is the length of its body as `u32` big-endian, the first eight bytes of the body's SHA-256, and the body, a
//! JSON document. A write that a crash cut short leaves a torn frame at the end; it was never confirmed, so nothing
//! waits on it.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

const HEAD: usize = 12;
/// No record comes near.
const MOST_BYTES: usize = 65_536;

/// What was read of a journal.
#[derive(Debug)]
pub struct Read<R> {
    pub records: Vec<R>,
    /// Bytes of whole frames: cut the file here before adding to it.
    pub whole: usize,
    /// Bytes after them that are no frame.
    pub torn: usize,
}

/// The body of a whole frame is no record: written by another version, or by somebody else.
#[derive(Debug, thiserror::Error)]
#[error("the record at byte {at} is whole and cannot be read; use the version of the program that wrote it")]
pub struct Foreign {
    pub at: usize,
    #[source]
    source: serde_json::Error,
}

/// The frame of a record, to be added to a journal.
pub fn frame<R: Serialize>(record: &R) -> Vec<u8> {
    // Records are plain data with string keys: there is nothing in them that JSON cannot say.
    let body = serde_json::to_vec(record).unwrap_or_default();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &digest(&body), &body].concat()
}

/// All whole frames from the beginning on.
pub fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<Read<R>, Foreign> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((body, after)) = split(rest) {
        let at = bytes.len().saturating_sub(rest.len());
        records.push(serde_json::from_slice(body).map_err(|source| Foreign { at, source })?);
        rest = after;
    }
    Ok(Read {
        records,
        whole: bytes.len().saturating_sub(rest.len()),
        torn: rest.len(),
    })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (length, expect) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > MOST_BYTES {
        return None;
    }
    let (body, after) = rest.split_at_checked(length)?;
    (digest(body)[..] == *expect).then_some((body, after))
}

fn digest(body: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(body).into();
    hash.first_chunk().copied().unwrap_or_default()
}
