//! Gateways that are not what a worker was told, and gateways that ask too early: they get nothing from it.

use std::sync::Arc;
use std::time::Duration;

use attestation::Role;
use attestation_ratls::{Draft, KeyKind, Keys};
use attestation_soft_tdx::SoftTdx;
use e2e::rogue::listener::{Call, RogueGateway};
use e2e::soft::builder;
use e2e::{Mock, Worker};
use serde_json::json;

use super::{CANARY, Ground, guest, prompts};

fn draft(role: Role, attester: Option<SoftTdx>) -> Draft {
    Draft {
        attester: attester.map(|soft| Arc::new(soft) as _),
        ..Draft::new(role, Keys::Fresh(KeyKind::Ed25519))
    }
}

fn a_chat() -> String {
    json!({"model": "mock", "messages": [{"role": "user", "content": CANARY}]}).to_string()
}

/// A worker that calls a gateway of ours, which shows what this draft makes.
struct Lure {
    worker: Worker,
    gateway: RogueGateway,
    mock: Mock,
    _ground: Ground,
}

impl Lure {
    /// Known to the worker by its key.
    async fn pinned() -> Self {
        Self::new(&draft(Role::Gateway, None), true).await
    }

    async fn new(draft: &Draft, is_pinned: bool) -> Self {
        let ground = Ground::of(&["worker"]);
        let mock = ground.world.mock(&[]);
        let gateway = RogueGateway::showing(draft, &guest("worker")).await;
        let worker = if is_pinned {
            ground.worker(&mock.url(), "worker", &gateway.pinned())
        } else {
            ground.worker_that_verifies(&mock.url(), "worker", &gateway.address().to_string())
        };
        Self {
            worker,
            gateway,
            mock,
            _ground: ground,
        }
    }

    async fn call(&self) -> Call {
        let call = self.gateway.accept().await;
        call.unwrap_or_else(|error| panic!("{error:?}\n{}", self.worker.log()))
    }
}

#[tokio::test]
async fn a_request_before_the_verdicts_is_answered_by_nobody() {
    let lure = Lure::pinned().await;
    let mut call = lure.call().await;
    let refused = Some(reqwest::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call.ask(&a_chat()).await, refused, "before the control stream");
    let mut control = call.control().await.expect("the worker answers");
    assert_eq!(call.ask(&a_chat()).await, refused, "before the greeting");
    control.say(&json!({"type": "hello", "v": 1, "now": 1})).await;
    assert_eq!(control.next().await.expect("a greeting")["type"], "hello");
    assert_eq!(call.ask(&a_chat()).await, refused, "before the binding");
    // It asks who we are, and is told that it is welcome.
    assert_eq!(control.next().await.expect("a question")["type"], "challenge");
    control.say(&json!({"type": "welcome", "name": "gpu/box"})).await;
    let answered = call.ask(&a_chat()).await;
    assert!(answered.is_none() || answered == refused, "{answered:?}");
    // That was out of order, and ends it.
    while control.next().await.is_some() {}
    assert_eq!(prompts(&lure.mock), 0);
    assert!(!lure.worker.log().contains(CANARY), "{}", lure.worker.log());
}

#[tokio::test]
async fn a_gateway_without_an_answer_of_its_own_is_left() {
    let lure = Lure::pinned().await;
    let mut call = lure.call().await;
    let mut control = call.control().await.expect("the worker answers");
    control.say(&json!({"type": "hello", "v": 1, "now": 1})).await;
    assert_eq!(control.next().await.expect("a greeting")["type"], "hello");
    let asked = control.next().await.expect("a question");
    // The right nonce, and a signature of nothing.
    let answer = json!({"type": "evidence", "nonce": asked["nonce"], "proof": {"signature": "c2lnbmF0dXJl"}});
    control.say(&answer).await;
    let refused = control.next().await.expect("a reason");
    assert_eq!(refused, json!({"type": "refused", "code": "binding_mismatch"}));
    lure.worker.says("binding", 1).await;
    assert!(call.ask(&a_chat()).await.is_none());
    assert_eq!(prompts(&lure.mock), 0);
}

#[tokio::test]
async fn a_gateway_that_the_workers_policy_does_not_have_is_left() {
    let worker = || builder().image("worker").build();
    for (name, draft, code) in [
        ("keyed", draft(Role::Gateway, None), "stranger"),
        (
            "a worker's evidence",
            draft(Role::Worker, Some(worker())),
            "role_mismatch",
        ),
        ("a worker's image", draft(Role::Gateway, Some(worker())), "image_role"),
        (
            "another image",
            draft(Role::Gateway, Some(guest("unheard-of"))),
            "image_unknown",
        ),
        (
            "a debug guest",
            draft(Role::Gateway, Some(builder().image("gateway").debug().build())),
            "td_debug",
        ),
    ] {
        let lure = Lure::new(&draft, false).await;
        let deadline = Duration::from_secs(10);
        // Let in it is only where the refusal came after its own handshake was done.
        if let Ok(Ok(mut call)) = tokio::time::timeout(deadline, lure.gateway.accept()).await {
            assert!(call.ask(&a_chat()).await.is_none(), "{name}");
        }
        lure.worker.says(code, 1).await;
        assert_eq!(prompts(&lure.mock), 0, "{name}");
    }
}

#[tokio::test]
async fn a_worker_that_proves_itself_has_its_engine_inside() {
    let ground = Ground::of(&["worker"]);
    let evidence = format!("danger-software:{}#worker", ground.seed.display());
    let to = format!("{}@127.0.0.1:1", "ab".repeat(32));
    let remote = ["http://10.1.2.3:8000", "http://engine:8000", "https://api.example"];
    for engine in remote {
        let flags = ["--gateway", &to, "--evidence", &evidence];
        let said = ground.world.worker_in(&[], engine, &flags).refused();
        assert!(said.contains("not on this machine"), "{said}");
        // What a keyed worker may be told to do, this one may not.
        let danger = [&flags[..], &["--danger-remote-engine"]].concat();
        let said = ground.world.worker_in(&[], engine, &danger).refused();
        assert!(said.contains("--danger-remote-engine"), "{said}");
    }
}
