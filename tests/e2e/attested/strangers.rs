//! Workers that nobody named: what they get, by how far the operator opened the door.

use std::time::Instant;

use e2e::rogue::{Rogue, Stage};
use e2e::wait::SOON;
use e2e::{Gateway, Visit};

use super::{CANARY, Ground, address, ask, ask_for, digest, guest, prompts, up};

/// Strangers that announce what the gateway serves: one that proves its machine, one that proves nothing.
async fn strangers(gateway: &Gateway) -> [Visit; 2] {
    let to = address(gateway);
    [
        Rogue::honest(&guest("worker")).dial(&to).await,
        Rogue::keyed().dial(&to).await,
    ]
}

fn assert_got_nothing(visit: &Visit) {
    assert_eq!(visit.requests(), Vec::<String>::new());
    assert!(!visit.heard.holds(CANARY));
}

/// A gateway with a worker of its own, and places for others in a backend beside it that has the same model.
fn yaml(ground: &Ground, enrolment: &str, min_tier: &str) -> String {
    let attestation = ground.attestation(&format!("  enrolment: {enrolment}\n"));
    format!(
        "{attestation}backends:\n- {{name: gpu, workers: [{{name: box, join_token_sha256: {}}}]}}\n- {{name: others, workers: [], enrolment: {{places: 4, min_tier: {min_tier}}}}}\nmodels: [{{name: mock, routes: [{{backend: others}}, {{backend: gpu}}]}}]\n",
        digest(super::TOKEN)
    )
}

/// Until the collateral of the guests is there, which the first call asks for.
async fn warm(ground: &Ground, gateway: &Gateway, engine: &str) -> e2e::Worker {
    let worker = ground.worker(engine, "worker", &gateway.for_workers());
    up(gateway, "gpu/box").await;
    worker
}

#[tokio::test]
async fn by_default_a_strangers_worker_gets_no_request() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    // Nothing is said of enrolment.
    let gateway = ground.gateway("");
    let _own = warm(&ground, &gateway, &mock.url()).await;
    let visits = strangers(&gateway).await;
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "mock").await.status, 200);
    }
    for visit in &visits {
        visit.end().await;
        assert_got_nothing(visit);
    }
    // Valid evidence is not an invitation.
    assert_eq!(visits[0].stage(), Stage::Refused("enrolment_closed".to_owned()));
    assert_eq!(visits[1].stage(), Stage::Dialled);
    assert_eq!(prompts(&mock), 10);
}

#[tokio::test]
async fn with_attested_enrolment_a_guest_of_the_policy_serves_and_nobody_else() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let gateway = ground.world.gateway(&yaml(&ground, "attested", "tee"));
    let own = warm(&ground, &gateway, &mock.url()).await;
    let [proves, keyed] = strangers(&gateway).await;
    let lies = Rogue::honest(&guest("unheard-of")).dial(&address(&gateway)).await;
    keyed.end().await;
    lies.end().await;
    proves.welcome().await;
    assert_eq!(proves.stage(), Stage::Welcome("others/enrolled-1".to_owned()));
    up(&gateway, "others/enrolled-1").await;
    drop(own);
    super::down(&gateway, "gpu/box").await;
    for tier in ["open", "tee"] {
        let answer = ask_for(&gateway, tier).await;
        assert_eq!(answer.status, 200, "{tier}: {}", answer.text());
    }
    assert_eq!((proves.requests().len(), proves.early()), (2, 0));
    // The scan finds what there is.
    assert!(proves.heard.holds(CANARY));
    assert_got_nothing(&keyed);
    assert_got_nothing(&lies);
    // Its place is free again when it has left, which is a moment after it went down.
    drop(proves);
    super::down(&gateway, "others/enrolled-1").await;
    let first = Stage::Welcome("others/enrolled-1".to_owned());
    let deadline = Instant::now() + SOON;
    loop {
        let next = Rogue::honest(&guest("worker")).dial(&address(&gateway)).await;
        next.welcome().await;
        if next.stage() == first {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", next.stage());
    }
}

#[tokio::test]
async fn with_open_enrolment_a_stranger_serves_only_who_says_so() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let gateway = ground.world.gateway(&yaml(&ground, "open", "open"));
    let own = warm(&ground, &gateway, &mock.url()).await;
    let stranger = Rogue::keyed().dial(&address(&gateway)).await;
    stranger.welcome().await;
    up(&gateway, "others/enrolled-1").await;
    // It has half of the route, and is passed over.
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "mock").await.status, 200);
        assert_eq!(ask_for(&gateway, "tee").await.status, 200);
    }
    assert_got_nothing(&stranger);
    assert_eq!(prompts(&mock), 20);
    for _ in 0..40 {
        assert_eq!(ask_for(&gateway, "open").await.status, 200);
    }
    let served = stranger.requests().len();
    assert!(served > 0 && stranger.heard.holds(CANARY));
    // Alone it still serves nobody else.
    drop(own);
    super::down(&gateway, "gpu/box").await;
    assert_eq!(ask(&gateway, "mock").await.status, 503);
    assert_eq!(ask_for(&gateway, "tee").await.status, 503);
    assert_eq!(ask_for(&gateway, "open").await.status, 200);
    assert_eq!((stranger.requests().len(), stranger.early()), (served + 1, 0));
}
