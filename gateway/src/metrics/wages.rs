//! What the gateway counts of what it pays to workers. No label names a worker: who is paid what is in the admin API.

use billing::Nano;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// Cheap to clone; all clones count together. Amounts in nanoton.
#[derive(Clone, Default)]
pub(crate) struct WagesMetrics {
    channels: Gauge,
    owed: Gauge,
    exposure: Gauge,
    lost: Gauge,
    quarantined: Gauge,
}

/// All workers together, as they stand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WagesNow {
    pub(crate) channels: usize,
    /// Earned, and in no channel.
    pub(crate) owed: Nano,
    /// Signed, and not earned.
    pub(crate) exposure: Nano,
    /// Taken, and not earned.
    pub(crate) lost: Nano,
    pub(crate) quarantined: usize,
}

impl WagesMetrics {
    pub(crate) fn set(&self, now: &WagesNow) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let nano = |amount: Nano| i64::try_from(amount.get()).unwrap_or(i64::MAX);
        self.channels.set(count(now.channels));
        self.owed.set(nano(now.owed));
        self.exposure.set(nano(now.exposure));
        self.lost.set(nano(now.lost));
        self.quarantined.set(count(now.quarantined));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Payment channels to workers";
        registry.register("wages_channels", help, self.channels.clone());
        let help = "What workers have earned and no channel has, in nanoton";
        registry.register("wages_owed_nanoton", help, self.owed.clone());
        let help = "What was signed for workers and they have not earned, in nanoton";
        registry.register("wages_exposure_nanoton", help, self.exposure.clone());
        let help = "What workers took and had not earned, in nanoton";
        registry.register("wages_lost_nanoton", help, self.lost.clone());
        let help = "Workers that took more than they earned";
        registry.register("wages_quarantined", help, self.quarantined.clone());
    }
}
