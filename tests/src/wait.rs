//! Waiting for what another process does.

use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits until `holds` is true, looking every few milliseconds. False if it did not come to hold within `timeout`.
#[must_use = "a condition that did not come to hold should fail the test"]
pub async fn eventually(timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
    const PAUSE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + timeout;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
