//! kill -9 of each process in turn, under load.
//!
//! `tests/kill9 paid` runs many rounds of it; `MULBERRY_KILL_ROUNDS` says how many for each process,
//! `MULBERRY_KILL9_SEED` makes the same throws again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::dice::Dice;
use e2e::eventually;
use e2e::wait::{SOON, measured};
use serde_json::Value;
use tokio::task::JoinSet;

use super::ask::{App, CLIENT, Seen, WORKER};
use super::named;
use super::site::{Engine, Site, gram, units};

const AT_A_TIME: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Connect,
    Gateway,
    Worker,
    Engine,
    Chain,
}

const VICTIMS: [Victim; 5] = [
    Victim::Connect,
    Victim::Gateway,
    Victim::Worker,
    Victim::Engine,
    Victim::Chain,
];

/// What the app saw of all rounds.
#[derive(Default)]
struct Ledger {
    whole: u64,
    /// What whole answers may cost by their usage, and may have earned.
    received: u64,
    made: u64,
    /// What `PAYMENT-RESPONSE` said of them, and the highest voucher in it.
    said: u64,
    signed: u64,
    /// Answers that broke off, or never came.
    broken: u64,
    refused: u64,
}

impl Ledger {
    fn note(&mut self, seen: &Seen) {
        match seen {
            Seen::Whole(one) => {
                self.whole += 1;
                self.received += CLIENT.of(one.usage);
                self.made += WORKER.of(one.usage);
                if let Some(said) = one.said {
                    assert_eq!(said.charged, CLIENT.of(one.usage), "{one:?}");
                    self.said += said.charged;
                    self.signed = self.signed.max(said.signed);
                }
            }
            Seen::Broken => self.broken += 1,
            Seen::Refused { .. } => self.refused += 1,
        }
    }
}

/// Each asks until something ends that did not end well, or all are to stop.
fn load(app: &App, begin: u64, ends: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) -> JoinSet<Vec<Seen>> {
    let mut clients = JoinSet::new();
    for client in 0..AT_A_TIME {
        let (app, ends, stop) = (app.clone(), ends.clone(), stop.clone());
        clients.spawn(async move {
            let mut seen = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let one = app.ask(begin + client + number * AT_A_TIME).await;
                let is_whole = matches!(one, Seen::Whole(_));
                seen.push(one);
                if !is_whole {
                    break;
                }
                ends.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
    }
    clients
}

/// What may only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    /// Of the app's channel: as the payer has it, as the payee has it, and what the contract paid.
    signed: u64,
    known: u64,
    claimed: u64,
    /// Of the worker's.
    wage: u64,
    covered: u64,
    paid: u64,
}

async fn marks(site: &Site) -> Marks {
    let (payment, books, wage, journal) = (
        site.payment().await,
        site.books().await,
        site.wage().await,
        site.journal(),
    );
    let channel = wage["channel"]["id"].as_str().expect("a channel");
    let journal = journal["channels"].as_array().expect("a list").iter();
    let covered = journal
        .filter(|one| one["raw"] == channel)
        .map(|one| &one["voucher_max"]);
    Marks {
        signed: units(&payment["signed"]),
        known: gram(&books["voucher_max"]),
        claimed: site.claimed(&site.front).await.expect("it is open"),
        wage: gram(&wage["channel"]["voucher_max"]),
        covered: covered.map(units).sum(),
        paid: site.claimed(channel).await.expect("it is open"),
    }
}

fn regressed(before: &Marks, after: &Marks) -> bool {
    after.signed < before.signed
        || after.known < before.known
        || after.claimed < before.claimed
        || after.wage < before.wage
        || after.covered < before.covered
        || after.paid < before.paid
}

/// Asks as the load does until the worker has a channel.
async fn warm(site: &Site, seen: &mut Ledger) {
    let app = site.app();
    let deadline = Instant::now() + 3 * SOON;
    let mut wage = Value::Null;
    for number in 0.. {
        if wage["channel"]["phase"] == "open" && number >= 30 {
            return;
        }
        assert!(Instant::now() < deadline, "no channel: {wage}\n{}", site.logs());
        let one = app.ask(number).await;
        assert!(matches!(one, Seen::Whole(_)), "{one:?}\n{}", site.logs());
        seen.note(&one);
        wage = site.wage().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_nobody_is_charged_for_more_than_was_under_way() {
    let rounds = named("MULBERRY_KILL_ROUNDS", 3);
    let seed = Dice::seed("MULBERRY_KILL9_SEED");
    let mut dice = Dice::new(seed);
    let mut site = Site::open(Engine::mock).await;
    let mut seen = Ledger::default();
    warm(&site, &mut seen).await;
    site.back_agrees().await;
    let mut before = marks(&site).await;
    let mut number = 1_000;
    for round in 0..rounds {
        for victim in VICTIMS {
            let note = format!("round {round} of {rounds}, {victim:?}, seed {seed}");
            let (ends, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let clients = load(&site.app(), number, &ends, &stop);
            number += 100_000;
            let under_way = dice.between(0, 3 * AT_A_TIME);
            assert!(
                eventually(SOON, || ends.load(Ordering::Relaxed) >= under_way).await,
                "nothing ends ({note})\n{}",
                site.logs()
            );
            // The moment is what is random here; nothing is waited for.
            tokio::time::sleep(Duration::from_millis(dice.between(0, 100))).await;
            let seen_by = seen.signed;
            match victim {
                Victim::Connect => site.kill_connect(),
                Victim::Gateway => site.kill_gateway(),
                Victim::Worker => site.kill_worker(),
                Victim::Engine => site.kill_engine(),
                Victim::Chain => site.kill_chain(),
            }
            stop.store(true, Ordering::Relaxed);
            for one in clients.join_all().await.concat() {
                if let (Victim::Chain, Seen::Broken | Seen::Refused { .. }) = (victim, &one) {
                    panic!(
                        "who is known is served without a chain: {one:?} ({note})\n{}",
                        site.logs()
                    );
                }
                seen.note(&one);
            }
            site.ready().await;
            let (front, back) = (site.front_agrees().await, site.back_agrees().await);
            let after = marks(&site).await;
            assert!(!regressed(&before, &after), "{before:?}, then {after:?} ({note})");
            assert!(
                after.known >= seen.signed && after.signed >= seen.signed.max(seen_by),
                "{after:?}, and an answer said {} ({note})",
                seen.signed
            );
            before = after;
            // Not more than came, and what was under way when somebody was killed; not less than an answer said.
            let most = seen.received + seen.broken * CLIENT.ceiling();
            assert!(
                (seen.said..=most).contains(&front),
                "{front} for {} to {most} ({note})",
                seen.said
            );
            let most = seen.made + (seen.broken + seen.refused) * WORKER.ceiling();
            assert!(back <= most, "{back} for {most} at most ({note})");
        }
    }
    assert!(seen.broken > 0, "nothing was under way, seed {seed}");
    let [front, back] = site.settle().await;
    measured(
        "paid::killed",
        &format!(
            "{rounds} rounds for each of {}: {} whole answers, {} broken, {} refused; charged {front} for {}, \
             earned {back} for {}",
            VICTIMS.len(),
            seen.whole,
            seen.broken,
            seen.refused,
            seen.received,
            seen.made
        ),
    );
}
