//! The chain's clock: the real one and an offset, or wholly in the test's hands.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the chain takes its time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The computer's, plus what [`crate::Simulated::advance`] added.
    Real,
    /// It stands at these Unix seconds until [`crate::Simulated::advance`] moves it.
    Manual(u32),
}

impl Clock {
    /// Unix seconds, `offset_s` included.
    pub(crate) fn now(self, offset_s: i64) -> u32 {
        let base = match self {
            Self::Manual(time) => i64::from(time),
            #[expect(
                clippy::disallowed_methods,
                reason = "the simulated chain is where the date comes from"
            )]
            Self::Real => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_secs()).ok())
                .unwrap_or_default(),
        };
        let now = base.saturating_add(offset_s).clamp(0, i64::from(u32::MAX));
        u32::try_from(now).expect("clamped to 32 bits")
    }
}
