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

/// Says why a test did nothing, past the harness, which shows nothing of a test that passes.
pub fn skipped(test: &str, why: &str) {
    use std::io::Write as _;
    // A test whose words nobody reads has still passed.
    drop(writeln!(std::io::stderr(), "{test}: skipped: {why}"));
}

/// Says what a test measured, past the harness.
pub fn measured(test: &str, what: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stderr(), "{test}: {what}"));
}
