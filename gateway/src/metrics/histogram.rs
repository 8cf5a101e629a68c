//! A histogram of whole numbers without a lock: the library's takes one for each observation.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// What is counted, where the buckets end, and what one of the unit is worth in the text.
#[derive(Debug)]
pub(super) struct Scale {
    /// Inclusive, ascending, in the unit that is observed.
    pub(super) bounds: &'static [u64],
    /// How many of the observed unit make one of the unit that is shown.
    pub(super) per_shown: f64,
}

impl Scale {
    /// Times: observed in microseconds, shown in seconds.
    pub(super) const fn times(bounds: &'static [u64]) -> Self {
        Self { bounds, per_shown: 1e6 }
    }

    pub(super) const fn counts(bounds: &'static [u64]) -> Self {
        Self { bounds, per_shown: 1.0 }
    }
}

/// Clones share their counts.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    scale: &'static Scale,
    /// One for each bound, one beyond the last, and the sum.
    cells: Arc<[AtomicU64]>,
}

impl Histogram {
    pub(super) fn new(scale: &'static Scale) -> Self {
        let buckets = scale.bounds.len() + 1;
        Self {
            scale,
            cells: (0..=buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn observe(&self, value: u64) {
        let bucket = self.scale.bounds.partition_point(|bound| *bound < value);
        self.cells[bucket].fetch_add(1, Ordering::Relaxed);
        self.cells[self.cells.len() - 1].fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn observe_time(&self, took: Duration) {
        self.observe(micros(took));
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let per_shown = self.scale.per_shown;
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 / per_shown);
        let cells = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(cells).collect();
        // The count is the sum of what is shown, so that they agree even while others observe.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.cells[self.cells.len() - 1].load(Ordering::Relaxed) as f64 / per_shown;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

pub(super) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        static SCALE: Scale = Scale::counts(&[1, 4, 16]);
        let histogram = Histogram::new(&SCALE);
        for value in [0, 1, 2, 4, 5, 16, 17, 1_000_000] {
            histogram.observe(value);
        }
        let cells: Vec<u64> = histogram
            .cells
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .collect();
        assert_eq!(cells, [2, 2, 2, 2, 1_000_045]);
    }
}
