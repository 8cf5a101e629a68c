//! What Intel says of platforms, when whoever passes it on is away, lies, or says what has ended.

use attestation_soft_tdx::SoftTdx;
use attestation_soft_tdx::recipe::Window;
use e2e::papers::now;
use e2e::pccs::Mood;
use e2e::rogue::{Rogue, Stage};
use e2e::soft::builder;
use e2e::wait::SOON;
use e2e::{Gateway, eventually};

use super::{CANARY, Ground, TOKEN, address, ask, ask_for, down, guest, up};

/// A worker with everything in order but what is said of its platform.
fn worker(soft: &SoftTdx) -> Rogue {
    Rogue {
        token: Some(TOKEN.to_owned()),
        ..Rogue::honest(soft)
    }
}

/// That it calls and is not let in, and gets no prompt.
async fn assert_refused(gateway: &Gateway, code: &str) {
    let visit = worker(&guest("worker")).dial(&address(gateway)).await;
    assert_eq!(ask(gateway, "mock").await.status, 503);
    visit.end().await;
    assert_eq!(visit.stage(), Stage::Dialled);
    assert!(!visit.heard.holds(CANARY) && visit.requests().is_empty());
    let is_told = eventually(SOON, || gateway.log().contains(&format!("code=\"{code}\"")));
    assert!(is_told.await, "{}", gateway.log());
}

#[tokio::test]
async fn without_collateral_or_with_a_lie_nobody_is_let_in() {
    for mood in [Mood::Down, Mood::Lies] {
        let ground = Ground::of(&["worker"]);
        ground.pccs.be(mood);
        let gateway = ground.gateway("");
        assert_refused(&gateway, "collateral_missing").await;
        let has_tried = eventually(SOON, || gateway.log().contains("collateral not renewed"));
        assert!(has_tried.await, "{mood:?}: {}", gateway.log());
        assert_refused(&gateway, "collateral_missing").await;
    }
}

#[tokio::test]
async fn a_restart_needs_no_service_for_what_it_has_on_disk() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let data = format!("data_dir: {}\n", ground.world.dir().join("data").display());
    let mut gateway = ground.gateway_that(&data, "");
    let to = gateway.for_workers();
    let _worker = ground.worker(&mock.url(), "worker", &to);
    up(&gateway, "gpu/box").await;
    // In force before it is on disk; that it has its name there is the last step.
    let shelf = ground.world.dir().join("data/collateral");
    let is_kept = eventually(SOON, || {
        let mut entries = std::fs::read_dir(&shelf).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().extension().is_none())
    });
    assert!(is_kept.await, "nothing is kept in {}", shelf.display());
    gateway.kill();
    let asked = ground.pccs.asked().len();
    ground.pccs.be(Mood::Down);
    let again = ground.gateway_that(&data, "");
    let visit = worker(&guest("worker")).dial(&address(&again)).await;
    visit.welcome().await;
    assert_eq!(ground.pccs.asked().len(), asked);
}

#[tokio::test]
async fn collateral_that_ends_ends_what_rests_on_it() {
    /// Enough to come up in, and less than the end is waited for.
    const LIFE_S: u64 = 14;
    const DAY_S: u64 = 86_400;
    let short = Window {
        age: 86_400,
        life: DAY_S + LIFE_S,
    };
    let ground = Ground::with(
        &["worker"],
        vec![builder().collateral_window(short).build().collateral(now())],
    );
    let mock = ground.world.mock(&[]);
    let gateway = ground.gateway("");
    let _worker = ground.worker(&mock.url(), "worker", &gateway.for_workers());
    up(&gateway, "gpu/box").await;
    assert_eq!(ask_for(&gateway, "tee").await.status, 200);
    // Nobody says anything newer.
    ground.pccs.be(Mood::Down);
    down(&gateway, "gpu/box").await;
    assert_eq!(ask_for(&gateway, "tee").await.status, 503);
    assert_refused(&gateway, "collateral_expired").await;
}
