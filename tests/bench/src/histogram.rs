//! Latencies in bounded memory, with a relative error below 2 %.
//!
//! Sixty-four buckets to every power of two, in nanoseconds; what lies beyond the last bucket
//! (about nine minutes) is counted in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
const POWERS: usize = 34;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

/// What a report shows of a histogram, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; SUB * POWERS],
            count: 0,
            max_ns: 0,
        }
    }

    pub fn add(&mut self, value: Duration) {
        let ns = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Nothing where nothing was added.
    pub fn quantiles(&self) -> Option<Quantiles> {
        (self.count > 0).then(|| Quantiles {
            count: self.count,
            p50: self.quantile_us(0.50),
            p99: self.quantile_us(0.99),
            max: self.max_ns as f64 / 1e3,
        })
    }

    fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = (self.count as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (middle_ns(index).min(self.max_ns)) as f64 / 1e3;
            }
        }
        self.max_ns as f64 / 1e3
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Values below [`SUB`] have a bucket each; above, the top bit picks the row and the next six the place.
fn bucket(ns: u64) -> usize {
    if ns < SUB as u64 {
        return ns as usize;
    }
    let shift = ns.ilog2() - SUB_BITS;
    let place = (ns >> shift) as usize & (SUB - 1);
    ((shift as usize + 1) * SUB + place).min(SUB * POWERS - 1)
}

fn middle_ns(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    let low = ((SUB + bucket % SUB) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_two_percent_of_its_values() {
        for exponent in 0..38 {
            for offset in [0, 1, 3, 7] {
                let ns = (1_u64 << exponent) + offset * (1 << exponent) / 8;
                let back = middle_ns(bucket(ns));
                let error = back.abs_diff(ns) as f64 / ns as f64;
                assert!(error < 0.02, "{ns} came back as {back}");
            }
        }
    }

    #[test]
    fn quantiles_split_the_values_where_they_should() {
        let mut histogram = Histogram::new();
        for us in 1..=1000 {
            histogram.add(Duration::from_micros(us));
        }
        let quantiles = histogram.quantiles().expect("a thousand values were added");
        assert!((quantiles.p50 - 500.0).abs() < 10.0, "{quantiles:?}");
        assert!((quantiles.p99 - 990.0).abs() < 20.0, "{quantiles:?}");
        assert_eq!(quantiles.max, 1000.0);
        assert_eq!(quantiles.count, 1000);
    }

    #[test]
    fn the_longest_wait_does_not_overflow() {
        let mut histogram = Histogram::new();
        histogram.add(Duration::MAX);
        assert_eq!(histogram.quantiles().map(|q| q.count), Some(1));
        assert_eq!(Histogram::new().quantiles(), None);
    }
}
