//! What the gateway counts of its ledger. No label names an account: who spends what is in the database.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    ByKind,
    histogram::{Histogram, Scale},
};

/// 0.5 ms to 30 s: from a fast disk to the time after which clients are told.
static COMMIT: Scale = Scale::times(&[
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000, 10_000_000, 30_000_000,
]);

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub(crate) struct LedgerMetrics {
    captures: Counter,
    commits: Counter,
    commit: Histogram,
    refused: Family<ByKind, Counter>,
    pub(crate) holds: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) lease: Gauge,
    pub(crate) unshipped: Gauge,
    pub(crate) unshipped_age: Gauge,
}

impl Default for LedgerMetrics {
    fn default() -> Self {
        let refused = Family::default();
        for kind in ["money", "account", "unavailable"] {
            drop(refused.get_or_create(&ByKind { kind }));
        }
        Self {
            captures: Counter::default(),
            commits: Counter::default(),
            commit: Histogram::new(&COMMIT),
            refused,
            holds: Gauge::default(),
            queued: Gauge::default(),
            lease: Gauge::default(),
            unshipped: Gauge::default(),
            unshipped_age: Gauge::default(),
        }
    }
}

impl LedgerMetrics {
    /// Nothing was held: for lack of `money`, for the `account`, or because the ledger was `unavailable`.
    pub(crate) fn refused(&self, kind: &'static str) {
        self.refused.get_or_create(&ByKind { kind }).inc();
    }

    /// A group of charges became durable.
    pub(crate) fn committed(&self, charges: u64, took: Duration) {
        self.commits.inc();
        self.captures.inc_by(charges);
        self.commit.observe_time(took);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Charges that became durable";
        registry.register("ledger_captures", help, self.captures.clone());
        let help = "Groups in which charges became durable";
        registry.register("ledger_commits", help, self.commits.clone());
        let help = "How long it took a group of charges to become durable";
        registry.register("ledger_commit_seconds", help, self.commit.clone());
        let help = "Requests of charged accounts that were refused, by reason";
        registry.register("ledger_refused", help, self.refused.clone());
        let help = "Amounts that are held for requests under way";
        registry.register("ledger_holds", help, self.holds.clone());
        let help = "Charges that are not durable yet";
        registry.register("ledger_queued", help, self.queued.clone());
        let help = "How long this gateway may still hold without the ledger; 0 where it refuses who is charged";
        registry.register("ledger_lease_seconds", help, self.lease.clone());
        let help = "Charges in the journal of this gateway that the ledger does not have";
        registry.register("ledger_unshipped", help, self.unshipped.clone());
        let help = "How long the oldest of them waits";
        registry.register("ledger_unshipped_age_seconds", help, self.unshipped_age.clone());
    }
}
