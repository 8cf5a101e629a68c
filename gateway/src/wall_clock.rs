//! The time of day, for what carries or expires at a date. Waits and durations are measured by `Instant`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970; zero on a machine whose clock stands before it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the gateway that asks for the time of day"
)]
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

/// As the database holds times.
pub(crate) fn unix_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}
