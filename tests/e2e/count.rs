//! Waiting for what the gateway and the mocks count.

use std::time::{Duration, Instant};

use e2e::client::get;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, eventually};

/// Waits until the gateway's metrics hold a line that begins with `name` and ends with this number.
pub(crate) async fn until(gateway: &Gateway, name: &str, number: u64) {
    until_within(SOON, gateway, name, number).await;
}

/// The same, of what takes longer.
pub(crate) async fn until_within(timeout: Duration, gateway: &Gateway, name: &str, number: u64) {
    const PAUSE: Duration = Duration::from_millis(5);
    let url = format!("{}/metrics", gateway.admin_url());
    let end = format!(" {number}");
    let began = Instant::now();
    loop {
        let metrics = Answer::of(get(&url).await).await.text();
        if metrics
            .lines()
            .any(|line| line.starts_with(name) && line.ends_with(&end))
        {
            return;
        }
        assert!(began.elapsed() < timeout, "{name} does not become {number}:\n{metrics}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the gateway has asked these mocks for their models, so that what is in flight is the test's own.
pub(crate) async fn settled(mocks: impl IntoIterator<Item = &Mock>) {
    for mock in mocks {
        let is_settled = eventually(SOON, || mock.count("") > 0 && mock.inflight() == 0);
        assert!(is_settled.await, "the gateway does not ask for the models");
    }
}
