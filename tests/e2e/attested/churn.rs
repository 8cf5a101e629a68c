//! Workers that come and go while clients ask for `tee`: a request is answered by a guest or refused with reasons, and
//! no engine outside a guest ever hears of it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use e2e::client::send;
use e2e::dice::Dice;
use e2e::wait::measured;
use e2e::{Answer, Gateway, Mock, WorkerKey, eventually};

use super::{Ground, ask_for, chat, digest, prompts, up};

/// Of each kind.
const WORKERS: usize = 3;
const CLIENTS: usize = 4;

/// The short form. `MULBERRY_CHURN_S=60` is the long one; `MULBERRY_CHURN_SEED` throws again as before.
const SECONDS: u64 = 8;

fn seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let named = std::env::var("MULBERRY_CHURN_S").ok();
    named.map_or(SECONDS, |text| {
        text.parse().expect("MULBERRY_CHURN_S is a number of seconds")
    })
}

/// Why a machine cannot have a prompt now.
const REASONS: [&str; 5] = [
    "tier_too_low",
    "not_connected",
    "not_ready",
    "already_tried",
    "breaker_open",
];

/// A machine that is switched on and off.
struct Machine {
    mock: Mock,
    known: Known,
}

enum Known {
    Key(WorkerKey),
    /// The file of its token.
    Token(String),
}

impl Machine {
    /// Until the end; it is off then.
    async fn come_and_go(&self, ground: &Ground, gateway: &str, mut dice: Dice, end: Instant) {
        let evidence = format!("danger-software:{}#worker", ground.seed.display());
        while Instant::now() < end {
            let engine = self.mock.url();
            let worker = match &self.known {
                Known::Key(key) => ground.world.worker(key, &engine, &["--gateway", gateway]),
                Known::Token(file) => {
                    let flags = ["--gateway", gateway, "--evidence", &evidence, "--join-token-file", file];
                    ground.world.worker_in(&[], &engine, &flags)
                }
            };
            // It comes as soon as it can, stays for a while, or is gone before it was there.
            if dice.percent(80) {
                let is_there = || worker.log().contains("connected gateway");
                // On a machine that is busy it may be off again before.
                _ = eventually(Duration::from_secs(3), is_there).await;
            }
            pause(&mut dice, 100, 1000).await;
            // One in three says goodbye.
            if dice.percent(33) {
                worker.signal("TERM");
                pause(&mut dice, 50, 200).await;
            }
            drop(worker);
            pause(&mut dice, 50, 700).await;
        }
    }
}

/// What chance decides here is when things happen, and nothing waits for it.
async fn pause(dice: &mut Dice, least_ms: u64, most_ms: u64) {
    let wait = dice.between(least_ms, most_ms);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

#[derive(Default)]
struct Tally {
    served: Cell<u64>,
    refused: Cell<u64>,
    /// Streams that ended with an error, because their machine was switched off.
    broken: Cell<u64>,
}

impl Tally {
    fn count(cell: &Cell<u64>) {
        cell.set(cell.get() + 1);
    }

    /// An answer that began, or a refusal that says why.
    fn note(&self, answer: &Answer) {
        match answer.status.as_u16() {
            200 if answer.text().contains(r#""error""#) => Self::count(&self.broken),
            200 => Self::count(&self.served),
            // The machine went away with the request in its hands, and no other was there.
            502 => Self::count(&self.broken),
            503 => {
                let error = answer.json()["error"].clone();
                match error["code"].as_str() {
                    Some("no_attested_upstream") => {
                        let reasons = error["message"].as_str().unwrap_or_default();
                        assert!(REASONS.iter().any(|reason| reasons.contains(reason)), "{error}");
                        Self::count(&self.refused);
                    }
                    // A guest that says goodbye, and no other was there.
                    Some("worker_error") => Self::count(&self.broken),
                    _ => panic!("{error}"),
                }
            }
            other => panic!("{other}: {}", answer.text()),
        }
        if answer.status == 200 {
            assert_eq!(answer.header("x-mulberry-tier"), "tee", "{:?}", answer.headers);
        }
    }
}

async fn ask_on(gateway: &Gateway, tally: &Tally, mut dice: Dice, end: Instant) {
    while Instant::now() < end {
        let is_stream = dice.percent(50);
        let asked = chat(gateway, "mock", is_stream);
        let asked = if dice.percent(50) {
            asked.header("x-mulberry-min-tier", "tee")
        } else {
            asked.header("x-attest-policy", r#"{"min_tier":"tee"}"#)
        };
        tally.note(&Answer::of(send(asked).await).await);
        pause(&mut dice, 5, 40).await;
    }
}

#[tokio::test]
async fn no_request_for_a_guest_reaches_a_machine_that_is_none() {
    let seed = Dice::seed("MULBERRY_CHURN_SEED");
    let mut dice = Dice::new(seed);
    let ground = Ground::of(&["worker"]);
    let open: Vec<Machine> = (0..WORKERS)
        .map(|n| Machine {
            mock: ground.world.mock(&[]),
            known: Known::Key(ground.world.worker_key(&format!("open-{n}"))),
        })
        .collect();
    let tokens: Vec<String> = (0..WORKERS).map(|n| format!("the-token-of-guest-{n}")).collect();
    let guests: Vec<Machine> = tokens
        .iter()
        .enumerate()
        .map(|(n, token)| Machine {
            mock: ground.world.mock(&[]),
            known: Known::Token(ground.world.secret(&format!("token-{n}"), token).display().to_string()),
        })
        .collect();
    let keys = open.iter().enumerate().map(|(n, machine)| match &machine.known {
        Known::Key(key) => format!("{{name: open-{n}, key_sha256: {}}}", key.sha256),
        Known::Token(_) => unreachable!("those in the open have keys"),
    });
    let named = tokens
        .iter()
        .enumerate()
        .map(|(n, token)| format!("{{name: guest-{n}, join_token_sha256: {}}}", digest(token)));
    let workers: Vec<String> = keys.chain(named).collect();
    let gateway = ground.world.gateway(&format!(
        "{}backends: [{{name: gpu, workers: [{}]}}]\n",
        ground.attestation("").replace("level: debug", "level: info"),
        workers.join(", ")
    ));
    let to = gateway.for_workers();

    // With nobody but machines in the open there is an answer for who takes anything, and none for who does not.
    let Known::Key(key) = &open[0].known else {
        unreachable!("those in the open have keys")
    };
    let alone = ground.world.worker(key, &open[0].mock.url(), &["--gateway", &to]);
    up(&gateway, "gpu/open-0").await;
    assert_eq!(ask_for(&gateway, "open").await.status, 200);
    let refused = ask_for(&gateway, "tee").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("tier_too_low"), "{}", refused.text());
    drop(alone);
    let heard: usize = open.iter().map(|machine| prompts(&machine.mock)).sum();
    assert_eq!(heard, 1);

    let tally = Tally::default();
    let end = Instant::now() + Duration::from_secs(seconds());
    let machines = open.iter().chain(&guests).map(|machine| {
        let dice = dice.fork();
        machine.come_and_go(&ground, &to, dice, end)
    });
    let machines: Vec<_> = machines.collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| ask_on(&gateway, &tally, dice.fork(), end))
        .collect();
    tokio::join!(
        futures_util::future::join_all(machines),
        futures_util::future::join_all(clients),
    );
    let outcome = format!(
        "{} s, seed {seed}: {} served, {} refused, {} broken off",
        seconds(),
        tally.served.get(),
        tally.refused.get(),
        tally.broken.get()
    );
    measured("churn", &outcome);
    assert!(
        tally.served.get() > 0,
        "nothing was served: {outcome}\n{}",
        gateway.log()
    );
    // By the engines' own counts: their logs keep the latest requests alone.
    let asked = |machines: &[Machine]| -> u64 { machines.iter().map(|machine| machine.mock.count("mock")).sum() };
    let in_the_open = asked(&open);
    assert_eq!(
        in_the_open, 1,
        "a prompt for a guest reached a machine in the open: {outcome}"
    );
    assert!(asked(&guests) >= tally.served.get(), "{outcome}");
}
