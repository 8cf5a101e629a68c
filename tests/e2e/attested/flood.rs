//! A machine that shows false evidence again and again costs the gateway a bounded rate of looks at it, and nobody else
//! a request.

use std::net::Ipv4Addr;
use std::time::Instant;

use e2e::rogue::Rogue;
use e2e::soft::builder;
use e2e::wait::{SOON, measured};
use e2e::{Gateway, eventually};

use super::{Ground, address, ask_for, down, up};

/// Calls, one after the other, each with evidence that no policy accepts.
const CALLS: usize = 120;
/// What an address may cost at once, and how long one more takes, as docs/attested-tls.md says.
const BURST: usize = 20;
const REFILL_S: f64 = 3.0;

fn told(gateway: &Gateway, code: &str) -> usize {
    gateway.log().matches(&format!("code=\"{code}\"")).count()
}

#[tokio::test]
async fn a_flood_of_false_evidence_is_looked_at_at_a_bounded_rate() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let gateway = ground.gateway("");
    let (to, place) = (address(&gateway), gateway.for_workers());
    // One that is let in, so that collateral is there and the evidence below is worth a look.
    let worker = ground.worker(&mock.url(), "worker", &place);
    up(&gateway, "gpu/box").await;
    drop(worker);
    // The one below is not taken for it.
    down(&gateway, "gpu/box").await;

    let quiet = gateway.log().len();
    let began = Instant::now();
    let flood = async {
        for _ in 0..CALLS {
            let rogue = Rogue {
                from: Ipv4Addr::new(127, 3, 0, 1),
                ..Rogue::honest(&builder().image("worker").debug().build())
            };
            rogue.dial(&to).await.end().await;
        }
    };
    let honest = async {
        // It comes in the middle of the flood, from another address, and serves.
        let worker = ground.worker(&mock.url(), "worker", &place);
        up(&gateway, "gpu/box").await;
        for _ in 0..20 {
            let answer = ask_for(&gateway, "tee").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        worker
    };
    let ((), _worker) = tokio::join!(flood, honest);
    let took = began.elapsed();
    let all_told = eventually(SOON, || told(&gateway, "td_debug") + told(&gateway, "flood") == CALLS);
    assert!(all_told.await, "{}", gateway.log());
    let looks = told(&gateway, "td_debug");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some seconds, rounded down"
    )]
    let refilled = (took.as_secs_f64() / REFILL_S) as usize;
    measured(
        "flood",
        &format!("{CALLS} calls in {took:?} cost {looks} looks at evidence"),
    );
    assert!(
        (BURST..=BURST + refilled + 1).contains(&looks),
        "{looks} looks in {took:?}"
    );
    // The log did not grow with the flood: at the level that operators have, it is told once a second.
    let log = gateway.log();
    let warned = log[quiet..]
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("code=\""))
        .count();
    let seconds = usize::try_from(took.as_secs()).expect("some seconds");
    assert!(warned <= seconds + 2, "{warned} warnings in {took:?}");
}
