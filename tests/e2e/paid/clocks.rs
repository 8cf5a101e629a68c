//! Each process in turn has a wrong clock for a while.

use e2e::Clocks;
use e2e::wait::{measured, skipped};

use super::ask::{CLIENT, Seen, WORKER};
use super::site::{Engine, Site, until};

const DAY_S: i64 = 86_400;
/// A worker that is away for a week is given up, and a budget is for a day.
const JUMPS: [i64; 3] = [8 * DAY_S, -8 * DAY_S, -1_790_000_000];
/// Asked while the clock is wrong.
const MEANWHILE: u64 = 5;

/// What the app saw.
#[derive(Default)]
struct Ledger {
    asked: u64,
    received: u64,
    made: u64,
    broken: u64,
    refused: u64,
}

impl Ledger {
    async fn ask(&mut self, site: &Site) -> Seen {
        let seen = site.app().ask(self.asked).await;
        self.asked += 1;
        match &seen {
            Seen::Whole(one) => {
                self.received += CLIENT.of(one.usage);
                self.made += WORKER.of(one.usage);
            }
            Seen::Broken => self.broken += 1,
            Seen::Refused { .. } => self.refused += 1,
        }
        seen
    }

    /// Until one is served.
    async fn served(&mut self, site: &Site, note: &str) {
        let mut last = None;
        until(
            "it is served again",
            || format!("{note}: {}", site.logs()),
            async || {
                let seen = self.ask(site).await;
                let is_whole = matches!(seen, Seen::Whole(_));
                last = Some(seen);
                is_whole
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoevers_clock_jumps_nobody_pays_more_and_all_settle() {
    let mut clocks = None;
    let mut site = Site::open(|world| {
        clocks = Some(Clocks::of(world));
        Engine::mock(world)
    })
    .await;
    let clocks = match clocks.expect("the world was made") {
        Ok(clocks) => clocks,
        Err(why) => return skipped("whoevers_clock_jumps_nobody_pays_more_and_all_settle", &why),
    };
    let mut seen = Ledger::default();
    for _ in 0..60 {
        seen.served(&site, "at first").await;
    }
    until(
        "the worker has a channel",
        || site.logs(),
        async || site.wage().await["channel"]["phase"] == "open",
    )
    .await;
    let channel = site.wage().await["channel"]["id"].clone();
    for command in ["connect", "serve", "worker"] {
        for ahead_s in JUMPS {
            let note = format!("{command} {ahead_s} s ahead");
            clocks.set(command, ahead_s);
            for _ in 0..MEANWHILE {
                let one = seen.ask(&site).await;
                // Refused by whoever has an opinion of the time, in so many words.
                if let Seen::Refused { status, text } = &one {
                    assert!(
                        (400..=503).contains(status) && text.contains("\"message\""),
                        "{note}: {one:?}"
                    );
                }
            }
            clocks.set(command, 0);
            for _ in 0..MEANWHILE {
                seen.served(&site, &note).await;
            }
            let (front, back) = (site.front_agrees().await, site.back_agrees().await);
            let most = seen.received + seen.broken * CLIENT.ceiling();
            assert!(
                (seen.received..=most).contains(&front),
                "{front} for {} ({note})",
                seen.received
            );
            let most = seen.made + (seen.broken + seen.refused) * WORKER.ceiling();
            assert!((seen.made..=most).contains(&back), "{back} for {} ({note})", seen.made);
        }
    }
    assert_eq!(site.wage().await["channel"]["id"], channel, "the same all along");
    let [front, back] = site.settle().await;
    measured(
        "paid::clocks",
        &format!(
            "{} asked, {} refused, {} broken; charged {front}, earned {back}",
            seen.asked, seen.refused, seen.broken
        ),
    );
}
