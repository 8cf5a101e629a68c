//! What it costs to pay: how soon a worker has its voucher, and the processor time of a request that is paid for on
//! both hops beside one that is paid for on none.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use billing::channel::journal;
use e2e::wait::measured;
use e2e::{Connect, Gateway, Worker};
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::ask::{App, Seen};
use super::named;
use super::site::{Engine, Site, Unpaid, until};

/// From the worker's note of what an answer earned to a voucher that covers it, both on its disk, for 99 of 100.
const SOON_ENOUGH: Duration = Duration::from_millis(50);
/// A machine that is busy with other tests has this many times longer; what it was is printed.
const SLACK: u32 = 40;
/// Paying may cost so many times the processor time of being charged; it is well below.
const MOST_TIMES: f64 = 5.0;
/// So often each is asked in turn.
const ROUNDS: usize = 2;

/// Reads a worker's journal while it grows.
struct Reader {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Reader {
    fn of(journal: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move { delays(&journal, &stopped).await });
        Self { stop, task }
    }

    /// How long each answer's earnings waited for a voucher.
    async fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it reads")
    }
}

async fn delays(path: &Path, stop: &AtomicBool) -> Vec<Duration> {
    let mut file = fs::File::open(path).expect("the worker has a journal");
    let (mut bytes, mut delays) = (Vec::new(), Vec::new());
    let (mut covered, mut spent) = (0, 0);
    // What was earned in all, and when, as long as no voucher covers it.
    let mut waiting: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut is_first = true;
    let mut stopped_at = None;
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        file.read_to_end(&mut bytes).expect("it is there");
        let now = Instant::now();
        let read = journal::read::<Value>(&bytes).expect("a journal");
        bytes.drain(..read.whole);
        for record in records(&read.records) {
            if let Some(max) = record["voucher"]["maxClaimableAmount"].as_str() {
                covered = max.parse().expect("digits");
                let still = waiting.split_off(&(covered + 1));
                delays.extend(waiting.into_values().map(|since| now - since));
                waiting = still;
            }
            let earned = amount(&record["spent"]["spent"]);
            if earned > spent {
                spent = earned;
                if spent > covered {
                    waiting.insert(spent, now);
                } else if !is_first {
                    delays.push(Duration::ZERO);
                }
            }
        }
        if is_first {
            // What was there before is not timed.
            delays.clear();
            is_first = false;
        }
        if is_last {
            if waiting.is_empty() {
                return delays;
            }
            let since = *stopped_at.get_or_insert(now);
            assert!(
                now - since < e2e::wait::SOON,
                "{} answers have no voucher",
                waiting.len()
            );
        }
        // How exact the times are.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Of the channel, whatever a frame has beside it.
fn records(frames: &[Value]) -> impl Iterator<Item = &Value> {
    let lines = frames
        .iter()
        .flat_map(|frame| frame.as_array().map_or(std::slice::from_ref(frame), Vec::as_slice));
    lines.map(|line| &line["channel"]["record"])
}

fn amount(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        other => other.as_u64().unwrap_or_default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_has_its_voucher_when_the_last_token_is_out() {
    let answers = named("MULBERRY_PAID_VOUCHERS", 400);
    let site = Site::open(Engine::mock).await;
    let app = site.app();
    ask(&app, 40, 1).await;
    until(
        "the worker has a channel",
        || site.logs(),
        async || site.wage().await["channel"]["phase"] == "open",
    )
    .await;
    site.back_agrees().await;
    let reader = Reader::of(site.earnings().join("journal"));
    ask(&app, answers, 4).await;
    site.back_agrees().await;
    let mut delays = reader.end().await;
    delays.sort_unstable();
    assert!(delays.len() as u64 >= answers / 4, "{} of {answers}", delays.len());
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    let waited = delays.iter().filter(|delay| !delay.is_zero()).count();
    measured(
        "paid::overhead",
        &format!(
            "from what was earned to its voucher, {} times: p50 {:?}, p99 {:?}, at most {:?}; {waited} waited at all",
            delays.len(),
            at(50),
            at(99),
            at(100)
        ),
    );
    assert!(at(99) <= SOON_ENOUGH * SLACK, "p99 {:?}", at(99));
}

/// Asks so often, so many at a time. How long it took.
async fn ask(app: &App, requests: u64, at_a_time: u64) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    let began = Instant::now();
    for _ in 0..at_a_time {
        let (app, next) = (app.clone(), next.clone());
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return;
                }
                let seen = app.ask(number).await;
                assert!(matches!(seen, Seen::Whole(_)), "{number}: {seen:?}");
            }
        });
    }
    clients.join_all().await;
    began.elapsed()
}

/// Of connect, gateway and worker together, in ticks of the system.
fn ticks(connect: &Connect, gateway: &Gateway, worker: &Worker) -> u64 {
    let of = |pid: u32| -> u64 {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // The name may have anything in it, and ends with the last parenthesis.
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let times = rest.split_whitespace().skip(11).take(2);
        times.map(|time| time.parse::<u64>().expect("ticks")).sum()
    };
    [connect.pid(), gateway.pid(), worker.pid()].into_iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paying_for_each_request_costs_a_part_of_a_request() {
    let requests = named("MULBERRY_PAID_OVERHEAD", 150);
    let paid = Site::open(Engine::mock).await;
    let unpaid = Unpaid::open().await;
    // Paid over both hops, charged in the ledger alone, and for nothing.
    let apps = [paid.app(), unpaid.app("sk-bob"), unpaid.app("sk-alice")];
    for app in &apps {
        ask(app, 60, 4).await;
    }
    until(
        "the worker has a channel",
        || paid.logs(),
        async || paid.wage().await["channel"]["phase"] == "open",
    )
    .await;
    for at_a_time in [1, 64] {
        let (mut wall, mut cpu) = ([Duration::ZERO; 3], [0; 3]);
        let of = |at: usize| match at {
            0 => ticks(&paid.connect, &paid.gateway, &paid.worker),
            _ => ticks(&unpaid.connect, &unpaid.gateway, &unpaid.worker),
        };
        // In turn, so that a neighbour on the machine disturbs all of them.
        for round in 0..3 * ROUNDS {
            let at = round % 3;
            let before = of(at);
            wall[at] += ask(&apps[at], requests, at_a_time).await;
            cpu[at] += of(at) - before;
        }
        #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
        let cpu = cpu.map(|ticks| ticks.max(1) as f64);
        let wall = wall.map(|time| time.as_secs_f64());
        measured(
            "paid::overhead",
            &format!(
                "{at_a_time} at a time: to one that is charged, processor time {:.2} times, time {:.2} times; to one \
                 for nothing, {:.2} and {:.2}; of {} requests {cpu:?} ticks, {wall:.2?} s",
                cpu[0] / cpu[1],
                wall[0] / wall[1],
                cpu[0] / cpu[2],
                wall[0] / wall[2],
                requests * ROUNDS as u64,
            ),
        );
        assert!(cpu[0] / cpu[1] < MOST_TIMES, "{cpu:?}");
    }
}
