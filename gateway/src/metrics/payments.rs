//! What clients pay with: how many channels are followed, and how new what is known of them is.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

use crate::wall_clock::unix_seconds;

#[derive(Clone, Debug, Default)]
pub(crate) struct PaymentsMetrics {
    channels: Gauge,
    unplaced: Gauge,
    chain_age: Gauge,
}

impl PaymentsMetrics {
    /// `newest`: the time of the newest block that a source told of, in Unix seconds.
    pub(crate) fn set(&self, channels: usize, unplaced: usize, newest: Option<u32>) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.channels.set(count(channels));
        self.unplaced.set(count(unplaced));
        let age = newest.map(|time| unix_seconds().saturating_sub(time.into()));
        let age = age.map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX));
        self.chain_age.set(age);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Payment channels of clients that are followed on the chain";
        registry.register("payments_channels", help, self.channels.clone());
        let help = "Payment channels of clients that are not followed, because there are too many";
        registry.register("payments_channels_without_place", help, self.unplaced.clone());
        let help = "Since the newest block that a source told of; -1 while no channel is looked at";
        registry.register("payments_chain_age_seconds", help, self.chain_age.clone());
    }
}
