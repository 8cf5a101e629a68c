//! What the gateway knows of the registry that its operator named.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{ByOutcome, REFUSED, TAKEN};

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub(crate) struct RegistryMetrics {
    in_force: Gauge,
    change: Gauge,
    pending: Gauge,
    read_at: Gauge,
    reads: Family<ByOutcome, Counter>,
}

/// How it stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegistryNow {
    pub(crate) is_in_force: bool,
    pub(crate) change: Option<u64>,
    /// Unix seconds.
    pub(crate) read_at: Option<u64>,
    pub(crate) is_pending: bool,
}

impl Default for RegistryMetrics {
    fn default() -> Self {
        let reads = Family::default();
        for outcome in [TAKEN, REFUSED] {
            drop(reads.get_or_create(&ByOutcome { outcome }));
        }
        Self {
            in_force: Gauge::default(),
            change: Gauge::default(),
            pending: Gauge::default(),
            read_at: Gauge::default(),
            reads,
        }
    }
}

impl RegistryMetrics {
    pub(crate) fn set(&self, now: RegistryNow) {
        let number = |number: Option<u64>| i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
        self.in_force.set(now.is_in_force.into());
        self.change.set(number(now.change));
        self.pending.set(now.is_pending.into());
        self.read_at.set(number(now.read_at));
    }

    /// It was asked for, and the answer taken or not.
    pub(crate) fn read(&self, is_taken: bool) {
        let outcome = if is_taken { TAKEN } else { REFUSED };
        self.reads.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "1 while what was read of the registry holds; 0 without a registry, or when evidence is refused for want of it";
        registry.register("registry_in_force", help, self.in_force.clone());
        let help = "How many changes the registry had when it was read last";
        registry.register("registry_change", help, self.change.clone());
        let help = "1 while a change of the registry waits";
        registry.register("registry_pending", help, self.pending.clone());
        let help = "When the registry was read last, in unix time";
        registry.register("registry_read_timestamp_seconds", help, self.read_at.clone());
        let help = "How often the registry was asked for, by whether the answer was taken";
        registry.register("registry_reads", help, self.reads.clone());
    }
}
