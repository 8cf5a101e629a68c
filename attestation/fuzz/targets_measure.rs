//! What of `attestation-measure` is fuzzed: the log of a guest, which the guest's host may have written.

use attestation_measure::{Measurement, Register, log::Log};

type Reader = fn(&[u8]);

/// By the names of their folders in `attestation/fuzz/seeds`.
pub(crate) const ALL: [(&str, Reader); 1] = [("boot_log", boot_log)];

/// An event is 12 bytes, one digest with its number, and a length, at least.
const LEAST_EVENT: usize = 12 + 2 + 48 + 4;

pub(crate) fn boot_log(bytes: &[u8]) {
    let Ok(log) = Log::parse(bytes) else {
        return;
    };
    assert!(log.entries.len() <= bytes.len() / LEAST_EVENT);
    assert!(log.entries.iter().map(|entry| entry.data.len()).sum::<usize>() < bytes.len());
    for (register, replayed) in Register::ALL.into_iter().zip(log.replay()) {
        let untouched = log.extensions(register).next().is_none();
        assert!(!untouched || replayed == Measurement::ZERO);
    }
}
