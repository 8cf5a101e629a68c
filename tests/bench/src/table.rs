//! Many runs become one table: a row per figure, a column per target, a ratio to nginx.
//!
//! A figure is the median over the rounds, except memory per open stream: a proxy keeps what it
//! grew in the first round, so the largest is the true one. Errors are added up.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::histogram::Quantiles;
use crate::run::{Kind, Run};

/// The target that the others are compared with.
pub const BASELINE: &str = "nginx";

#[derive(Debug, Serialize)]
pub struct Table {
    pub targets: Vec<String>,
    pub rows: Vec<Row>,
    pub errors: u64,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    pub scenario: String,
    pub figure: &'static str,
    /// By target; a target without this figure is absent.
    pub values: BTreeMap<String, f64>,
    /// To the baseline, by target.
    pub ratios: BTreeMap<String, f64>,
}

#[derive(Clone, Copy)]
enum Fold {
    Median,
    Max,
    Sum,
}

type Figure = (&'static str, Fold, fn(&Run) -> Option<f64>);

const CPU_REQUEST: Figure = ("CPU us/request", Fold::Median, |run| run.cpu.as_ref()?.us_per_request);
const CPU_CHUNK: Figure = ("CPU us/chunk", Fold::Median, |run| run.cpu.as_ref()?.us_per_chunk);
const REQUEST_RATE: Figure = ("requests/s", Fold::Median, |run| {
    Some(run.requests as f64 / run.seconds)
});
const CHUNK_RATE: Figure = ("chunks/s", Fold::Median, |run| Some(run.chunks as f64 / run.seconds));
const P50: Figure = ("p50 us", Fold::Median, |run| p50(&run.latency_us));
const P99: Figure = ("p99 us", Fold::Median, |run| p99(&run.latency_us));
const TTFT_P50: Figure = ("TTFT p50 us", Fold::Median, |run| p50(&run.ttft_us));
const TTFT_P99: Figure = ("TTFT p99 us", Fold::Median, |run| p99(&run.ttft_us));
const GAP_P50: Figure = ("gap p50 us", Fold::Median, |run| p50(&run.gap_us));
const GAP_P99: Figure = ("gap p99 us", Fold::Median, |run| p99(&run.gap_us));
const RSS_STREAMS: Figure = ("RSS MB/1000 streams", Fold::Max, |run| run.rss_mb_per_1000_streams);
const RSS: Figure = ("RSS MB", Fold::Max, |run| run.rss_mb);
const ERRORS: Figure = ("errors", Fold::Sum, |run| Some(run.errors as f64));

fn figures(kind: Kind) -> &'static [Figure] {
    match kind {
        Kind::Closed => &[CPU_REQUEST, REQUEST_RATE, P50, P99, ERRORS],
        Kind::Paced => &[CPU_REQUEST, P50, P99, ERRORS],
        Kind::Streams => &[CPU_CHUNK, CHUNK_RATE, TTFT_P50, TTFT_P99, GAP_P50, GAP_P99, ERRORS],
        Kind::Hold => &[RSS_STREAMS, RSS, ERRORS],
    }
}

impl Table {
    /// Scenarios and targets keep the order in which they first ran.
    pub fn new(runs: &[Run]) -> Self {
        let mut targets: Vec<String> = Vec::new();
        let mut scenarios: Vec<(&str, Kind)> = Vec::new();
        for run in runs {
            if !targets.contains(&run.target) {
                targets.push(run.target.clone());
            }
            if scenarios.iter().all(|(name, _)| *name != run.scenario) {
                scenarios.push((&run.scenario, run.kind));
            }
        }
        let rows = scenarios
            .iter()
            .flat_map(|(scenario, kind)| {
                let of_scenario: Vec<&Run> = runs.iter().filter(|run| run.scenario == *scenario).collect();
                let row = move |figure: &Figure| Row::new(scenario, figure, &of_scenario);
                figures(*kind).iter().map(row).collect::<Vec<_>>()
            })
            .filter(|row| !row.values.is_empty())
            .collect();
        Self {
            targets,
            rows,
            errors: runs.iter().map(|run| run.errors).sum(),
        }
    }

    pub fn text(&self) -> String {
        let mut out = format!("{:<8} {:<20}", "scenario", "figure");
        for target in &self.targets {
            out += &format!(" {target:>10}");
        }
        let compared: Vec<&String> = self.targets.iter().filter(|target| *target != BASELINE).collect();
        let has_baseline = compared.len() < self.targets.len();
        if has_baseline {
            for target in &compared {
                out += &format!(" {:>16}", format!("{target}/{BASELINE}"));
            }
        }
        out.push('\n');
        let mut last = "";
        for row in &self.rows {
            let name = if row.scenario == last { "" } else { &row.scenario };
            last = &row.scenario;
            out += &format!("{name:<8} {:<20}", row.figure);
            for target in &self.targets {
                out += &format!(
                    " {:>10}",
                    row.values.get(target).map_or("-".to_owned(), |value| short(*value))
                );
            }
            if has_baseline {
                for target in &compared {
                    let ratio = row
                        .ratios
                        .get(*target)
                        .map_or(String::new(), |ratio| format!("{ratio:.2}"));
                    out += &format!(" {ratio:>16}");
                }
            }
            out.push('\n');
        }
        out
    }
}

impl Row {
    fn new(scenario: &str, (figure, fold, value): &Figure, runs: &[&Run]) -> Self {
        let mut by_target: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for run in runs {
            if let Some(value) = value(run) {
                by_target.entry(run.target.clone()).or_default().push(value);
            }
        }
        let values: BTreeMap<String, f64> = by_target
            .into_iter()
            .map(|(target, values)| (target, fold.apply(values)))
            .collect();
        let base = values.get(BASELINE).copied().filter(|base| *base > 0.0);
        let ratios = base
            .filter(|_| !matches!(fold, Fold::Sum))
            .map_or_else(BTreeMap::new, |base| {
                let others = values.iter().filter(|(target, _)| *target != BASELINE);
                others.map(|(target, value)| (target.clone(), value / base)).collect()
            });
        Self {
            scenario: scenario.to_owned(),
            figure,
            values,
            ratios,
        }
    }
}

impl Fold {
    fn apply(self, mut values: Vec<f64>) -> f64 {
        match self {
            Self::Median => {
                values.sort_by(f64::total_cmp);
                let upper = values.len() / 2;
                if values.len() % 2 == 1 {
                    values[upper]
                } else {
                    (values[upper - 1] + values[upper]) / 2.0
                }
            }
            Self::Max => values.into_iter().fold(f64::MIN, f64::max),
            Self::Sum => values.into_iter().sum(),
        }
    }
}

fn p50(quantiles: &Option<Quantiles>) -> Option<f64> {
    quantiles.as_ref().map(|quantiles| quantiles.p50)
}

fn p99(quantiles: &Option<Quantiles>) -> Option<f64> {
    quantiles.as_ref().map(|quantiles| quantiles.p99)
}

fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Cpu;

    fn run(target: &str, round: u32, cpu_seconds: f64, errors: u64) -> Run {
        Run {
            scenario: "ns64".to_owned(),
            target: target.to_owned(),
            round,
            kind: Kind::Closed,
            seconds: 2.0,
            requests: 100_000,
            chunks: 0,
            cpu: Some(Cpu::new(cpu_seconds, 2.0, 100_000, 0)),
            rss_mb: None,
            rss_mb_per_1000_streams: None,
            latency_us: None,
            ttft_us: None,
            gap_us: None,
            late_us: None,
            generator_share: 0.5,
            errors,
            faults: BTreeMap::new(),
            load_average: String::new(),
        }
    }

    #[test]
    fn a_row_holds_medians_and_their_ratio_to_nginx() {
        let runs = [
            run("nginx", 0, 1.0, 0),
            run("mulberry", 0, 1.6, 1),
            run("mulberry", 1, 1.8, 2),
            run("nginx", 1, 1.4, 0),
        ];
        let table = Table::new(&runs);
        assert_eq!(table.targets, ["nginx", "mulberry"]);
        assert_eq!(table.errors, 3);
        let cpu = &table.rows[0];
        assert_eq!(cpu.figure, "CPU us/request");
        assert!((cpu.values["nginx"] - 12.0).abs() < 1e-9);
        assert!((cpu.values["mulberry"] - 17.0).abs() < 1e-9);
        assert!((cpu.ratios["mulberry"] - 17.0 / 12.0).abs() < 1e-9);
        let text = table.text();
        assert!(text.contains("mulberry/nginx") && text.contains("1.42"), "{text}");
    }

    #[test]
    fn without_nginx_there_are_no_ratios() {
        let table = Table::new(&[run("mulberry", 0, 1.6, 0)]);
        assert!(table.rows.iter().all(|row| row.ratios.is_empty()));
        assert!(!table.text().contains("/nginx"));
    }

    #[test]
    fn a_run_survives_its_line_of_json() {
        let run = run("nginx", 3, 1.0, 1);
        let line = serde_json::to_string(&run).expect("a run is plain data");
        assert_eq!(serde_json::from_str::<Run>(&line).expect("we wrote it"), run);
    }
}
