//! A guest's own log of what was extended: the CCEL that Linux shows at `/sys/firmware/acpi/tables/data/CCEL`.
//!
//! Format: TCG PC Client Platform Firmware Profile §10 (crypto agile log, "Spec ID Event03"), with registers numbered
//! as UEFI 2.10 §38.4.1 says: 0 is MRTD, 1 to 4 are RTMR0 to RTMR3.
//! A log is words until its replay gives the registers of a quote.
//!
//! Refused: more than 1 MiB, a log without SHA-384, an event without it or of a register that does not exist, and
//! anything but padding behind the last event.

use crate::field::{array, size_at, slice, u16_at, u32_at};
use crate::{Measurement, Register};

const MAX_LOG: usize = 1 << 20;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const SHA384: u16 = 0x0c;
/// EV_NO_ACTION: says something, extends nothing.
const NO_ACTION: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None` where nothing was extended.
    pub register: Option<Register>,
    /// TCG's number, such as 0x80000003 for a program that was started.
    pub kind: u32,
    pub digest: Measurement,
    /// What the event says of itself. For most kinds it is not what was hashed.
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("a log of {0} bytes; at most 1 MiB is read")]
    TooLarge(usize),
    #[error("this is no log in TCG's crypto agile format")]
    Header,
    #[error("the log has no SHA-384 digests")]
    NoSha384,
    #[error("event {index} is cut short, or has a digest that the log's header does not announce")]
    Truncated { index: usize },
    #[error("event {index} is of register {number}, which does not exist")]
    Register { index: usize, number: u32 },
    #[error("event {index} has not exactly one SHA-384 digest")]
    Digest { index: usize },
}

impl Log {
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_LOG {
            return Err(LogError::TooLarge(bytes.len()));
        }
        let (algorithms, mut rest) = header(bytes).ok_or(LogError::Header)?;
        if !algorithms.contains(&(SHA384, 48)) {
            return Err(LogError::NoSha384);
        }
        let mut entries = Vec::new();
        while !padding(rest) {
            let (entry, after) = entry(rest, entries.len(), &algorithms)?;
            entries.push(entry);
            rest = after;
        }
        Ok(Self { entries })
    }

    /// What was extended into a register, in order.
    pub fn extensions(&self, register: Register) -> impl Iterator<Item = Measurement> {
        let own = self
            .entries
            .iter()
            .filter(move |entry| entry.register == Some(register));
        own.map(|entry| entry.digest)
    }

    /// RTMR0 to RTMR3 as this log has them.
    pub fn replay(&self) -> [Measurement; 4] {
        Register::ALL.map(|register| self.extensions(register).fold(Measurement::ZERO, Measurement::extend))
    }
}

/// TCG's number, and the length of its digests.
type Algorithm = (u16, usize);

/// Which digests there are and how long each is, and what follows.
fn header(bytes: &[u8]) -> Option<(Vec<Algorithm>, &[u8])> {
    // The first event is of the old format, with a SHA-1 digest.
    let data = slice(bytes, 32, size_at(bytes, 28)?)?;
    if u32_at(bytes, 4)? != NO_ACTION || !data.starts_with(SPEC_ID) {
        return None;
    }
    let count = size_at(data, 24)?;
    let table = slice(data, 28, count.checked_mul(4)?)?;
    let algorithms = table
        .chunks_exact(4)
        .map(|entry| Some((u16_at(entry, 0)?, usize::from(u16_at(entry, 2)?))))
        .collect::<Option<_>>()?;
    let vendor_at = table.len().checked_add(28)?;
    let vendor = usize::from(*data.get(vendor_at)?);
    let whole = vendor_at.checked_add(1)?.checked_add(vendor)? == data.len();
    let rest = bytes.get(data.len().checked_add(32)?..)?;
    whole.then_some((algorithms, rest))
}

/// What firmware leaves behind the last event: nothing, zeros or ones.
fn padding(rest: &[u8]) -> bool {
    let all = |value| rest.iter().all(|byte| *byte == value);
    all(0xff) || all(0)
}

fn entry<'b>(bytes: &'b [u8], index: usize, algorithms: &[Algorithm]) -> Result<(Entry, &'b [u8]), LogError> {
    let truncated = LogError::Truncated { index };
    let number = u32_at(bytes, 0).ok_or(truncated)?;
    let kind = u32_at(bytes, 4).ok_or(truncated)?;
    let register = match number {
        0 => None,
        1 => Some(Register::Rtmr0),
        2 => Some(Register::Rtmr1),
        3 => Some(Register::Rtmr2),
        4 => Some(Register::Rtmr3),
        number => return Err(LogError::Register { index, number }),
    };
    let count = size_at(bytes, 8).ok_or(truncated)?;
    let mut at = 12_usize;
    let mut digests = Vec::new();
    for _ in 0..count {
        let algorithm = u16_at(bytes, at).ok_or(truncated)?;
        let known = algorithms.iter().find(|(known, _)| *known == algorithm);
        let (_, len) = *known.ok_or(truncated)?;
        at = at.saturating_add(2);
        if algorithm == SHA384 {
            digests.push(Measurement(array(bytes, at).ok_or(truncated)?));
        }
        at = at.saturating_add(len);
    }
    let [digest] = digests.as_slice() else {
        return Err(LogError::Digest { index });
    };
    let len = size_at(bytes, at).ok_or(truncated)?;
    let data_at = at.saturating_add(4);
    let data = slice(bytes, data_at, len).ok_or(truncated)?;
    let rest = bytes.get(data_at.saturating_add(len)..).ok_or(truncated)?;
    let entry = Entry {
        register: register.filter(|_| kind != NO_ACTION),
        kind,
        digest: *digest,
        data: data.to_vec(),
    };
    Ok((entry, rest))
}
