//! The generator: asks, checks each answer, and keeps count of what falls into the window.
//!
//! One thread. A run warms up, measures for its window, then lets what is under way end, so that
//! every request it started is judged. Answers that do not come within [`PATIENCE`] are errors.

mod closed;
mod exchange;
mod hold;
mod paced;
mod tally;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use exchange::{Asker, ready};

use crate::process::Reading;
use crate::question::{Address, Question};
use crate::run::{Cpu, Kind, Run};
use tally::Tally;

/// How long after the window an answer may still come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do, for how long, and whom to watch.
pub struct Job {
    pub address: Address,
    pub question: Question,
    pub shape: Shape,
    pub warm_up: Duration,
    pub window: Duration,
    /// The proxy's process, watched with its descendants.
    pub pid: Option<u32>,
    pub name: Name,
}

pub enum Shape {
    /// As many requests (or streams) in flight as there are connections.
    Closed { connections: u32 },
    /// So many requests a second, whether or not earlier ones were answered.
    Paced { rate: u32 },
    /// So many streams opened over the warm-up and held open; memory is read when all are.
    Hold { streams: u32 },
}

pub struct Name {
    pub scenario: String,
    pub target: String,
    pub round: u32,
}

/// Runs the job. Must run inside a `LocalSet`. Fails only if the watched process cannot be read.
pub async fn run(job: Job) -> io::Result<Run> {
    let asker = Asker::new(job.address, job.question);
    match job.shape {
        Shape::Closed { connections } => {
            let kind = if asker.streams() { Kind::Streams } else { Kind::Closed };
            let tally = Tally::windowed(job.warm_up, job.window);
            let tasks = closed::start(&asker, &tally, connections, job.warm_up);
            let watch = watch_window(&tally, job.pid).await?;
            finish(tasks, &tally).await;
            Ok(report(job.name, kind, &tally, &watch))
        }
        Shape::Paced { rate } => {
            let tally = Tally::windowed(job.warm_up, job.window);
            let mut tasks = JoinSet::new();
            tasks.spawn_local(paced::run(asker, Rc::clone(&tally), rate));
            let watch = watch_window(&tally, job.pid).await?;
            finish(tasks, &tally).await;
            Ok(report(job.name, Kind::Paced, &tally, &watch))
        }
        Shape::Hold { streams } => {
            let tally = Tally::windowed(Duration::ZERO, job.window);
            let before = Watch::start(job.pid)?;
            let tasks = hold::start(&asker, &tally, streams, job.warm_up);
            let held = hold::wait_until_open(&tally, streams, PATIENCE).await;
            let watch = before.stop(&tally)?;
            finish(tasks, &tally).await;
            let mut run = report(job.name, Kind::Hold, &tally, &watch);
            if held && run.errors == 0 {
                run.rss_mb_per_1000_streams = watch.growth_mb().map(|mb| mb * 1000.0 / f64::from(streams));
            }
            Ok(run)
        }
    }
}

/// Readings at both ends of a window.
struct Watch {
    pid: Option<u32>,
    from: Instant,
    readings: Option<(Reading, Reading)>,
    own: (Reading, Reading),
    seconds: f64,
}

impl Watch {
    fn start(pid: Option<u32>) -> io::Result<Self> {
        let own = Reading::take(std::process::id())?;
        let first = pid.map(Reading::take).transpose()?;
        Ok(Self {
            pid,
            from: Instant::now(),
            readings: first.map(|reading| (reading.clone(), reading)),
            own: (own.clone(), own),
            seconds: 0.0,
        })
    }

    /// Closes the tally's window too, so that work and cost are counted over the same time.
    fn stop(mut self, tally: &Tally) -> io::Result<Self> {
        tally.close();
        self.seconds = self.from.elapsed().as_secs_f64();
        if let (Some(pid), Some((_, last))) = (self.pid, &mut self.readings) {
            *last = Reading::take(pid)?;
        }
        self.own.1 = Reading::take(std::process::id())?;
        Ok(self)
    }

    fn growth_mb(&self) -> Option<f64> {
        let (first, last) = self.readings.as_ref()?;
        Some((last.rss_bytes as f64 - first.rss_bytes as f64) / 1e6)
    }
}

async fn watch_window(tally: &Tally, pid: Option<u32>) -> io::Result<Watch> {
    let (from, to) = tally.window();
    tokio::time::sleep_until(from.into()).await;
    let watch = Watch::start(pid)?;
    tally.open();
    tokio::time::sleep_until(to.into()).await;
    watch.stop(tally)
}

/// Lets what is under way end; what does not end in time is an error each.
async fn finish(mut tasks: JoinSet<()>, tally: &Tally) {
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("nothing aborts a task, and a panic is ours to show");
        }
    };
    if tokio::time::timeout(PATIENCE, drained).await.is_err() {
        for _ in 0..tasks.len() {
            tally.fault(&crate::verdict::Wrong::Late);
        }
    }
}

fn report(name: Name, kind: Kind, tally: &Tally, watch: &Watch) -> Run {
    let counts = tally.counts();
    let own = watch.own.1.cpu_since(&watch.own.0).as_secs_f64();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Run {
        scenario: name.scenario,
        target: name.target,
        round: name.round,
        kind,
        seconds: watch.seconds,
        requests: counts.requests,
        chunks: counts.chunks,
        cpu: watch.readings.as_ref().map(|(first, last)| {
            let spent = last.cpu_since(first).as_secs_f64();
            Cpu::new(spent, watch.seconds, counts.requests, counts.chunks)
        }),
        rss_mb: watch.readings.as_ref().map(|(_, last)| last.rss_bytes as f64 / 1e6),
        rss_mb_per_1000_streams: None,
        latency_us: counts.latency.quantiles(),
        ttft_us: counts.ttft.quantiles(),
        gap_us: counts.gap.quantiles(),
        late_us: counts.late.quantiles(),
        generator_share: own / watch.seconds,
        errors: counts.faults.values().sum(),
        faults: counts.faults.clone(),
        load_average: load.split(' ').next().unwrap_or_default().to_owned(),
    }
}
