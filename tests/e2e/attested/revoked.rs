//! What was accepted and is so no more: the connections that rest on it end at once, with their streams, and no others.

use std::time::{Duration, Instant};

use attestation::{CollateralSet, Role};
use attestation_ratls::collateral::bundle;
use attestation_soft_tdx::{Collateral, SoftTdx, Td};
use e2e::papers::{Papers, now};
use e2e::rogue::{Rogue, Says};
use e2e::soft::{builder, platform};
use e2e::wait::SOON;
use e2e::{Gateway, Mock, eventually};

use super::{Ground, ask, chat, digest, down, prompts, up};
use crate::flow::Flow;

/// On each of the two workers.
const STREAMS: usize = 25;
/// How soon all that rests on what was revoked is over.
const BOUND: Duration = Duration::from_secs(2 + SLACK);
/// For a machine that does much else; what it took is printed.
const SLACK: u64 = 4;

/// Two backends of one worker each, and a model that both have.
const BACKENDS: &str = r"backends:
- {name: kept, workers: [{name: one, join_token_sha256: KEPT}]}
- {name: struck, workers: [{name: other, join_token_sha256: STRUCK}]}
models:
- {name: kept, routes: [{backend: kept, model: fault/slow-50+tokens-120}]}
- {name: struck, routes: [{backend: struck, model: fault/slow-50+tokens-600}]}
- {name: both, routes: [{backend: struck, model: mock}, {backend: kept, model: mock}]}
";

const KEPT: &str = "a-token-of-the-one-that-stays";
const STRUCK: &str = "a-token-of-the-one-that-goes";

fn yaml(attestation: &str) -> String {
    let backends = BACKENDS
        .replace("KEPT", &digest(KEPT))
        .replace("STRUCK", &digest(STRUCK));
    format!("{attestation}{backends}")
}

/// Streams in both directions of the road, and what came of them when one of the two was struck.
async fn strike(gateway: &Gateway, kept: &Mock, struck: &Mock, act: impl AsyncFnOnce()) {
    let (mut go_on, mut end) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        go_on.push(Flow::begin(chat(gateway, "kept", true)).await);
        end.push(Flow::begin(chat(gateway, "struck", true)).await);
    }
    assert_eq!(ask(gateway, "both").await.status, 200);
    let began = Instant::now();
    act().await;
    for flow in end {
        let stream = flow.end().await;
        assert!(!stream.is_done(), "{}", stream.text);
        let code = stream.error().code;
        assert!(code.is_some(), "{}", stream.text);
    }
    let took = began.elapsed();
    assert!(took < BOUND, "the streams ended after {took:?}");
    e2e::wait::measured(
        "revoked",
        &format!("{STREAMS} streams ended after {took:?}, the others went on"),
    );
    down(gateway, "struck/other").await;
    // The engine is not left at work for nobody, and hears of nothing new.
    let is_idle = eventually(SOON, || struck.inflight() == 0);
    assert!(is_idle.await, "the engine works on");
    let heard = prompts(struck);
    for _ in 0..10 {
        assert_eq!(ask(gateway, "both").await.status, 200);
    }
    assert_eq!(ask(gateway, "struck").await.status, 503);
    for flow in go_on {
        let stream = flow.end().await;
        assert!(stream.is_done(), "{}", stream.text);
    }
    assert_eq!(prompts(struck), heard);
    assert!(prompts(kept) >= STREAMS + 10);
}

fn flags<'a>(gateway: &'a str, evidence: &'a str, token: &'a str) -> [&'a str; 6] {
    ["--gateway", gateway, "--evidence", evidence, "--join-token-file", token]
}

#[tokio::test]
async fn a_measurement_that_is_struck_ends_its_streams_and_no_others() {
    let ground = Ground::of(&["one", "other"]);
    let (kept, struck) = (ground.world.mock(&[]), ground.world.mock(&[]));
    let gateway = ground.world.gateway(&yaml(&ground.attestation("")));
    let to = gateway.for_workers();
    let evidence = |image: &str| format!("danger-software:{}#{image}", ground.seed.display());
    let token = |name: &str, token: &str| ground.world.secret(name, token).display().to_string();
    let (one, first) = (evidence("one"), token("kept.token", KEPT));
    let (other, second) = (evidence("other"), token("struck.token", STRUCK));
    let _one = ground.world.worker_in(&[], &kept.url(), &flags(&to, &one, &first));
    let other = ground.world.worker_in(&[], &struck.url(), &flags(&to, &other, &second));
    up(&gateway, "kept/one").await;
    up(&gateway, "struck/other").await;
    strike(&gateway, &kept, &struck, async || {
        ground.accept(&["one"]);
        let answer = gateway.reload().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
    // It knows why, and may not come back; until it may.
    other.says("image_unknown", 1).await;
    ground.accept(&["one", "other"]);
    assert_eq!(gateway.reload().await.status, 200);
    up(&gateway, "struck/other").await;
    assert_eq!(ask(&gateway, "struck").await.status, 200);
}

/// A machine of the same root beside the first.
const OTHER: u32 = 4;

fn other_platform() -> SoftTdx {
    platform().platform(OTHER).with_td(Td::of("worker"))
}

/// Newer lists, on which that machine stands.
fn after() -> Collateral {
    builder()
        .other_platform(OTHER)
        .crl_number(8)
        .revoked_pck()
        .build()
        .collateral(now())
}

#[tokio::test]
async fn a_platform_that_is_revoked_ends_its_streams_and_no_others() {
    let ground = Ground::of(&["worker"]);
    let (kept, struck) = (ground.world.mock(&[]), ground.world.mock(&[]));
    let folder = ground.world.dir().join("collateral");
    let carry = |collateral: Collateral| {
        let mut set = CollateralSet::new(platform().danger_anchor());
        let collateral = attestation::Collateral::parse(collateral.into()).expect("its own");
        set.insert(collateral, now()).expect("it holds");
        bundle::export(&set, &folder).expect("the world is ours");
    };
    carry(platform().collateral(now()));
    let attestation = ground.attestation_from(&format!("bundle:{}", folder.display()), "");
    let gateway = ground.world.gateway(&yaml(&attestation));
    let to = gateway.for_workers();
    let evidence = format!("danger-software:{}#worker", ground.seed.display());
    let token = ground.world.secret("kept.token", KEPT).display().to_string();
    let _one = ground.world.worker_in(&[], &kept.url(), &flags(&to, &evidence, &token));
    // A second machine, which no process here can be.
    let soft = other_platform();
    let other = Rogue {
        papers: Papers::sound(Role::Worker, &soft),
        says: Says::quote(&soft),
        token: Some(STRUCK.to_owned()),
        engine: Some(struck.url()),
        ..Rogue::honest(&soft)
    };
    let visit = other.dial(&super::address(&gateway)).await;
    visit.welcome().await;
    up(&gateway, "kept/one").await;
    up(&gateway, "struck/other").await;
    strike(&gateway, &kept, &struck, async || {
        carry(after());
        let answer = gateway.reload().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
    visit.end().await;
    let is_told = eventually(SOON, || gateway.log().contains("pck_revoked"));
    assert!(is_told.await, "{}", gateway.log());
    assert_eq!(visit.early(), 0);
}
