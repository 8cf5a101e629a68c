//! One measured run of one scenario against one target: the line of JSON that `bench-load` prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Quantiles;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    pub target: String,
    pub round: u32,
    pub kind: Kind,
    /// The length of the measured window.
    pub seconds: f64,
    /// Right answers that ended in the window, and content chunks that arrived in it.
    pub requests: u64,
    pub chunks: u64,
    pub cpu: Option<Cpu>,
    /// Absent where no process is watched.
    pub rss_mb: Option<f64>,
    /// Growth while the streams were held open.
    pub rss_mb_per_1000_streams: Option<f64>,
    pub latency_us: Option<Quantiles>,
    pub ttft_us: Option<Quantiles>,
    pub gap_us: Option<Quantiles>,
    /// How late the generator itself sent a paced request; not part of its latency.
    pub late_us: Option<Quantiles>,
    /// The share of a core that the generator took: near 1, it is the limit.
    pub generator_share: f64,
    /// Wrong answers, in the window or outside of it, and why.
    pub errors: u64,
    pub faults: BTreeMap<String, u64>,
    pub load_average: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Closed,
    Paced,
    Streams,
    Hold,
}

/// What the proxy spent in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    pub seconds: f64,
    /// Share of one core.
    pub share: f64,
    pub us_per_request: Option<f64>,
    pub us_per_chunk: Option<f64>,
}

impl Cpu {
    pub fn new(seconds: f64, window: f64, requests: u64, chunks: u64) -> Self {
        let per = |count: u64| (count > 0).then(|| seconds * 1e6 / count as f64);
        Self {
            seconds,
            share: seconds / window,
            us_per_request: per(requests),
            us_per_chunk: per(chunks),
        }
    }
}
