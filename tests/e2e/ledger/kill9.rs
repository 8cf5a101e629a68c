//! kill -9 at random moments under streaming load.
//!
//! `tests/kill9` runs many rounds of it; `MULBERRY_KILL9_ROUNDS` says how many, `MULBERRY_KILL9_SEED` makes the same
//! throws again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::dice::Dice;
use e2e::eventually;
use e2e::spender::{Question, Seen, Spender};
use e2e::wait::SOON;
use reqwest::Method;
use serde_json::json;

use super::{Books, KEY, Mode, Stage, admin, spend, units, verify};

/// What the key may spend; no round comes near it.
const BUDGET: u64 = 1_000_000_000;
const CLIENTS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    rounds(Mode::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    rounds(Mode::Direct).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_behind_a_journal() {
    rounds(Mode::Local).await;
}

fn how_many() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let named = std::env::var("MULBERRY_KILL9_ROUNDS").ok();
    named.map_or(6, |rounds| rounds.parse().expect("MULBERRY_KILL9_ROUNDS is a number"))
}

async fn rounds(mode: Mode) {
    let Some(stage) = Stage::new(mode) else { return };
    let seed = Dice::seed("MULBERRY_KILL9_SEED");
    let mut dice = Dice::new(seed);
    let rounds = how_many();
    let mut seen = Vec::new();
    for round in 0..rounds {
        let note = format!("{mode:?}, round {round} of {rounds}, seed {seed}");
        let mut gateway = stage.gateway("n1", &units(BUDGET), "");
        // What the round before left is whole before anything new comes.
        Books::of(&gateway).await.agree_with(&seen, &note);
        let ends = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let spender = Spender::new(&gateway.url(), KEY);
                tokio::spawn(spend(spender, format!("r{round}-c{client}"), dice.fork(), ends.clone()))
            })
            .collect();
        if dice.percent(60) {
            // Into the middle of it: on a busy machine no answer may have ended yet.
            assert!(
                eventually(SOON, || ends.load(Ordering::Relaxed) > 0).await,
                "nothing ends ({note})"
            );
        }
        // The moment is what is random here; nothing is waited for.
        tokio::time::sleep(Duration::from_millis(dice.between(0, 500))).await;
        gateway.kill();
        for client in clients {
            seen.extend(client.await.expect("a client does not panic"));
        }
    }
    let note = format!("{mode:?}, after {rounds} rounds, seed {seed}");
    let ends = seen.iter().filter(|(_, seen)| matches!(seen, Seen::End(_))).count();
    let broken = seen.iter().filter(|(_, seen)| *seen == Seen::Broken).count();
    assert!(
        ends > 0 && broken > 0,
        "{ends} ends and {broken} broken answers are no load ({note})"
    );

    // A gateway that ends in order leaves nothing behind.
    let mut gateway = stage.gateway("n1", &units(BUDGET), "");
    let books = Books::of(&gateway).await;
    books.agree_with(&seen, &note);
    verify(&gateway, &note).await;
    gateway.signal("TERM");
    assert!(gateway.wait(SOON).await.success(), "{note}: {}", gateway.log());

    // All that was not captured can be spent: no hold survives. The price is the whole of it.
    let left = BUDGET - books.total();
    let more = format!(
        "  - {{name: mock, routes: [{{backend: only}}], price: {{currency: TON, request: {}}}}}\n",
        units(left)
    );
    let gateway = stage.gateway_with_models("n1", &units(BUDGET), "", &more);
    let last = |id: &str| Question {
        id: id.to_owned(),
        model: "mock".to_owned(),
        prompt: "all".to_owned(),
        is_stream: true,
        max_tokens: Some(16),
    };
    let spender = Spender::new(&gateway.url(), KEY);
    let all = spender.ask(&last("all")).await;
    assert!(
        matches!(all, Seen::End(_)),
        "{all:?} instead of all that is left, {left} ({note})"
    );
    let refused = spender.ask(&last("more")).await;
    let no_money = Seen::Refused {
        status: 402,
        code: "insufficient_quota".to_owned(),
    };
    assert_eq!(refused, no_money, "{note}");
    verify(&gateway, &note).await;
    assert_eq!(Books::of(&gateway).await.total(), BUDGET, "{note}");
    let nodes = admin(&gateway, Method::GET, "ledger").await.json();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{note}: {nodes}");
    assert_eq!(nodes["nodes"][0]["name"], json!("n1"), "{note}: {nodes}");
}
