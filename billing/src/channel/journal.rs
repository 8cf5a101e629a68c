//! Records on disk: frames that are whole or are not there.
//!
//! A frame is the length of its body as `u32` big-endian, the first eight bytes of the body's SHA-256, and the body, a
//! JSON document. A write that a crash cut short leaves a torn frame at the end; it was never confirmed, so nothing
//! waits on it. What is no frame and has whole ones behind it, or is longer than any, is no torn end but damage, and what
//! follows it was confirmed: that is for a person to look at.

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

/// What is there cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Foreign {
    /// The body of a whole frame is no record: written by another version, or by somebody else.
    #[error("the record at byte {at} is whole and cannot be read; use the version of the program that wrote it")]
    Record {
        at: usize,
        #[source]
        source: serde_json::Error,
    },
    /// A bad disk, or somebody's editor.
    #[error(
        "it is damaged at byte {at}, and there are {rest} bytes behind; restore it from a backup, or cut it at byte {at} \
         and lose what is behind"
    )]
    Damaged { at: usize, rest: usize },
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
        records.push(serde_json::from_slice(body).map_err(|source| Foreign::Record { at, source })?);
        rest = after;
    }
    let whole = bytes.len().saturating_sub(rest.len());
    if is_damage(rest) {
        let rest = rest.len();
        return Err(Foreign::Damaged { at: whole, rest });
    }
    Ok(Read {
        records,
        whole,
        torn: rest.len(),
    })
}

/// Whether this, which begins with no whole frame, is more than a write that was cut short.
fn is_damage(rest: &[u8]) -> bool {
    // Zeros are what some file systems leave of a write whose data did not come.
    if rest.iter().all(|byte| *byte == 0) {
        return false;
    }
    let is_long = rest.len() > HEAD + MOST_BYTES;
    is_long
        || (1..rest.len()).any(|from| {
            rest.get(from..)
                .and_then(split)
                .is_some_and(|(body, _)| !body.is_empty())
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
